"""Words and small blocks that every page uses. Text of data or models never becomes markup here."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import streamlit as st

from apps.exports import csv_text, file_name, picture
from workbench.card import plain
from workbench.charts import INK, MUTED

_INKS = {INK: "#e8ebef", MUTED: "#9aa5b1"}
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
# Bare addresses become links and :names: pictures even where they are escaped; an invisible joiner parts them.
_REPLACED = re.compile(r":(?=//)|:(?=[\w+-]+:)|(?<=www)(?=\.)|@(?=[\w-])", re.IGNORECASE)

# One status a run folder can have, and the sign it goes by (shape and word, not colour alone).
STATUS_SIGNS = {
    "success": "✓",
    "started": "…",
    "trained": "…",
    "error": "✗",
    "cancelled": "⊘",
    "damaged": "✗",
}


def literal(text: str) -> str:
    """Text for a Markdown place (headings, labels, captions) that must appear as written.

    Every ASCII punctuation mark is escaped, which CommonMark allows, so no link, image, directive,
    formula or HTML can start.
    """
    parted = _REPLACED.sub(lambda found: f"{found[0]}\u2060", plain(text))
    return _PUNCTUATION.sub(r"\\\1", parted)


def ago(then: str | None, now: datetime) -> str:
    """How long ago an ISO time was, roughly; "" for what is no time."""
    try:
        passed = now - datetime.fromisoformat(then or "").astimezone(UTC)
    except ValueError:
        return ""
    minutes = int(passed.total_seconds() // 60)
    for unit, size in (("days", 1440), ("hours", 60), ("minutes", 1)):
        if minutes >= 2 * size:
            return f"{minutes // size} {unit} ago"
    return "just now"


def tiles(facts: Iterable[tuple[str, str, str]]) -> None:
    """A row of boxes: label, value, and a line of explanation under it."""
    facts = list(facts)
    for column, (label, value, below) in zip(st.columns(len(facts), border=True), facts, strict=True):
        place = column.container(gap="xsmall")
        place.caption(literal(label))
        place.markdown(f"### {literal(value)}")
        place.caption(literal(below) or "&nbsp;")


def chart(drawn: Any, rows: int | None = None, name: str = "chart") -> None:
    """A chart as wide as its place, and below it the way to take it along as a PNG called `name`.

    `rows` makes room for one line a contender (None: a plot of two axes).
    """
    drawing = drawn.to_dict()
    spec = json.dumps({**drawing, "config": {"text": {"color": INK}}})
    mark = hashlib.sha256(spec.encode()).hexdigest()[:12]
    # Charts are drawn in the inks of paper; on a dark page those are turned, the theme does the rest.
    for paper, night in _INKS.items() if st.context.theme.type == "dark" else ():
        spec = spec.replace(paper, night)
    st.vega_lite_chart(json.loads(spec), height=320 if rows is None else 100 + 44 * rows)
    _take(picture(drawn), file_name(name, ".png"), "image/png", f"png-{name}-{mark}")


def table(rows: Sequence[Mapping[str, Any]], name: str = "table", **options: Any) -> Any:
    """A table, and below it the way to take it along as a CSV called `name`, safe to open in a spreadsheet.

    `options` are those of `st.dataframe`, whose result is returned. Streamlit's own CSV button is hidden: its cells
    can be formulas.
    """
    shown = st.dataframe(rows, hide_index=True, **options)
    # A byte order mark, for spreadsheets that else take UTF-8 for something older.
    place = f"csv-{name}-{options.get('key', '')}-{len(rows)}-{'|'.join(rows[0]) if rows else ''}"
    _take(lambda: csv_text(rows).encode("utf-8-sig"), file_name(name, ".csv"), "text/csv", place)
    return shown


def _take(data: Callable[[], bytes], file: str, mime: str, key: str) -> None:
    """A quiet download button at the right; the file is made when it is asked for."""
    label = file.rpartition(".")[2].upper()
    with st.container(
        horizontal_alignment="right", key=f"take-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    ):
        st.download_button(
            label, data, file, mime, key=key, type="tertiary", icon=":material/download:", on_click="ignore"
        )


def facts_list(rows: Iterable[tuple[str, str]]) -> None:
    """Label and text in two columns, the text as written."""
    with st.container(gap="xsmall"):
        for label, text in rows:
            left, right = st.columns([1, 5], gap="small", vertical_alignment="center")
            left.caption(literal(label))
            right.text(text)


def model_text(text: str) -> None:
    """A text of the data or a model: wrapped, as written, never markup."""
    st.text(plain_lines(text) or "(empty)")


def verbatim(text: str) -> None:
    """A text to be read to the letter or copied, in a box."""
    st.code(plain_lines(text) or "(empty)", language=None, wrap_lines=True)


def plain_lines(text: str) -> str:
    """Text without control characters, its line breaks kept."""
    return "\n".join(plain(line) for line in text.splitlines())
