"""RFT: rows for reinforcement, a prompt with reference fields for a grader. Docstrings are pages, as in `fmt`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec

from ..findings import Fault, quoted
from ..json_scanner import join_path
from ..targets import Target
from .subjects import Collection, Line, extra_keys

# Rows with fields of their own each would fill the memory; so many sets tell enough.
MAX_SETS = 64


def last_not_user(line: Line, target: Target) -> Iterator[Fault]:
    """A reinforcement row does not end with the user.

    Why: the model samples the reply that the grader scores; one that stands there already is in its way.
    With: input_format=reinforcement
    Bad:
        {"messages": [{"role": "user", "content": "How many pods?"}, {"role": "assistant", "content": "6"}], "answer": "6"}
    Good:
        {"messages": [{"role": "user", "content": "How many pods?"}], "answer": "6"}
    """
    if line.roles and line.roles[-1] != "user":
        cure = "Cut what follows the user's last message; put the reply into a reference field."
        where = join_path(["messages", len(line.roles) - 1])
        yield Fault(f"the row ends with the {line.roles[-1]}, not the user", cure, where=where)


def no_grader_field(line: Line, target: Target) -> Iterator[Fault]:
    """No reference field stands beside the messages and tools.

    Why: a grader compares the sampled reply with a field of the row; here there is none.
    With: input_format=reinforcement
    Bad:
        {"messages": [{"role": "user", "content": "How many pods?"}]}
    Good:
        {"messages": [{"role": "user", "content": "How many pods?"}], "answer": "6"}
    """
    if not extra_keys(line.value):
        cure = 'Add what the grader compares with, such as "answer": "…".'
        yield Fault("no reference field beside the messages", cure, where="$")


def unsteady_fields(data: Collection, target: Target) -> Iterator[Fault]:
    """The rows do not share one set of reference fields; or a field has one value in all rows.

    Why: a grader's template fails on a row without its field, and a field that never varies rewards nothing.
    With: input_format=reinforcement
    Bad:
        {"messages": [{"role": "user", "content": "How many pods has the Duo?"}], "answer": "2"}
        {"messages": [{"role": "user", "content": "How many pods has the Tower?"}], "answer": "24"}
        {"messages": [{"role": "user", "content": "How many pods has the Mini?"}], "reply": "1"}
    Good:
        {"messages": [{"role": "user", "content": "How many pods has the Duo?"}], "answer": "2"}
        {"messages": [{"role": "user", "content": "How many pods has the Tower?"}], "answer": "24"}
    """
    for file in data.files:
        fields = file.tallies.get("RFT003")
        if not isinstance(fields, FieldTally) or "reinforcement" not in file.formats:
            continue
        ranked = sorted(fields.sets.items(), key=lambda item: (-item[1][0], item[1][1]))
        for names, (rows, first) in ranked[1:]:
            message = (
                f"{rows} of the rows, from this one on, have {_listed(names)}, others {_listed(ranked[0][0])}"
            )
            yield Fault(message, "Give every row the same fields.", path=file.path, line=first)
        for name, (rows, digest) in fields.values.items():
            if digest is not None and rows == fields.rows > 1:
                message = f"the field {quoted(name)} has one value in all {fields.rows:,} rows"
                yield Fault(message, "Leave it out, or check it.", path=file.path, severity="info")


class FieldTally:
    """Sets of reference fields with their count and first line; fields with their count and value (None: varies)."""

    def __init__(self) -> None:
        self.rows = 0
        self.sets: dict[tuple[str, ...], tuple[int, int]] = {}
        self.values: dict[str, tuple[int, bytes | None]] = {}

    def add(self, line: Line) -> None:
        """Take down one row that could be decoded; one without any field is RFT002's."""
        if line.format not in ("chat", "reinforcement") or not (names := extra_keys(line.value)):
            return
        self.rows += 1
        self._count(tuple(sorted(names)), 1, line.number)
        for name in names if len(self.values) <= MAX_SETS else ():
            varies = self.values.get(name, (0, b""))[1] is None
            self._value(name, 1, None if varies else _digest(line.value[name]))

    def join(self, later: FieldTally, lines: int) -> None:
        """Add the tally of the range behind this one; `lines` stand before it."""
        self.rows += later.rows
        for names, (rows, first) in later.sets.items():
            self._count(names, rows, first + lines)
        for name, (rows, digest) in later.values.items():
            self._value(name, rows, digest)

    def _count(self, names: tuple[str, ...], rows: int, first: int) -> None:
        if names in self.sets or len(self.sets) < MAX_SETS:
            before, line = self.sets.get(names, (0, first))
            self.sets[names] = (before + rows, line)

    def _value(self, name: str, rows: int, digest: bytes | None) -> None:
        before, known = self.values.get(name, (0, digest))
        self.values[name] = (before + rows, digest if known == digest else None)


def _digest(value: Any) -> bytes:
    try:
        data = msgspec.json.encode(value, order="sorted")
    except (ValueError, TypeError):  # half a surrogate pair, or a type of a table's own
        data = repr(value).encode("utf-8", "backslashreplace")
    return hashlib.blake2b(data, digest_size=8).digest()


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(quoted(name) for name in names[:4])
