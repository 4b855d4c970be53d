"""In what order prompts are answered, and which of their beginnings are computed once.

A function of all prompts alone: a resumed run must form the very batches of an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

Tokens = Sequence[int]

# Prompts may part this often and still share: system text, examples, passages. Beyond, they are taken as they are.
_DEEPEST = 32


@dataclass(frozen=True, slots=True)
class Shared:
    """The first `length` tokens of `rows` prompts, the same in all of them."""

    length: int
    rows: int


@dataclass(frozen=True, slots=True)
class Place:
    """A prompt's turn: its index, and the beginnings that it shares with others, each longer than the last."""

    index: int
    path: tuple[Shared, ...] = ()


def arrange(prompts: Sequence[Tokens], worth: int) -> list[Place]:
    """Every prompt once: those that share a beginning side by side, the longest first among them.

    A beginning is shared where computing it once saves at least `worth` tokens. It always leaves two tokens
    of a prompt over: what follows it is computed without the last token, which begins the answer.
    """
    if not prompts:
        return []
    rows = sorted(range(len(prompts)), key=lambda i: (prompts[i], i))
    placed = _groups(prompts, rows, (), worth, 0)
    return [Place(i, path) for path, group in placed for i in _longest_first(prompts, group)]


def _groups(
    prompts: Sequence[Tokens], rows: list[int], path: tuple[Shared, ...], worth: int, depth: int
) -> list[tuple[tuple[Shared, ...], list[int]]]:
    """(path, rows) of the groups among sorted rows; those that share nothing more come last, together."""
    same = _same(prompts[rows[0]], prompts[rows[-1]])
    usable = min(same, min(len(prompts[i]) for i in rows) - 2)
    if usable - _length(path) > 0 and (usable - _length(path)) * (len(rows) - 1) >= worth:
        path = (*path, Shared(usable, len(rows)))
    found: list[tuple[tuple[Shared, ...], list[int]]] = []
    rest: list[int] = []
    for _, run in groupby(rows, key=lambda i: prompts[i][same : same + 1]):
        part = list(run)
        inner = [(path, part)]
        if 1 < len(part) < len(rows) and depth < _DEEPEST:
            inner = _groups(prompts, part, path, worth, depth + 1)
        for way, members in inner:
            if way == path:
                rest += members
            else:
                found.append((way, members))
    found.sort(key=lambda group: -max(len(prompts[i]) for i in group[1]))
    return [*found, (path, rest)] if rest else found


def _same(one: Tokens, other: Tokens) -> int:
    """How many tokens two prompts begin with alike; of sorted prompts the outermost differ first."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((k for k, (a, b) in pairs if a != b), min(len(one), len(other)))


def _length(path: tuple[Shared, ...]) -> int:
    return path[-1].length if path else 0


def _longest_first(prompts: Sequence[Tokens], rows: list[int]) -> list[int]:
    return sorted(rows, key=lambda i: (-len(prompts[i]), i))
