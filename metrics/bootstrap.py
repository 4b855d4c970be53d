"""Resample what is independent (samples, or groups of them) and reduce each resample.

A resample is a row of weights, so its mean row is `weights @ sums / weights @ counts`: one matrix
product for any metric, for a difference of two contenders, or for many contenders on the same resamples.
Nonparametric bootstrap after Efron (1979), paired after Koehn (2004).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .inputs import Groups, group_codes, paired
from .types import Array, Reduce, Rows, row_mean

RESAMPLES = 2000
_CELLS = 1 << 21  # floats in one chunk of weights (16 MB), whatever the number of samples


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """What is resampled: sums of statistics `[units, columns]` and numbers of samples `[units]`."""

    sums: Array
    counts: Array

    def __len__(self) -> int:
        return len(self.counts)

    def value(self, reduce: Reduce) -> Array:
        """Reduce all units together."""
        return reduce(self.sums.sum(axis=0) / self.counts.sum())

    def without_each(self, reduce: Reduce) -> Array:
        """Reduce with each unit left out in turn, `[units]`: the jackknife."""
        sums, counts = self.sums.sum(axis=0), self.counts.sum()
        step = max(1, _CELLS // self.sums.shape[1])
        parts = [
            reduce((sums - self.sums[at : at + step]) / (counts - self.counts[at : at + step])[:, None])
            for at in range(0, len(self), step)
        ]
        return np.concatenate(parts)

    def resampled(self, reduce: Reduce, *, seed: int, resamples: int = RESAMPLES) -> Array:
        """Reduce `resamples` draws with replacement, `[resamples, …]`."""
        rng = np.random.default_rng(seed)
        size = len(self)
        step = max(1, _CELLS // size)
        values = []
        for at in range(0, resamples, step):
            rows = min(step, resamples - at)
            drawn = rng.integers(0, size, (rows, size)) + size * np.arange(rows)[:, None]
            weights = np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size).astype(np.float64)
            values.append(reduce(weights @ self.sums / (weights @ self.counts)[:, None]))
        return np.concatenate(values)


def pooled(stats: Array, codes: Groups | None) -> Units:
    """Add up the rows of each group; without groups every sample is a unit."""
    if codes is None:
        return Units(stats, np.ones(len(stats)))
    sums = np.zeros((int(codes.max()) + 1, stats.shape[1]))
    np.add.at(sums, codes, stats)
    return Units(sums, np.bincount(codes).astype(np.float64))


def difference_of(reduce: Reduce, columns: int) -> Reduce:
    """Return the reduction of rows `a | b` side by side to b − a."""

    def reduced(means: Array) -> Array:
        return reduce(means[..., columns:]) - reduce(means[..., :columns])

    return reduced


def paired_bootstrap(
    a: Any,
    b: Any,
    *,
    groups: Iterable[Hashable] | None = None,
    reduce: Reduce | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Array:
    """Return `[resamples]` differences b − a, both reduced on the same resamples.

    `a` and `b` are n scores, or n rows of statistics with `reduce`. ValueError as in `compare_paired`.
    """
    left, right = paired(a, b)
    units = pooled(np.hstack([left, right]), group_codes(groups, len(left)))
    return units.resampled(difference_of(reduce or row_mean, left.shape[1]), seed=seed, resamples=resamples)


def bootstrap_values(
    rows: Sequence[Rows],
    *,
    groups: Iterable[Hashable] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Array:
    """Return `[resamples, contenders]` values on common resamples: odds of best and expected regret.

    Only samples that every contender was scored on count. ValueError when lengths differ or none is left.
    """
    if not rows:
        raise ValueError("no contenders: give the rows of at least one")
    lengths = {len(one.stats) for one in rows}
    if len(lengths) > 1:
        raise ValueError(f"contenders have {sorted(lengths)} rows: give the same samples in one order")
    both = np.logical_and.reduce([one.scored for one in rows])
    if not both.any():
        raise ValueError("no sample was scored for every contender")
    labels = None if groups is None else _kept(groups, both)
    units = pooled(np.hstack([one.stats[both] for one in rows]), group_codes(labels, int(both.sum())))
    edges = np.cumsum([0, *(len(one.columns) for one in rows)])

    def reduce(means: Array) -> Array:
        values = [
            one.reduce(means[..., lo:hi]) for one, lo, hi in zip(rows, edges[:-1], edges[1:], strict=True)
        ]
        return np.stack(values, axis=-1)

    return units.resampled(reduce, seed=seed, resamples=resamples)


def _kept(groups: Iterable[Hashable], mask: Any) -> list[Hashable]:
    labels = list(groups)
    if len(labels) != len(mask):
        raise ValueError(f"{len(labels)} groups for {len(mask)} samples: give one group a sample")
    return [label for label, keep in zip(labels, mask, strict=True) if keep]
