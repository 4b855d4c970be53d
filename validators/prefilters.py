"""Bytes without which a rule cannot fire, looked for at the speed of memory.

A regular expression looks at each byte in turn. A gate is a cheaper test of a whole block, such as whether
it has any long run of digits; only where that holds is the expression asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from .scanning import Finder

Gate = Callable[[bytes], bool]


class Gated:
    """An expression behind a gate; used as the expression itself is.

    `finder` finds in a large block where it may match, `certain` whether that need not be asked of it then.
    """

    __slots__ = ("certain", "finder", "gate", "pattern")

    def __init__(
        self, pattern: re.Pattern[bytes], gate: Gate, finder: Finder | None = None, certain: bool = True
    ) -> None:
        self.pattern = pattern
        self.gate = gate
        self.finder = finder
        self.certain = certain

    def search(self, data: bytes, start: int = 0) -> re.Match[bytes] | None:
        """The first match from `start` on; whoever asks for a later one has been let in."""
        if start == 0 and not self.gate(data):
            return None
        return self.pattern.search(data, start)


Needs = re.Pattern[bytes] | Gated


def any_of(*patterns: bytes) -> Gate:
    """A gate for blocks that match one of these; each should begin with plain bytes, which are found fast."""
    compiled = [re.compile(pattern) for pattern in patterns]
    return lambda data: any(each.search(data) is not None for each in compiled)


def run_of(kind: bytes, length: int, between: bytes = b"") -> Gate:
    """A gate for blocks with a run of so many bytes of one kind; those `between` do not end a run."""
    table = bytes(1 if byte in kind else 0 for byte in range(256))
    wanted = b"\x01" * length
    return lambda data: wanted in data.translate(table, between)


def beyond_ascii(data: bytes) -> bool:
    """A gate for blocks with any byte over 0x7F."""
    return not data.isascii()
