"""Rows of tables: CSV and TSV with the line of each, Parquet and hub data sets with its number."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .blocks import PackedError, open_data, unpacked_name
from .findings import printable, quoted
from .parquet_size import parquet_size
from .rows import MAX_ROW_BYTES, DataError, Row

HUB = "hf:/"
# Rows of a Parquet file that are held at once, and about how many bytes of them.
_BATCH = 5_000
_BATCH_BYTES = 1 << 28


def read_csv(path: Path) -> Iterator[Row]:
    """Yield the rows of a CSV or TSV file with the line each begins at; cells are text. Raises DataError."""
    name = printable(str(path))
    # csv's own limit of 128 KiB a cell is shorter than many documents.
    csv.field_size_limit(MAX_ROW_BYTES)
    try:
        with io.TextIOWrapper(open_data(path), encoding="utf-8-sig", newline="") as file:
            held = [0]
            reader = csv.reader(_lines(file, name, held), delimiter=_delimiter(path), strict=True)
            header = next(reader, None)
            if header is None:
                return
            repeated = sorted({column for column in header if header.count(column) > 1})
            if repeated:
                raise DataError(f"{name}:1:1: the column {quoted(repeated[0])} is there twice. Rename one.")
            begins = reader.line_num + 1
            for cells in reader:
                held[0] = 0
                if cells and len(cells) != len(header):
                    cure = "Quote cells that hold the separator or line breaks."
                    raise DataError(
                        f"{name}:{begins}:1: {len(cells)} cells, and the header has {len(header)}. {cure}"
                    )
                if cells:
                    yield Row(begins, dict(zip(header, cells, strict=True)))
                begins = reader.line_num + 1
    except PackedError as error:
        raise DataError(f"{name}: the compressed file is broken or cut short: {error}.") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name}: byte {error.start} of a block is not UTF-8. Save the file as UTF-8."
        ) from error
    except csv.Error as error:
        raise DataError(f"{name}:{reader.line_num}:1: not CSV: {error}. Check the quotes.") from error


def _lines(file: io.TextIOWrapper, name: str, held: list[int]) -> Iterator[str]:
    """The lines of a table; `held` is the length of its row so far. Raises DataError where that is too much."""
    number = 0
    while line := file.readline(MAX_ROW_BYTES + 1):
        number += 1
        held[0] += len(line)
        if held[0] > MAX_ROW_BYTES:
            cure = f"At most {MAX_ROW_BYTES:,} bytes are read. Check the quotes, or split it."
            raise DataError(f"{name}:{number}:1: the row is too long. {cure}")
        yield line


def _delimiter(path: Path) -> str:
    if unpacked_name(path).suffix.lower() == ".tsv":
        return "\t"
    with open_data(path) as file:
        header = file.readline(MAX_ROW_BYTES)
    return ";" if header.count(b";") > header.count(b",") else ","


def read_parquet(path: Path) -> Iterator[Row]:
    """Yield the rows of a Parquet file, a batch at a time. Raises DataError, also for what unpacks to too much."""
    name = printable(str(path))
    try:
        batch = max(1, min(_BATCH, _BATCH_BYTES // max(1, parquet_size(path).row)))
    except DataError as error:
        raise DataError(f"{name}: not a Parquet file that can be read: {error}") from None
    number = 0
    while True:
        frame = _parquet_rows(path, number, batch)
        large = frame.estimated_size() > MAX_ROW_BYTES
        # Rows that share a long value have it each once they are Python's.
        for value in frame.iter_rows(named=True, buffer_size=1 if large else 512):
            number += 1
            if large and (length := _length(value)) > MAX_ROW_BYTES:
                cure = f"It has {length:,} bytes; at most {MAX_ROW_BYTES:,} are read. Split it."
                raise DataError(f"{name}:{number}: the row is too long. {cure}")
            yield Row(number, plain(value))
        if len(frame) < batch:
            return


def _parquet_rows(path: Path, first: int, count: int) -> Any:
    """A frame of the rows from `first` on. Raises DataError."""
    import polars

    try:
        return polars.scan_parquet(path).slice(first, count).collect()
    except BaseException as error:  # a broken file may end polars in a panic, which is no Exception
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        reason = printable(str(error)).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{printable(str(path))}: not a Parquet file that can be read: {reason}.") from error


def _length(value: Any) -> int:
    """About how many bytes the texts of a row have."""
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_length, value.values()))
    return sum(map(_length, value)) if isinstance(value, list) else 0


def plain(value: dict[str, Any]) -> dict[str, Any]:
    """A row of a typed table as JSON would have it.

    In a table every message has every column that one of them has, empty or not: what is empty inside a
    row is left out, but for `content`, which may be null beside tool calls.
    """
    return {key: _plain(item) for key, item in value.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        calls = value.get("tool_calls") or value.get("function_call")
        return {
            key: _plain(item)
            for key, item in value.items()
            if item is not None or (key == "content" and (calls or "role" in value))
        }
    return [_plain(item) for item in value] if isinstance(value, list) else value


def hub_name(path: str | Path) -> str | None:
    """The data set that `hf://owner/name` or `hf://owner/name@split` names; None for a file."""
    text = str(path)
    return text.removeprefix(HUB).removeprefix("/") if text.startswith(HUB) else None


def read_hub(name: str) -> Iterator[Row]:
    """Stream a data set of the hub (or a folder that `datasets` can load), split `train` unless named.

    Raises DataError where `datasets` is missing or cannot load it.
    """
    try:
        import datasets
    except ImportError:
        raise DataError(
            f"hf://{name}: data sets of the hub need the package datasets: pip install 'decide-before-you-tune[local]'."
        ) from None
    owner, _, split = name.partition("@")
    try:
        rows = datasets.load_dataset(owner, split=split or "train", streaming=True)
        for number, value in enumerate(rows, 1):
            yield Row(number, plain(value))
    except Exception as error:  # datasets and the hub's client raise families of their own
        reason = printable(str(error)).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"hf://{printable(name)}: the data set cannot be loaded: {reason}.") from error
