"""From predictions or measured rows to a score with its interval."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np

from .bootstrap import pooled
from .catalogue import measure, metric_named
from .inputs import Groups, group_codes
from .intervals import bootstrap_interval, skewed_student, student, unchanged, wilson
from .types import Array, Interval, Metric, Reduce, Rows, Score, bounds, row_mean

# Fewer samples are no population to draw from again.
FEW_UNITS = 30


def score(
    name: str | Metric,
    predictions: Iterable[Any],
    references: Iterable[Any] | None = None,
    *,
    groups: Iterable[Hashable] | None = None,
    seed: int = 0,
    alpha: float = 0.05,
    **options: Any,
) -> Score:
    """Score n predictions (None = failed) against n references, each a text or a list of texts.

    `name` is one of METRICS or a `Metric`; `options` are the metric's own. UnknownMetric (a ValueError)
    for a wrong name; ValueError says which row has the wrong shape. Failed predictions are counted in `unscored` and are not wrong answers.
    """
    return score_rows(
        name, measure(name, predictions, references, **options), groups=groups, seed=seed, alpha=alpha
    )


def score_rows(
    metric_name: str | Metric,
    rows: Rows,
    *,
    groups: Iterable[Hashable] | None = None,
    seed: int = 0,
    alpha: float = 0.05,
) -> Score:
    """Reduce measured rows to a score; `groups` are n labels of samples that belong together."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha={alpha} lies between 0 and 1")
    metric = metric_named(metric_name)
    codes = group_codes(groups, len(rows.stats))
    kept = rows.stats[rows.scored]
    value, reason = _value(rows, kept)
    interval = None
    if value is not None:
        # Codes are numbered again: a group whose samples all failed is not there.
        left = None if codes is None else group_codes(codes[rows.scored].tolist(), len(kept))
        interval = _interval(metric, kept, left, rows.reduce, alpha, seed)
    return Score(
        metric=metric.name,
        value=value,
        reason=reason,
        interval=interval,
        n=len(kept),
        unscored=len(rows.stats) - len(kept),
        higher_is_better=metric.higher_is_better,
        signature=rows.signature,
    )


def _value(rows: Rows, kept: Array) -> tuple[float | None, str | None]:
    if not len(rows.stats):
        return None, "there are no samples"
    if rows.reason is not None:
        return None, rows.reason
    if not len(kept):
        return None, f"all {len(rows.stats)} predictions failed"
    value = float(rows.reduce(kept.mean(axis=0)))
    if not math.isfinite(value):
        return None, "the value is too large to be written as a number, or not defined on these samples"
    return value, None


def _interval(
    metric: Metric, stats: Array, codes: Groups | None, reduce: Reduce, alpha: float, seed: int
) -> Interval | None:
    """Return Wilson's interval for 0/1 scores, else BCa bootstrap, t under 30 and over groups; None where none is defined."""
    if codes is not None and codes.max() + 1 == len(stats):
        codes = None  # groups of one sample each are no grouping
    units = pooled(stats, codes)
    if reduce is row_mean:
        column = stats[:, 0]
        if codes is None and np.isin(column, (0, 1)).all():
            return wilson(float(column.sum()), len(column), alpha)
        rates = units.sums[:, 0] / units.counts
        if len(units) > 1 and metric.scale == "0-1" and np.ptp(rates) < 1e-12:
            return unchanged(float(rates[0]), len(units), alpha, low=0.0)
    if len(units) < 2:
        return None
    if codes is not None:
        found = student(units, reduce)(alpha)
    elif len(units) < FEW_UNITS:
        found = skewed_student(units, reduce)(alpha)
    else:
        found = bootstrap_interval(units, reduce, seed, alpha)
    if found is None:
        return None
    low, high = bounds(metric.scale)
    return max(low, found[0]), min(high, found[1])
