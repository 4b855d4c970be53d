"""What leaves the app as a file: tables as CSV, plots as PNG, file names that stay in their folder."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from workbench.card import plain
from workbench.charts import ChartsMissing, png

# A cell that a spreadsheet reads as a formula begins so, white space before it aside.
_FORMULA = re.compile(r"[\s\x00]*[=+\-@|%]|[\t\r\n]")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_SAFE = re.compile(r"[^A-Za-z0-9._-]+")


def csv_text(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as CSV that no spreadsheet takes for formulas; columns in the order they first appear."""
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([cell(name) for name in names])
    writer.writerows([cell(row.get(name)) for name in names] for row in rows)
    return out.getvalue()


def cell(value: object) -> object:
    """A value as a CSV cell: text that could be a formula gets an apostrophe before it, numbers stay."""
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def file_name(text: str, suffix: str) -> str:
    """A file name made of any text: letters, digits, dots and dashes, never a hidden file or a path."""
    return (_SAFE.sub("-", plain(text)).strip(".-")[:80] or "export") + suffix


def picture(drawn: Any) -> Callable[[], bytes]:
    """The plot as PNG, drawn when it is asked for; where the packages are missing it is their cure as text."""

    def draw() -> bytes:
        try:
            return png(drawn)
        except ChartsMissing as error:
            return str(error).encode()

    return draw
