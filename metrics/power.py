"""What could a test split of n samples detect? For planning; after the run the interval speaks.

Two answers: the closed formula of a Wald test, quick and without the alternatives, and a simulation of
the very rule that decides (the interval's lower end above the margin, against every alternative).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from .intervals import effective_groups, grouped_score, jackknife_variance, normal_quantile, paired_score
from .types import Array

# Samples of one customer or document agree this much, unless the data say otherwise.
PLANNED_ICC = 0.1
WORLDS = 2000
LARGEST_TEST = 200_000
# Gains over several alternatives share the contender: half of their variance, where all are alike.
_SHARED = 0.5


def smallest_detectable_effect(
    n: int,
    *,
    discordant: float = 0.2,
    margin: float = 0.0,
    alpha: float = 0.05,
    power: float = 0.8,
    groups: Sequence[int] | None = None,
    icc: float = PLANNED_ICC,
) -> float:
    """Return the smallest true gain in a 0/1 metric that n paired samples show to exceed `margin`.

    `discordant` is the share of samples on which the two contenders differ. Two-sided Wald test with the
    alternative's variance, (discordant − d²) ÷ n. A gain cannot exceed the discordance: where it would
    have to, the answer is for as much discordance as the gain itself needs. With `groups` (sizes as they
    come, for n samples or a larger set of them) n counts only as n ÷ design effect, where differences in
    a group correlate by `icc` (Kish), and the tail is Student's over the effective number of groups.
    """
    _check(n, margin, alpha, power)
    if not (0 < discordant <= 1 and margin < 1):
        raise ValueError(f"discordant={discordant} and margin={margin} are shares of the samples, up to 1")
    size, tail = _worth(n, groups, icc, alpha)
    c = (tail + normal_quantile(power)) ** 2
    # Roots of n(d − m)² = c(discordant − d²), and of n(d − m)² = c(d − d²) where all discordance is gain.
    inner = c * (discordant * (size + c) - size * margin**2)
    effect = (size * margin + math.sqrt(inner)) / (size + c) if inner >= 0 else math.inf
    if effect <= discordant:
        return effect
    half = size * margin + c / 2
    return (half + math.sqrt(half**2 - (size + c) * size * margin**2)) / (size + c)


def smallest_detectable_effect_from_sd(
    n: int,
    sd: float,
    *,
    margin: float = 0.0,
    alpha: float = 0.05,
    power: float = 0.8,
    groups: Sequence[int] | None = None,
    icc: float = PLANNED_ICC,
) -> float:
    """Return the smallest true gain that n paired samples show to exceed `margin`, from the differences' sd.

    `groups` and `icc` as in `smallest_detectable_effect`.
    """
    _check(n, margin, alpha, power)
    _check_sd(sd)
    size, tail = _worth(n, groups, icc, alpha)
    return margin + (tail + normal_quantile(power)) * sd / math.sqrt(size)


def power_under_rule(
    n: int,
    gain: float | Sequence[float],
    *,
    margin: float = 0.0,
    discordant: float = 0.2,
    sd: float | None = None,
    groups: Sequence[int] | None = None,
    icc: float = PLANNED_ICC,
    alpha: float = 0.05,
    worlds: int = WORLDS,
    seed: int = 0,
) -> float:
    """Return how often the verdict "better by more than the margin than every alternative" would be reached.

    `gain` is the true gain, one for each alternative. Scores are 0 or 1 with a share `discordant` of
    samples on which two contenders differ (at least the gain), or numbers whose differences have `sd`.
    `groups` are the sizes of the groups of the n samples, in which differences correlate by `icc`. The
    interval is that of `compare_paired`; `worlds` test sets are drawn (none for ungrouped numbers, whose
    power has a formula). ValueError for what is no size, share or spread.
    """
    gains = [gain] if isinstance(gain, int | float) else list(gain)
    _check(n, margin, alpha, 0.8)
    if not gains or not all(-1 < one <= 1 or (sd is not None and math.isfinite(one)) for one in gains):
        raise ValueError(f"gain={gain}: give the true gain over each alternative, a share for 0/1 scores")
    sizes = _sizes(n, groups, icc)
    if sizes is not None and len(sizes) < 2:
        return 0.0
    single = {
        one: _power(n, one, margin, discordant, sd, sizes, icc, alpha, worlds, seed) for one in set(gains)
    }
    return single[gains[0]] if len(gains) == 1 else _jointly([single[one] for one in gains])


def smallest_gain_under_rule(
    n: int,
    *,
    alternatives: int = 1,
    margin: float = 0.0,
    discordant: float = 0.2,
    sd: float | None = None,
    groups: Sequence[int] | None = None,
    icc: float = PLANNED_ICC,
    alpha: float = 0.05,
    power: float = 0.8,
    worlds: int = WORLDS,
    seed: int = 0,
) -> float | None:
    """Return the smallest true gain over every alternative that `power_under_rule` finds often enough.

    None where no gain would be found: in a 0/1 metric of too few samples.
    """
    _check(n, margin, alpha, power)

    def reached(gain: float) -> float:
        return power_under_rule(
            n, [gain] * alternatives, margin=margin, discordant=discordant, sd=sd, groups=groups, icc=icc,
            alpha=alpha, worlds=worlds, seed=seed,
        )  # fmt: skip

    start = (
        smallest_detectable_effect(
            n, discordant=discordant, margin=margin, alpha=alpha, power=power, groups=groups, icc=icc
        )
        if sd is None
        else smallest_detectable_effect_from_sd(
            n, sd, margin=margin, alpha=alpha, power=power, groups=groups, icc=icc
        )
    )
    return _crossing(reached, power, margin, start, math.inf if sd is not None else 1.0)


def test_size_for(
    gain: float,
    *,
    alternatives: int = 1,
    margin: float = 0.0,
    discordant: float = 0.2,
    sd: float | None = None,
    groups: Sequence[int] | None = None,
    icc: float = PLANNED_ICC,
    alpha: float = 0.05,
    power: float = 0.8,
    worlds: int = WORLDS,
    seed: int = 0,
) -> int | None:
    """Return how many test samples find a true gain over every alternative under the deciding rule.

    `groups` are sizes as they come, of which more are drawn alike. None where not even 200,000 samples
    would do: the gain lies at the margin.
    """
    if not gain > margin:
        return None

    def effect(n: float) -> float:
        if sd is None:
            return smallest_detectable_effect(
                round(n),
                discordant=discordant,
                margin=margin,
                alpha=alpha,
                power=power,
                groups=groups,
                icc=icc,
            )
        return smallest_detectable_effect_from_sd(
            round(n), sd, margin=margin, alpha=alpha, power=power, groups=groups, icc=icc
        )

    def reached(n: float) -> float:
        return power_under_rule(
            round(n), [gain] * alternatives, margin=margin, discordant=discordant, sd=sd, icc=icc, alpha=alpha,
            groups=None if groups is None else _scaled(round(n), groups), worlds=worlds, seed=seed,
        )  # fmt: skip

    # The formula says where to look, the simulation where it is.
    planned = _bisected(lambda n: effect(n) <= gain, 2.0, 2.0 * LARGEST_TEST)
    low, high = planned / 2, planned
    while high <= LARGEST_TEST and reached(high) < power:
        low, high = high, high * 1.3
    return None if high > LARGEST_TEST else round(_bisected(lambda n: reached(n) >= power, low, high))


test_size_for.__test__ = False  # type: ignore[attr-defined]  # no test, though its name begins like one


def _worth(n: int, groups: Sequence[int] | None, icc: float, alpha: float) -> tuple[float, float]:
    """Return what n samples are worth in independent ones, and the tail of the test."""
    if groups is None:
        return n, normal_quantile(1 - alpha / 2)
    from scipy.special import stdtrit

    sizes = _checked(groups, icc)
    typical = float((sizes**2).sum() / sizes.sum())  # the size of the group that a sample is in
    effect = 1 + (min(typical, n) - 1) * icc
    degrees = max(n / typical, 2.0) - 1
    return n / effect, float(stdtrit(degrees, 1 - alpha / 2))


def _checked(groups: Sequence[int], icc: float) -> Array:
    sizes = np.asarray(groups, dtype=np.float64)
    if sizes.ndim != 1 or not len(sizes) or not (sizes >= 1).all() or not 0 <= icc < 1:
        raise ValueError(f"groups are the sizes of groups, from 1, and icc={icc} lies in [0, 1)")
    return sizes


def _sizes(n: int, groups: Sequence[int] | None, icc: float) -> Array | None:
    if groups is None:
        return None
    sizes = _checked(groups, icc)
    if sizes.sum() != n:
        raise ValueError(f"groups hold {sizes.sum():g} samples, not n={n}: give the size of each group")
    return None if (sizes == 1).all() else sizes


def _scaled(n: int, groups: Sequence[int]) -> list[int]:
    """Return sizes like these that add up to n, drawn evenly from small and large ones."""
    pattern = np.sort(_checked(groups, 0.0))
    many = max(2, round(n / float(pattern.mean())))
    drawn = pattern[((np.arange(many) + 0.5) * len(pattern) / many).astype(int)]
    sizes = np.maximum(1, np.floor(drawn * n / drawn.sum()))
    while sizes.sum() > n:
        sizes[int(np.argmax(sizes))] -= 1
    sizes[: int(n - sizes.sum()) % len(sizes)] += 1
    sizes[-1] += n - sizes.sum()
    return [int(size) for size in sizes]


def _power(
    n: int, gain: float, margin: float, discordant: float, sd: float | None, sizes: Array | None,
    icc: float, alpha: float, worlds: int, seed: int,
) -> float:  # fmt: skip
    """Return the share of drawn test sets in which the gain over one alternative is shown."""
    rng = np.random.default_rng(seed)
    if sd is not None:
        _check_sd(sd)
        return _numbers(n, gain, margin, sd, sizes, icc, alpha, worlds, rng)
    share = max(discordant, abs(gain))
    if not 0 < share <= 1:
        raise ValueError(f"discordant={discordant} is a share of the samples, up to 1")
    shares = (share + gain) / 2, (share - gain) / 2
    if sizes is None:
        gained = rng.binomial(n, shares[0], worlds).astype(np.float64)
        lost = rng.binomial(
            (n - gained).astype(np.int64), min(1.0, shares[1] / (1 - shares[0])) if shares[0] < 1 else 0.0
        ).astype(np.float64)
        low, _ = paired_score(gained, lost, n, alpha)
        return float((low > margin).mean())
    gained, lost = _grouped_counts(shares, sizes, icc, worlds, rng)
    low, _ = grouped_score(gained, lost, np.broadcast_to(sizes, gained.shape), alpha)
    return float((low > margin).mean())


def _grouped_counts(
    shares: tuple[float, float], sizes: Array, icc: float, worlds: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Draw gained and lost of every group, `[worlds, groups]`: shares vary between groups as Dirichlet."""
    weight = (1 - icc) / max(icc, 1e-6)
    means = np.array([*shares, 1 - sum(shares)]) * weight
    drawn = rng.gamma(np.maximum(means, 1e-9)[:, None, None], size=(3, worlds, len(sizes)))
    drawn /= np.maximum(drawn.sum(axis=0), 1e-300)
    counts = np.broadcast_to(sizes, drawn.shape[1:]).astype(np.int64)
    gained = rng.binomial(counts, np.minimum(drawn[0], 1.0))
    left = np.maximum(1 - drawn[0], 1e-300)
    lost = rng.binomial(counts - gained, np.minimum(drawn[1] / left, 1.0))
    return gained.astype(np.float64), lost.astype(np.float64)


def _numbers(
    n: int, gain: float, margin: float, sd: float, sizes: Array | None, icc: float, alpha: float,
    worlds: int, rng: np.random.Generator,
) -> float:  # fmt: skip
    from scipy.special import nctdtr, stdtrit

    if sd == 0 or n < 2:
        return float(gain > margin and n > 1)
    if sizes is None:
        tail = float(stdtrit(n - 1, 1 - alpha / 2))
        return 1 - float(nctdtr(n - 1, (gain - margin) * math.sqrt(n) / sd, tail))
    shape = (worlds, len(sizes))
    common = gain + sd * math.sqrt(icc) * rng.standard_normal(shape)
    sums = common * sizes + sd * np.sqrt((1 - icc) * sizes) * rng.standard_normal(shape)
    totals = sums.sum(axis=1)
    left_out = (totals[:, None] - sums) / (sizes.sum() - sizes)
    tail = float(stdtrit(float(effective_groups(sizes)) - 1, 1 - alpha / 2))
    return float((totals / sizes.sum() - tail * np.sqrt(jackknife_variance(left_out)) > margin).mean())


def _jointly(powers: list[float]) -> float:
    """Return how often all are shown at once, their statistics correlated by a half (Gaussian copula)."""
    from scipy.special import ndtr, ndtri

    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    bars = ndtri(np.clip(powers, 1e-12, 1 - 1e-12))
    given = ndtr((bars[:, None] + math.sqrt(_SHARED) * nodes) / math.sqrt(1 - _SHARED))
    return float(given.prod(axis=0) @ weights / weights.sum())


def _bisected(enough: Callable[[float], bool], low: float, high: float) -> float:
    """Return the smallest number that is enough, to 1 %; `high` where none below it is."""
    while high / low > 1.01:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _crossing(
    reached: Callable[[float], float], power: float, low: float, start: float, top: float
) -> float | None:
    """Return where a growing power crosses the asked one, from below; None where it never does."""
    high = min(start, top)
    while reached(high) < power:
        if high >= top:
            return None
        low, high = high, min(low + 1.5 * (high - low) + 1e-6, top)
    for _ in range(9):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) >= power else (middle, high)
    return (low + high) / 2


def _check_sd(sd: float) -> None:
    if not (math.isfinite(sd) and sd >= 0):
        raise ValueError(f"sd={sd} is not the standard deviation of differences: finite and not negative")


def _check(n: int, margin: float, alpha: float, power: float) -> None:
    if not n >= 1 or not 0 <= margin < math.inf or not 0 < alpha < 1 or not 0.5 <= power < 1:
        raise ValueError(
            f"n={n}, margin={margin}, alpha={alpha}, power={power}: n is at least 1, the margin not negative, "
            "alpha in (0, 1), power in [0.5, 1)"
        )
