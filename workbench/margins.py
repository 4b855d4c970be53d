"""On which side of the margins the gains lie: the row of the decision table that applies."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

from .records import Difference

Row = Literal["quality", "cheaper", "alternative-suffices", "need-more-eval-data"]


def low(gain: Difference) -> float:
    """The lower end of the interval; without one nothing is excluded."""
    return gain.interval[0] if gain.interval else -math.inf


def high(gain: Difference) -> float:
    """The upper end of the interval; without one nothing is excluded."""
    return gain.interval[1] if gain.interval else math.inf


def row_of(gains: Iterable[Difference], *, worth_it: float, equivalent_within: float, cheaper: bool) -> Row:
    """The first row that applies to the tuned contender's gains over every alternative (at least one).

    `cheaper` says whether the tuned one surely costs less than each of them.
    """
    gains = list(gains)
    if all(low(g) > worth_it for g in gains):
        return "quality"
    if cheaper and all(low(g) > -equivalent_within for g in gains):
        return "cheaper"
    if any(high(g) < worth_it for g in gains):
        return "alternative-suffices"
    return "need-more-eval-data"
