"""Rows of a data file, one at a time, and table rows turned into chats.

Strict on purpose: what reads here has passed the same JSON rules as the lint, and the first fault
stops with its place and a cure. To see all faults of a file, lint it.
"""

from __future__ import annotations

import csv
import string
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from .findings import printable, quoted
from .strict_json import decode
from .suggest import did_you_mean

Container = Literal["auto", "jsonl", "json", "csv", "parquet"]

SUFFIXES: dict[str, Container] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
}
BOM = b"\xef\xbb\xbf"
_ARCHIVES = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip", b"BZh": "bzip2"}


class DataError(ValueError):
    """Data that cannot be read; the message names place, fault and cure."""


class Row(msgspec.Struct, frozen=True):
    """One row and where it begins: the 1-based line (for Parquet, which has no lines, the row)."""

    line: int
    value: dict[str, Any]


def read_rows(path: Path, format: Container = "auto") -> Iterator[Row]:
    """Yield the rows of a JSONL, JSON array, CSV or Parquet file; "auto" goes by the extension.

    CSV cells are text. Raises DataError at the first fault: a missing or empty file, a folder, binary
    data, bad JSON, a row that is no object, a CSV row with too many or too few cells.
    """
    path = Path(path)
    container = container_of(path) if format == "auto" else format
    head = read_head(path)
    if container != "parquet" and (kind := archive_kind(head)):
        raise DataError(f"{printable(str(path))}: this is a {kind} archive. Unpack it first.")
    if container != "parquet" and b"\x00" in head:
        raise DataError(
            f"{printable(str(path))}: this is binary data (or UTF-16 text). Save it as UTF-8 text."
        )
    rows = {"jsonl": _jsonl, "json": _json, "csv": _csv, "parquet": _parquet}[container](path)
    empty = True
    for row in rows:
        empty = False
        yield row
    if empty:
        raise DataError(
            f"{printable(str(path))}: the file has no rows. Check that this is the file you meant."
        )


def container_of(path: Path) -> Container:
    """How a file holds its rows, by its extension; anything unknown is read as JSON Lines."""
    return SUFFIXES.get(path.suffix.lower(), "jsonl")


def read_head(path: Path) -> bytes:
    """The first bytes of a file. Raises DataError for a folder and for what is missing or cannot be opened."""
    name = printable(str(path))
    try:
        if path.is_dir():
            inside = sorted(p.name for p in path.iterdir() if p.suffix.lower() in SUFFIXES)[:5]
            hint = f" Inside are {', '.join(inside)}." if inside else ""
            raise DataError(f"{name}: this is a folder; name a data file.{hint}")
        with path.open("rb") as file:
            head = file.read(4096)
    except FileNotFoundError:
        beside = [p.name for p in path.parent.iterdir() if p.is_file()] if path.parent.is_dir() else []
        raise DataError(f"{name}: there is no such file.{did_you_mean(path.name, beside)}") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{name}: cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    return head


def archive_kind(head: bytes) -> str | None:
    """What kind of archive a file's first bytes tell of."""
    return next((kind for magic, kind in _ARCHIVES.items() if head.startswith(magic)), None)


def _jsonl(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            text = raw.removeprefix(BOM) if number == 1 else raw
            text = text.rstrip(b"\r\n")
            if text.strip():
                yield Row(number, _object(path, number, len(raw.rstrip(b"\r\n")) - len(text), text))


def _json(path: Path) -> Iterator[Row]:
    data = path.read_bytes()
    if not data.removeprefix(BOM).lstrip().startswith(b"["):
        yield from _jsonl(path)
        return
    for line, column, raw in array_items(path, data):
        yield Row(line, _object(path, line, column - 1, raw))


def array_items(path: Path, data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """The items of a JSON array with the 1-based line and column each begins at. Raises DataError."""
    body = data.removeprefix(BOM)
    try:
        items = msgspec.json.decode(body, type=list[msgspec.Raw])
    except (ValueError, RecursionError):
        faults = decode(body).faults
        offset = faults[0].offset if faults else 0
        message = faults[0].message if faults else "not a JSON array"
        raise DataError(
            _place(path, body, offset, f"{message}. Write the file with a JSON library.")
        ) from None
    line, line_start, position = 1, 0, 1
    for item in items:
        raw = bytes(item)
        start = body.index(raw, position)
        newlines = body.count(b"\n", position, start)
        if newlines:
            line += newlines
            line_start = body.rindex(b"\n", position, start) + 1
        yield line, start - line_start + 1, raw
        inner = raw.count(b"\n")
        position = start + len(raw)
        if inner:
            line += inner
            line_start = start + raw.rindex(b"\n") + 1


def _place(path: Path, body: bytes, offset: int, message: str) -> str:
    line = body.count(b"\n", 0, offset) + 1
    column = offset - (body.rfind(b"\n", 0, offset) + 1) + 1
    return f"{printable(str(path))}:{line}:{column}: {message}"


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


def _csv(path: Path) -> Iterator[Row]:
    name = printable(str(path))
    # csv's own limit of 128 KiB a cell is shorter than many documents.
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=_delimiter(path), strict=True)
            header = next(reader, None)
            if header is None:
                return
            repeated = sorted({column for column in header if header.count(column) > 1})
            if repeated:
                raise DataError(f"{name}:1:1: the column {quoted(repeated[0])} is there twice. Rename one.")
            begins = reader.line_num + 1
            for cells in reader:
                if cells and len(cells) != len(header):
                    cure = "Quote cells that hold the separator or line breaks."
                    raise DataError(
                        f"{name}:{begins}:1: {len(cells)} cells, and the header has {len(header)}. {cure}"
                    )
                if cells:
                    yield Row(begins, dict(zip(header, cells, strict=True)))
                begins = reader.line_num + 1
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name}: byte {error.start} of a block is not UTF-8. Save the file as UTF-8."
        ) from error
    except csv.Error as error:
        raise DataError(f"{name}:{reader.line_num}:1: not CSV: {error}. Check the quotes.") from error


def _delimiter(path: Path) -> str:
    if path.suffix.lower() == ".tsv":
        return "\t"
    with path.open("rb") as file:
        header = file.readline()
    return ";" if header.count(b";") > header.count(b",") else ","


def _parquet(path: Path) -> Iterator[Row]:
    import polars

    try:
        frame = polars.scan_parquet(path).collect()
    except Exception as error:  # polars raises a family of its own for what is only a broken file
        reason = printable(str(error)).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{printable(str(path))}: not a Parquet file that can be read: {reason}.") from error
    for number, value in enumerate(frame.iter_rows(named=True), 1):
        yield Row(number, value)


def to_chat(
    value: dict[str, Any],
    *,
    input: str | None,
    output: str | None,
    template: str | None,
    system: str | None = None,
) -> dict[str, Any]:
    """Turn a table row into a chat row.

    The user's message is the column `input`, or `template` with its `{column}` fields filled in; the
    reply is the column `output`. Where that holds a list of texts, the first is the reply and the whole
    list goes to `metadata["references"]`. Every column not used goes to `metadata`. Raises DataError
    naming a missing column and those there are.
    """
    if (input is None) == (template is None):
        raise DataError("name either an input column or a template, not both and not neither.")
    used = {output} if output is not None else set()
    if template is not None:
        prompt, fields = _fill(template, value)
        used |= fields
    else:
        assert input is not None
        prompt = _text(_column(value, input), input)
        used.add(input)
    metadata = {key: item for key, item in value.items() if key not in used}
    messages = [{"role": "system", "content": system}] if system is not None else []
    messages.append({"role": "user", "content": prompt})
    if output is not None:
        reply = _column(value, output)
        if isinstance(reply, list):
            if not reply or not all(isinstance(item, str) for item in reply):
                raise DataError(
                    f"the column {quoted(output)} holds a list; it must hold texts, one at least."
                )
            metadata["references"] = list(reply)
            reply = reply[0]
        messages.append({"role": "assistant", "content": _text(reply, output)})
    return {"messages": messages} | ({"metadata": metadata} if metadata else {})


def _fill(template: str, value: dict[str, Any]) -> tuple[str, set[str]]:
    """The template filled in by plain column names: no attributes, indexes, formats or conversions."""
    text, fields = "", set()
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise DataError(
            f"the template is broken: {error}. A literal brace is written {{{{ or }}}}."
        ) from error
    for literal, field, spec, conversion in parts:
        text += literal
        if field is None:
            continue
        if spec or conversion or not field:
            raise DataError(f"the template's field {quoted(field)} must be a column's name and nothing else.")
        text += _text(_column(value, field), field)
        fields.add(field)
    return text, fields


def _column(value: dict[str, Any], name: str) -> Any:
    if name not in value:
        there = ", ".join(quoted(key) for key in value) or "none"
        raise DataError(f"there is no column {quoted(name)}; there are {there}.{did_you_mean(name, value)}")
    return value[name]


def _text(item: Any, column: str) -> str:
    if item is None or isinstance(item, (dict, list)):
        kind = "empty" if item is None else "no text"
        raise DataError(f"the column {quoted(column)} is {kind} in this row. Fill it, or drop the row.")
    return item if isinstance(item, str) else str(item)
