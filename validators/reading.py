"""Rows of a data file, one at a time: JSON Lines, JSON arrays, tables, compressed or not.

Strict on purpose: what reads here has passed the same JSON rules as the lint, and the first fault
stops with its place and a cure. To see all faults of a file, lint it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from .arrays import ArrayError, ArrayReader
from .blocks import PackedError, blocks, open_data, packing, unpacked_name
from .columns import Columns, to_chat
from .findings import printable
from .rows import BOM, MAX_ROW_BYTES, DataError, Row
from .strict_json import SCANNABLE, decode
from .suggest import did_you_mean
from .tables import hub_name, read_csv, read_hub, read_parquet

__all__ = [
    "BOM",
    "MAX_ROW_BYTES",
    "Columns",
    "DataError",
    "Row",
    "archive_kind",
    "container_of",
    "hub_name",
    "read_head",
    "read_rows",
    "to_chat",
]

Container = Literal["auto", "jsonl", "json", "csv", "parquet"]

SUFFIXES: dict[str, Container] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
}
ONE_A_LINE = "Write one row a line; an array: jq -c '.[]' IN > OUT.jsonl."
_ARCHIVES = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip", b"BZh": "bzip2"}


def read_rows(path: str | Path, format: Container = "auto", columns: Columns | None = None) -> Iterator[Row]:
    """Yield the rows of a JSONL, JSON array, CSV, TSV or Parquet file; "auto" goes by the extension.

    All but Parquet may be compressed with gzip or zstd; `hf://owner/name` streams a data set of the hub.
    `columns` turn rows into chats. CSV cells are text. Raises DataError at the first fault: a missing or
    empty file, a folder, binary data, bad JSON, a row that is no object, a CSV row with too many or too
    few cells, a column that is missing or empty.
    """
    name, path = hub_name(path), Path(path)
    empty = True
    try:
        for row in read_hub(name) if name else _opened(path, format):
            empty = False
            yield row if columns is None else Row(row.line, _chat(path, row, columns))
    except PackedError as error:
        raise _broken_archive(path, error) from error
    if empty:
        raise DataError(
            f"{printable(str(path))}: the file has no rows. Check that this is the file you meant."
        )


def _opened(path: Path, format: Container) -> Iterator[Row]:
    container = container_of(path) if format == "auto" else format
    head = read_head(path)
    if container == "parquet":
        return read_parquet(path)
    if not packing(head):
        if kind := archive_kind(head):
            raise DataError(f"{printable(str(path))}: this is a {kind} archive. Unpack it first.")
        if b"\x00" in head:
            raise DataError(
                f"{printable(str(path))}: this is binary data (or UTF-16 text). Save it as UTF-8 text."
            )
    return {"jsonl": _jsonl, "json": _json, "csv": read_csv}[container](path)


def _chat(path: Path, row: Row, columns: Columns) -> dict[str, Any]:
    try:
        return columns.chat(row.value)
    except DataError as error:
        raise DataError(f"{printable(str(path))}:{row.line}: {error}") from None


def container_of(path: Path) -> Container:
    """How a file holds its rows, by its extension; anything unknown is read as JSON Lines."""
    return SUFFIXES.get(unpacked_name(path).suffix.lower(), "jsonl")


def read_head(path: Path) -> bytes:
    """The first bytes of a file. Raises DataError for a folder and for what is missing or cannot be opened."""
    name = printable(str(path))
    try:
        if path.is_dir():
            inside = sorted(p.name for p in path.iterdir() if p.suffix.lower() in SUFFIXES)[:5]
            hint = f" Inside are {', '.join(inside)}." if inside else ""
            raise DataError(f"{name}: this is a folder; name a data file.{hint}")
        if path.is_fifo():
            raise DataError(f"{name}: this is a pipe, which can be read but once. Save it to a file first.")
        if path.exists() and not path.is_file():
            raise DataError(f"{name}: this is a device or a socket; name a data file (standard input is -).")
        with path.open("rb") as file:
            head = file.read(4096)
    except FileNotFoundError:
        beside = [p.name for p in path.parent.iterdir() if p.is_file()] if path.parent.is_dir() else []
        raise DataError(f"{name}: there is no such file.{did_you_mean(path.name, beside)}") from None
    except DataError:
        raise
    except (OSError, ValueError) as error:
        raise DataError(f"{name}: cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    return head


def archive_kind(head: bytes) -> str | None:
    """What kind of archive a file's first bytes tell of."""
    return next((kind for magic, kind in _ARCHIVES.items() if head.startswith(magic)), None)


def row_at(path: str | Path, line: int) -> Row | None:
    """The row that begins in a line (None: none does); in JSON Lines no other row need be good. Raises DataError."""
    path = Path(path)
    read_head(path)  # what is missing or a folder is named
    if container_of(path) != "jsonl":
        return next((row for row in read_rows(path) if row.line == line), None)
    try:
        found = (text for text in _texts(path) if text[0] == line)
        return next(
            (Row(number, _object(path, number, skipped, raw)) for number, skipped, raw in found), None
        )
    except PackedError as error:
        raise _broken_archive(path, error) from error


def _broken_archive(path: Path, error: PackedError) -> DataError:
    reason = f"the compressed file is broken or cut short: {printable(str(error))}"
    return DataError(f"{printable(str(path))}: {reason}. Pack or fetch it again.")


def _jsonl(path: Path) -> Iterator[Row]:
    yield from (Row(number, _object(path, number, skipped, raw)) for number, skipped, raw in _texts(path))


def _texts(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """The lines that are not blank: number, bytes skipped before, and what they hold."""
    number = 0
    with open_data(path) as file:
        for block in blocks(file, 0, None, MAX_ROW_BYTES):
            if block.length is not None:
                raise _too_long(path, number + 1, block.length)
            # What stands behind the last newline is a line only if it has bytes.
            for raw in block.data.removesuffix(b"\n").split(b"\n"):
                number += 1
                text = (raw.removeprefix(BOM) if number == 1 else raw).rstrip(b"\r")
                if text.strip():
                    skipped = len(BOM) if number == 1 and raw.startswith(BOM) else 0
                    yield number, skipped, text


def _too_long(path: Path, line: int, length: int) -> DataError:
    cure = f"It has {length:,} bytes; at most {MAX_ROW_BYTES:,} are read. Split it."
    return DataError(f"{printable(str(path))}:{line}: the row is too long. {cure}")


def _json(path: Path) -> Iterator[Row]:
    with open_data(path) as file:
        head = file.read(4096)
        if not head.removeprefix(BOM).lstrip().startswith(b"["):
            yield from _jsonl(path)
            return
    with open_data(path) as file:
        reader = ArrayReader(file, MAX_ROW_BYTES)
        try:
            for item in reader.items():
                if item.length is not None:
                    raise _too_long(path, item.line, item.length)
                yield Row(item.line, _object(path, item.line, item.column - 1, item.raw))
            return
        except ArrayError as error:
            fault = error
            reader.drain()
    raise _broken_array(path, fault, reader.size)


def _broken_array(path: Path, fault: ArrayError, size: int) -> DataError:
    """What is wrong with an array; in a small file as the scanner says it, which knows cures."""
    place, message = f"{fault.line}:{fault.column}", str(fault)
    if size <= SCANNABLE:
        with open_data(path) as file:
            body = file.read().removeprefix(BOM)
        if faults := decode(body).faults:
            offset, message = faults[0].offset, faults[0].message
            line, column = body.count(b"\n", 0, offset) + 1, offset - body.rfind(b"\n", 0, offset)
            place = f"{line}:{column}"
    return DataError(f"{printable(str(path))}:{place}: {message}. Write the file with a JSON library.")


def _object(path: Path, line: int, skipped: int, raw: bytes) -> dict[str, Any]:
    decoded = decode(raw)
    if decoded.faults:
        fault = decoded.faults[0]
        row, column = (
            line + raw.count(b"\n", 0, fault.offset),
            fault.offset - raw.rfind(b"\n", 0, fault.offset),
        )
        column += skipped if row == line else 0
        message = f"{fault.message}. `workbench lint` shows all faults of the file at once."
        raise DataError(f"{printable(str(path))}:{row}:{column}: {message}")
    if not isinstance(decoded.value, dict):
        message = "a row must be a JSON object (in JSON Lines: one object a line)."
        raise DataError(f"{printable(str(path))}:{line}:{skipped + 1}: {message}")
    return decoded.value
