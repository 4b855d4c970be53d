"""Flags that turn table rows into chats, for the verbs that read data files."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from validators.columns import Columns

KEYS = ("input", "output", "system")
# Rows of JSON need not all have the same keys.
LOOKED_AT = 20


def columns_of(pairs: str | None, template: str | None) -> Columns | None:
    """`--columns input=question,output=answer` and `--template` as one; None where neither is given.

    `system` is the text of a system message for every row, not a column. Raises ValueError.
    """
    from validators.columns import Columns
    from validators.suggest import did_you_mean

    if pairs is None and template is None:
        return None
    given: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in (pairs or "").split(","))):
        key, equals, value = pair.partition("=")
        if not equals or key not in KEYS or not value:
            raise ValueError(
                f"--columns takes input=NAME,output=NAME, not '{pair}'.{did_you_mean(key, KEYS) if equals else ''}"
            )
        given[key] = value
    if ("input" in given) == (template is not None):
        raise ValueError(
            "name either an input column (--columns input=NAME) or a --template, one of the two."
        )
    return Columns(template=template, **given)


def check_columns(paths: Iterable[Path], columns: Columns) -> None:
    """Raise ValueError where none of a file's first rows has a named column: that is the flag's fault, not the rows'.

    A file that cannot be read, or that is empty, is the linter's to tell of.
    """
    from validators.reading import DataError, read_rows
    from validators.suggest import did_you_mean

    for path in paths:
        try:
            there = {key for row in islice(read_rows(path), LOOKED_AT) for key in row.value}
        except DataError:
            continue
        for name in (columns.input, columns.output):
            if there and name is not None and name not in there:
                raise ValueError(
                    f"{path}: there is no column {name!r}; there are {', '.join(map(repr, sorted(there)))}."
                    f"{did_you_mean(name, there)}"
                )
