"""Which rules need look at which rows: by the bytes without which a rule cannot fire."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import msgspec

from .prefilters import Needs
from .rules import LineRule, SetRule

_ESCAPE = b"\\u"


def spelt_out(raw: bytes, value: Any) -> bytes | None:
    """A line's bytes with what `\\u` escapes spell written as it is; None where that cannot be."""
    if _ESCAPE not in raw:
        return raw
    try:
        plain = msgspec.json.encode(value)
    except (ValueError, TypeError, RecursionError):  # half a surrogate pair, or what is no JSON
        return None
    return None if _ESCAPE in plain else plain


def may_fire(rule: LineRule | SetRule, bytes_of_line: bytes | None) -> bool:
    """Whether a rule need look at a line that holds these bytes, spelt out; None: not known."""
    return bytes_of_line is None or rule.needs is None or rule.needs.search(bytes_of_line) is not None


def suspects(
    rules: Sequence[LineRule | SetRule],
    data: bytes,
    lines: Callable[[], Sequence[bytes]],
    value_of: Callable[[int], Any],
) -> dict[int, set[int]]:
    """Which rules (by number) need see which lines (by index) of a block.

    Most blocks have nothing for most rules, so each pattern is first held against the whole block. Lines
    with escapes are held against it one by one, spelt out.
    """
    by_pattern: dict[int, tuple[Needs, list[int]]] = {}
    always: list[int] = []
    for number, rule in enumerate(rules):
        if rule.needs is None:
            always.append(number)
        else:
            by_pattern.setdefault(id(rule.needs), (rule.needs, []))[1].append(number)
    escaped = _ESCAPE in data
    hits = {key: first for key, (needs, _) in by_pattern.items() if (first := needs.search(data))}
    if not (hits or always or escaped):
        return {}
    held = lines()
    starts = list(accumulate((len(line) + 1 for line in held), initial=0))
    found: dict[int, set[int]] = {index: set(always) for index in range(len(held))} if always else {}
    for key, first in hits.items():
        needs, numbers = by_pattern[key]
        match: re.Match[bytes] | None = first
        while match:
            index = bisect_right(starts, match.start()) - 1
            if index >= len(held):
                break
            found.setdefault(index, set()).update(numbers)
            match = needs.search(data, starts[index + 1])
    for index, line in enumerate(held) if escaped else ():
        if _ESCAPE in line:
            plain = spelt_out(line, value_of(index))
            for needs, numbers in by_pattern.values():
                if plain is None or needs.search(plain):
                    found.setdefault(index, set()).update(numbers)
    return found
