"""Is b better than a on the same samples, and by how much?

| scores | units | interval | p |
|---|---|---|---|
| 0 or 1 | samples | Tango's score interval; no discordant pair: rule of three | McNemar mid-p |
| numbers | samples | BCa bootstrap, t under 30 | sign flips |
| either | groups | percentile bootstrap over groups, cluster-robust t under 30 | sign flips of group sums |
| rows with `reduce` | samples | BCa bootstrap, jackknife t under 30 | approximate randomisation |
| rows with `reduce` | groups | percentile bootstrap over groups, jackknife t under 30 | approximate randomisation |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .bootstrap import Units, difference_of, pooled
from .inputs import Groups, group_codes, paired
from .intervals import bootstrap_interval, student, tango, unchanged
from .permutation import mcnemar_mid_p, randomisation_p, sign_flip_p
from .types import Array, Comparison, Interval, Reduce, row_mean

FEW_UNITS = 30
Spans = Callable[[float], Interval | None]


@dataclass(frozen=True, slots=True)
class _Finding:
    """A test's outcome before it is judged against the margin."""

    spans: Spans
    p: float | None
    method: str
    reason: str | None = None


def compare_paired(
    a: Any,
    b: Any,
    *,
    groups: Iterable[Hashable] | None = None,
    margin: float = 0.0,
    alpha: float = 0.05,
    seed: int = 0,
    higher_is_better: bool = True,
    reduce: Reduce | None = None,
) -> Comparison:
    """Compare b with a: per-sample scores, or rows of statistics with `reduce` for corpus metrics.

    The difference is b − a in the metric's unit; the conclusion turns with `higher_is_better`. With
    [lo, hi] the gain's interval: better if lo > margin, worse if hi < −margin, equivalent if the
    1 − 2·alpha interval lies inside ±margin (margin > 0), else inconclusive. ValueError says where
    input is empty, unequal in length or not finite; where a test has no answer its field is None.
    """
    if not (math.isfinite(margin) and margin >= 0 and 0 < alpha < 0.5):
        raise ValueError(f"margin={margin} must not be negative and alpha={alpha} lies between 0 and 0.5")
    left, right = paired(a, b)
    if reduce is None and left.shape[1] != 1:
        raise ValueError(f"a and b are rows of {left.shape[1]} statistics: say how they reduce (reduce=…)")
    codes, number = _grouping(groups, len(left))
    if reduce is None or reduce is row_mean:
        difference = float((right - left).mean())
        found = _compare_scores(left, right, codes, seed)
    else:
        difference = float(reduce(right.mean(axis=0)) - reduce(left.mean(axis=0)))
        found = _compare_corpora(left, right, codes, reduce, seed)
    if not math.isfinite(difference):
        raise ValueError("the difference is not a number: one side has no value on these samples")
    interval, equivalence = found.spans(alpha), found.spans(2 * alpha)
    return Comparison(
        difference=difference,
        interval=interval,
        equivalence_interval=equivalence,
        p=found.p,
        method=found.method,
        conclusion=_conclude(interval, equivalence, margin, higher_is_better),
        n=len(left),
        groups=number,
        reason=found.reason or (_no_width(left, right) if interval is None else None),
    )


def _grouping(groups: Iterable[Hashable] | None, n: int) -> tuple[Groups | None, int | None]:
    """Return group codes and the number of groups; groups of one sample each are no grouping."""
    codes = group_codes(groups, n)
    if codes is None:
        return None, None
    number = int(codes.max()) + 1
    return (None if number == n else codes), number


def _compare_scores(a: Array, b: Array, codes: Groups | None, seed: int) -> _Finding:
    if codes is None and np.isin(a, (0, 1)).all() and np.isin(b, (0, 1)).all():
        return _compare_binary(a, b)
    units = pooled(b - a, codes)
    alone = _alone(units, codes)
    if alone is not None:
        return alone
    size = len(units)
    p = sign_flip_p(units.sums[:, 0], seed=seed)
    per = "of group sums" if codes is not None else "of samples"
    bounded = min(a.min(), b.min()) >= 0 and max(a.max(), b.max()) <= 1
    rates = units.sums[:, 0] / units.counts
    if bounded and np.ptp(rates) < 1e-12:
        value = float(rates[0])
        return _Finding(
            lambda alpha: unchanged(value, size, alpha, low=-1.0),
            p,
            f"rule of three over {size} {'groups' if codes is not None else 'samples'}; sign flips {per}",
        )
    spans, name = _spans(units, row_mean, codes, seed)
    return _Finding(spans, p, f"{name}; sign flips {per}")


def _compare_binary(a: Array, b: Array) -> _Finding:
    gained, lost, n = int((b > a).sum()), int((b < a).sum()), len(a)
    name = "Tango score interval" if gained + lost else "rule of three (no discordant pair)"
    return _Finding(
        lambda alpha: tango(gained, lost, n, alpha), mcnemar_mid_p(gained, lost), f"{name}; McNemar mid-p"
    )


def _compare_corpora(a: Array, b: Array, codes: Groups | None, reduce: Reduce, seed: int) -> _Finding:
    units = pooled(np.hstack([a, b]), codes)
    alone = _alone(units, codes)
    if alone is not None:
        return alone
    spans, name = _spans(units, difference_of(reduce, a.shape[1]), codes, seed)
    p = randomisation_p(pooled(a, codes), pooled(b, codes), reduce, seed=seed)
    return _Finding(spans, p, f"{name}; approximate randomisation")


def _alone(units: Units, codes: Groups | None) -> _Finding | None:
    if len(units) > 1:
        return None
    what = "sample" if codes is None else "group"
    reason = f"one {what} says nothing about how {what}s differ: bring at least two"
    return _Finding(lambda alpha: None, None, f"none (one {what})", reason)


def _spans(units: Units, reduce: Reduce, codes: Groups | None, seed: int) -> tuple[Spans, str]:
    over = f"over {len(units)} {'samples' if codes is None else 'groups'}"
    if len(units) >= FEW_UNITS:
        kind = "BCa" if codes is None else "percentile"
        return bootstrap_interval(units, reduce, seed, corrected=codes is None), f"{kind} bootstrap {over}"
    kind = "jackknife t" if reduce is not row_mean else "t" if codes is None else "cluster-robust ratio t"
    return (lambda alpha: student(units, reduce, alpha)), f"{kind} {over}"


def _no_width(a: Array, b: Array) -> str:
    if np.array_equal(a, b):
        return (
            "both are the same on every sample, which bounds nothing: the metric cannot tell them apart here"
        )
    return "the difference does not vary between samples, or has no value on some resamples: no interval"


def _conclude(interval: Interval | None, equivalence: Interval | None, margin: float, higher: bool) -> str:
    if interval is None:
        return "inconclusive"
    low, high = interval if higher else (-interval[1], -interval[0])
    if low > margin:
        return "better"
    if high < -margin:
        return "worse"
    inside = equivalence is not None and -margin < equivalence[0] and equivalence[1] < margin
    return "equivalent" if inside else "inconclusive"
