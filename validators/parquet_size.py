"""What a Parquet file would unpack to, by its footer and its page headers, before a byte is unpacked.

A few bytes may stand for very many: compressed pages, runs of one value, a count of rows. A reader takes
memory for what the headers say, so what they say is added up first. Sources: the Parquet format's
`parquet.thrift` and Thrift's compact protocol.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from .rows import DataError

_MAGIC = b"PAR1"
# Footers are read in Python; one of this size would hold a hundred thousand columns or row groups.
MOST_FOOTER = 1 << 24
MOST_PAGES = 1 << 20
# A row group may take so many bytes of memory (a value that is repeated is held once), so many with each
# value written out, or so many times its bytes in the file.
MOST_HELD, MOST_WRITTEN_OUT, MOST_TIMES = 1 << 30, 1 << 34, 200
# A file may have so many rows, or so many for each of its bytes.
MOST_ROWS, MOST_ROWS_A_BYTE = 10**8, 1000
# What a value takes in memory at least, however often it is repeated.
_VALUE = 16
_DEEPEST = 32
_DICTIONARY = 2

_Struct = dict[int, Any]


class ParquetSize(msgspec.Struct, frozen=True):
    """Rows of the file, and about how many bytes their values have."""

    rows: int
    unpacked: int

    @property
    def row(self) -> int:
        """Bytes of a mean row."""
        return self.unpacked // max(1, self.rows)


def parquet_size(path: Path) -> ParquetSize:
    """Add up the headers of a Parquet file.

    Raises DataError for what is no Parquet file, and for one that is small and unpacks to very much.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            footer = _footer(file, size)
            rows, groups = footer.get(3, 0) + 0, footer.get(4, [])  # bytes for a number are a TypeError
            if rows > MOST_ROWS and rows > MOST_ROWS_A_BYTE * size:
                raise DataError(f"it says that it has {rows:,} rows in {size:,} bytes.")
            return ParquetSize(rows, sum(_group(file, group, size) for group in groups))
        except (IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise DataError("its footer or a page header is broken.") from error


def _footer(file: BinaryIO, size: int) -> _Struct:
    file.seek(max(0, size - 8))
    tail = file.read(8)
    length = int.from_bytes(tail[:4], "little")
    if size < 12 or tail[4:] != _MAGIC or length > size - 12:
        raise DataError("it does not end as one; perhaps it was cut short.")
    if length > MOST_FOOTER:
        raise DataError(f"its footer has {length:,} bytes: too many columns or row groups.")
    file.seek(size - 8 - length)
    return _Thrift(file.read(length)).struct()


def _group(file: BinaryIO, group: _Struct, size: int) -> int:
    """The bytes of a row group's values. Raises DataError where they are out of all proportion."""
    packed = held = written_out = 0
    for column in group[1]:
        meta, mean = column[3], 0
        packed += max(1, meta[7])
        offset = min(meta[9], meta.get(11) or meta[9])
        for page in _pages(file, offset, min(size, offset + meta[7])):
            count = (page.get(5) or page.get(7) or page.get(8) or {}).get(1, 0)
            if page[1] == _DICTIONARY:
                mean = page[2] // max(1, count)
            held += page[2] + _VALUE * count
            written_out += max(page[2], mean * count)
            for total, most in ((held, MOST_HELD), (written_out, MOST_WRITTEN_OUT)):
                if total > most and total > MOST_TIMES * packed:
                    raise DataError(f"{packed:,} bytes of it unpack to {total:,} or more.")
    return max(held, written_out)


def _pages(file: BinaryIO, offset: int, end: int) -> Iterator[_Struct]:
    """The page headers of a column."""
    for _ in range(MOST_PAGES):
        if not 0 <= offset < end:
            return
        file.seek(offset)
        header = _Thrift(file.read(512))
        try:
            page = header.struct()
        except IndexError:  # statistics may hold long values
            file.seek(offset)
            header = _Thrift(file.read(1 << 20))
            page = header.struct()
        if page[2] < 0 or page[3] < 0:
            raise KeyError("a page of negative size")
        yield page
        offset += header.position + page[3]
    raise DataError("it has too many pages.")


class _Thrift:
    """Values of Thrift's compact protocol; a struct is a mapping from field numbers to values."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def struct(self, depth: int = 0) -> _Struct:
        """Read a struct. Raises IndexError where the bytes end before it does."""
        if depth > _DEEPEST:
            raise KeyError("nested too deep")
        fields: _Struct = {}
        number = 0
        while (head := self._byte()) & 0x0F:
            number = number + (head >> 4) if head >> 4 else self._integer()
            fields[number] = self._value(head & 0x0F, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2):
            return kind == 1
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._integer()
        if kind == 7:
            return self._bytes(8)
        if kind == 8:
            return self._bytes(self._varint())
        if kind in (9, 10):
            head = self._byte()
            count = head >> 4 if head >> 4 < 15 else self._varint()
            inner = head & 0x0F
            return [self._byte() if inner in (1, 2) else self._value(inner, depth + 1) for _ in range(count)]
        if kind == 12:
            return self.struct(depth + 1)
        raise KeyError(f"a value of kind {kind}")

    def _byte(self) -> int:
        self.position += 1
        return self.data[self.position - 1]

    def _bytes(self, count: int) -> bytes:
        self.position += count
        if self.position > len(self.data):
            raise IndexError
        return self.data[self.position - count : self.position]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80 or shift > 70:
                return value

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
