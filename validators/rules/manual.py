"""The rules' pages as Markdown, made from their docstrings; `docs/rules.md` is all of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..findings import printable
from . import FAMILIES, RULES, Rule, SetRule, family_of
from .page import Page, Sample, page

TITLES = {
    "FMT": "file and JSON",
    "MSG": "chat messages",
    "TOOL": "tool calls",
    "PART": "content parts",
    "PREF": "preference pairs",
    "RFT": "reinforcement rows",
    "LEN": "tokens",
    "MASK": "what will really train",
    "DUP": "duplicates and leakage",
    "TEXT": "quality of the text",
    "PII": "secrets and personal data",
    "BAL": "balance of the set",
}
_BYTES = re.compile("[\udc80-\udcff]")
# Looks like nothing in an editor: a reader should see that it is there.
_UNSEEN = re.compile("[\u00a0\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_FIXES = {
    "safe": "mended by `--fix` without loss",
    "unsafe": "mended by `--unsafe-fixes`, which takes something away",
}


def manual() -> str:
    """All pages as one document."""
    parts = [
        "# The rules of `workbench lint`",
        "Made from the rules' own documentation by `workbench explain --all > docs/rules.md`; a test keeps the two "
        "equal. A code never changes its meaning.",
        _index(RULES),
    ]
    for family in FAMILIES:
        parts.append(f"## {family}: {TITLES[family]}")
        parts += [explain(rule) for rule in RULES if family_of(rule.code) == family]
    return "\n\n".join(parts) + "\n"


def index(family: str | None = None) -> str:
    """The rules of a family (or all) as a table."""
    return _index([rule for rule in RULES if family in (None, family_of(rule.code))])


def explain(rule: Rule) -> str:
    """One rule's page."""
    told = page(rule)
    lines = [
        f"### {rule.code} {rule.name}",
        f"{told.what}",
        f"**Why:** {told.why}",
        f"*{'; '.join(_facts(rule))}*",
        f"Fires{_with(told.bad)}:",
        _block(told.bad),
        f"Does not fire{_with(told.good)}:",
        _block(told.good),
    ]
    return "\n\n".join(lines)


def as_dict(rule: Rule) -> dict[str, object]:
    """One rule's page as plain JSON values."""
    told: Page = page(rule)
    return {
        "code": rule.code,
        "name": rule.name,
        "severity": rule.severity,
        "scope": "set" if isinstance(rule, SetRule) else rule.scope,
        "fix": rule.fix or None,
        "default": rule.default,
        "what": told.what,
        "why": told.why,
        "bad": {name: _shown(content) for name, content in told.bad.files.items()},
        "good": {name: _shown(content) for name, content in told.good.files.items()},
        "options": {"bad": told.bad.options, "good": told.good.options},
    }


def _facts(rule: Rule) -> list[str]:
    facts = [
        {"error": "an error", "warning": "a warning", "info": "information"}[rule.severity],
        "of a whole file or several" if isinstance(rule, SetRule) else f"of a {rule.scope}",
    ]
    if rule.fix:
        facts.append(_FIXES[rule.fix])
    if not rule.default:
        facts.append("off unless selected")
    return [" ".join(facts[:2]), *facts[2:]]


def _index(rules: Sequence[Rule]) -> str:
    rows = ["| code | name | severity | fix | finds |", "|---|---|---|---|---|"]
    for rule in rules:
        fix = {"safe": "fix", "unsafe": "fix!", "": ""}[rule.fix]
        what = page(rule).what.replace("|", "\\|")
        rows.append(f"| {rule.code} | {rule.name} | {rule.severity} | {fix} | {what} |")
    return "\n".join(rows)


def _with(sample: Sample) -> str:
    return f" (with {', '.join(f'{k}={v}' for k, v in sample.options.items())})" if sample.options else ""


def _block(sample: Sample) -> str:
    several = len(sample.files) > 1 or next(iter(sample.files)) != "train.jsonl"
    lines = []
    for name, content in sample.files.items():
        lines += [f"== {name}"] if several else []
        lines.append(_shown(content).rstrip("\n"))
    return "```\n" + "\n".join(lines) + "\n```"


def _shown(content: bytes) -> str:
    """The example as text: bytes that are no UTF-8 as `<0xFF>`, what cannot be seen as an escape."""
    text = content.decode("utf-8", "surrogateescape")
    if text.startswith("\ufeff"):
        text = "<0xEF><0xBB><0xBF>" + text[1:]
    text = _BYTES.sub(lambda match: f"<0x{ord(match[0]) - 0xDC00:02X}>", text)
    text = _UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    return "\n".join(printable(line) for line in text.split("\n"))
