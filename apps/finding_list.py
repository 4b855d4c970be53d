"""Lint findings on a page: rules, the rows of one, and the row itself with the place marked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from apps.source_rows import Marked
from apps.words import literal, plain_lines, table

SIGNS = {"error": "✗ error", "warning": "▲ warning", "info": "● info"}
_ORDER = list(SIGNS)

Findings = Sequence[Mapping[str, Any]]
Row = Callable[[Mapping[str, Any]], Marked | None]


def finding_list(findings: Findings, row_of: Row, key: str, omitted: int = 0) -> None:
    """Draw the findings; `row_of` gives the row of one, None where it is not to be had. `key` tells lists apart."""
    rules: dict[str, list[Mapping[str, Any]]] = {}
    for finding in findings:
        rules.setdefault(finding["code"], []).append(finding)
    ordered = sorted(
        rules, key=lambda code: (_ORDER.index(rules[code][0]["severity"]), -len(rules[code]), code)
    )
    summary = [
        {
            "severity": SIGNS[rules[code][0]["severity"]],
            "code": code,
            "rule": rules[code][0]["name"],
            "found": len(rules[code]),
            "what to do": rules[code][0]["help"],
        }
        for code in ordered
    ]
    table(summary, f"{key}-rules", column_config={"what to do": st.column_config.TextColumn(width="large")})
    if omitted:
        st.caption(f"{omitted:,} further findings were counted but not kept.")
    code = st.selectbox(
        "Rule",
        ordered,
        format_func=lambda c: f"{c} {rules[c][0]['name']} ({len(rules[c])})",
        key=f"{key}-rule",
    )
    _rows(rules[code], row_of, key)


def _rows(findings: Findings, row_of: Row, key: str) -> None:
    places = [
        {
            # Fields that are not set are not written: a finding about the whole file has no line.
            "place": f"{f['path']}:{f['line']}" if f.get("line") else f["path"],
            "where": f.get("where") or ("whole row" if f.get("line") else "whole file"),
            "message": f["message"],
            "fixable": f["fixable"],
        }
        for f in findings
    ]
    columns = {
        "message": st.column_config.TextColumn(width="large"),
        "fixable": st.column_config.CheckboxColumn("fixable", help="lint --fix can mend it"),
    }
    chosen = table(
        places,
        f"{key}-{findings[0]['code']}",
        column_config=columns,
        key=f"{key}-places-{findings[0]['code']}",
        on_select="rerun",
        selection_mode="single-row",
        height=min(320, 38 + 35 * len(places)),
    ).selection.rows
    finding = findings[chosen[0] if chosen and chosen[0] < len(findings) else 0]
    if finding.get("line"):
        _row(finding, row_of(finding))


def _row(finding: Mapping[str, Any], row: Marked | None) -> None:
    st.caption(literal(f"{finding['path']}:{finding['line']} · {finding['message']}"))
    if row is None:
        st.caption(
            "The row cannot be shown: its file is not there any more, or is not the one that was linted."
        )
        return
    with st.container(border=True, gap=None, key=f"row-{finding['code']}-{finding['line']}"):
        if row.before.strip():
            st.text(plain_lines(row.before))
        with st.container(key=f"marked-{finding['code']}"):
            st.text(plain_lines(row.place) or "(empty)")
        if row.after.strip():
            st.text(plain_lines(row.after))
