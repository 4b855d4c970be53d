"""Files read as they are or through gzip or zstd, and replaced whole or not at all."""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal

from .blocks import PackedError, open_data, packing
from .findings import printable
from .reading import DataError, read_head

Compression = Literal["gzip", "zstd"]

_SUFFIX: dict[str, Compression] = {".gz": "gzip", ".zst": "zstd"}


def compression_of(path: Path) -> Compression | None:
    """How a file is compressed, by its first bytes. Raises DataError where it cannot be opened."""
    kind = packing(read_head(path))
    return "gzip" if kind == "gzip" else "zstd" if kind == "zstd" else None


def compression_named(path: Path) -> Compression | None:
    """How a file of that name should be compressed."""
    return _SUFFIX.get(path.suffix.lower())


@contextlib.contextmanager
def open_lines(path: Path) -> Iterator[BinaryIO]:
    """The file's bytes, unpacked where it is gzip or zstd. Raises DataError where an archive is torn."""
    try:
        with open_data(path) as file:
            yield file
    except PackedError as error:
        reason = f"the compressed file is broken or cut short: {printable(str(error))}"
        raise DataError(f"{printable(str(path))}: {reason}. Pack or fetch it again.") from error


class Replacement:
    """What is written in place of a file; it takes the file's place only if `keep` was called."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.kept = False

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._file.write(data)

    def keep(self) -> None:
        """Say that all is written and the file may be replaced."""
        self.kept = True


@contextlib.contextmanager
def replacing(path: Path, compression: Compression | None = None) -> Iterator[Replacement]:
    """Write a file beside `path` that takes its place at the end, if `keep` was called.

    On any failure, and without `keep`, the original stays as it was and nothing is left behind. A link is
    followed, a present file's mode is kept. Raises DataError where another process changed it meanwhile.
    """
    if path.exists() and not path.is_file():
        raise DataError(f"{printable(str(path))}: this is no file that can be replaced. Name another.")
    path = path.resolve()
    before = _stamp(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.", suffix=".partial")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as raw:
            with _packed(raw, compression) as file:
                replacement = Replacement(file)
                yield replacement
            raw.flush()
            os.fsync(raw.fileno())
        if not replacement.kept:
            return
        if before is None:
            temporary.chmod(0o644)
        elif not path.stat().st_mode & 0o222:
            raise DataError(
                f"{printable(str(path))}: the file is read-only. Make it writable: chmod u+w FILE."
            )
        else:
            shutil.copymode(path, temporary)
        if _stamp(path) != before:
            raise DataError(
                f"{printable(str(path))}: another process changed the file meanwhile; it was left as it is. "
                "Run the command again."
            )
        temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _packed(raw: IO[bytes], compression: Compression | None) -> contextlib.AbstractContextManager[Any]:
    if compression == "gzip":
        # No name and no time: the same rows give the same bytes.
        return gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0)
    if compression == "zstd":
        import zstandard

        return zstandard.ZstdCompressor().stream_writer(raw, closefd=False)
    return contextlib.nullcontext(raw)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
