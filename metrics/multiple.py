"""Several comparisons at once: Holm's p values, and intervals that all hold together.

Two families meet here: several contenders against each other on the same samples, and one pair of
contenders on several slices of the samples. Their differences are correlated, so a correction for the
worst case (Bonferroni) would be too wide, and none at all would cry wolf in one slice of twenty.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .bootstrap import difference_of, pooled
from .comparison import check_question, compare_paired
from .inputs import group_codes, listed, paired
from .intervals import normal_quantile
from .types import Array, Comparison, Reduce, row_mean

_DRAWS = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class Contrast:
    """b − a on the samples that are `members` (a mask; None: all): n scores each, or n rows with `reduce`."""

    name: str
    a: Any
    b: Any
    members: Any = None
    reduce: Reduce | None = None


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p values adjusted so that a family of tests errs once in all at most as often as each (Holm 1979).

    None (no test was possible) stays None and does not count. ValueError for what is no probability.
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, place) in enumerate(known):
        if not 0 <= p <= 1:
            raise ValueError(f"p_values[{place}] is {p}: a probability lies between 0 and 1")
        highest = max(highest, min(1.0, (len(known) - rank) * p))
        adjusted[place] = highest
    return adjusted


def simultaneous(
    contrasts: Sequence[Contrast],
    *,
    groups: Iterable[Hashable] | None = None,
    margin: float = 0.0,
    alpha: float = 0.05,
    seed: int = 0,
    higher_is_better: bool = True,
) -> tuple[Comparison, ...]:
    """Compare every contrast so that all intervals hold together in 1 − alpha of cases, in their order.

    Every contrast has the samples (and `groups`) in one order. The largest |t| of the family is drawn from
    the correlation of the differences over samples (groups): its 1 − alpha quantile gives the level at
    which each interval has to hold, somewhere between alpha ÷ contrasts and alpha, and each is then the
    interval of `compare_paired` at that level, with its few-groups tails and its rule of three. So one
    contrast gets just its ordinary interval. p is adjusted by the same family. ValueError as in
    `compare_paired`, with the name of the contrast, and for one without a member.
    """
    check_question(margin, alpha)
    if not contrasts:
        return ()
    tables = [_tables(one) for one in contrasts]
    sizes = {len(one.mask) for one in tables}
    if len(sizes) > 1:
        raise ValueError(
            f"contrasts have {sorted(sizes)} samples: give all in one order, slices as `members`"
        )
    n = sizes.pop()
    labels = list(range(n)) if groups is None else listed("groups", groups)
    codes = group_codes(labels, n)
    codes = np.arange(n) if codes is None else codes
    highest = _highest(np.column_stack([_influence(one, codes) for one in tables]), seed)
    level = alpha if len(tables) == 1 else _level(highest, alpha, len(tables))
    found = []
    for contrast, one in zip(contrasts, tables, strict=True):
        kept = None if groups is None else [label for label, on in zip(labels, one.mask, strict=True) if on]
        try:
            compared = compare_paired(
                one.a, one.b, groups=kept, margin=margin, alpha=level, seed=seed,
                higher_is_better=higher_is_better, reduce=contrast.reduce,
            )  # fmt: skip
        except ValueError as error:
            raise ValueError(f"{contrast.name}: {error}") from error
        found.append(compared if len(tables) == 1 else _in_family(compared, highest, len(tables)))
    return tuple(found)


@dataclass(frozen=True, slots=True, eq=False)
class _Tables:
    """The members' rows of a contrast, and who they are."""

    a: Array
    b: Array
    mask: Any
    reduce: Reduce


def _tables(contrast: Contrast) -> _Tables:
    try:
        a, b = paired(contrast.a, contrast.b)
    except ValueError as error:
        raise ValueError(f"{contrast.name}: {error}") from error
    mask = np.ones(len(a), bool) if contrast.members is None else np.asarray(contrast.members)
    if mask.dtype != bool or mask.shape != (len(a),) or not mask.any():
        raise ValueError(
            f"{contrast.name}: members ({mask.dtype} of shape {mask.shape}) must say True or False of each of"
            f" {len(a)} samples, and True of one at least"
        )
    return _Tables(a[mask], b[mask], mask, contrast.reduce or row_mean)


def _influence(one: _Tables, codes: Any) -> Array:
    """Return how much each unit moves the difference, `[units of the whole]`; 0 where none is a member."""
    own = group_codes(codes[one.mask].tolist(), len(one.a))
    units = pooled(np.hstack([one.a, one.b]), own)
    moved = np.zeros(int(codes.max()) + 1)
    if len(units) > 1:
        left_out = units.without_each(difference_of(one.reduce, one.a.shape[1]))
        moved[list(dict.fromkeys(codes[one.mask].tolist()))] = left_out.mean() - left_out
    return moved


def _highest(influence: Array, seed: int) -> Array:
    """Return draws of the largest |z| among differences correlated as these; a constant one stands alone."""
    lengths = np.sqrt((influence**2).sum(axis=0))
    usable = np.isfinite(lengths) & (lengths > 1e-12)
    scaled = np.where(usable, influence, 0.0) / np.where(usable, lengths, 1.0)
    correlation = scaled.T @ scaled
    np.fill_diagonal(correlation, 1.0)
    values, vectors = np.linalg.eigh(correlation)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    # A stream of its own: the same numbers must not also draw the permutations.
    normal = np.random.default_rng([seed, 2]).standard_normal((_DRAWS, len(values)))
    highest: Array = np.abs(normal @ root.T).max(axis=1)
    return highest


def _level(highest: Array, alpha: float, family: int) -> float:
    """Return the level of each interval at which all hold together in 1 − alpha."""
    from scipy.special import ndtr

    level = 2 * float(ndtr(-np.quantile(highest, 1 - alpha)))
    return min(max(level, alpha / family), alpha)


def _in_family(compared: Comparison, highest: Array, family: int) -> Comparison:
    method = f"{compared.method}; simultaneous over {family}"
    if compared.p is None:
        return replace(compared, method=method)
    bar = normal_quantile(1 - compared.p / 2) if compared.p > 0 else math.inf
    p = (float((highest >= bar).sum()) + 1) / (len(highest) + 1)
    return replace(compared, p=min(1.0, max(compared.p, p)), method=method)
