"""A lint report as text for people: one line a finding, its cure below, a summary last."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from .findings import SEVERITIES, Finding
from .linter import LintReport

_STYLES = {"error": "bold red", "warning": "bold yellow", "info": "bold cyan"}


def render_text(report: LintReport, limit: int = 0) -> Iterator[Text]:
    """The report's lines, with at most `limit` findings (0: all).

    Texts carry styles, not markup: brackets in the data stay brackets, and findings hold no control
    characters, so nothing in a row can drive the terminal.
    """
    shown = report.findings[:limit] if limit else report.findings
    for finding in shown:
        yield from _finding(finding)
    if omitted := len(report.findings) - len(shown):
        yield Text(f"… and {_count(omitted, 'finding')} more (--max-findings 0 shows all)", style="dim")
    for file in report.files:
        if tokens := file.statistics.get("tokens"):
            yield Text(f"{file.path}: {_tokens(tokens)}", style="dim")
    yield _summary(report)


def _finding(finding: Finding) -> Iterator[Text]:
    place = ":".join(str(part) for part in (finding.path, finding.line, finding.column) if part is not None)
    where = f" ({finding.where})" if finding.where not in (None, "$") else ""
    yield Text.assemble(
        (place, "bold"),
        ": ",
        (finding.code, _STYLES[finding.severity]),
        f" {finding.name} ",
        f"{finding.message}{where}",
    )
    yield Text(f"    help: {finding.help}", style="dim")


def _tokens(tokens: dict[str, object]) -> str:
    about = "" if tokens["exact"] else "about "
    over = f", {tokens['over_limit']} over the limit" if tokens["over_limit"] else ""
    left = f"; {tokens['uncounted']} could not be counted" if tokens["uncounted"] else ""
    return (
        f"{about}{tokens['total']} tokens by {tokens['tokenizer']} in {tokens['examples']} examples "
        f"(median {tokens['median']}, longest {tokens['max']}{over}){left}"
    )


def _summary(report: LintReport) -> Text:
    examples = sum(file.examples for file in report.files)
    seen = f"{_count(examples, 'example')} in {_count(len(report.files), 'file')}"
    if not report.findings:
        return Text(f"All clear: {seen}.", style="bold green")
    counts = [_count(report.count(severity), severity) for severity in SEVERITIES if report.count(severity)]
    fixable = sum(finding.fixable for finding in report.findings)
    mend = f" ({fixable} can be mended without loss)" if fixable else ""
    worst = next(severity for severity in SEVERITIES if report.count(severity))
    return Text(f"Found {', '.join(counts)}{mend}; {seen}.", style=_STYLES[worst])


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
