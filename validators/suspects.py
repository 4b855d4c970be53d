"""Which rules need look at which rows: by the bytes without which a rule cannot fire."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from .prefilters import Gated, Needs
from .rules import LineRule, SetRule
from .scanning import Scan

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
    scan: Scan | None = None,
) -> dict[int, set[int]]:
    """Which rules (by number) need see which lines (by index) of a block.

    Most blocks have nothing for most rules, so each pattern is first held against the whole block. Lines
    with escapes are held against it one by one, spelt out. `scan` is of a large block's data.
    """
    by_pattern: dict[int, tuple[Needs, list[int]]] = {}
    always: list[int] = []
    for number, rule in enumerate(rules):
        if rule.needs is None:
            always.append(number)
        else:
            by_pattern.setdefault(id(rule.needs), (rule.needs, []))[1].append(number)
    escaped = _ESCAPE in data if scan is None else scan.spells
    found: dict[int, set[int]] = {}
    held: Sequence[bytes] = ()
    if always or escaped:
        held = lines()
        found = {index: set(always) for index in range(len(held))} if always else {}
    for needs, numbers in by_pattern.values():
        for index in _lines_with(needs, data, scan):
            found.setdefault(index, set()).update(numbers)
    for index, line in enumerate(held) if escaped else ():
        if _ESCAPE in line:
            plain = spelt_out(line, value_of(index))
            for needs, numbers in by_pattern.values():
                if plain is None or needs.search(plain):
                    found.setdefault(index, set()).update(numbers)
    return found


def _lines_with(needs: Needs, data: bytes, scan: Scan | None) -> Iterator[int]:
    """The lines of a block in which a prefilter finds its bytes."""
    if scan is not None and isinstance(needs, Gated) and needs.finder is not None:
        positions = needs.finder(scan)
        if not len(positions):
            return
        found = scan.lines_of(positions).tolist()
        if needs.certain:
            yield from found
            return
        ends = [*scan.newlines.tolist(), len(data)]
        for index in found:
            if needs.pattern.search(data, ends[index - 1] + 1 if index else 0, ends[index]):
                yield index
        return
    index, begin = 0, 0
    match = needs.search(data)
    while match:
        index += data.count(b"\n", begin, match.start())
        yield index
        begin = data.find(b"\n", match.start()) + 1
        if not begin or begin >= len(data):
            return
        index += 1
        # A gate asks once: from here on the expression is searched for.
        match = (needs.pattern if isinstance(needs, Gated) else needs).search(data, begin)
