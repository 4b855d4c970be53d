"""Confidence intervals, none of which collapses to a point because nothing happened to differ."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from .bootstrap import Units
from .types import Array, Interval, Mask, Reduce

Spans: TypeAlias = Callable[[float], Interval | None]

_HALVINGS = 50
# A design effect far under 1 is the noise of few groups, not knowledge.
LEAST_DESIGN_EFFECT = 0.5


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


def paired_score(
    gained: Any, lost: Any, n: Any, alpha: float, *, degrees: Any = math.inf
) -> tuple[Array, Array]:
    """Return score intervals of paired differences of proportions, (gained − lost) ÷ n: low and high ends.

    Tango's score statistic (1998) less the skewness of the difference, as Laud (2017) corrects the scores
    of two samples: with the plain one, a margin above 0 was passed by chance in up to 4.3 % of samples for
    2.5 %, with this one in up to 3.3 %. Counts may be arrays, and need not be whole: `grouped_score`
    divides them by a design effect and takes the tail from t with its `degrees`. With no discordant pair:
    the exact form of the rule of three, ± (1 − alpha^(1/n)).
    """
    b, c, size = np.broadcast_arrays(*(np.asarray(part, dtype=np.float64) for part in (gained, lost, n)))
    tail = _tail(alpha, degrees)
    low, high = -_score_end(c, b, size, tail, alpha), _score_end(b, c, size, tail, alpha)
    bound = 1 - alpha ** (1 / size)
    none = b + c == 0
    return np.where(none, -bound, low), np.where(none, bound, high)


def grouped_score(gained: Array, lost: Array, counts: Array, alpha: float) -> tuple[Array, Array]:
    """Return the score interval of paired binary differences in groups, `[…, groups]` → `[…]` each end.

    The sample is taken for one of n ÷ design effect independent pairs (Rao & Scott 1992); the design effect
    is the jackknife's variance against that of independent pairs, the tail Student's over the effective
    number of groups. Symmetric intervals miss rare disagreements that come in groups: of 12 groups with
    10 % gains and no losses, correlated by 0.3, they held the truth in 83.9 %, this one in 92.0 %.
    """
    sums, total = gained - lost, counts.sum(axis=-1)
    all_gained, all_lost = gained.sum(axis=-1), lost.sum(axis=-1)
    centre = sums.sum(axis=-1) / total
    left_out = (sums.sum(axis=-1)[..., None] - sums) / (total[..., None] - counts)
    independent = ((all_gained + all_lost) / total - centre**2) / total
    ratio = np.divide(
        jackknife_variance(left_out), independent, out=np.ones_like(centre), where=independent > 0
    )
    effect = np.maximum(ratio, LEAST_DESIGN_EFFECT)
    degrees = effective_groups(counts) - 1
    return paired_score(all_gained / effect, all_lost / effect, total / effect, alpha, degrees=degrees)


def effective_groups(counts: Array) -> Any:
    """Return how many groups of equal size say as much, (Σn)² ÷ Σn², at least 2: `[…, groups]` → `[…]`."""
    return np.maximum(counts.sum(axis=-1) ** 2 / (counts**2).sum(axis=-1), 2.0)


def jackknife_variance(left_out: Array) -> Any:
    """Return the variance of a statistic from its values with each unit left out, `[…, units]` → `[…]`."""
    size = left_out.shape[-1]
    return (size - 1) / size * ((left_out - left_out.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1)


def _tail(alpha: float, degrees: Any) -> Any:
    from scipy.special import ndtri, stdtrit

    return (
        ndtri(1 - alpha / 2)
        if np.isscalar(degrees) and degrees == math.inf
        else stdtrit(degrees, 1 - alpha / 2)
    )


def _score_end(b: Array, c: Array, n: Array, tail: Any, alpha: float) -> Array:
    """Return the largest difference that the score test does not reject, b gained and c lost of n."""
    skewing = (normal_quantile(1 - alpha / 2) ** 2 - 1) / 6
    low, high = (b - c) / n, np.ones_like(n)
    for _ in range(_HALVINGS):
        delta = (low + high) / 2
        # The nuisance share of losing pairs at its restricted maximum likelihood.
        linear = (2 * n - b + c) * delta - b - c
        root = np.sqrt(np.maximum(linear**2 + 8 * n * c * delta * (1 - delta), 0.0))
        discordant = (root - linear) / (2 * n) + delta
        variance = np.maximum(discordant - delta**2, 1e-18)
        skewness = (delta - 3 * delta * discordant + 2 * delta**3) / variance**1.5
        statistic = ((b - c) / n - delta) * np.sqrt(n / variance) - skewing * skewness / np.sqrt(n)
        kept = statistic > -tail
        low, high = np.where(kept, delta, low), np.where(kept, high, delta)
    return high


def unchanged(value: float, n: int, alpha: float, *, low: float) -> Interval:
    """Bound a mean whose n observations are all `value`, each known to lie in [low, 1].

    At most a share 1 − alpha^(1/n), about 3/n, of the population can differ from what n draws all
    showed (rule of three), and a share that differs lies at worst at an end of the range.
    """
    share = 1 - alpha ** (1 / n)
    return value - share * (value - low), value + share * (1 - value)


def student(units: Units, reduce: Reduce, moved: Mask | None = None) -> Spans:
    """Return alpha → t interval over groups from the jackknife's variance; None at zero width.

    `moved` marks the groups in which a compared pair differs (`padded`).

    Degrees of freedom are those of the effective number of groups: where a few large groups carry the
    value, the count of groups promises more than they hold (Carter, Schnepel & Steigerwald 2017). Over 64
    designs of 12 to 100 groups, sizes up to very unequal, this held the truth in 94.6 % on average, the
    cluster-robust ratio t with G − 1 degrees in 91.8 % (80.9 % at worst), the percentile bootstrap in
    93.2 % (85.6 %).
    """
    centre = float(units.value(reduce))
    squares, _ = padded(units.without_each(reduce), moved)
    error = math.sqrt((1 - 1 / len(units)) * squares)
    degrees = float(effective_groups(units.counts)) - 1

    def interval(alpha: float) -> Interval | None:
        half = float(_tail(alpha, degrees)) * error
        return _proper(centre - half, centre + half)

    return interval


def skewed_student(units: Units, reduce: Reduce, moved: Mask | None = None) -> Spans:
    """Return alpha → t interval over independent samples, transformed for their skewness; None at zero width.

    Hall's (1992) cubic transformation with the jackknife's variance and skewness, so it serves every
    reduction. Against BCa bootstrap and plain t in simulation it held 95 % better wherever the samples
    were few or skewed (zero-inflated gains, n = 40: 96.2 against 91.5 and 84.2 %), as well elsewhere, and
    it hangs on no seed. `moved` marks the samples on which a compared pair differs: the wider of the ends
    with and without `padded`, since padding hides the skewness of gains without losses.
    """
    centre, left_out = float(units.value(reduce)), units.without_each(reduce)
    spreads = (
        [padded(left_out, None)] if moved is None else [padded(left_out, marks) for marks in (None, moved)]
    )
    shapes = [
        (math.sqrt((1 - 1 / len(units)) * squares), _skew(squares, cubes)) for squares, cubes in spreads
    ]

    def interval(alpha: float) -> Interval | None:
        tail = float(_tail(alpha, len(units) - 1.0))
        lows, highs = (
            [centre - _unskewed(quantile, skew) * error for error, skew in shapes]
            for quantile in (tail, -tail)
        )
        return _proper(min(lows), max(highs))

    return interval


def _unskewed(quantile: float, skew: float) -> float:
    """Return the studentised value whose cubic transformation is the quantile (Hall 1992)."""
    moved = quantile - skew
    return moved if abs(skew) < 1e-9 else (float(np.cbrt(1 + 6 * skew * moved)) - 1) / (2 * skew)


def bootstrap_interval(units: Units, reduce: Reduce, seed: int, alpha: float) -> Interval | None:
    """Return the bias-corrected accelerated bootstrap interval of independent samples (Efron 1987).

    Resamples of few units spread too little, so the tails come from t with the variance's small-sample
    factor (Hesterberg 2015, "expanded"). None at no width, or where a resample has no value.
    """
    from scipy.special import ndtr, ndtri

    centre, size = float(units.value(reduce)), len(units)
    values = units.resampled(reduce, seed=seed)
    if not np.isfinite(values).all():
        return None
    near = 1e-12 * max(1.0, abs(centre))
    below = float(np.mean(values < centre - near) + np.mean(np.abs(values - centre) <= near) / 2)
    edge = 0.5 / len(values)
    bias = float(ndtri(min(max(below, edge), 1 - edge)))
    acceleration = _skew(*padded(units.without_each(reduce), None))
    tail = math.sqrt(size / (size - 1)) * float(_tail(alpha, size - 1.0))
    z = bias + np.array([-tail, tail])
    low, high = np.quantile(values, ndtr(bias + z / (1 - acceleration * z)))
    return _proper(float(low), float(high))


def padded(left_out: Array, moved: Mask | None) -> tuple[float, float]:
    """Return Σ squares and Σ cubes of how far leaving out each unit moves a value, `[units]` each.

    Of two contenders that say the same nearly everywhere, the few units that differ are often alike by
    chance: two gains in 200 and no loss say little, and with their own spread alone were "better" with
    p = 0.5. So, as Bonett & Price (2012) do with proportions, one gain and one loss more are counted, as
    large as the `moved` units (root mean square) and as much as the share of units that did not move;
    where all differ, nothing. With 1 to 16 of 20 to 200 samples apart an end of Hall's interval lay on the
    wrong side of the truth in up to 10.8 % for 2.5 %, with this in up to 3.3 %.
    """
    away = left_out.mean() - left_out
    squares, cubes = float((away**2).sum()), float((away**3).sum())
    if moved is not None and moved.any():
        squares += 2 * (1 - float(moved.mean())) * float((away[moved] ** 2).mean())
    return squares, cubes


def _skew(squares: float, cubes: float) -> float:
    """Return the skewness of the value, which is also BCa's acceleration."""
    return cubes / (6 * squares**1.5) if math.isfinite(squares) and squares > 1e-24 else 0.0


def _proper(low: float, high: float) -> Interval | None:
    wide = math.isfinite(low) and math.isfinite(high) and high - low > 1e-12 * max(1.0, abs(low))
    return (low, high) if wide else None
