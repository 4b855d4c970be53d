"""Is b better than a on the same samples, and by how much?

| scores | units | interval | p |
|---|---|---|---|
| 0 or 1 | samples | score interval, skewness-corrected | McNemar mid-p |
| 0 or 1 | groups | score interval over the design effect, t tails | sign flips of group sums |
| numbers, rows with `reduce` | samples | t, skewness-corrected (Hall), jackknife | sign flips, approximate randomisation |
| numbers, rows with `reduce` | groups | jackknife t over effective groups | sign flips, approximate randomisation |

Where nothing varies, 0–1 scores are bounded by the rule of three; where hardly a unit differs, one gain
and one loss more are counted (`intervals.padded`). No interval hangs on a seed: the same
files always give the same verdict. How often each holds the truth: `python -m tests.benchmarks.coverage`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .bootstrap import Units, difference_of, pooled
from .inputs import Groups, group_codes, listed, paired
from .intervals import Spans, grouped_score, paired_score, skewed_student, student, unchanged
from .permutation import mcnemar_mid_p, randomisation_p, sign_flip_p
from .spread import fold_spread, level_of_zero, widened
from .types import Array, Comparison, Interval, Mask, Reduce, row_mean


@dataclass(frozen=True, slots=True)
class Finding:
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
    folds: Iterable[Hashable] | None = None,
) -> Comparison:
    """Compare b with a: per-sample scores, or rows of statistics with `reduce` for corpus metrics.

    The difference is b − a in the metric's unit; the conclusion turns with `higher_is_better`. With
    [lo, hi] the gain's interval: better if lo > margin, worse if hi < −margin, equivalent if the
    1 − 2·alpha interval lies inside ±margin (margin > 0), else inconclusive. `folds` are the folds of
    cross-fitting, where b (or a) was trained once a fold: without them the interval is that of the models
    at hand, with them that of the procedure, widened by the spread between its models. ValueError says where
    input is empty, unequal in length or not finite; where a test has no answer its field is None.
    """
    check_question(margin, alpha)
    left, right = paired(a, b)
    if reduce is None and left.shape[1] != 1:
        raise ValueError(f"a and b are rows of {left.shape[1]} statistics: say how they reduce (reduce=…)")
    codes, number = grouping(groups, len(left))
    difference, found = find(left, right, codes, reduce, seed)
    if folds is not None:
        found = _over_folds(left, right, codes, folds, reduce, difference, found)
    interval, equivalence = found.spans(alpha), found.spans(2 * alpha)
    return Comparison(
        difference=difference,
        interval=interval,
        equivalence_interval=equivalence,
        p=found.p,
        method=found.method,
        conclusion=conclude(interval, equivalence, margin, higher_is_better),
        n=len(left),
        groups=number,
        reason=found.reason or (no_width(left, right) if interval is None else None),
    )


def check_question(margin: float, alpha: float) -> None:
    """Raise ValueError where a margin is negative or not finite, or a level is not between 0 and 0.5."""
    if not (math.isfinite(margin) and margin >= 0 and 0 < alpha < 0.5):
        raise ValueError(f"margin={margin} must not be negative and alpha={alpha} lies between 0 and 0.5")


def find(
    left: Array, right: Array, codes: Groups | None, reduce: Reduce | None, seed: int
) -> tuple[float, Finding]:
    """Return the difference right − left of two tables `[n, k]` and what was found about it."""
    if reduce is None or reduce is row_mean:
        difference = float((right - left).mean())
        found = _compare_scores(left, right, codes, seed)
    else:
        difference = float(reduce(right.mean(axis=0)) - reduce(left.mean(axis=0)))
        found = _compare_corpora(left, right, codes, reduce, seed)
    if not math.isfinite(difference):
        raise ValueError("the difference is not a number: one side has no value on these samples")
    return difference, found


def grouping(groups: Iterable[Hashable] | None, n: int) -> tuple[Groups | None, int | None]:
    """Return group codes and the number of groups; groups of one sample each are no grouping."""
    codes = group_codes(groups, n)
    if codes is None:
        return None, None
    number = int(codes.max()) + 1
    return (None if number == n else codes), number


def _compare_scores(a: Array, b: Array, codes: Groups | None, seed: int) -> Finding:
    if codes is None and _zeros_and_ones(a, b):
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
        return Finding(
            lambda alpha: unchanged(value, size, alpha, low=-1.0),
            p,
            f"rule of three over {size} {'groups' if codes is not None else 'samples'}; sign flips {per}",
        )
    if codes is not None and _zeros_and_ones(a, b):
        return Finding(
            _grouped_binary(a, b, codes), p, f"score interval over {size} groups; sign flips {per}"
        )
    far = np.abs(b - a)[:, 0]
    apart = far > 1e-9 * far.max()  # averages of equal runs differ by rounding
    spans, name = _spans(units, row_mean, apart, codes)
    if bounded:
        return Finding(lambda alpha: _cut(spans(alpha)), p, f"{name}; sign flips {per}")
    return Finding(spans, p, f"{name}; sign flips {per}")


def _zeros_and_ones(a: Array, b: Array) -> bool:
    return bool(np.isin(a, (0, 1)).all() and np.isin(b, (0, 1)).all())


def _compare_binary(a: Array, b: Array) -> Finding:
    gained, lost, n = int((b > a).sum()), int((b < a).sum()), len(a)
    name = "score interval" if gained + lost else "rule of three (no discordant pair)"

    def spans(alpha: float) -> Interval:
        low, high = paired_score(gained, lost, n, alpha)
        return float(low), float(high)

    return Finding(spans, mcnemar_mid_p(gained, lost), f"{name}; McNemar mid-p")


def _grouped_binary(a: Array, b: Array, codes: Groups) -> Spans:
    gained, lost, counts = (
        np.bincount(codes, weights=part).astype(np.float64)
        for part in ((b > a)[:, 0], (b < a)[:, 0], np.ones(len(a)))
    )

    def spans(alpha: float) -> Interval:
        low, high = grouped_score(gained, lost, counts, alpha)
        return float(low), float(high)

    return spans


def _compare_corpora(a: Array, b: Array, codes: Groups | None, reduce: Reduce, seed: int) -> Finding:
    units = pooled(np.hstack([a, b]), codes)
    alone = _alone(units, codes)
    if alone is not None:
        return alone
    spans, name = _spans(units, difference_of(reduce, a.shape[1]), (a != b).any(axis=1), codes)
    p = randomisation_p(pooled(a, codes), pooled(b, codes), reduce, seed=seed)
    return Finding(spans, p, f"{name}; approximate randomisation")


def _over_folds(
    left: Array, right: Array, codes: Groups | None, folds: Iterable[Hashable], reduce: Reduce | None,
    difference: float, found: Finding,
) -> Finding:  # fmt: skip
    labels = listed("folds", folds)
    if None in labels:
        raise ValueError(f"folds[{labels.index(None)}] is None: every sample was tested in one fold")
    spreads = fold_spread(left, right, codes, labels, reduce or row_mean)
    many = len(set(labels))
    if not spreads:
        return replace(found, method=f"{found.method}; {many} folds: their spread is not in the interval")
    spans = widened(difference, found.spans, spreads)
    p = level_of_zero(spans)
    return Finding(spans, p, f"{found.method}; widened by the spread of {many} folds", found.reason)


def _alone(units: Units, codes: Groups | None) -> Finding | None:
    if len(units) > 1:
        return None
    what = "sample" if codes is None else "group"
    reason = f"one {what} says nothing about how {what}s differ: bring at least two"
    return Finding(lambda alpha: None, None, f"none (one {what})", reason)


def _spans(units: Units, reduce: Reduce, apart: Mask, codes: Groups | None) -> tuple[Spans, str]:
    """Return the interval of units from rows that differ between the sides where `apart`, `[samples]`."""
    if codes is None:
        return skewed_student(units, reduce, apart), f"skewed t over {len(units)} samples"
    moved = np.bincount(codes, weights=apart) > 0
    return student(units, reduce, moved), f"jackknife t over {len(units)} groups"


def _cut(span: Interval | None) -> Interval | None:
    """Differences of shares lie in [−1, 1]."""
    return None if span is None else (max(-1.0, span[0]), min(1.0, span[1]))


def no_width(a: Array, b: Array) -> str:
    """Return why there is no interval."""
    if np.array_equal(a, b):
        return (
            "both are the same on every sample, which bounds nothing: the metric cannot tell them apart here"
        )
    return "the difference does not vary between samples, or has no value on some resamples: no interval"


def conclude(interval: Interval | None, equivalence: Interval | None, margin: float, higher: bool) -> str:
    """Return what the intervals say of b: better, worse, equivalent or inconclusive."""
    if interval is None:
        return "inconclusive"
    low, high = interval if higher else (-interval[1], -interval[0])
    if low > margin:
        return "better"
    if high < -margin:
        return "worse"
    inside = equivalence is not None and -margin < equivalence[0] and equivalence[1] < margin
    return "equivalent" if inside else "inconclusive"
