"""Where in a block of lines stands what a prefilter looks for, found with vectors.

Each finder returns positions, at least one in every line that its expression matches and seldom in others.
A block is gone through a dozen times, by additions and comparisons that take next to nothing for a byte.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, cached_property
from typing import Any

# Smaller blocks are searched as lines are.
WORTH = 1 << 14

Finder = Callable[["Scan"], Any]


class Scan:
    """The bytes of a block as an array, with what several finders need of them."""

    def __init__(self, data: bytes) -> None:
        import numpy as np

        self.data = data
        self.codes = np.frombuffer(data, np.uint8)

    def at(self, positions: Any) -> Any:
        """The bytes at positions; those behind the end read as the last."""
        return self.codes.take(positions, mode="clip")

    @cached_property
    def high(self) -> Any:
        """Where braces, bytes over 0x7F and the few signs between them stand."""
        return self._where(self.codes >= ord("{"))

    @cached_property
    def slashes(self) -> Any:
        """Which bytes are backslashes. There are many in code, so that no list is made of them."""
        return self.codes == ord("\\")

    def has(self, pair: bytes) -> bool:
        """Whether two bytes stand together."""
        return bool(((self.codes[:-1] == pair[0]) & (self.codes[1:] == pair[1])).any())

    def has_any(self, pairs: frozenset[bytes]) -> bool:
        """Whether one of these pairs stands anywhere; each begins with a byte over 0x7F."""
        lead = self.high[self.at(self.high) > 0x7F]
        return bool(_table(pairs)[self.at(lead), self.at(lead + 1)].any())

    @cached_property
    def spells(self) -> bool:
        """Whether characters may be spelt out as `\\u` escapes."""
        return self.has(b"\\u")

    @cached_property
    def newlines(self) -> Any:
        """Where lines end."""
        return self._where(self.codes == ord("\n"))

    def lines_of(self, positions: Any) -> Any:
        """The indices of the lines in which positions stand."""
        import numpy as np

        return np.unique(np.searchsorted(self.newlines, positions))

    @staticmethod
    def _where(mask: Any) -> Any:
        return mask.nonzero()[0]


@cache
def _table(pairs: frozenset[bytes]) -> Any:
    """By two bytes: whether they are one of the pairs."""
    import numpy as np

    table = np.zeros((256, 256), bool)
    for first, second in pairs:
        table[first, second] = True
    return table


def garbled(scan: Scan) -> Any:
    """UTF-8 of â, Ã and their like before another sign over 0x7F."""
    lead = _led_by(scan, 0xC3)
    return lead[scan.at(lead + 2) >= 0xC2]


def lost(scan: Scan) -> Any:
    """U+FFFD."""
    lead = _led_by(scan, 0xEF)
    return lead[(scan.at(lead + 1) == 0xBF) & (scan.at(lead + 2) == 0xBD)]


def unseen(scan: Scan) -> Any:
    """Controls, zero-width signs, direction marks and byte-order marks, written out or as short escapes."""
    import numpy as np

    high = scan.high
    lead = scan.at(high)
    deleted = high[lead == 0x7F]
    two, three, mark = high[lead == 0xC2], high[lead == 0xE2], high[lead == 0xEF]
    second, third = scan.at(three + 1), scan.at(three + 2)
    wide = (second == 0x80) & (((third >= 0x8B) & (third <= 0x8D)) | (third == 0xAD) | (third == 0xAE))
    wide |= (second == 0x81) & (third >= 0xA6) & (third <= 0xA9)
    after = scan.codes[1:]
    escaped = scan.slashes[:-1] & ((after == ord("b")) | (after == ord("f")))
    return np.concatenate(
        [
            deleted,
            two[scan.at(two + 1) < 0xA0],
            three[wide],
            mark[(scan.at(mark + 1) == 0xBB) & (scan.at(mark + 2) == 0xBF)],
            escaped.nonzero()[0],
        ]
    )


def holes(scan: Scan) -> Any:
    """What opens a placeholder: a brace with a name or a brace behind it, `<YOUR`, `[ins`."""
    import numpy as np

    brace = scan.high[scan.at(scan.high) == ord("{")]
    named = scan.at(brace + 1)
    found = [brace[((named | 0x20) - ord("a") < 26) | (named == ord("_")) | (named == ord("{"))]]
    square = (scan.codes == ord("[")).nonzero()[0]
    found.append(square[scan.at(square + 1) | 0x20 == ord("i")])
    if b"<" in scan.data:
        angle = (scan.codes == ord("<")).nonzero()[0]
        found.append(angle[scan.at(angle + 1) == ord("Y")])
    return np.concatenate(found)


def tokens_with(threes: str) -> Finder:
    """Three bytes of the beginnings of keys, in blocks with any run of 16 signs that keys are made of."""

    def finder(scan: Scan) -> Any:
        import numpy as np

        run = scan.codes - ord("+") < 80
        for width in (1, 2, 4, 8):
            run = run[:-width] & run[width:]
        if not run.any():
            return scan.codes[:0]
        keys, table = _threes(threes)
        found = []
        # A key is not in the last bytes of a block.
        for offset in range(4):
            read = np.frombuffer(scan.data, "<u4", (len(scan.data) - offset) // 4, offset) & 0xFFFFFF
            likely = table.take(_mixed(read)).nonzero()[0]
            found.append(likely[np.isin(read[likely], keys)] * 4 + offset)
        return np.concatenate(found)

    return finder


@cache
def _threes(threes: str) -> tuple[Any, Any]:
    """Groups of three bytes as numbers, and a table by what these are mixed to."""
    import numpy as np

    keys = np.array([int.from_bytes(three.encode(), "little") for three in threes.split()], np.uint32)
    table = np.zeros(1 << 16, bool)
    table[_mixed(keys)] = True
    return keys, table


def _mixed(numbers: Any) -> Any:
    """16 bits of each number of 24."""
    return (numbers * 0x9E3779B1).view("<u2")[1::2]


def at_signs(scan: Scan) -> Any:
    """What stands in every address."""
    return (scan.codes == ord("@")).nonzero()[0] if b"@" in scan.data else scan.codes[:0]


_BETWEEN_DIGITS = b" .()/-"


def numbers(scan: Scan) -> Any:
    """Seven digits with at most three signs between two of them."""
    import numpy as np

    written = scan.codes - ord("0") < 10
    if np.count_nonzero(written) < 7:
        return scan.codes[:0]
    digits = written.nonzero()[0]
    gap = np.diff(digits)
    near = gap <= 4
    if not near.any():
        return digits[:0]
    table = np.zeros(256, bool)
    table[list(_BETWEEN_DIGITS)] = True
    for step in (1, 2, 3):
        near &= (gap <= step) | table[scan.at(digits[:-1] + step)]
    near = near[:-1] & near[1:]
    near = near[:-4] & near[2:-2] & near[4:]
    return digits[:-6][near]


def _led_by(scan: Scan, byte: int) -> Any:
    return scan.high[scan.at(scan.high) == byte]
