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

from .inputs import Groups, group_codes, listed, paired
from .types import Array, Reduce, Rows, row_mean

RESAMPLES = 2000
_CELLS = 1 << 18  # numbers in one chunk of weights (2 MB: a cache holds it), whatever the number of samples
_LIKE = 32  # equal units from which drawing how often they come is faster than drawing each
_SPARSE = 0.05  # share of cells that are not zero, up to which a sparse product is faster


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
        """Reduce with each unit left out in turn, `[units, …]`: the jackknife."""
        sums, counts = self.sums.sum(axis=0), self.counts.sum()
        rows, sizes, _, kinds = self._distinct()
        step = max(1, _CELLS // rows.shape[1])
        parts = [
            reduce((sums - rows[at : at + step]) / (counts - sizes[at : at + step])[:, None])
            for at in range(0, len(rows), step)
        ]
        return np.concatenate(parts)[kinds]

    def resampled(self, reduce: Reduce, *, seed: int, resamples: int = RESAMPLES) -> Array:
        """Reduce `resamples` draws with replacement, `[resamples, …]`."""
        rng = np.random.default_rng(seed)
        size = len(self)
        rows, sizes, times, kinds = self._distinct()
        table = compact(np.column_stack([rows, sizes]))
        # How often each common kind of unit comes is drawn at once, the other units one by one.
        common = int((times >= _LIKE).sum())
        others = kinds[kinds >= common] - common
        shares = np.append(times[:common], len(others)) / size
        step = max(8, _CELLS // size)
        values = []
        for at in range(0, resamples, step):
            drawn = rng.multinomial(size, shares, min(step, resamples - at))
            weights = np.empty((len(drawn), len(rows)))
            weights[:, :common] = drawn[:, :-1]
            for place, left in enumerate(drawn[:, -1]):
                one = rng.integers(0, len(others), left) if left else others[:0]
                one = others[one] if len(rows) < size else one
                weights[place, common:] = np.bincount(one, minlength=len(rows) - common)
            means = np.asarray(weights @ table)
            values.append(reduce(means[:, :-1] / means[:, -1:]))
        return np.concatenate(values)

    def _distinct(self) -> tuple[Array, Array, Groups, Groups]:
        """Return sums, counts and number of each kind of equal units, common kinds first, and each unit's kind."""
        factors = np.random.default_rng(0).random(self.sums.shape[1])
        keys = np.einsum("ij,j->i", self.sums, factors) + np.pi * self.counts
        _, first, kinds, times = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
        # Two different rows may, in theory, have one key: then nothing is put together.
        mixed = (self.sums[first][kinds] != self.sums).any() or (
            self.counts[first][kinds] != self.counts
        ).any()
        if 2 * len(first) > len(self) or mixed:
            every = np.arange(len(self))
            return self.sums, self.counts, np.ones_like(every), every
        order = np.argsort(times < _LIKE, kind="stable")
        return self.sums[first[order]], self.counts[first[order]], times[order], np.argsort(order)[kinds]


def compact(table: Array) -> Any:
    """Return a sparse matrix where nearly all is zero, as in counts of many labels: products then skip it."""
    if np.count_nonzero(table) > table.size * _SPARSE:
        return table
    from scipy.sparse import csr_array

    return csr_array(table)


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
    labels = listed("groups", groups)
    if len(labels) != len(mask):
        raise ValueError(f"{len(labels)} groups for {len(mask)} samples: give one group a sample")
    return [label for label, keep in zip(labels, mask, strict=True) if keep]
