"""How one contender differs from another: over the samples that both answered, whatever the margin or the price."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from metrics import Comparison, Rows, compare_paired
from metrics.comparison import conclude
from metrics.seeds import compare_seeds
from metrics.types import Mask

from .evidence import Evidence
from .experiment import Experiment
from .records import Difference

_KEPT = 32


def comparable(tuned: Evidence, other: Evidence, metric: str) -> bool:
    """Whether both have the metric, measured alike, on a sample that both answered."""
    return _answered_by_both(tuned.of_seeds(metric), other.of_seeds(metric), tuned, other) is not None


def compare(
    tuned: Evidence,
    other: Evidence,
    experiment: Experiment,
    *,
    metric: str | None = None,
    alpha: float | None = None,
    rows: tuple[Sequence[Rows], Sequence[Rows]] | None = None,
) -> Comparison | None:
    """Compare `tuned` with `other` over the samples that both answered; the margin counts on the primary metric.

    Where one was trained from several seeds, their means are compared. `rows` of (tuned, other), seed by
    seed, stand in for their own: what failed answers might have been. None where the metric has no value or
    was measured differently for the two.
    """
    metric = metric or experiment.primary
    higher, margin = experiment.metric(metric).higher_is_better, experiment.decision.worth_it
    b, a = rows or (tuned.of_seeds(metric), other.of_seeds(metric))
    level, seed = alpha or experiment.decision.alpha, experiment.data.split.seed
    compared = _compared(tuple(b), tuple(a), tuned, other, level, seed, higher)
    if compared is None or metric != experiment.primary:
        return compared
    conclusion = conclude(compared.interval, compared.equivalence_interval, margin, higher)
    return replace(compared, conclusion=conclusion)


def gain(comparison: Comparison, against: str, higher_is_better: bool) -> Difference:
    """A comparison turned so that more is better."""
    interval = comparison.interval
    if not higher_is_better and interval is not None:
        interval = (-interval[1], -interval[0])
    return Difference(
        against=against,
        estimate=comparison.difference if higher_is_better else -comparison.difference,
        interval=interval,
        p=comparison.p,
        method=comparison.method,
    )


# -- what no margin, price or volume changes -----------------------------------------------------------------
# A what-if asks again with the same evidence: kept, so that it answers at once whatever the number of samples.


@lru_cache(maxsize=_KEPT)
def _compared(
    b: tuple[Rows, ...],
    a: tuple[Rows, ...],
    tuned: Evidence,
    other: Evidence,
    alpha: float,
    seed: int,
    higher: bool,
) -> Comparison | None:
    """Compare against no margin."""
    both = _answered_by_both(b, a, tuned, other)
    if both is None:
        return None
    options: dict[str, Any] = {
        "groups": [g for g, kept in zip(tuned.groups, both, strict=True) if kept],
        "alpha": alpha,
        "seed": seed,
        "higher_is_better": higher,
        "reduce": a[0].reduce,
    }
    if len(a) == len(b) == 1:
        # Fits of single folds are draws of one procedure: how they differ belongs into the interval.
        folds = tuned.folds or other.folds
        labels = [fold for fold, kept in zip(folds, both, strict=True) if kept] if folds else None
        return compare_paired(a[0].stats[both], b[0].stats[both], folds=labels, **options)
    return compare_seeds([r.stats[both] for r in a], [r.stats[both] for r in b], **options)


@lru_cache(maxsize=_KEPT)
def _answered_by_both(
    tuned_rows: tuple[Rows, ...], other_rows: tuple[Rows, ...], tuned: Evidence, other: Evidence
) -> Mask | None:
    """Which samples both have a score for, from every seed; None where there is none, or nothing compares.

    A corpus metric may have a value over all samples and none over those that both answered.
    """
    rows = [*other_rows, *tuned_rows]
    kinds = {(r.signature, r.stats.shape) for r in rows}
    if any(r.reason for r in rows) or len(kinds) > 1 or tuned.ids != other.ids:
        return None
    both: Mask = np.logical_and.reduce([r.scored for r in rows])
    if not both.any():
        return None
    with np.errstate(all="ignore"):
        values = [r.reduce(r.stats[both].mean(axis=0)) for r in rows]
    return both if np.isfinite(values).all() else None
