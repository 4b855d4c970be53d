"""The rows of a linted file once more, for rules that compare texts: what cannot be read is passed over.

The lint has already told of it; here a row either has texts to compare or is none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from .blocks import PackedError, blocks, open_data
from .columns import Columns
from .reading import BOM, MAX_ROW_BYTES, container_of, read_rows
from .rows import DataError, Row
from .tables import hub_name

Numbered = Iterator[tuple[int, Any]]


def rows_again(path: str | Path, columns: Columns | None = None) -> Numbered:
    """Line and value of each row of a file that can be read."""
    try:
        if hub_name(path) or container_of(Path(path)) != "jsonl" or columns is not None:
            for row in read_rows(path, columns=columns):
                yield row.line, row.value
        else:
            yield from _lines(Path(path))
    except (DataError, PackedError, OSError):
        return


def rows_held(rows: Sequence[Row]) -> Numbered:
    """Line and value of rows that are in memory already."""
    return ((row.line, row.value) for row in rows)


def _lines(path: Path) -> Numbered:
    number = 0
    with open_data(path) as file:
        for block in blocks(file, 0, None, MAX_ROW_BYTES):
            data = block.data if number else block.data.removeprefix(BOM)
            if block.length is not None:
                number += 1
                continue
            lines = data.split(b"\n")
            for raw in lines if lines[-1] else lines[:-1]:
                number += 1
                with contextlib.suppress(ValueError, RecursionError):
                    yield number, msgspec.json.decode(raw)
