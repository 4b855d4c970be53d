"""Widen an interval over samples by the spread between trainings, which no number of samples shows."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable

import numpy as np

from .bootstrap import difference_of, pooled
from .inputs import Groups, group_codes
from .intervals import Spans, jackknife_variance
from .types import Array, Interval, Reduce

TRAININGS_NEEDED = 3


def widened(difference: float, spans: Spans, spreads: list[tuple[float, int]]) -> Spans:
    """Return alpha → [d − √(l² + t²v), d + √(u² + t²v)] for the plain interval [d − l, d + u].

    `spreads` are variances v of a mean over trainings with their degrees of freedom. Each part keeps its
    own tail: few trainings are often alike by chance, and one variance with Satterthwaite's degrees of
    freedom then forgets that they were few.
    """
    from scipy.special import stdtrit

    def interval(alpha: float) -> Interval | None:
        plain = spans(alpha)
        if plain is None:
            return None
        extra = sum(float(stdtrit(degrees, 1 - alpha / 2)) ** 2 * variance for variance, degrees in spreads)
        low, high = (math.sqrt((end - difference) ** 2 + extra) for end in plain)
        return difference - low, difference + high

    return interval


def level_of_zero(spans: Spans) -> float | None:
    """Return the alpha at which the interval just reaches 0: the p value that agrees with it."""
    low, high = -30.0, 0.0  # of log alpha
    for _ in range(40):
        middle = (low + high) / 2
        span = spans(min(math.exp(middle), 1 - 1e-9))
        if span is None:
            return None
        low, high = (middle, high) if span[0] <= 0 <= span[1] else (low, middle)
    return min(1.0, math.exp(high))


def fold_spread(
    a: Array, b: Array, codes: Groups | None, folds: Iterable[Hashable], reduce: Reduce
) -> list[tuple[float, int]]:
    """Return the variance that the folds' models put into the mean over folds, with its degrees of freedom.

    It is the variance between the folds' differences less what their samples put into it. Nothing for
    fewer than three folds, for a single unit, and where a fold has no value; ValueError where there is not
    one label a sample.
    """
    labels = group_codes(folds, len(a))
    many = 0 if labels is None else int(labels.max()) + 1
    if labels is None or many < TRAININGS_NEEDED:
        return []
    compared = difference_of(reduce, a.shape[1])
    rows, sizes = np.hstack([a, b]), np.bincount(labels)
    units, values = pooled(rows, codes), compared(pooled(rows, labels).sums / sizes[:, None])
    if len(units) < 2 or not np.isfinite(values).all():
        return []
    sampling = float(jackknife_variance(units.without_each(compared)))
    counted = sampling * float((len(a) / (many * sizes)).mean())
    return [(max(0.0, float(values.var(ddof=1)) / many - counted), many - 1)]
