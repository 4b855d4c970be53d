"""A lint report as text for people: one line a finding, its cure below, a summary last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from rich.text import Text

from .findings import SEVERITIES, Finding
from .linter import FileReport, LintReport
from .rules import RULES

_STYLES = {"error": "bold red", "warning": "bold yellow", "info": "bold cyan"}
_UNSAFE = frozenset(rule.code for rule in RULES if rule.fix == "unsafe")
# Columns that a histogram's longest bar takes, and eighths of one.
_BAR = 32
_EIGHTHS = " ▏▎▍▌▋▊▉"
# Findings of one rule in one file that are printed one by one.
_ALIKE = 5
# Languages, classes and the like that are named one by one.
_NAMED = 5


def render_text(report: LintReport, limit: int = 0, statistics: bool = False) -> Iterator[Text]:
    """The report's lines, with at most `limit` findings (0: all), and what the files hold where asked for.

    Texts carry styles, not markup: brackets in the data stay brackets, and findings hold no control
    characters, so nothing in a row can drive the terminal.
    """
    shown = report.findings[:limit] if limit else report.findings
    for _, of_file in groupby(shown, key=lambda finding: finding.path):
        yield from _findings(of_file)
    if omitted := sum(map(report.count, SEVERITIES)) - len(shown):
        yield Text(
            f"… and {_count(omitted, 'finding')} more (--max-findings 0 counts them by rule)", style="dim"
        )
    for file in report.files:
        yield from _statistics(file) if statistics else _tokens_alone(file)
    yield _summary(report)


def _findings(of_file: Iterable[Finding]) -> Iterator[Text]:
    """A file's findings; of a rule that fires again and again the first, and how many more there are."""
    counts: Counter[tuple[str, str]] = Counter()
    for finding in of_file:
        counts[finding.path, finding.code] += 1
        if counts[finding.path, finding.code] <= _ALIKE:
            yield from _finding(finding)
    for (path, code), count in counts.items():
        if count > _ALIKE:
            more = f"and {count - _ALIKE:,} more like this (--format jsonl prints each)"
            yield Text(f"{path or 'all files'}: {code} {more}", style="dim")


def _finding(finding: Finding) -> Iterator[Text]:
    place = ":".join(
        str(part) for part in (finding.path or "all files", finding.line, finding.column) if part is not None
    )
    where = f" ({finding.where})" if finding.where not in (None, "$") else ""
    yield Text.assemble(
        (place, "bold"),
        ": ",
        (finding.code, _STYLES[finding.severity]),
        f" {finding.name} ",
        f"{finding.message}{where}",
    )
    yield Text(f"    help: {finding.help}", style="dim")


def _tokens_alone(file: FileReport) -> Iterator[Text]:
    if tokens := file.statistics.get("tokens"):
        yield Text(f"{file.path}: {_tokens(tokens)}", style="dim")


def _tokens(tokens: dict[str, Any]) -> str:
    about = "" if tokens["exact"] else "about "
    over = f", {tokens['over_limit']:,} over the limit" if tokens["over_limit"] else ""
    left = f"; {tokens['uncounted']:,} could not be counted" if tokens["uncounted"] else ""
    return (
        f"{about}{tokens['total']:,} tokens by {tokens['tokenizer']} in {_count(tokens['examples'], 'example')} "
        f"(median {_number(tokens['median'])}, longest {_number(tokens['max'])}{over}){left}"
    )


def _statistics(file: FileReport) -> Iterator[Text]:
    found = file.statistics
    yield Text(f"{file.path}", style="bold")
    distinct = f", {file.distinct:,} distinct" if file.distinct else ""
    yield Text(
        f"  rows        {_count(file.examples, 'example')}{distinct}, {file.format or 'no known format'}"
    )
    if (turns := found.get("turns")) and turns["max"] is not None:
        yield Text(f"  turns       {_spread(turns)}")
        missing = [f"{found[key]:,} without {what}" for key, what in _MISSING.items() if found[key]]
        yield Text(f"  missing     {', '.join(missing) or 'nothing: each has a system and a user message'}")
    if prompts := found.get("system_prompts"):
        most = ", ".join(f"{p['examples']:,} as in line {p['line']:,}" for p in prompts["commonest"])
        yield Text(
            f"  system      {_count(prompts['distinct'], 'system prompt')}{f': {most}' if most else ''}"
        )
    if languages := found.get("languages"):
        yield Text(f"  languages   {_listed([(k, f'{v:.0%}') for k, v in languages.items()])}")
    if classes := found.get("classes"):
        # Labels are the data's own text.
        named = _listed([(_label(k), f"{v:,}") for k, v in classes.items()])
        yield Text(f"  classes     {len(classes)}: {named}")
    if tokens := found.get("tokens"):
        yield Text(f"  tokens      {_tokens(tokens)}")
        yield from _token_spread(tokens)


_MISSING = {"no_system": "a system message", "no_user": "a user message"}


def _token_spread(tokens: dict[str, Any]) -> Iterator[Text]:
    if not tokens.get("example") or tokens["example"]["max"] is None:
        return
    yield Text(f"  an example  {_spread(tokens['example'])}")
    if tokens["reply"]["max"] is not None:
        yield Text(f"  a reply     {_spread(tokens['reply'])}")
    if tokens["trained_share"] is not None:
        yield Text(f"  trained     {tokens['trained']:,} tokens, {tokens['trained_share']:.1%} of all")
    yield from histogram(tokens["histogram"])


def histogram(bins: Sequence[Sequence[int]]) -> Iterator[Text]:
    """Bars for bins [from, to, count], with the count behind each."""
    most = max((count for _, _, count in bins), default=0)
    labels = [f"{low:,}–{high:,}" if low != high else f"{low:,}" for low, high, _ in bins]
    width = max(map(len, labels), default=0)
    for label, (_, _, count) in zip(labels, bins, strict=True):
        eighths = -(-count * _BAR * 8 // most) if most else 0
        bar = "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
        yield Text.assemble(f"    {label:>{width}}  ", (bar, "cyan"), f" {count:,}")


def _spread(summary: dict[str, Any]) -> str:
    return " · ".join(f"{name} {_number(summary[name])}" for name in ("p5", "p50", "p95", "max"))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def _listed(items: Sequence[tuple[str, str]]) -> str:
    named = ", ".join(f"{name} {value}" for name, value in items[:_NAMED])
    return named + (f" and {len(items) - _NAMED} more" if len(items) > _NAMED else "")


def _label(text: str) -> str:
    return text[:30] + "…" * (len(text) > 30)


def _summary(report: LintReport) -> Text:
    examples = sum(file.examples for file in report.files)
    seen = f"{_count(examples, 'example')} in {_count(len(report.files), 'file')}"
    counts = [_count(report.count(severity), severity) for severity in SEVERITIES if report.count(severity)]
    if not counts:
        return Text(f"All clear: {seen}.", style="bold green")
    worst = next(severity for severity in SEVERITIES if report.count(severity))
    return Text(f"Found {', '.join(counts)}{_mendable(report)}; {seen}.", style=_STYLES[worst])


def _mendable(report: LintReport) -> str:
    safe = report.fixable
    unsafe = sum(finding.code in _UNSAFE and not finding.fixable for finding in report.findings)
    if safe and unsafe:
        return f" ({safe:,} can be mended with --fix, {unsafe:,} more with --unsafe-fixes)"
    if safe or unsafe:
        return f" ({safe or unsafe:,} can be mended with {'--fix' if safe else '--unsafe-fixes'})"
    return ""


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
