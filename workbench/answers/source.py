"""What a path holds, judged by its content: a run folder, a folder, a zip, one JSON object, or rows."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from validators.findings import printable
from validators.reading import BOM, archive_kind, container_of, read_head, read_rows

from .types import AnswersError

Kind = Literal["run", "contender", "folder", "zip", "object", "rows"]


@dataclass(frozen=True, slots=True)
class Source:
    """A path and what it turned out to be.

    `keys` are those of the object or of the first row, or the names inside a zip. `table` is true for
    rows that are no JSON Lines (CSV, Parquet, a JSON array).
    """

    path: Path
    kind: Kind
    keys: frozenset[str] = frozenset()
    first: Any = None
    table: bool = False

    @property
    def name(self) -> str:
        """The path for messages."""
        return printable(str(self.path))

    def __str__(self) -> str:
        what = {
            "run": "a run folder",
            "contender": "a contender's folder",
            "folder": "a folder",
            "zip": "a zip archive with",
            "object": "one JSON object with the keys",
            "rows": "rows with the columns",
        }[self.kind]
        shown = sorted(self.keys)
        told = ", ".join(printable(k[:40]) for k in shown[:12]) + (" …" if len(shown) > 12 else "")
        return f"{what} {told}" if shown else what


def look_at(path: Path) -> Source:
    """Find out what a path holds. Raises DataError (missing, unreadable, binary) and AnswersError."""
    if path.is_dir():
        if (path / "run.json").is_file():
            return Source(path, "run")
        if (path / "contender.json").is_file() and (path.parent.parent / "run.json").is_file():
            return Source(path, "contender")
        return Source(path, "folder")
    head = read_head(path)
    if archive_kind(head) == "zip":
        try:
            with zipfile.ZipFile(path) as archive:
                return Source(path, "zip", frozenset(archive.namelist()))
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise AnswersError(f"{printable(str(path))}: a damaged zip archive: {error}.") from None
    text = head.removeprefix(BOM).lstrip()
    # CSV and Parquet by their extension: nothing in their bytes tells them from anything else.
    if container_of(path) in ("csv", "parquet") or text.startswith(b"[") or not text.startswith(b"{"):
        first = next(iter(read_rows(path))).value
        return Source(path, "rows", frozenset(first), first, table=not text.startswith(b"{"))
    return _json_text(path)


def json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of JSON Lines that another tool wrote, with their lines; NaN and Infinity are let through."""
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            text = raw.removeprefix(BOM) if number == 1 else raw
            if not text.strip():
                continue
            value = parse(text, f"{path}:{number}")
            if not isinstance(value, dict):
                raise AnswersError(f"{printable(str(path))}:{number}: a row must be a JSON object.")
            yield number, value


def parse(raw: bytes, place: str) -> Any:
    """Decode JSON as other tools write it (NaN and Infinity included). Raises AnswersError with the place."""
    try:
        return msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        try:
            return json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise AnswersError(f"{printable(place)}: not JSON that can be read: {error}.") from None


def _json_text(path: Path) -> Source:
    """One object over the whole file, or JSON Lines: the first line alone tells, where it is complete."""
    with path.open("rb") as file:
        line = b""
        for raw in file:
            line = raw.removeprefix(BOM).strip()
            if line:
                break
        more = any(raw.strip() for raw in file)
    try:
        first = parse(line, str(path))
    except AnswersError:
        first = None
    if isinstance(first, dict):
        return Source(path, "rows" if more else "object", frozenset(first), first)
    value = parse(path.read_bytes().removeprefix(BOM), str(path))
    if not isinstance(value, dict):
        raise AnswersError(f"{printable(str(path))}: neither rows nor one JSON object.")
    return Source(path, "object", frozenset(value), value)
