"""A unified diff of a file and what mending makes of it, written as the lines pass by."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from .mending import Change

CONTEXT = 3


def unified_diff(changes: Iterable[Change], name: str) -> Iterator[bytes]:
    """The diff's lines for `patch -p0`; nothing where no line changes. Memory: the lines of one hunk."""
    before: deque[Change] = deque(maxlen=CONTEXT)
    hunk: list[Change] = []
    same = shift = 0  # unchanged lines at the hunk's end; lines gone so far
    started = False
    for change in changes:
        changed = change.old != change.new
        if not hunk and not changed:
            before.append(change)
            continue
        if not hunk:
            hunk = list(before)
            before.clear()
        hunk.append(change)
        same = 0 if changed else same + 1
        if same > 2 * CONTEXT:
            before.extend(hunk[-CONTEXT:])
            yield from _hunk(hunk[: CONTEXT - same], shift, name, started)
            started = True
            shift += _gone(hunk)
            hunk = []
    if hunk:
        yield from _hunk(hunk[: len(hunk) - max(0, same - CONTEXT)], shift, name, started)


def _hunk(hunk: list[Change], shift: int, name: str, started: bool) -> Iterator[bytes]:
    if not started:
        yield f"--- {name}\n+++ {name}\n".encode("utf-8", "surrogateescape")
    first, old, new = hunk[0].number, len(hunk), len(hunk) - _gone(hunk)
    begin = first - shift if new else first - shift - 1
    yield f"@@ -{first},{old} +{begin},{new} @@\n".encode()
    removed: list[Change] = []
    for change in hunk:
        if change.old != change.new:
            removed.append(change)
            continue
        yield from _both(removed)
        removed = []
        yield from _line(b" ", change.old)
    yield from _both(removed)


def _both(changes: list[Change]) -> Iterator[bytes]:
    for change in changes:
        yield from _line(b"-", change.old)
    for change in changes:
        if change.new:
            yield from _line(b"+", change.new)


def _line(sign: bytes, line: bytes) -> Iterator[bytes]:
    yield sign + line
    if not line.endswith(b"\n"):
        yield b"\n\\ No newline at end of file\n"


def _gone(hunk: list[Change]) -> int:
    return sum(not change.new for change in hunk)
