"""A finding as a workflow command that GitHub shows as an annotation of the line."""

from __future__ import annotations

from .findings import Finding

_COMMANDS = {"error": "error", "warning": "warning", "info": "notice"}


def annotation(finding: Finding) -> str:
    """The one line that the runner reads."""
    places = [("file", finding.path or None), ("line", finding.line), ("col", finding.column)]
    properties = [*places, ("title", f"{finding.code} {finding.name}")]
    named = ",".join(f"{name}={_property(str(value))}" for name, value in properties if value is not None)
    where = f" ({finding.where})" if finding.where not in (None, "$") else ""
    return f"::{_COMMANDS[finding.severity]} {named}::{_data(f'{finding.message}{where}. {finding.help}')}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
