"""A lint report as SARIF 2.1.0, which code hosts show beside the changed lines."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from .findings import Finding
from .rules import RULES, Rule
from .rules.manual import explain
from .rules.page import page

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS = {"error": "error", "warning": "warning", "info": "note"}
_INDEX = {rule.code: number for number, rule in enumerate(RULES)}


def sarif_log(findings: Iterable[Finding], omitted: int = 0) -> dict[str, Any]:
    """The findings as one SARIF log with one run; all rules stand in it, fired or not."""
    driver = {
        "name": "workbench lint",
        "semanticVersion": _version(),
        "rules": [_rule(rule) for rule in RULES],
    }
    run: dict[str, Any] = {
        "tool": {"driver": driver},
        "results": [_result(finding) for finding in findings],
    }
    if omitted:
        run["properties"] = {"omitted": omitted}
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(rule: Rule) -> dict[str, Any]:
    told = page(rule)
    return {
        "id": rule.code,
        "name": rule.name,
        "shortDescription": {"text": told.what},
        "fullDescription": {"text": told.why},
        "help": {"text": f"{told.what} {told.why}", "markdown": explain(rule)},
        "defaultConfiguration": {"level": LEVELS[rule.severity], "enabled": rule.default},
    }


def _result(finding: Finding) -> dict[str, Any]:
    physical: dict[str, Any] = {"artifactLocation": {"uri": _uri(finding.path)}}
    # No startColumn: SARIF counts characters and findings count bytes, which stand among the properties.
    if finding.line is not None:
        physical["region"] = {"startLine": finding.line}
    location: dict[str, Any] = {"physicalLocation": physical}
    if finding.where is not None:
        location["logicalLocations"] = [{"fullyQualifiedName": finding.where}]
    return {
        "ruleId": finding.code,
        "ruleIndex": _INDEX[finding.code],
        "level": LEVELS[finding.severity],
        "message": {"text": f"{finding.message}. {finding.help}"},
        # What is wrong with several files together has no place in one.
        "locations": [location] if finding.path else [],
        "properties": {"byteColumn": finding.column, "fixable": finding.fixable},
    }


def _uri(path: str) -> str:
    """A path as a URI reference; a relative one is taken from the root of the repository."""
    plain = PurePath(path)
    return plain.as_uri() if plain.is_absolute() else quote(plain.as_posix())


def _version() -> str:
    try:
        return version("decide-before-you-tune")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "0"
