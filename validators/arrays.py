"""The items of a JSON array one at a time, so that memory follows the longest item and not the file.

Items are cut out by their brackets, strings skipped; each is then shown to the decoder, which alone says
whether it is JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from .blocks import SIZE
from .json_scanner import TOO_DEEP
from .rows import BOM

_SPACE = re.compile(rb"[ \t\r\n]*+")
# A string to its end or (group 1 is empty) as far as the bytes go; the rest of one likewise.
_BRACKET = re.compile(rb'"(?:[^"\\]++|\\.)*+("?)|[\[\]{}]', re.DOTALL)
_REST = re.compile(rb'(?:[^"\\]++|\\.)*+("?)', re.DOTALL)
_SCALAR = re.compile(rb"[^ \t\r\n,\[\]{}\"]*+")
_PLACE = re.compile(r" \(byte (\d+)\)")
# So many bytes of an item over the cap are kept, and of what stands behind a fault are shown to the decoder.
_HEAD, _BEHIND = 64, 16
_TRUNCATED = "Input data was truncated"


class Item(msgspec.Struct, frozen=True):
    """One item: its bytes and the 1-based line and column it begins at.

    Of one over the cap `raw` is the head, and `length` says how many bytes it has.
    """

    line: int
    column: int
    raw: bytes
    length: int | None = None


class ArrayError(ValueError):
    """The array is no JSON: says what is wrong, and the 1-based line and column of it."""

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(message)
        self.line, self.column = line, column


class ArrayReader:
    """Reads the array that a file holds, byte-order mark aside; an item over the cap is not held."""

    def __init__(self, file: BinaryIO, cap: int) -> None:
        self._file = file
        self._cap = cap
        # Held are the bytes of the file from `_begin` on; what stands before `_at` may go.
        self._held, self._begin, self._at = b"", 0, 0
        self._line, self._line_begin = 1, 0
        self.bom = False

    @property
    def size(self) -> int:
        """Bytes gone through, without a byte-order mark."""
        return self._begin + self._at

    @property
    def lines(self) -> int:
        """Lines so far; what stands behind the last newline is one only if it has bytes."""
        return self._line - (self.size == self._line_begin)

    def items(self) -> Iterator[Item]:
        """The items in order. Raises ArrayError at the first fault of the array, behind the items before it."""
        self._next()
        if self._held.startswith(BOM):
            self.bom, self._held = True, self._held.removeprefix(BOM)
        self._skip_space()
        if self._next() != b"[":
            raise self._fault(b"")
        self._move(self._at + 1)
        self._skip_space()
        while self._next() != b"]":
            yield self._item()
            self._skip_space()
            sign = self._next()
            if sign not in (b",", b"]"):
                raise self._fault(b'[""')
            if sign == b",":
                self._move(self._at + 1)
                self._skip_space()
                if self._next() == b"]":
                    raise self._fault(b'["",')
        self._move(self._at + 1)
        self._skip_space()
        if self._next():
            raise self._fault(b"[]")

    def drain(self) -> None:
        """Go to the end of the file, whatever it holds."""
        while self._next():
            self._move(len(self._held))

    def _item(self) -> Item:
        line, column, begin = self._line, self._column(), self.size
        head, end = b"", self._at
        opened = self._next() in (b'"', b"[", b"{")
        depth, inside = 0, False
        while True:
            if opened:
                end, depth, inside = _follow(self._held, end, depth, inside)
                done = not depth and not inside
            else:
                match = _SCALAR.match(self._held, end)
                end = match.end() if match else end
                done = end < len(self._held)
            if not head and self._begin + end - begin > self._cap:
                self._check(end)
                head = self._held[self._at : self._at + _HEAD]
            if done:
                break
            if head:
                self._move(end)
            end -= self._at
            if not self._read_on():
                if opened or not end:
                    raise ArrayError(_TRUNCATED, 1, 1) if head else self._fault(b"[", end)
                break
        length = self._begin + end - begin
        if head:
            self._move(end)
            return Item(line, column, head, length)
        raw = self._held[self._at : end]
        try:
            msgspec.json.decode(raw, type=msgspec.Raw)
        except (ValueError, RecursionError):
            end -= self._at
            self._read_on()  # what begins like a literal is told from one that is cut short
            raise self._fault(b"[", end + _BEHIND) from None
        self._move(end)
        return Item(line, column, raw)

    def _next(self) -> bytes:
        """The next byte; empty at the end."""
        if self._at == len(self._held):
            self._read_on()
        return self._held[self._at : self._at + 1]

    def _skip_space(self) -> None:
        while True:
            match = _SPACE.match(self._held, self._at)
            self._move(match.end() if match else self._at)
            if self._at < len(self._held) or not self._read_on():
                return

    def _read_on(self) -> bool:
        """Hold more of the file, more each time nothing could go; False at its end."""
        kept = self._held[self._at :]
        fresh = self._file.read(max(SIZE, len(kept)))
        self._begin += self._at
        self._held, self._at = kept + fresh, 0
        return bool(fresh)

    def _move(self, to: int) -> None:
        newlines = self._held.count(b"\n", self._at, to)
        if newlines:
            self._line += newlines
            self._line_begin = self._begin + self._held.rindex(b"\n", self._at, to) + 1
        self._at = to

    def _column(self) -> int:
        return self.size - self._line_begin + 1

    def _check(self, end: int) -> None:
        """Raise ArrayError where what is held of an item cannot begin one: what follows it may be no part of it."""
        fault = self._fault(b"[", end)
        if str(fault) != _TRUNCATED:
            raise fault

    def _fault(self, before: bytes, end: int | None = None) -> ArrayError:
        """What the decoder says of the next bytes, where `before` stands for those gone through."""
        shown = before + self._held[self._at : self._at + _BEHIND if end is None else end]
        try:
            msgspec.json.decode(shown, type=list[msgspec.Raw])
        except ValueError as error:
            message = _PLACE.sub("", str(error)).removeprefix("JSON is malformed: ")
            if place := _PLACE.search(str(error)):
                self._move(self._at + max(0, int(place[1]) - len(before)))
                return ArrayError(message, self._line, self._column())
            return ArrayError(message, 1, 1)
        except RecursionError:
            return ArrayError(TOO_DEEP, 1, 1)
        return ArrayError(_TRUNCATED, 1, 1)


def _follow(data: bytes, position: int, depth: int, inside: bool) -> tuple[int, int, bool]:
    """Go on through a value as far as the bytes go: where that is, how many brackets are open, whether a
    string is. The value has ended where neither is."""
    if inside:
        match = _REST.match(data, position)
        if match is None or not match[1]:
            return match.end() if match else position, depth, True
        position = match.end()
        if not depth:
            return position, 0, False
    for match in _BRACKET.finditer(data, position):
        sign = data[match.start()]
        if sign == 0x22:
            if not match[1]:
                return match.end(), depth, True
        else:
            depth += 1 if sign in b"[{" else -1
        if not depth:
            return match.end(), 0, False
    return len(data), depth, False
