"""Fingerprints of many plain chats at once: what `fingerprints.of_turns` says of each, without a look at each.

All texts of a block are squeezed as one, with a NUL behind each, so that a row's prompt or reply is a slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec
from xxhash import xxh3_64_intdigest

from .fingerprints import (
    BETWEEN,
    FACTOR,
    FOLDED,
    MANY_WORDS,
    SYSTEM,
    Fingerprint,
    Fingerprints,
    count_words,
    folded,
    hashed,
    hashed_roles,
    head_of,
    of_turns,
    prompt_end,
    squeezed,
)
from .orders import Orders

# For fewer rows vectors take longer than a look at each.
_WORTH_VECTORS = 8


class _Shape(msgspec.Struct, frozen=True):
    """What the roles of a row say of it: indices of messages (-1: there is none), digests of roles."""

    count: int
    last: int
    asking: int
    prompt_roles: int
    reply_roles: int
    system: tuple[int, ...]


class Block(msgspec.Struct, frozen=True):
    """Rows with their fingerprints: all their texts in order, the roles of each, which text is its first.

    `packed` is None where each row was looked at by itself; else `reply` is which text is the last reply
    (-1: none) and `users` which texts are the user's.
    """

    prints: Fingerprints
    texts: Sequence[str]
    orders: Orders
    first: Any
    packed: Packed | None = None
    reply: Any = None
    users: Any = None

    def turns(self, row: int) -> list[tuple[str, str]]:
        """Role and text of each message of a row."""
        begin = int(self.first[row])
        order = self.orders[row]
        return list(zip(order, self.texts[begin : begin + len(order)], strict=True))

    def fingerprint(self, row: int) -> Fingerprint:
        """The fingerprint of one row."""
        return Fingerprint(*(column[row] for column in self.prints.columns))


class Packed(msgspec.Struct, frozen=True):
    """Texts without white space at their ends, and squeezed in one with a NUL behind each.

    `codes` are the bytes of `data`; text i is data[starts[i]:ends[i]].
    """

    texts: list[str]
    data: bytes
    codes: Any
    starts: Any
    ends: Any

    def many_words(self, chosen: Any) -> Any:
        """Which texts have 12 words or more for sure, by the spaces in whole runs of eight bytes."""
        import numpy as np

        whole = len(self.data) // 8 * 8
        blank = (self.codes[:whole] == ord(" ")).view("<u8")
        before = np.zeros(len(blank) + 1, np.uint32)
        # The last byte of this product is the sum of all eight.
        np.cumsum((blank * np.uint64(0x0101010101010101)).view(np.uint8)[7::8], out=before[1:])
        end = self.ends[chosen] >> 3
        begin = np.minimum((self.starts[chosen] + 7) >> 3, end)
        found = before[end] - before[begin]
        # Other forms of a character may have spaces that it has not.
        plain = np.fromiter(map(str.isascii, self.texts), bool, len(self.texts))
        return (found >= MANY_WORDS - 1) & plain[chosen]


def of_block(texts: Sequence[str], orders: Orders, first: int, asked: bool) -> Block:
    """The fingerprints of rows from their texts, one after the other, and their roles; lines count from `first`."""
    import numpy as np

    shapes = [_shape(order, asked) for order in orders.known]
    count = orders.of_each([shape.count for shape in shapes])
    begin = np.cumsum(count) - count
    packed = _packed(texts) if len(orders) >= _WORTH_VECTORS else None
    if packed is None:
        return _one_by_one(texts, orders, begin, first, asked)
    starts, ends = packed.starts, packed.ends
    last = begin + orders.of_each([shape.last for shape in shapes])
    behind = begin + count - 1
    replied = last <= behind
    reply = np.minimum(last, behind)
    asks = _hashes(packed.data, starts[begin], np.where(last > begin, ends[last - 1], 0))
    asks += orders.of_each([shape.prompt_roles for shape in shapes], np.uint64)
    said = _hashes(packed.data, starts[reply], ends[behind])
    said += orders.of_each([shape.reply_roles for shape in shapes], np.uint64)
    said[~replied] = 0
    asking = orders.of_each([shape.asking for shape in shapes])
    many = packed.many_words(np.concatenate([begin + asking, reply]))
    asked_words = np.where(many[: len(orders)] & (asking >= 0), MANY_WORDS, 0)
    said_words = np.where(many[len(orders) :] & replied, MANY_WORDS, 0)
    for row in np.flatnonzero(asked_words == 0).tolist():
        asked_words[row] = _asked_words(texts, orders[row], int(begin[row]), int(last[row]))
    for row in np.flatnonzero((said_words == 0) & replied).tolist():
        said_words[row] = count_words(texts[int(last[row])])
    prints = Fingerprints()
    prints.line.extend(range(first, first + len(orders)))
    prints.example.frombytes((asks * np.uint64(FACTOR) + said).tobytes())
    prints.prompt.frombytes(np.where(asked_words > 0, asks, np.uint64(0)).tobytes())
    prints.reply.frombytes(said.tobytes())
    prints.system.extend(
        _systems(texts, [shapes[number].system for number in orders.number.tolist()], begin.tolist())
    )
    prints.words.frombytes(asked_words.astype(np.uint8).tobytes())
    prints.reply_words.frombytes(said_words.astype(np.uint8).tobytes())
    return Block(prints, texts, orders, begin, packed, np.where(replied, last, -1), orders.said_by("user"))


def _asked_words(texts: Sequence[str], order: tuple[str, ...], begin: int, end: int) -> int:
    """Words of a prompt, the texts from `begin` to `end`."""
    return count_words(head_of(list(zip(order, texts[begin:end], strict=False))))


def _one_by_one(texts: Sequence[str], orders: Orders, begins: Any, first: int, asked: bool) -> Block:
    prints = Fingerprints()
    block = Block(prints, texts, orders, begins)
    for row in range(len(orders)):
        prints.add(of_turns(block.turns(row), first + row, "", asked))
    return block


def _packed(texts: Sequence[str]) -> Packed | None:
    """Texts squeezed as one; None where one holds a NUL."""
    import numpy as np

    stripped = list(map(str.strip, texts))
    pieces = [text.encode() if text.isascii() else folded(text) for text in stripped]
    pieces.append(b"")
    data = BETWEEN.join(pieces).translate(FOLDED)
    codes = np.frombuffer(data, np.uint8)
    blank = codes == ord(" ")
    twice = blank[1:] & blank[:-1]
    if twice.any():
        data = data[:1] + codes[1:][~twice].tobytes()
        codes = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(codes == 0)
    if len(ends) != len(texts):
        return None
    starts = np.zeros(len(ends), np.int64)
    np.add(ends[:-1], 1, out=starts[1:])
    return Packed(stripped, data, codes, starts, ends)


def _hashes(data: bytes, starts: Any, ends: Any) -> Any:
    """The digests of slices, as `fingerprints.hashed` has them."""
    import numpy as np

    spans = zip(starts.tolist(), ends.tolist(), strict=True)
    return np.array([xxh3_64_intdigest(data[begin:end]) for begin, end in spans], np.uint64)


def _systems(texts: Sequence[str], places: Sequence[tuple[int, ...]], begins: Sequence[int]) -> list[int]:
    """The digests of the rows' system messages; few differ."""
    known: dict[str, int] = {}
    found = []
    for place, begin in zip(places, begins, strict=True):
        if not place:
            found.append(0)
            continue
        key = texts[begin + place[0]] if len(place) == 1 else "\0".join([texts[begin + i] for i in place])
        if (digest := known.get(key)) is None:
            said = [texts[begin + i] for i in place]
            digest = known[key] = hashed(BETWEEN.join(map(squeezed, said)))
        found.append(digest)
    return found


@lru_cache(maxsize=4096)
def _shape(order: tuple[str, ...], asked: bool) -> _Shape:
    last = prompt_end(order, asked)
    asking = next((i for i, role in enumerate(order[:last]) if role not in SYSTEM), -1)
    system = tuple(i for i, role in enumerate(order) if role in SYSTEM)
    return _Shape(len(order), last, asking, hashed_roles(order[:last]), hashed_roles(order[last:]), system)
