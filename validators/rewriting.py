"""Change a JSON line where its value changed, and leave every other byte as it is.

A mended row keeps its spacing, its escapes and the spelling of its numbers: whoever reads the difference
sees the fix and nothing else.
"""

from __future__ import annotations

import json
import re
from typing import Any

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_SCALAR = re.compile(rb"[^\s,:\[\]{}\"]++")
_SPACE = re.compile(rb"[ \t\r\n]*+")
# Strings are matched whole, so that no bracket inside one counts.
_BRACKET = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{}]', re.DOTALL)

Member = tuple[str | int, int, int, int]
"""Key or index, where the member begins (the key, in an object), and its value's span."""


def rewrite(raw: bytes, old: Any, new: Any) -> bytes:
    """The line `raw`, which decodes strictly to `old`, with the value `new`.

    Containers that are the same object in both keep their bytes; so do equal scalars. What is new is
    written in the line's own manner: spaces after separators or none, escapes or UTF-8.
    """
    style = _Style(": " if b'": ' in raw else ":", ", " if b", " in raw else ",", raw.isascii())
    start = _skip(raw, 0)
    end = _value_end(raw, start)
    return raw[:start] + _render(raw, start, end, old, new, style) + raw[end:]


class _Style:
    """How a line writes its JSON."""

    __slots__ = ("ascii", "colon", "comma")

    def __init__(self, colon: str, comma: str, ascii: bool) -> None:
        self.colon, self.comma, self.ascii = colon, comma, ascii

    def text(self, value: Any) -> bytes:
        separators = (self.comma, self.colon)
        return json.dumps(value, ensure_ascii=self.ascii, separators=separators, allow_nan=False).encode()


def _render(raw: bytes, start: int, end: int, old: Any, new: Any, style: _Style) -> bytes:
    if new is old or (type(new) is type(old) and not isinstance(new, (dict, list)) and new == old):
        return raw[start:end]
    if isinstance(old, dict) and isinstance(new, dict):
        return _object(raw, start, end, old, new, style)
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pieces, done = [], start
        for index, _, at, stop in _members(raw, start):
            assert isinstance(index, int)
            pieces += [raw[done:at], _render(raw, at, stop, old[index], new[index], style)]
            done = stop
        return b"".join([*pieces, raw[done:end]])
    return style.text(new)


def _object(
    raw: bytes, start: int, end: int, old: dict[str, Any], new: dict[str, Any], style: _Style
) -> bytes:
    members = _members(raw, start)
    kept = {
        str(key): raw[begin:at] + _render(raw, at, stop, old[str(key)], new[str(key)], style)
        for key, begin, at, stop in members
        if key in new
    }
    if list(kept) == list(old) == list(new):
        pieces, done = [], start
        for key, begin, _, stop in members:
            pieces += [raw[done:begin], kept[str(key)]]
            done = stop
        return b"".join([*pieces, raw[done:end]])
    rows = [
        kept[key] if key in kept else style.text(key) + style.colon.encode() + style.text(value)
        for key, value in new.items()
    ]
    return b"{" + style.comma.encode().join(rows) + b"}"


def _members(raw: bytes, start: int) -> list[Member]:
    """The members of the container that opens at `start`."""
    members: list[Member] = []
    close = b"}" if raw[start : start + 1] == b"{" else b"]"
    position = _skip(raw, start + 1)
    while raw[position : position + 1] != close:
        begin = position
        key: str | int = len(members)
        if close == b"}":
            stop = _value_end(raw, position)
            key = json.loads(raw[position:stop])
            position = _skip(raw, _skip(raw, stop) + 1)
        stop = _value_end(raw, position)
        members.append((key, begin, position, stop))
        position = _skip(raw, stop)
        if raw[position : position + 1] == b",":
            position = _skip(raw, position + 1)
    return members


def _skip(raw: bytes, position: int) -> int:
    match = _SPACE.match(raw, position)
    return match.end() if match else position


def _value_end(raw: bytes, start: int) -> int:
    """Where the value that begins at `start` ends."""
    if raw[start : start + 1] not in (b"{", b"["):
        match = _STRING.match(raw, start) or _SCALAR.match(raw, start)
        if match is None:
            raise ValueError("only a line of strict JSON can be rewritten")
        return match.end()
    depth = 0
    for match in _BRACKET.finditer(raw, start):
        if match[0] in (b"{", b"["):
            depth += 1
        elif match[0] in (b"}", b"]"):
            depth -= 1
            if not depth:
                return match.end()
    raise ValueError("only a line of strict JSON can be rewritten")
