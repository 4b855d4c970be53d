"""How far can a rater be trusted: agreement with another, with itself, and with the order turned round."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from .bootstrap import pooled
from .inputs import fill, listed
from .intervals import wilson
from .scoring import score_rows
from .tables import table
from .types import Array, Interval, Reduce, row_mean

_FEWEST = 3


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two raters agree on `n` items that both rated; what cannot be said is None, with `reason`.

    `exact` is the share of equal ratings with Wilson's interval; `kappa` is Cohen's (1960, 1968), with
    `weights` "quadratic" for numbers and "none" for labels, `interval` its 95 % bootstrap interval over
    items; `rho` is Spearman's, of numbers. `skipped` items lacked a rating.
    """

    n: int
    skipped: int
    exact: float | None
    exact_interval: Interval | None
    kappa: float | None
    interval: Interval | None
    weights: str
    rho: float | None
    reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as strict JSON values."""
        return _plain(self)

    def _repr_html_(self) -> str:
        rows = [
            ("equal ratings", _shown(self.exact, self.exact_interval)),
            (f"Cohen's kappa, weights: {self.weights}", _shown(self.kappa, self.interval)),
            ("Spearman's rho", _shown(self.rho, None)),
            ("why", self.reason),
            ("items", self.n),
        ]
        return table("agreement of two raters", rows)


@dataclass(frozen=True, slots=True)
class PositionBias:
    """Pairwise verdicts in both orders: `flipped` is the share of `n` pairs whose winner changed with the order.

    `first` is the share of verdicts, ties aside, for the answer shown first (0.5 without bias), with
    Wilson's interval, which is on the wide side here as a pair's two verdicts are not independent.
    `tied` of the 2·n verdicts were ties.
    """

    n: int
    flipped: float | None
    flipped_interval: Interval | None
    first: float | None
    first_interval: Interval | None
    tied: int
    reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as strict JSON values."""
        return _plain(self)

    def _repr_html_(self) -> str:
        rows = [
            ("winner flipped with the order", _shown(self.flipped, self.flipped_interval)),
            ("won by the first shown", _shown(self.first, self.first_interval)),
            ("why", self.reason),
            ("pairs", self.n),
        ]
        return table("position bias", rows)


@dataclass(frozen=True, slots=True)
class SelfAgreement:
    """Repeated ratings of the same answers: `share` of equal pairs of repeats, averaged over `n` answers.

    `sd` is the standard deviation of a rating within an answer (numbers only). Answers rated once are
    not counted.
    """

    n: int
    share: float | None
    interval: Interval | None
    sd: float | None
    reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as strict JSON values."""
        return _plain(self)


def agreement(a: Iterable[Any], b: Iterable[Any], *, seed: int = 0, alpha: float = 0.05) -> Agreement:
    """Compare the ratings of two raters, n numbers or n labels each, None where one did not rate.

    Numbers are weighted by squared distance, so that 4 against 5 agrees more than 1 against 5. ValueError
    for unequal lengths, for numbers mixed with labels, and for numbers that are not finite.
    """
    left, right = listed("a", a), listed("b", b)
    if len(left) != len(right):
        raise ValueError(f"a has {len(left)} ratings and b {len(right)}: give the same items in one order")
    kept = [(x, y) for x, y in zip(left, right, strict=True) if x is not None and y is not None]
    skipped = len(left) - len(kept)
    numeric = _numeric([one for pair in kept for one in pair])
    weights = "quadratic" if numeric else "none"
    if not kept:
        return Agreement(0, skipped, None, None, None, None, weights, None, "no item was rated by both")
    same = sum(x == y for x, y in kept)
    rows, reduce = _moments(np.array(kept, dtype=np.float64)) if numeric else _matches(kept)
    kappa = float(reduce(rows.mean(axis=0)))
    interval = None if math.isnan(kappa) else _percentile(rows, reduce, seed, alpha)
    reason = None
    if math.isnan(kappa):
        reason = "both raters gave every item the same rating: agreement beyond chance is not defined"
    elif interval is None:
        reason = f"{len(kept)} items give kappa no interval: rate more, and more varied ones"
    return Agreement(
        n=len(kept),
        skipped=skipped,
        exact=same / len(kept),
        exact_interval=wilson(same, len(kept), alpha),
        kappa=None if math.isnan(kappa) else kappa,
        interval=interval,
        weights=weights,
        rho=_spearman(np.array(kept, dtype=np.float64)) if numeric else None,
        reason=reason,
    )


def position_bias(
    first_order: Iterable[str | None], second_order: Iterable[str | None], *, alpha: float = 0.05
) -> PositionBias:
    """Compare n pairwise verdicts with those in the other order: "a", "b" or "tie" by who won, None for none.

    In the first order a was shown first, in the second b. A pair without both verdicts is left out. A
    winner in one order and a tie in the other is no flip. ValueError for another word or unequal lengths.
    """
    verdicts = [_verdicts("first_order", first_order), _verdicts("second_order", second_order)]
    if len(verdicts[0]) != len(verdicts[1]):
        raise ValueError(f"{len(verdicts[0])} verdicts and {len(verdicts[1])} with the order turned round")
    pairs = [(x, y) for x, y in zip(*verdicts, strict=True) if x is not None and y is not None]
    if not pairs:
        return PositionBias(0, None, None, None, None, 0, "no pair was judged in both orders")
    flipped = sum({x, y} == {"a", "b"} for x, y in pairs)
    first = sum((x == "a") + (y == "b") for x, y in pairs)
    tied = sum((x == "tie") + (y == "tie") for x, y in pairs)
    decided = 2 * len(pairs) - tied
    return PositionBias(
        n=len(pairs),
        flipped=flipped / len(pairs),
        flipped_interval=wilson(flipped, len(pairs), alpha),
        first=first / decided if decided else None,
        first_interval=wilson(first, decided, alpha) if decided else None,
        tied=tied,
        reason=None if decided else "every verdict was a tie",
    )


def self_agreement(repeats: Iterable[Iterable[Any]], *, seed: int = 0, alpha: float = 0.05) -> SelfAgreement:
    """Compare repeated ratings of the same answer: n lists of numbers or of labels, None for no rating."""
    items = [
        [one for one in listed(f"repeats[{row}]", many) if one is not None]
        for row, many in enumerate(listed("repeats", repeats))
    ]
    items = [many for many in items if len(many) > 1]
    if not items:
        return SelfAgreement(0, None, None, None, "no answer was rated twice")
    shares = [(_equal_pairs(many),) for many in items]
    found = score_rows("judge", fill(shares, row_mean, ("equal",), "self_agreement"), seed=seed, alpha=alpha)
    sd = None
    if _numeric([one for many in items for one in many]):
        within = sum(float(np.var(np.array(many, dtype=np.float64))) * len(many) for many in items)
        sd = math.sqrt(within / sum(len(many) - 1 for many in items))
    return SelfAgreement(len(items), found.value, found.interval, sd)


def _equal_pairs(many: Sequence[Any]) -> float:
    pairs = [x == y for x, y in combinations(many, 2)]
    return float(sum(pairs) / len(pairs))


def _verdicts(name: str, values: Iterable[str | None]) -> list[str | None]:
    found = listed(name, values)
    for row, value in enumerate(found):
        if value not in ("a", "b", "tie", None):
            raise ValueError(
                f"{name}[{row}] is {value!r:.40}: give 'a', 'b' or 'tie', or None for no verdict"
            )
    return found


def _numeric(ratings: Sequence[Any]) -> bool:
    numbers = [not isinstance(one, str) for one in ratings]
    if any(numbers) and not all(numbers):
        raise ValueError("some ratings are numbers and some are labels: give one kind")
    for one in ratings if any(numbers) else ():
        if not math.isfinite(one):
            raise ValueError(f"a rating is {one}: give finite numbers, or None where there is none")
    return any(numbers)


def _moments(ratings: Array) -> tuple[Array, Reduce]:
    """Return rows and reduction of quadratic kappa: 1 − mean square distance ÷ that of independent raters.

    The latter is var a + var b + (mean a − mean b)², so no grid of categories is needed.
    """
    x, y = (ratings - ratings.mean()).T

    def reduce(means: Array) -> Array:
        apart = means[..., 4]
        by_chance = means[..., 2] + means[..., 3] - 2 * means[..., 0] * means[..., 1]
        some = by_chance > 1e-12
        return np.where(some, 1 - apart / np.where(some, by_chance, 1.0), np.nan)

    return np.column_stack([x, y, x * x, y * y, (x - y) ** 2]), reduce


def _matches(pairs: Sequence[tuple[Hashable, Hashable]]) -> tuple[Array, Reduce]:
    """Return rows and reduction of unweighted kappa: equal, then who gave which label."""
    labels = {
        label: place for place, label in enumerate(dict.fromkeys(one for pair in pairs for one in pair))
    }
    size = len(labels)
    rows = np.zeros((len(pairs), 1 + 2 * size))
    for row, (x, y) in enumerate(pairs):
        rows[row, 0] = x == y
        rows[row, 1 + labels[x]] = rows[row, 1 + size + labels[y]] = 1

    def reduce(means: Array) -> Array:
        chance = (means[..., 1 : 1 + size] * means[..., 1 + size :]).sum(axis=-1)
        some = chance < 1 - 1e-12
        return np.where(some, (means[..., 0] - chance) / np.where(some, 1 - chance, 1.0), np.nan)

    return rows, reduce


def _percentile(rows: Array, reduce: Reduce, seed: int, alpha: float) -> Interval | None:
    """Return the percentile interval; None where over a twentieth of resamples has no value, or at no width."""
    if len(rows) < _FEWEST:
        return None
    values = pooled(rows, None).resampled(reduce, seed=seed)
    some = values[np.isfinite(values)]
    if len(some) < 0.95 * len(values):
        return None
    low, high = (float(edge) for edge in np.quantile(some, [alpha / 2, 1 - alpha / 2]))
    return (low, high) if high - low > 1e-12 else None


def _spearman(ratings: Array) -> float | None:
    from scipy.stats import rankdata

    x, y = (rankdata(column) for column in ratings.T)
    x, y = x - x.mean(), y - y.mean()
    spread = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / spread if spread else None


def _shown(value: float | None, interval: Interval | None) -> str:
    span = "" if interval is None else f" [{interval[0]:.3g}, {interval[1]:.3g}]"
    return "not available" if value is None else f"{value:.3g}{span}"


def _plain(found: Any) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(found).items()}
