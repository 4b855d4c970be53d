"""Small HTML tables for notebooks: escaped, without script or colours, so that they suit any theme."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def table(caption: str, rows: Iterable[tuple[str, object]]) -> str:
    """Return a table of names and values; a value of None leaves its row out."""
    return grid(caption, (), [[name, value] for name, value in rows if value is not None])


def grid(caption: str, head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Return a table with a row of heads; the first cell of each row is its head."""
    top = f"<thead><tr>{''.join(_cell('th', one) for one in head)}</tr></thead>" if head else ""
    body = "".join(
        f"<tr>{_cell('th', first)}{''.join(_cell('td', one) for one in rest)}</tr>" for first, *rest in rows
    )
    return f"<table><caption>{escape(caption)}</caption>{top}<tbody>{body}</tbody></table>"


def _cell(kind: str, value: object) -> str:
    return f"<{kind}>{escape(str(value))}</{kind}>"
