"""Plain chat rows, known to be clean without a look at each: the linter's fast path.

A plain row is `{"messages": [{"role": …, "content": …}, …]}` and nothing else, with texts that are not
blank. To the rules about a row's shape it is no more than its roles, so each sequence of roles is shown
to them once, as a stand-in. What is not plain, or whose stand-in is at fault, is looked at in full.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from typing import Annotated, Literal

import msgspec

from .examples import Example, Message
from .orders import Order, Orders, numbered_at_once
from .rules import LineRule, Rule, family_of
from .rules.subjects import Line
from .scanning import WORTH, Scan
from .strict_json import Decoded
from .targets import Target

# The families that see a plain row's roles only. Others read its texts.
OF_SHAPE = frozenset({"FMT", "MSG", "TOOL", "PART", "PREF", "RFT"})
SYSTEM_ROLES = ("system", "developer")
# A stranger's file may have a new sequence in every row.
_MOST_ORDERS = 4096


class PlainMessage(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A message with a role and a text, and nothing else."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, msgspec.Meta(min_length=1)]


class PlainRow(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A row with messages and nothing else."""

    messages: Annotated[list[PlainMessage], msgspec.Meta(min_length=1, max_length=64)]


class Plain(msgspec.Struct, frozen=True):
    """Clean plain rows with the roles of each, all their messages in order, and a large block's bytes."""

    rows: list[PlainRow]
    orders: Orders
    messages: list[PlainMessage]
    scan: Scan | None

    def texts(self) -> list[str]:
        """The texts of all messages in order."""
        return list(map(_CONTENT, self.messages))

    def odd(self) -> bool:
        """Whether there may be characters that token counters are known to take in different ways."""
        from .fast_tokens import ODD_PAIRS

        scan = self.scan
        if scan is None or scan.spells or scan.has(b"<|"):
            return True
        return not scan.data.isascii() and scan.has_any(ODD_PAIRS)


_ROLE, _CONTENT, _MESSAGES = attrgetter("role"), attrgetter("content"), attrgetter("messages")
_DECODER = msgspec.json.Decoder(PlainRow)


class Judge:
    """Which plain rows are clean by the rules about shape, for one target and choice of rules."""

    def __init__(self, rules: Sequence[Rule], target: Target, input_format: str) -> None:
        self._rules = [r for r in rules if isinstance(r, LineRule) and family_of(r.code) in OF_SHAPE]
        self._target = target
        self._input_format = input_format
        self._orders: dict[Order, str | None] = {}

    def rows(self, chunk: bytes) -> Plain | None:
        """The rows of whole lines, where each line is a clean plain row; else None."""
        try:
            rows = _DECODER.decode_lines(chunk)
        except (ValueError, RecursionError):
            return None
        scan = Scan(chunk) if len(chunk) >= WORTH else None
        count = _counted(chunk, scan)
        gaps = len(rows) - 1
        if not rows or count.boundaries != gaps or count.newlines - chunk.endswith(b"\n") != gaps:
            return None
        of_rows = list(map(_MESSAGES, rows))
        messages = list(chain.from_iterable(of_rows))
        # Repeated keys are invisible in what was decoded: they leave more strings than it accounts for.
        if count.strings != len(rows) + 4 * len(messages):
            return None
        if any(map(str.isspace, map(_CONTENT, messages))):
            return None
        orders = numbered_at_once(list(map(_ROLE, messages)), list(map(len, of_rows)))
        return Plain(rows, orders, messages, scan) if all(map(self.format_of, orders.known)) else None

    def format_of(self, order: Order) -> str | None:
        """The format of plain rows with these roles, or None where a rule has something to say of them."""
        if order not in self._orders:
            if len(self._orders) >= _MOST_ORDERS:
                return None
            self._orders[order] = self._tried(order)
        return self._orders[order]

    def _tried(self, order: Order) -> str | None:
        value = {"messages": [{"role": role, "content": "x"} for role in order]}
        line = Line(1, None, Decoded(value), self._target, self._input_format)
        rules = [rule for rule in self._rules if not rule.formats or line.format in rule.formats]
        return None if any(True for rule in rules for _ in rule.check(line, self._target)) else line.format


def is_plain(line: bytes) -> bool:
    """Whether one line may be a plain row; a row that is plain in all but repeated keys seems so too."""
    try:
        _DECODER.decode(line)
    except (ValueError, RecursionError):
        return False
    return True


def value_of(row: PlainRow) -> dict[str, list[dict[str, str]]]:
    """The row as rules see it."""
    return {"messages": [{"role": message.role, "content": message.content} for message in row.messages]}


def example_of(row: PlainRow, line: int) -> Example:
    """The row as a parsed example."""
    return Example(tuple(Message(message.role, message.content) for message in row.messages), line=line)


class _Count(msgspec.Struct, frozen=True):
    """What the bytes of a chunk say of the values in it."""

    newlines: int
    boundaries: int
    strings: int


def _counted(chunk: bytes, scan: Scan | None) -> _Count:
    """Count newlines, the newlines that stand between two values, and strings.

    Within JSON a closing brace is never followed by an opening one, so "}\\n{" stands between two values.
    A quote after an odd number of backslashes begins or ends no string.
    """
    if scan is None:
        # Pairs are taken from the left, as a decoder does.
        escaped = chunk.replace(b"\\\\", b"").count(b'\\"')
        strings = (chunk.count(b'"') - escaped) // 2
        return _Count(chunk.count(b"\n"), chunk.count(b"}\n{"), strings)
    import numpy as np

    codes, newlines = scan.codes, scan.newlines
    strings = int(np.count_nonzero(codes == ord('"')) - _escaped_quotes(scan)) // 2
    inner = newlines[:-1] if chunk.endswith(b"\n") else newlines
    between = (codes[inner - 1] == ord("}")) & (codes[inner + 1] == ord("{"))
    return _Count(len(newlines), int(np.count_nonzero(between)), strings)


def _escaped_quotes(scan: Scan) -> int:
    """How many quotes stand behind an odd number of backslashes."""
    import numpy as np

    slashes = scan.slashes
    behind = slashes[:-1] & (scan.codes[1:] == ord('"'))
    count = int(np.count_nonzero(behind))
    for last in ((behind[1:] & slashes[:-2]).nonzero()[0] + 1).tolist():
        first = last
        while first and slashes[first - 1]:
            first -= 1
        count -= (last - first) % 2
    return count
