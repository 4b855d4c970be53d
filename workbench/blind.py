"""Blind A/B rating: which pair a rater sees next, on which side each answer stands, and what came of it.

Every rater sees the same pairs first, block by block, in an order of their own: so raters of a few dozen pairs
overlap, and their agreement can be measured. Answers that read alike are nobody's question: they are level.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from metrics import Score, score
from metrics.raters import Agreement, agreement

from .ratings import about, choices_of
from .records import Rating

# Pairs that all raters see before any rater goes on to the next ones.
BLOCK = 20

Side = Literal["left", "right", "tie"]


@dataclass(frozen=True, slots=True)
class Pair:
    """One question with two answers: the contenders that stand left and right. `alike` is not asked."""

    id: str
    left: str
    right: str
    alike: bool

    def rating(self, better: Side, rater: str, time: str) -> Rating:
        """A rater's choice, by the contenders' names."""
        winner: dict[Side, Literal["a", "b", "tie"]] = {"left": "a", "right": "b", "tie": "tie"}
        return Rating(id=self.id, a=self.left, b=self.right, winner=winner[better], rater=rater, time=time)


def pairs(ids: Sequence[str], alike: Collection[str], names: tuple[str, str], rater: str) -> Iterator[Pair]:
    """Every pair in this rater's order; the same call gives the same order and sides."""
    one, other = sorted(names)
    shared = random.Random(f"{one}\0{other}").sample(ids, len(ids))
    own = random.Random(f"{one}\0{other}\0{rater}")
    for block in _blocks(shared, alike):
        own.shuffle(block)
        for sample in block:
            left, right = own.sample((one, other), 2)
            yield Pair(sample, left, right, sample in alike)


def _blocks(ids: Sequence[str], alike: Collection[str]) -> Iterator[list[str]]:
    block: list[str] = []
    asked = 0
    for sample in ids:
        block.append(sample)
        asked += sample not in alike
        if asked == BLOCK:
            yield block
            block, asked = [], 0
    yield block


def upcoming(order: Iterator[Pair], rated: Collection[str]) -> tuple[list[Pair], Pair | None]:
    """The next pair to ask, None where all are rated; before it those that read alike and are not yet on record."""
    passed: list[Pair] = []
    for pair in order:
        if pair.id in rated:
            continue
        if not pair.alike:
            return passed, pair
        passed.append(pair)
    return passed, None


def chosen_by(ratings: Sequence[Rating], names: tuple[str, str], rater: str) -> list[Rating]:
    """A rater's choices between two contenders, in the order given."""
    return [r for r in ratings if r.rater == rater and r.winner is not None and about(r) == set(names)]


# -- what came of it -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tally:
    """What all raters said of two contenders: wins of the first, ties and losses, and its rate with interval.

    The rate is the mean over samples of 1 for a win, 0.5 for a tie, 0 for a loss: the metric `human` where
    only these two were rated.
    """

    wins: int
    ties: int
    losses: int
    rate: Score


def tally(
    ratings: Sequence[Rating], names: tuple[str, str], groups: Mapping[str, str | None]
) -> Tally | None:
    """Count the choices between two contenders; None where there is none. `groups` holds a group a sample."""
    about_both = [r for r in ratings if about(r) == set(names)]
    values = {sample: said for (sample, one, _), said in choices_of(about_both).items() if one == names[0]}
    if not values:
        return None
    each = [value for said in values.values() for value in said]
    of = [groups.get(sample) for sample in values]
    known = of if any(group is not None for group in of) else None
    rate = score("human", list(values.values()), groups=known, by="people, choices")
    return Tally(each.count(1.0), each.count(0.5), each.count(0.0), rate)


def agreements(
    ratings: Sequence[Rating], names: tuple[str, str], alike: Collection[str]
) -> dict[tuple[str, str], Agreement]:
    """How far each two raters agree on who was better, over the pairs that both were asked."""
    said: dict[str, dict[str, str]] = {}
    for r in ratings:
        if r.rater and r.winner is not None and about(r) == set(names) and r.id not in alike:
            winner = {"a": r.a, "b": r.b, "tie": "tie"}[r.winner]
            said.setdefault(r.rater, {})[r.id] = str(winner)
    found = {}
    for one, other in combinations(sorted(said), 2):
        both = [sample for sample in said[one] if sample in said[other]]
        if both:
            found[one, other] = agreement([said[one][s] for s in both], [said[other][s] for s in both])
    return found
