"""A scanner of JSON (RFC 8259) that says where and how a value breaks the rules.

It keeps its own stack, so no nesting can overflow it, and is slow: for values that a decoder refuses.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from typing import Literal

import msgspec

from .personal import without_personal

MAX_DEPTH = 128
TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels, which many readers refuse"
MOST_FAULTS = 100

FaultKind = Literal["not-utf8", "invalid", "duplicate-key", "not-finite", "lone-surrogate"]

_SPACE = re.compile(rb"[ \t\r\n]*+")
_STRING = re.compile(rb'"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+"')
_STRING_PREFIX = re.compile(rb'"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+')
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?")
_LITERAL = re.compile(rb"true|false|null")
_NOT_FINITE = re.compile(rb"-?(?:NaN|Infinity)")
_ESCAPE = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|.)")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")

_CURES = (
    (b"'", "JSON puts strings in double quotes"),
    (b"None", "Python's None is null in JSON"),
    (b"True", "Python's True is true in JSON"),
    (b"False", "Python's False is false in JSON"),
    (b"//", "JSON has no comments"),
    (b"#", "JSON has no comments"),
    (b"\x00", "there are NUL bytes: perhaps the file is UTF-16"),
)


def repeated(key: str) -> str:
    """The message about a key that an object repeats."""
    return f"the key {json.dumps(without_personal(key[:5000]))[:60]} is there already"


class ScanFault(msgspec.Struct, frozen=True):
    """One breach of RFC 8259: `offset` is a byte offset in the line, `where` a JSON path."""

    kind: FaultKind
    offset: int
    where: str | None
    message: str


class _Frame:
    """One open object or list: `keys` is None for a list, `part` the current key or index."""

    __slots__ = ("keys", "part")

    def __init__(self, keys: set[str] | None) -> None:
        self.keys = keys
        self.part: str | int = 0


def scan(raw: bytes) -> tuple[ScanFault, ...]:
    """Every breach of RFC 8259 in one value, in the order of the bytes; stops at the first fatal one."""
    return _Scanner(raw).run()


def place_of(raw: bytes, path: str) -> tuple[int | None, int]:
    """Byte offset of the value (or, for a missing one, of the nearest parent) at a JSON path; bytes gone through.

    Of a key that is repeated the first value is taken.
    """
    scanner = _Scanner(raw, wanted=path)
    scanner.run()
    return scanner.found, scanner.position


def join_path(parts: list[str | int]) -> str:
    """A JSON path such as `messages[2].content` from keys and indexes."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.match(part):
            text += f".{part}" if text else part
        else:
            text += f"[{json.dumps(part)}]"
    return text


class _Broken(Exception):
    """Ends a scan at a fatal fault."""


class _Scanner:
    """One pass over one value. `expect` is what the grammar allows next: value, key or after."""

    def __init__(self, raw: bytes, wanted: str | None = None) -> None:
        self.raw = raw
        self.position = 0
        self.stack: list[_Frame] = []
        self.faults: list[ScanFault] = []
        self.wanted = wanted
        self.found: int | None = None
        self.matched = -1

    def run(self) -> tuple[ScanFault, ...]:
        try:
            self.raw.decode()
        except UnicodeDecodeError as error:
            self.add("not-utf8", error.start, f"byte 0x{self.raw[error.start]:02X} is not UTF-8")
            return tuple(self.faults)
        with contextlib.suppress(_Broken):
            self._values()
        return tuple(self.faults)

    def add(self, kind: FaultKind, offset: int, message: str) -> None:
        where = join_path([frame.part for frame in self.stack]) or None
        self.faults.append(ScanFault(kind, offset, where, message))
        if len(self.faults) >= MOST_FAULTS:
            raise _Broken

    def fail(self, offset: int, message: str) -> _Broken:
        self.add("invalid", offset, message)
        return _Broken()

    def skip_space(self) -> None:
        match = _SPACE.match(self.raw, self.position)
        self.position = match.end() if match else self.position

    def peek(self) -> bytes:
        return self.raw[self.position : self.position + 1]

    def _values(self) -> None:
        expect = "value"
        while True:
            self.skip_space()
            if expect == "value":
                self._note()
                expect = self._value()
            elif expect == "key":
                expect = self._key()
            elif self.stack:
                expect = self._after()
            elif self.position < len(self.raw):
                raise self.fail(self.position, "there is more after the end of the JSON value")
            else:
                return

    def _note(self) -> None:
        """Remember where the wanted path, or so far its deepest parent, begins; the path itself ends the scan."""
        depth = len(self.stack)
        # Below a value that is off the path nothing is on it.
        if self.wanted is None or depth > min(self.matched + 1, 12):
            return
        here = join_path([frame.part for frame in self.stack])
        rest = self.wanted[len(here) :]
        on_path = self.wanted.startswith(here) and (not here or not rest or rest[0] in ".[")
        self.matched = depth if on_path else depth - 1
        if on_path:
            self.found = self.position
            if not rest and here:
                raise _Broken

    def _value(self) -> str:
        char, start = self.peek(), self.position
        if char in (b"{", b"["):
            return self._open(char)
        if char == b'"':
            self._string()
            return "after"
        if match := _NUMBER.match(self.raw, start):
            self.position = match.end()
            text = match[0]
            follower = self.raw[match.end() : match.end() + 1]
            if follower.isalnum() or follower in (b".", b"+", b"-", b"_"):
                raise self.fail(start, "this is not a JSON number")
            if not math.isfinite(float(text)):
                self.add("not-finite", start, "the number is too large for any reader")
            return "after"
        if match := _LITERAL.match(self.raw, start):
            self.position = match.end()
            return "after"
        if match := _NOT_FINITE.match(self.raw, start):
            self.position = match.end()
            self.add("not-finite", start, f"{match[0].decode()} is not a JSON number")
            return "after"
        raise self._unexpected("a value")

    def _open(self, char: bytes) -> str:
        self.stack.append(_Frame(set() if char == b"{" else None))
        if len(self.stack) > MAX_DEPTH:
            del self.stack[8:]
            raise self.fail(self.position, TOO_DEEP)
        self.position += 1
        self.skip_space()
        if self.peek() == (b"}" if char == b"{" else b"]"):
            self.position += 1
            self.stack.pop()
            return "after"
        return "key" if char == b"{" else "value"

    def _key(self) -> str:
        frame = self.stack[-1]
        start = self.position
        if self.peek() != b'"':
            self.stack.pop()
            raise self._unexpected("a key in double quotes")
        key = self._string()
        assert frame.keys is not None
        frame.part = key
        if key in frame.keys:
            self.add("duplicate-key", start, repeated(key))
        frame.keys.add(key)
        self.skip_space()
        if self.peek() != b":":
            raise self._unexpected("':' after the key")
        self.position += 1
        return "value"

    def _after(self) -> str:
        frame, char = self.stack[-1], self.peek()
        close = b"]" if frame.keys is None else b"}"
        if char == close:
            self.position += 1
            self.stack.pop()
            return "after"
        if char != b",":
            raise self._unexpected(f"',' or '{close.decode()}'")
        comma = self.position
        self.position += 1
        self.skip_space()
        if self.peek() == close:
            raise self.fail(comma, "a comma before the closing bracket")
        if frame.keys is None:
            assert isinstance(frame.part, int)
            frame.part += 1
            return "value"
        return "key"

    def _string(self) -> str:
        start = self.position
        match = _STRING.match(self.raw, start)
        if match is None:
            raise self._bad_string(start)
        self.position = match.end()
        if _SURROGATE.search(match[0]):
            self._surrogates(start, match[0])
        text: str = json.loads(match[0])
        return text

    def _surrogates(self, start: int, text: bytes) -> None:
        high: re.Match[bytes] | None = None
        lone: list[re.Match[bytes]] = []
        for match in _ESCAPE.finditer(text):
            unit = int(match[1], 16) if match[1] else 0
            if high is not None and not (0xDC00 <= unit <= 0xDFFF and match.start() == high.end()):
                lone.append(high)
                high = None
            if 0xD800 <= unit <= 0xDBFF:
                high = match
            elif 0xDC00 <= unit <= 0xDFFF:
                if high is None:
                    lone.append(match)
                high = None
        lone += [high] if high else []
        for match in lone:
            self.add(
                "lone-surrogate", start + match.start(), f"{match[0].decode()} is half of a surrogate pair"
            )

    def _bad_string(self, start: int) -> _Broken:
        prefix = _STRING_PREFIX.match(self.raw, start)
        end = prefix.end() if prefix else start
        rest = self.raw[end : end + 1]
        if not rest:
            return self.fail(start, "the string is not closed before the line ends")
        if rest == b"\\":
            return self.fail(end, "unknown escape in a string; a backslash itself is written \\\\")
        return self.fail(
            end, f"control character 0x{rest[0]:02X} in a string; write it as an escape such as \\n"
        )

    def _unexpected(self, wanted: str) -> _Broken:
        rest = self.raw[self.position : self.position + 12]
        if not rest:
            return self.fail(self.position, f"the line ends where {wanted} is expected")
        hint = next((f"; {cure}" for start, cure in _CURES if rest.startswith(start)), "")
        return self.fail(self.position, f"{wanted} is expected here{hint}")
