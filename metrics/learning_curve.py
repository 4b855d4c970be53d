"""What would more training data bring? A power law E + A·n^−b through scores at several training sizes.

Four points hardly tell three numbers, so nothing hangs on a single best fit: every exponent and every
spread between trainings is weighed by how well it explains the scores (Bayesian, on a grid), and the
forecast mixes them all. Its error holds what is not known: the curve, the test samples (resampled in
common over the sizes, by the jackknife, so that the same lucky samples cancel), and that another training
of the same size scores differently, estimated from seeds and from how far the points lie off the curve.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .bootstrap import pooled
from .inputs import Groups, group_codes, statistics
from .types import Array, Interval, Reduce, row_mean

SIZES_NEEDED = 3
EXPONENTS = np.linspace(0.0, 2.0, 21)
# Medians of the prior, in sampling errors and tenths of what the values span: how far trainings of one
# size lie apart, and how far the sizes lie off a power law.
TRAINING_SCALE, MISFIT_SCALE = 0.25, 0.125
# log-likelihood under the best from which an exponent is ruled out (95 %, one degree of freedom)
_DROP = 1.9207


@dataclass(frozen=True, slots=True)
class Forecast:
    """The value expected of one new training with `at` examples, in the metric's unit.

    `probability` is that of a gain over the margin that was asked about, None where none was.
    """

    at: float
    value: float
    interval: Interval
    probability: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A fitted learning curve: value ≈ `limit` + `scale` · n^−`exponent`, in the metric's unit.

    `slope` is what doubling the largest size brings (positive = better, whatever the metric's direction).
    `spread` is the standard deviation between trainings. `limit` is None where the curve grows without
    end; `identifiable` says whether the sizes tell the exponent, `reason` why not: then the limit is a
    guess, while forecasts, which mix all exponents, still hold.
    """

    sizes: tuple[float, ...]
    values: tuple[float, ...]
    limit: float | None
    scale: float | None
    exponent: float
    exponent_interval: Interval
    slope: float
    slope_interval: Interval
    spread: float
    identifiable: bool
    reason: str | None
    alpha: float
    _mixture: _Mixture = field(repr=False)
    _sign: float = field(repr=False)

    def forecast(self, at: float, *, margin: float | None = None) -> Forecast:
        """Forecast a training with `at` examples; `margin` asks for P(gain > margin).

        Where the curve is one of differences (`against`), the gain is that difference; otherwise it is the
        value itself, in the direction where more is better.
        """
        if not (math.isfinite(at) and at > 0):
            raise ValueError(f"at={at} is no number of training examples")
        if margin is not None and not math.isfinite(margin):
            raise ValueError(f"margin={margin} is no gain to ask about: give a finite number")
        step = _shape(at / self.sizes[-1])
        parts = self._mixture.parts(1.0, step, training=True)
        low, high = (parts.quantile(p) for p in (self.alpha / 2, 1 - self.alpha / 2))
        probability = None
        if margin is not None:
            # Turned, a gain over the margin is a value under its mirror.
            below = parts.below(self._sign * margin)
            probability = min(1.0, max(0.0, 1 - below if self._sign > 0 else below))
        return Forecast(at, parts.mean(), (low, high), probability)


def fit_curve(
    sizes: Sequence[float],
    runs: Sequence[Sequence[Any]],
    *,
    groups: Iterable[Hashable] | None = None,
    against: Any = None,
    reduce: Reduce | None = None,
    higher_is_better: bool = True,
    alpha: float = 0.05,
) -> Curve:
    """Fit a learning curve to `runs[size][seed]`: rows of the same n test samples, n scores or `[n, k]`.

    With `against` (rows of an alternative on the same samples) the curve is that of the difference to it.
    Sizes need not be sorted, nor have equally many seeds. ValueError for fewer than three different sizes,
    and for rows that do not pair.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha={alpha} lies between 0 and 1")
    if len(sizes) != len(runs) or not all(math.isfinite(size) and size > 0 for size in sizes):
        raise ValueError(f"{len(sizes)} sizes for {len(runs)} lists of runs: one positive size for each")
    order = sorted(range(len(sizes)), key=lambda place: sizes[place])
    if len(set(sizes)) < SIZES_NEEDED:
        raise ValueError(f"{len(set(sizes))} training sizes tell no curve: bring three or more")
    empty = [place for place in order if not len(runs[place])]
    if empty:
        raise ValueError(f"size {sizes[empty[0]]:g} has no run: leave it out")
    places = [(float(sizes[place]), seed) for place in order for seed in range(len(runs[place]))]
    rows = [
        statistics(f"runs[{place}][{seed}]", run) for place in order for seed, run in enumerate(runs[place])
    ]
    base = None if against is None else statistics("against", against)
    values, sampling = _measured(rows, base, groups, reduce or row_mean)
    n = np.array([size for size, _ in places])
    mixture = _mixed(n / n.max(), values, sampling)
    return _curve(n, values, mixture, 1.0 if higher_is_better else -1.0, alpha)


def _measured(
    rows: list[Array], base: Array | None, groups: Iterable[Hashable] | None, reduce: Reduce
) -> tuple[Array, Array]:
    """Return the value of every run and the covariance that the test samples give them (jackknife)."""
    every = rows if base is None else [*rows, base]
    if len({run.shape for run in every}) > 1:
        raise ValueError("runs differ in shape: give the same test samples in one order for every run")
    codes: Groups | None = group_codes(groups, len(rows[0]))
    units = pooled(np.hstack(every), codes)
    if len(units) < 2:
        raise ValueError("one test sample (or group) says nothing about how they differ: bring at least two")

    def values(means: Array) -> Array:
        each = np.stack([reduce(part) for part in np.split(means, len(every), axis=-1)], axis=-1)
        return each if base is None else each[..., :-1] - each[..., -1:]

    found, without = values(units.sums.sum(axis=0) / units.counts.sum()), units.without_each(values)
    if not (np.isfinite(found).all() and np.isfinite(without).all()):
        raise ValueError("a run has no value on these samples, or not without one of them")
    away = without - without.mean(axis=0)
    return found, (len(units) - 1) / len(units) * away.T @ away


def _shape(share: Any) -> Array:
    """Return (1 − share^−b) ÷ b for every exponent, `[…, exponents]`: 0 at the largest size, slope 1 there."""
    log = np.log(np.asarray(share, dtype=np.float64))[..., None]
    safe = np.where(EXPONENTS > 0, EXPONENTS, 1.0)
    shape: Array = np.where(EXPONENTS > 0, -np.expm1(-EXPONENTS * log) / safe, log)
    return shape


@dataclass(frozen=True, slots=True, eq=False)
class _Parts:
    """A mixture of normal distributions."""

    weights: Array
    means: Array
    sds: Array

    def below(self, bar: float) -> float:
        from scipy.special import ndtr

        return float((self.weights * ndtr((bar - self.means) / self.sds)).sum())

    def mean(self) -> float:
        return float((self.weights * self.means).sum())

    def quantile(self, probability: float) -> float:
        low, high = float((self.means - 9 * self.sds).min()), float((self.means + 9 * self.sds).max())
        for _ in range(70):
            middle = (low + high) / 2
            low, high = (middle, high) if self.below(middle) < probability else (low, middle)
        return high


@dataclass(frozen=True, slots=True, eq=False)
class _Mixture:
    """Level and slope at the largest size for every exponent and spread, `[exponents, spreads, …]`.

    `spreads` is how far a new training lies off the curve, `training` the part of it between trainings.
    """

    weights: Array
    likelihoods: Array
    centres: Array
    covariances: Array
    spreads: Array
    training: Array

    def parts(self, level: float, step: Array, *, training: bool) -> _Parts:
        """Return the distribution of level · (value at the largest size) + step · slope (+ a new training)."""
        at = np.stack([np.full_like(step, level), step], axis=-1)
        means = np.einsum("bi,bsi->bs", at, self.centres)
        variances = np.einsum("bi,bsij,bj->bs", at, self.covariances, at)
        if training:
            variances = variances + self.spreads**2
        return _Parts(self.weights, means, np.sqrt(np.maximum(variances, 1e-18)))


def _spreads(scale: float, most: float) -> tuple[Array, Array]:
    """Return standard deviations from 0 to what the values themselves span, and their half-Cauchy prior."""
    sds = np.concatenate([[0.0], np.geomspace(scale / 10, max(20 * scale, most), 13)])
    return sds, np.gradient(sds) / (1 + (sds / scale) ** 2)


def _mixed(shares: Array, values: Array, sampling: Array) -> _Mixture:
    """Weigh every exponent and pair of spreads by its likelihood, level and slope integrated out.

    One spread is between trainings of one size, the other between the sizes' true values and any power
    law: no curve is one, and seeds that agree must not make the forecast sure of it.
    """
    sampled = float(np.sqrt(np.maximum(np.diag(sampling), 0.0)).mean())
    unit = math.hypot(sampled, float(np.ptp(values)) / 10) or 1e-6
    (apart, prior_apart), (off, prior_off) = (
        _spreads(scale * unit, float(np.ptp(values))) for scale in (TRAINING_SCALE, MISFIT_SCALE)
    )
    training, misfit = (part.ravel() for part in np.meshgrid(apart, off))
    alike = (shares[:, None] == shares).astype(np.float64)
    own = (training**2 + (1e-3 * unit) ** 2)[:, None, None] * np.eye(len(values))
    cover = sampling + own + (misfit**2)[:, None, None] * alike
    inverse, (_, log_size) = np.linalg.inv(cover), np.linalg.slogdet(cover)
    design = np.stack([np.ones((len(values), len(EXPONENTS))), _shape(shares)], axis=-1)  # [runs, b, 2]
    weighted = np.einsum("nbi,snm->bsim", design, inverse, optimize=True)
    precision = np.einsum("bsim,mbj->bsij", weighted, design, optimize=True)
    covariances = np.linalg.inv(precision)
    centres = np.einsum("bsij,bsj->bsi", covariances, weighted @ values)
    # Least squares: what is left is the values' own length less that of their projection.
    length = np.einsum("n,snm,m->s", values - values.mean(), inverse, values - values.mean())
    moved = weighted @ (values - values.mean())
    fit = length - np.einsum("bsi,bsij,bsj->bs", moved, covariances, moved, optimize=True)
    logs = -(fit + log_size + np.linalg.slogdet(precision)[1]) / 2
    weights = np.exp(logs - logs.max()) * np.outer(prior_off, prior_apart).ravel()
    likelihoods = np.log(np.maximum(weights.sum(axis=1), 1e-300))
    return _Mixture(
        weights / weights.sum(), likelihoods, centres, covariances, np.hypot(training, misfit), training
    )


def _curve(n: Array, values: Array, mixture: _Mixture, sign: float, alpha: float) -> Curve:
    best = int(np.argmax(mixture.likelihoods))
    allowed = EXPONENTS[mixture.likelihoods >= mixture.likelihoods[best] - _DROP]
    exponent, span = float(EXPONENTS[best]), (float(allowed.min()), float(allowed.max()))
    inside = mixture.weights[best] / mixture.weights[best].sum()
    level, slope = (float((inside * mixture.centres[best][:, part]).sum()) for part in (0, 1))
    parts = mixture.parts(0.0, _shape(2.0), training=False)
    ends = sorted(sign * parts.quantile(p) for p in (alpha / 2, 1 - alpha / 2))
    reason = None
    if span[0] <= EXPONENTS[0]:
        reason = "the exponent's interval holds 0: the sizes do not tell a limit from growth without end"
    elif span[1] >= EXPONENTS[-1]:
        reason = (
            f"the exponent's interval reaches {EXPONENTS[-1]:g}, the steepest tried: the sizes do not tell it"
        )
    sizes = sorted(set(n.tolist()))
    return Curve(
        sizes=tuple(sizes),
        values=tuple(float(values[n == size].mean()) for size in sizes),
        limit=level + slope / exponent if exponent > 0 else None,
        scale=-slope / exponent * float(n.max()) ** exponent if exponent > 0 else None,
        exponent=exponent,
        exponent_interval=span,
        slope=sign * parts.mean(),
        slope_interval=(ends[0], ends[1]),
        spread=float((mixture.weights * mixture.training).sum()),
        identifiable=reason is None,
        reason=f"not identifiable: {reason}" if reason else None,
        alpha=alpha,
        _mixture=mixture,
        _sign=sign,
    )
