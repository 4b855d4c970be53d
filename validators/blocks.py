"""Bytes of a data file in blocks of whole lines, unpacked where the file is compressed.

Memory is one block or one line, whichever is longer, and no line is held past a cap.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

SIZE = 1 << 18
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
PACKED = {GZIP: "gzip", ZSTD: "zstd"}
PACKED_SUFFIXES = (".gz", ".zst")
# An archive may ask for a window of this many bytes of memory, and no more.
_WINDOW = 1 << 27
_PACKED_PIECE = 1024


class PackedError(ValueError):
    """A compressed file is broken or cut short."""


class Block(msgspec.Struct, frozen=True):
    """Whole lines, newlines included; the last line of a file may lack its own.

    A line over the cap is a block by itself: `data` is its head, `length` all its bytes (newline aside).
    """

    data: bytes
    length: int | None = None


def packing(head: bytes) -> str | None:
    """How a file is compressed (gzip or zstd), by its first bytes."""
    return next((kind for magic, kind in PACKED.items() if head.startswith(magic)), None)


def unpacked_name(path: Path) -> Path:
    """The path without the suffix of a compression: `train.jsonl` for `train.jsonl.gz`."""
    return path.with_suffix("") if path.suffix.lower() in PACKED_SUFFIXES else path


def open_data(path: Path) -> BinaryIO:
    """Open a file for reading its bytes as they are when unpacked."""
    file = path.open("rb")
    kind = packing(file.read(4))
    file.seek(0)
    if kind is None:
        return file
    pieces = _gunzip(file) if kind == "gzip" else _unzstd(file)
    return cast(BinaryIO, io.BufferedReader(_Unpacked(file, pieces)))


def _gunzip(file: BinaryIO) -> Iterator[bytes]:
    try:
        with gzip.GzipFile(fileobj=file) as stream:
            while data := stream.read(SIZE):
                yield data
    except (OSError, EOFError, zlib.error) as error:
        raise PackedError(str(error)) from error


def _unzstd(file: BinaryIO) -> Iterator[bytes]:
    """Frame after frame. The library's own reader takes a file that was cut short for a whole one."""
    import zstandard

    unpacker = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    frame, begun = unpacker.decompressobj(), False
    try:
        # A few bytes can stand for very many, so that few are unpacked at a time.
        while packed := file.read(_PACKED_PIECE):
            while packed:
                begun = True
                yield frame.decompress(packed)
                packed = frame.unused_data if frame.eof else b""
                if frame.eof:
                    frame, begun = unpacker.decompressobj(), False
    except zstandard.ZstdError as error:
        raise PackedError(str(error)) from error
    if begun:
        raise PackedError("the last frame is not whole")


class _Unpacked(io.RawIOBase):
    """Pieces of bytes as a raw stream."""

    def __init__(self, file: BinaryIO, pieces: Iterator[bytes]) -> None:
        self._file, self._pieces, self._rest = file, pieces, memoryview(b"")

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill the buffer as far as one piece goes. Raises PackedError."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        """Close the file beneath as well."""
        self._file.close()
        super().close()


def blocks(file: BinaryIO, lo: int, hi: int | None, cap: int, size: int = SIZE) -> Iterator[Block]:
    """The lines that begin in [lo, hi), in blocks of about `size` bytes; None: to the end.

    `file` stands anywhere in a file that can seek; one that cannot stands at its beginning, and lo is 0.
    """
    position = _to_line_start(file, lo)
    while hi is None or position < hi:
        data = file.read(size if hi is None else min(size, hi - position))
        if not data:
            return
        position += len(data)
        end = data.rfind(b"\n") + 1
        if end == len(data):
            yield Block(data)
            continue
        block, read = _long_line(file, data[end:], cap)
        position += read
        if end and block.length is None and len(block.data) <= size:
            yield Block(data[:end] + block.data)
            continue
        if end:
            yield Block(data[:end])
        yield block


def _to_line_start(file: BinaryIO, lo: int) -> int:
    """Go to the first line that begins at `lo` or later, and say where that is."""
    if lo == 0:
        return 0
    file.seek(lo - 1)
    position = lo - 1
    while piece := file.readline(SIZE):
        position += len(piece)
        if piece.endswith(b"\n"):
            break
    return position


def _long_line(file: BinaryIO, head: bytes, cap: int) -> tuple[Block, int]:
    """The line that begins with `head`, read to its end, and how many bytes that took."""
    pieces, length, read = [head], len(head), 0
    while length <= cap:
        piece = file.readline(min(SIZE, cap + 2 - length))
        read += len(piece)
        length += len(piece)
        pieces.append(piece)
        if not piece or piece.endswith(b"\n"):
            return Block(b"".join(pieces)), read
    ended = False
    while not ended and (piece := file.readline(SIZE)):
        read += len(piece)
        length += len(piece)
        ended = piece.endswith(b"\n")
    return Block(head[:SIZE], length - ended), read
