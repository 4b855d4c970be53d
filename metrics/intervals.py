"""Confidence intervals, none of which collapses to a point because nothing happened to differ."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .bootstrap import Units
from .types import Array, Interval, Reduce, row_mean


def normal_quantile(probability: float) -> float:
    """Return z with P(Z ≤ z) = probability."""
    from scipy.special import ndtri

    return float(ndtri(probability))


def wilson(hits: float, n: int, alpha: float) -> Interval:
    """Return the score interval of a proportion (Wilson 1927)."""
    z = normal_quantile(1 - alpha / 2)
    middle = (hits + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(hits * (n - hits) / n + z * z / 4)
    return max(0.0, middle - half), min(1.0, middle + half)


def tango(gained: int, lost: int, n: int, alpha: float) -> Interval:
    """Return the score interval of a paired difference of proportions, (gained − lost) ÷ n (Tango 1998).

    With no discordant pair: the exact form of the rule of three, ± (1 − alpha^(1/n)).
    """
    if gained + lost == 0:
        return unchanged(0.0, n, alpha, low=-1.0)
    z = normal_quantile(1 - alpha / 2)
    return -_tango_upper(lost, gained, n, z), _tango_upper(gained, lost, n, z)


def _tango_upper(gained: int, lost: int, n: int, z: float) -> float:
    """Return the largest difference that the score test does not reject."""

    def statistic(delta: float) -> float:
        # The nuisance share of losing pairs at its restricted maximum likelihood.
        b = (2 * n - gained + lost) * delta - gained - lost
        c = -lost * delta * (1 - delta)
        share = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
        variance = n * (2 * share + delta * (1 - delta))
        excess = gained - lost - n * delta
        return excess / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, excess)

    low, high = (gained - lost) / n, 1.0
    if low >= high:
        return 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if statistic(middle) > -z else (low, middle)
    return high


def unchanged(value: float, n: int, alpha: float, *, low: float) -> Interval:
    """Bound a mean whose n observations are all `value`, each known to lie in [low, 1].

    At most a share 1 − alpha^(1/n), about 3/n, of the population can differ from what n draws all
    showed (rule of three), and a share that differs lies at worst at an end of the range.
    """
    share = 1 - alpha ** (1 / n)
    return value - share * (value - low), value + share * (1 - value)


def student(units: Units, reduce: Reduce, alpha: float) -> Interval | None:
    """Return a t interval over units with one degree of freedom less than there are units; None at zero width.

    Means use the cluster-robust variance of a ratio (plain t when every unit is one sample), other
    reductions the jackknife's.
    """
    from scipy.special import stdtrit

    size = len(units)
    centre = float(units.value(reduce))
    if reduce is row_mean:
        residuals = units.sums[:, 0] - centre * units.counts
        variance = size / (size - 1) * float(residuals @ residuals) / float(units.counts.sum()) ** 2
    else:
        left_out = units.without_each(reduce)
        variance = (size - 1) / size * float(((left_out - left_out.mean()) ** 2).sum())
    half = float(stdtrit(size - 1, 1 - alpha / 2)) * math.sqrt(variance) if variance >= 0 else math.nan
    return _proper(centre - half, centre + half)


def bootstrap_interval(
    units: Units, reduce: Reduce, seed: int, *, corrected: bool
) -> Callable[[float], Interval | None]:
    """Return alpha → bootstrap interval, on one set of resamples; None at no width or where one has no value.

    `corrected` is the bias-corrected accelerated interval (Efron 1987), else the percentile interval,
    which holds its level better over groups of unequal size. Resamples of few units spread too little,
    so both take their tails from t with the variance's small-sample factor (Hesterberg 2015, "expanded").
    """
    from scipy.special import ndtr, ndtri, stdtrit

    centre, size = float(units.value(reduce)), len(units)
    values = units.resampled(reduce, seed=seed)
    if not np.isfinite(values).all():
        return lambda alpha: None
    bias = acceleration = 0.0
    if corrected:
        near = 1e-12 * max(1.0, abs(centre))
        below = float(np.mean(values < centre - near) + np.mean(np.abs(values - centre) <= near) / 2)
        edge = 0.5 / len(values)
        bias = float(ndtri(min(max(below, edge), 1 - edge)))
        acceleration = _acceleration(units.without_each(reduce))

    def interval(alpha: float) -> Interval | None:
        tail = math.sqrt(size / (size - 1)) * float(stdtrit(size - 1, 1 - alpha / 2))
        z = bias + np.array([-tail, tail])
        low, high = np.quantile(values, ndtr(bias + z / (1 - acceleration * z)))
        return _proper(float(low), float(high))

    return interval


def _acceleration(left_out: Array) -> float:
    away = left_out.mean() - left_out
    spread = float((away**2).sum())
    return float((away**3).sum()) / (6 * spread**1.5) if math.isfinite(spread) and spread > 1e-24 else 0.0


def _proper(low: float, high: float) -> Interval | None:
    wide = math.isfinite(low) and math.isfinite(high) and high - low > 1e-12 * max(1.0, abs(low))
    return (low, high) if wide else None
