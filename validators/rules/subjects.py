"""What rules look at: one line, or a collection of files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, Protocol

import msgspec

from ..examples import OPTIONS
from ..fingerprints import Fingerprints
from ..json_scanner import ScanFault
from ..measuring import TokenFacts
from ..strict_json import Decoded, decode
from ..suggest import did_you_mean
from ..targets import Target
from ..text_facts import TextFacts

Format = Literal[
    "chat", "preference", "reinforcement", "prompt-completion", "text", "alpaca", "sharegpt", "gemini"
]

# Which keys tell a format: all of the first group, or failing that any of the second. Pairs come before
# chats: a table of pairs often keeps the whole conversation under messages as well.
FORMATS: tuple[tuple[Format, frozenset[str], frozenset[str]], ...] = (
    (
        "preference",
        frozenset({"input", "preferred_output", "non_preferred_output"}),
        frozenset({"preferred_output"}),
    ),
    (
        "preference",
        frozenset({"chosen", "rejected"}),
        frozenset({"chosen", "rejected", "non_preferred_output"}),
    ),
    ("chat", frozenset({"messages"}), frozenset({"messages"})),
    ("sharegpt", frozenset({"conversations"}), frozenset({"conversations"})),
    ("gemini", frozenset({"contents"}), frozenset({"contents"})),
    ("prompt-completion", frozenset({"prompt", "completion"}), frozenset({"prompt", "completion"})),
    ("alpaca", frozenset({"instruction", "output"}), frozenset({"instruction"})),
    ("text", frozenset({"text"}), frozenset({"text"})),
)
FORMAT_NAMES: tuple[str, ...] = (*dict.fromkeys(name for name, _, _ in FORMATS), "reinforcement")

Turn = tuple[int, dict[str, Any]]


class Line:
    """One line of a file: its bytes, its strict decoding, and what can be said of it as a chat.

    `turns` are the messages that are objects, with their index. `roles` is None unless every message
    is an object with a role the target takes: rules about the order of turns need that, and a row with
    a deeper fault should not be blamed for what follows from it. `length` is set only for a line too long
    to be read, `refused` says why a table's row makes no chat. `budget` is how many bytes may still be
    gone through to find columns, and `guesses` how many names may be looked for among the known ones: a
    row with very many faults has none for the last of them.
    """

    __slots__ = (
        "budget",
        "decoded",
        "format",
        "guesses",
        "length",
        "number",
        "raw",
        "refused",
        "roles",
        "turns",
        "value",
    )

    def __init__(
        self, number: int, raw: bytes | None, decoded: Decoded, target: Target, input_format: str
    ) -> None:
        self.number = number
        self.raw = raw
        self.length: int | None = None
        self.budget = 1 << 23
        self.guesses = 100
        self.refused: str | None = None
        self.decoded = decoded
        self.value: Any = decoded.value
        self.format = None if decoded.broken else row_format(decoded.value, input_format)
        self.turns: tuple[Turn, ...] = ()
        self.roles: tuple[str, ...] | None = None
        messages = decoded.value.get("messages") if isinstance(decoded.value, dict) else None
        if isinstance(messages, list):
            self.turns = tuple((i, m) for i, m in enumerate(messages) if isinstance(m, dict))
            roles = tuple(m.get("role") for _, m in self.turns)
            known = tuple(r for r in roles if isinstance(r, str) and r in target.roles)
            if known and len(known) == len(messages):
                self.roles = known

    def guess(self, name: str, known: Iterable[str]) -> str:
        """What may be meant by a name, as a sentence behind a blank; "" where nothing is near."""
        self.guesses -= 1
        return did_you_mean(name, known) if self.guesses >= 0 else ""

    def scanned(self, kind: str) -> tuple[ScanFault, ...]:
        """The breaches of strict JSON of one kind."""
        return tuple(fault for fault in self.decoded.faults if fault.kind == kind)


class Tally(Protocol):
    """What a rule over sets gathers from the rows of one byte range. Small: it crosses processes.

    A rule about shape (FMT, MSG, TOOL, PART, PREF, RFT) is not shown chat rows that hold nothing but
    roles and texts.
    """

    def add(self, line: Line) -> None:
        """Take down one row that could be decoded."""

    def join(self, later: Any, lines: int) -> None:
        """Add the tally of the range behind this one; `lines` stand before it."""


class FileFacts(msgspec.Struct):
    """What rules over sets know of one file.

    `formats` maps a format to its count and first line, `tallies` a rule's code to what it gathered. `reread`
    reads the rows again, (line, value) of each that can be read, for what no small fact tells.
    """

    path: str
    size: int | None = None
    bom: bool = False
    suffix: str | None = None
    lines: int = 0
    rows: int = 0
    formats: dict[str, tuple[int, int]] = {}
    fingerprints: Fingerprints = msgspec.field(default_factory=Fingerprints)
    tallies: dict[str, Any] = {}
    tokens: TokenFacts | None = None
    texts: TextFacts = msgspec.field(default_factory=TextFacts)
    reread: Callable[[], Iterator[tuple[int, Any]]] | None = None


class Collection(msgspec.Struct, frozen=True):
    """The files of one lint, and those they are held against."""

    files: tuple[FileFacts, ...]
    against: tuple[FileFacts, ...] = ()


def read_line(number: int, raw: bytes, target: Target, input_format: str = "auto") -> Line:
    """A line from its bytes (without the newline)."""
    return Line(
        number, raw, Decoded(None, ()) if not raw.strip(b" \t\r") else decode(raw), target, input_format
    )


def row_format(value: Any, input_format: str = "auto") -> str | None:
    """The format of one decoded row by its keys, or the one that was asked for."""
    if not isinstance(value, dict):
        return None
    if input_format != "auto":
        return input_format
    keys = value.keys()
    for name, needed, _ in FORMATS:
        if needed <= keys:
            return name
    return next((name for name, _, any_of in FORMATS if any_of & keys), None)


def extra_keys(value: Any) -> frozenset[str]:
    """The keys of a chat row that are no chat option: reference fields, if the file is for reinforcement."""
    return frozenset(value.keys() - OPTIONS) if isinstance(value, dict) else frozenset()
