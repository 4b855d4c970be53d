"""What a rule reports (`Fault`) and what the user reads (`Finding`)."""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")

# C0, DEL and C1 drive terminals, bidi controls reorder lines, lone surrogates cannot be encoded.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

# A secret that begins within what is quoted is seen to its end.
_LONGEST_KEY = 4096


class Fault(msgspec.Struct, frozen=True):
    """One fault as its rule states it: message says what is wrong, help says what to do next.

    `where` is a JSON path in the row, `offset` a byte offset in the line where the path alone is too
    coarse. Rules over whole sets name `path` and, where one row is to blame, `line`. `severity` and
    `fixable` override the rule's own.
    """

    message: str
    help: str
    where: str | None = None
    offset: int | None = None
    path: str | None = None
    line: int | None = None
    severity: Severity | None = None
    fixable: bool | None = None


class Finding(msgspec.Struct, frozen=True):
    """One finding of a lint. `line` and `column` are 1-based, `column` in bytes; None for a whole set."""

    code: str
    name: str
    severity: Severity
    path: str
    line: int | None
    column: int | None
    where: str | None
    message: str
    help: str
    fixable: bool

    def as_dict(self) -> dict[str, Any]:
        """The finding as plain JSON values."""
        return msgspec.structs.asdict(self)


def printable(text: str) -> str:
    """The text with everything that could drive a terminal or break an encoder shown as an escape."""
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def quoted(value: object, limit: int = 40) -> str:
    """A value from the data for use in a message: one line, cut, in quotes, nothing secret or personal in it."""
    from .personal import without_personal

    text = value if isinstance(value, str) else repr(value)
    # Masked before it is cut: half a key is known for none.
    text = without_personal(text[: limit + _LONGEST_KEY])
    return f"'{printable(text[:limit])}{'…' if len(text) > limit else ''}'"


def kind_of(value: object) -> str:
    """What a JSON value is, in words."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
