"""The files of a run folder, read and written so that a kill at any moment leaves them whole.

Writes are atomic (temporary file, fsync, rename); appends are whole lines; a torn last line left by a
kill is cut on reopening. All JSON is strict, its keys sorted.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")

# How the temporary file of an atomic write ends, with a dot before its name.
_PARTIAL = ".partial"
_STRICT: dict[str, Any] = {"sort_keys": True, "ensure_ascii": False, "allow_nan": False}


class RunError(ValueError):
    """A run folder cannot be read or written; the message says where and what to do."""


# -- one object ------------------------------------------------------------------------------------------


def read_json(path: Path, schema: str, needed: Iterable[str] = ()) -> dict[str, Any] | None:
    """Read the object of a file that says this schema and holds these keys; None where there is no file.

    Raises RunError.
    """
    try:
        value = msgspec.json.decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: damaged ({error}). Remove it and run the experiment again.") from None
    found = value.get("schema") if isinstance(value, dict) else None
    if found != schema:
        raise RunError(
            f"{path}: schema {found!r}, this version reads {schema!r}. "
            "If a newer workbench wrote it, update yours; else it is no file of a run: remove it."
        )
    missing = [key for key in needed if value.get(key) is None]
    if missing:
        raise RunError(
            f"{path}: damaged (it lacks {', '.join(missing)}). Remove it and run the experiment again."
        )
    return dict(value)


def write_json(path: Path, schema: str, value: dict[str, Any]) -> None:
    """Write one object with its schema."""
    text = json.dumps({**value, "schema": schema}, **_STRICT, indent=1)
    write_atomic(path, text + "\n")


# -- rows ------------------------------------------------------------------------------------------------


def row_text(row: Any) -> str:
    """One row as a JSON line: strict, sorted keys, no absent fields."""
    plain = msgspec.to_builtins(row)
    return json.dumps({k: v for k, v in plain.items() if v is not None}, **_STRICT) + "\n"


def read_rows(path: Path, row_type: type[T]) -> Iterator[T]:
    """Read JSON lines, none where there is no file; a torn last line is no row. Raises RunError."""
    if not path.exists():
        return
    decoder = msgspec.json.Decoder(row_type)
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n"):
                return  # torn by a kill: the row never finished
            try:
                yield decoder.decode(line)
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                raise RunError(
                    f"{path}:{number}: damaged row ({error}). Remove the file and run the experiment again."
                ) from None


@dataclass(frozen=True, slots=True)
class StoredRows(Generic[T]):
    """The rows of a JSONL file by number, each read from the disk when it is asked for."""

    path: Path
    row_type: type[T]
    starts: Sequence[int]
    """The byte where each row begins, and after the last one where that ends."""

    @classmethod
    def of(cls, path: Path, row_type: type[T]) -> StoredRows[T]:
        """Find the rows of a file, none where there is no file; a torn last line is no row."""
        starts = array("q", [0])
        if path.exists():
            with path.open("rb") as lines:
                for line in lines:
                    if line.endswith(b"\n"):
                        starts.append(starts[-1] + len(line))
        return cls(path, row_type, starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, number: int) -> T:
        """Row `number`, from 0. Raises RunError."""
        begin, end = self.starts[number], self.starts[number + 1]
        try:
            with self.path.open("rb") as file:
                file.seek(begin)
                return msgspec.json.decode(file.read(end - begin), type=self.row_type)
        except (OSError, msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise RunError(
                f"{self.path}:{number + 1}: damaged row ({error}). Remove the file and run the experiment again."
            ) from None


def write_rows(path: Path, rows: Iterable[Any]) -> None:
    """Replace a file of JSON lines."""
    write_atomic(path, "".join(row_text(row) for row in rows))


class Appender:
    """Appends rows to a JSONL file, each flushed whole."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def append(self, row: Any) -> None:
        """Write one row as a line."""
        self._file.write(row_text(row))
        self._file.flush()


@contextlib.contextmanager
def open_appender(path: Path) -> Iterator[Appender]:
    """Open a JSONL file for appending after cutting a torn last line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _cut_torn_line(path)
    with path.open("a", encoding="utf-8", errors="replace") as file:  # a model may emit half a surrogate pair
        yield Appender(file)
        file.flush()
        os.fsync(file.fileno())


def append_shared(path: Path, rows: Iterable[Any]) -> None:
    """Append whole lines to a file that several processes may append to at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        _cut_torn_line(path)
        file.write("".join(map(row_text, rows)).encode("utf-8", errors="replace"))
        file.flush()
        os.fsync(file.fileno())


def _cut_torn_line(path: Path) -> None:
    if not path.exists():
        return
    with path.open("rb+") as file:
        blob = file.read()
        if blob and not blob.endswith(b"\n"):
            file.truncate(blob.rfind(b"\n") + 1)


# -- a folder --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder against a second process and clear what a killed writer left in it. Raises RunError."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(
                f"{folder} is in use by another workbench process. Wait for it to end, or stop it first."
            ) from None
        for partial in folder.rglob(f".*{_PARTIAL}"):
            partial.unlink()
        yield


# -- any text --------------------------------------------------------------------------------------------


def write_atomic(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_PARTIAL)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
