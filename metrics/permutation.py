"""p values for "no difference": McNemar's mid-p, sign flips, approximate randomisation.

Flipping a unit's sign exchanges what the two contenders said there. All assignments are enumerated
while they are few (then the p is exact); otherwise (c + 1) ÷ (draws + 1), which is never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from .bootstrap import RESAMPLES, Units, compact
from .types import Array, Reduce

_ENUMERATED = 12
_CELLS = 1 << 18  # assignments in one chunk (2 MB as numbers: a cache holds it)


def mcnemar_mid_p(gained: int, lost: int) -> float:
    """Return the two-sided mid-p of McNemar's exact test on discordant pairs (Fagerland et al. 2013)."""
    from scipy.special import bdtr

    pairs, fewer = gained + lost, min(gained, lost)
    if pairs == 0:
        return 1.0
    at_most = float(bdtr(fewer, pairs, 0.5))
    fewer_still = float(bdtr(fewer - 1, pairs, 0.5)) if fewer else 0.0
    return min(1.0, at_most + fewer_still)


def sign_flip_p(sums: Array, *, seed: int) -> float:
    """Return the two-sided p of Σ sums, `[units]` of differences, under random signs."""
    moved = sums[sums != 0]
    total = float(moved.sum())
    return _two_sided(total, lambda swapped: total - 2 * (swapped @ moved), len(moved), seed)


def randomisation_p(a: Units, b: Units, reduce: Reduce, *, seed: int) -> float:
    """Return the two-sided p of reduce(b) − reduce(a) when units are exchanged at random (Noreen 1989)."""
    total = float(a.counts.sum())
    moved = b.sums - a.sums
    moved = moved[moved.any(axis=1)]  # exchanging equal units changes nothing
    shifts = compact(moved)
    sum_a, sum_b = a.sums.sum(axis=0), b.sums.sum(axis=0)

    def differences(swapped: Array) -> Array:
        shift = np.asarray(swapped @ shifts)
        return reduce((sum_b - shift) / total) - reduce((sum_a + shift) / total)

    observed = float(reduce(sum_b / total) - reduce(sum_a / total))
    return _two_sided(observed, differences, len(moved), seed)


def _two_sided(observed: float, differences: Callable[[Array], Array], units: int, seed: int) -> float:
    # Equal differences reached by another order of additions still count as equal.
    bar = abs(observed) * (1 - 1e-9) - 1e-12
    # Written so that a difference without a value counts as extreme: what is not known lowers no p.
    extreme = sum(int((~(np.abs(differences(swapped)) < bar)).sum()) for swapped in _swaps(units, seed))
    if units <= _ENUMERATED:
        return float(extreme / 2**units)
    return (extreme + 1) / (RESAMPLES + 1)


def _swaps(units: int, seed: int) -> Iterator[Array]:
    if units <= _ENUMERATED:
        yield ((np.arange(2**units)[:, None] >> np.arange(units)) & 1).astype(np.float64)
        return
    # A stream of its own: the same numbers must not also draw the bootstrap.
    rng = np.random.default_rng([seed, 1])
    step = max(1, _CELLS // units)
    for at in range(0, RESAMPLES, step):
        draws = min(step, RESAMPLES - at)
        packed = np.frombuffer(rng.bytes(draws * -(-units // 8)), dtype=np.uint8).reshape(draws, -1)
        yield np.unpackbits(packed, axis=1, count=units).astype(np.float64)
