"""Compare contenders that were trained several times: is the *procedure* better, whatever the seed?

One trained model is a draw from its procedure. An interval over test samples alone says how well that
one draw was measured: with a spread of seeds twice the sampling error it holds the expected difference
in 80 % of cases for 95 %. A bootstrap over three seeds is no cure, since three values hardly vary.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np

from .bootstrap import pooled
from .comparison import Finding, check_question, conclude, find, grouping, no_width
from .inputs import Groups, listed, statistics
from .intervals import jackknife_variance
from .spread import TRAININGS_NEEDED, level_of_zero, widened
from .types import Array, Comparison, Reduce, row_mean


def compare_seeds(
    a: Sequence[Any],
    b: Sequence[Any],
    *,
    groups: Iterable[Hashable] | None = None,
    margin: float = 0.0,
    alpha: float = 0.05,
    seed: int = 0,
    higher_is_better: bool = True,
    reduce: Reduce | None = None,
) -> Comparison:
    """Compare the means over replicas: `a` and `b` are lists of one or more runs, each n scores or rows.

    The difference is that of the mean values. A side with three or more runs adds its variance between
    seeds: from the plain interval [d − l, d + u] of the averaged runs to d − √(l² + t²v) and
    d + √(u² + t²v), where v is the variance of the mean over S seeds, less what the samples put into it,
    and t has S − 1 degrees of freedom. In simulation (3 and 5 seeds, spread of seeds 0 to 4 times the
    sampling error) that holds the expected difference in 93 to 96.5 %; Satterthwaite's degrees of freedom
    fell to 88 %, because three seeds are often alike by chance. Then p is the level at which the interval
    reaches 0. With fewer runs the interval is that of the runs at hand, and `method` says so. ValueError
    as in `compare_paired`.
    """
    check_question(margin, alpha)
    left, right = _runs("a", a), _runs("b", b)
    if len({run.shape for run in (*left, *right)}) > 1:
        raise ValueError("the runs differ in shape: pair the same samples in one order in all of them")
    value = reduce or row_mean
    if reduce is None and left[0].shape[1] != 1:
        raise ValueError(f"runs have rows of {left[0].shape[1]} statistics: say how they reduce (reduce=…)")
    codes, number = grouping(groups, len(left[0]))
    difference, found = _found(left, right, codes, value, seed)
    spreads = _spreads(left, right, codes, value)
    spans = widened(difference, found.spans, spreads) if spreads else found.spans
    interval, equivalence = spans(alpha), spans(2 * alpha)
    return Comparison(
        difference=difference,
        interval=interval,
        equivalence_interval=equivalence,
        p=level_of_zero(spans) if spreads and interval is not None else found.p,
        method=f"{found.method}; {_said(len(left), len(right))}",
        conclusion=conclude(interval, equivalence, margin, higher_is_better),
        n=len(left[0]),
        groups=number,
        reason=found.reason or (no_width(left[0], right[0]) if interval is None else None),
    )


def _runs(name: str, runs: Iterable[Any]) -> list[Array]:
    tables = [statistics(f"{name}[{place}]", run) for place, run in enumerate(listed(name, runs))]
    if not tables:
        raise ValueError(f"{name} holds no run: give a list of runs, each with one row a sample")
    return tables


def _found(
    left: list[Array], right: list[Array], codes: Groups | None, value: Reduce, seed: int
) -> tuple[float, Finding]:
    """Compare the averaged runs; runs of corpus metrics stand side by side and their values are averaged."""
    if value is row_mean:
        return find(np.mean(left, axis=0), np.mean(right, axis=0), codes, None, seed)
    times = math.lcm(len(left), len(right))
    a, b = (np.hstack(side * (times // len(side))) for side in (left, right))
    return find(a, b, codes, _each(value, times, mean=True), seed)


def _each(value: Reduce, runs: int, *, mean: bool) -> Reduce:
    """Return the reduction of runs side by side to their values `[…, runs]`, or to the mean of these."""

    def reduced(means: Array) -> Array:
        parts = np.split(means, runs, axis=-1)
        values = np.stack([value(part) for part in parts], axis=-1)
        averaged: Array = values.mean(axis=-1) if mean else values
        return averaged

    return reduced


def _spreads(
    left: list[Array], right: list[Array], codes: Groups | None, value: Reduce
) -> list[tuple[float, int]]:
    """Return (variance of the mean over seeds, degrees of freedom) of each side with enough seeds."""
    together = _each(value, len(left) + len(right), mean=False)
    units = pooled(np.hstack([*left, *right]), codes)
    if len(units) < 2:
        return []
    values, without = units.value(together), units.without_each(together)
    cut = len(left)
    sides = ((slice(None, cut), slice(cut, None)), (slice(cut, None), slice(None, cut)))
    sampling = float(jackknife_variance(without[:, sides[0][0]].mean(axis=1) - without[:, cut:].mean(axis=1)))
    spreads = []
    for own, other in sides:
        runs = len(values[own])
        if runs < TRAININGS_NEEDED:
            continue
        single = jackknife_variance((without[:, own] - without[:, other].mean(axis=1)[:, None]).T).mean()
        # What differs between runs on single samples is in the sampling variance already.
        counted = max(0.0, float(single) - sampling) / (runs - 1)
        spreads.append((max(0.0, float(values[own].var(ddof=1)) / runs - counted), runs - 1))
    return spreads


def _said(a: int, b: int) -> str:
    seeds = f"{a} and {b} runs" if a > 1 else "one run" if b == 1 else f"{b} runs"
    if max(a, b) < TRAININGS_NEEDED:
        return f"{seeds}: the spread between training seeds is not in the interval"
    short = "" if min(a, b) >= TRAININGS_NEEDED or min(a, b) == 1 else f" of the side with {max(a, b)}"
    return f"{seeds}, their spread{short} taken in by t"
