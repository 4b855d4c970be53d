"""What people would have said, from a judge's ratings of all samples and people's of some.

Prediction-powered inference (Angelopoulos, Bates, Fannjiang, Jordan and Zrnic, Science 2023): the judge's
mean over all samples plus the mean of (people − judge) over those that people rated. Whatever the judge's
bias, the sum estimates the people's mean; a judge that follows people closely makes it narrow.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np

from .inputs import Groups, group_codes
from .types import Array, Interval, Mask

FEW_RATED = 20


@dataclass(frozen=True, slots=True)
class Correction:
    """A judged difference as people would have found it; no estimate is None with a reason.

    `shift` is what the correction added to the judge's own mean; `rated` of the `n` judged samples were
    rated by people too.
    """

    estimate: float | None
    interval: Interval | None
    shift: float | None
    n: int
    rated: int
    reason: str | None = None


def judge_correction(
    judged: Iterable[float],
    human: Iterable[float | None],
    *,
    groups: Iterable[Hashable] | None = None,
    alpha: float = 0.05,
) -> Correction:
    """Estimate the mean human difference from n judged differences and the human ones where there are any.

    Shapes: n numbers, n numbers or None (not rated by people), n groups; judged and human on one scale.
    The rated samples must be a random part of all: people who rate the odd ones tell about the odd ones.
    The interval is t, with one degree of freedom less than there are rated samples (or groups of them),
    None where nothing varies. Under 20 of those there is no estimate. ValueError for unequal lengths and
    numbers that are not finite.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha={alpha} lies between 0 and 1")
    said = np.array(list(judged), dtype=float)
    given = list(human)
    if said.ndim != 1 or len(said) != len(given):
        raise ValueError(f"{said.shape} judged but {len(given)} human differences: give one of each a sample")
    rated = np.array([h is not None for h in given], dtype=bool)
    people = np.array([0.0 if h is None else h for h in given], dtype=float)
    if not (np.isfinite(said).all() and np.isfinite(people).all()):
        raise ValueError("a difference is not finite: leave out samples that were not judged")
    codes = group_codes(groups, len(said))
    units = np.arange(len(said), dtype=np.intp) if codes is None else codes
    n, count = len(said), int(rated.sum())
    independent = len(np.unique(units[rated]))
    if independent < FEW_RATED:
        what = "samples" if codes is None else "groups of samples"
        return Correction(
            None, None, None, n, count, f"{independent} {what} rated by people; {FEW_RATED} are needed"
        )
    off = people[rated] - said[rated]
    shift = float(off.mean())
    estimate = float(said.mean()) + shift
    half = _student(independent - 1, alpha) * _deviation(said, rated, off, units, independent)
    if half <= 1e-12 * max(1.0, abs(estimate)):
        return Correction(estimate, None, shift, n, count, "no difference varies: that bounds nothing")
    return Correction(estimate, (estimate - half, estimate + half), shift, n, count)


def _deviation(said: Array, rated: Mask, off: Array, units: Groups, independent: int) -> float:
    """The standard error from each unit's influence: on the judge's mean, and where rated on the shift too."""
    influence = (said - said.mean()) / len(said)
    influence[rated] += (off - off.mean()) / len(off)
    sums = np.bincount(units, weights=influence)
    return math.sqrt(independent / (independent - 1) * float((sums**2).sum()))


def _student(freedom: int, alpha: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 1 - alpha / 2))
