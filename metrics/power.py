"""What could a test split of n samples detect? For planning; after the run the interval speaks."""

from __future__ import annotations

import math

from .intervals import normal_quantile


def smallest_detectable_effect(
    n: int, *, discordant: float = 0.2, margin: float = 0.0, alpha: float = 0.05, power: float = 0.8
) -> float:
    """Return the smallest true gain in a 0/1 metric that n paired samples show to exceed `margin`.

    `discordant` is the share of samples on which the two contenders differ. Two-sided Wald test with the
    alternative's variance, (discordant − d²) ÷ n. A gain cannot exceed the discordance: where it would
    have to, the answer is for as much discordance as the gain itself needs.
    """
    _check(n, margin, alpha, power)
    if not (0 < discordant <= 1 and margin < 1):
        raise ValueError(f"discordant={discordant} and margin={margin} are shares of the samples, up to 1")
    c = (normal_quantile(1 - alpha / 2) + normal_quantile(power)) ** 2
    # Roots of n(d − m)² = c(discordant − d²), and of n(d − m)² = c(d − d²) where all discordance is gain.
    inner = c * (discordant * (n + c) - n * margin**2)
    effect = (n * margin + math.sqrt(inner)) / (n + c) if inner >= 0 else math.inf
    if effect <= discordant:
        return effect
    half = n * margin + c / 2
    return (half + math.sqrt(half**2 - (n + c) * n * margin**2)) / (n + c)


def smallest_detectable_effect_from_sd(
    n: int, sd: float, *, margin: float = 0.0, alpha: float = 0.05, power: float = 0.8
) -> float:
    """Return the smallest true gain that n paired samples show to exceed `margin`, from the differences' sd."""
    _check(n, margin, alpha, power)
    if not (math.isfinite(sd) and sd >= 0):
        raise ValueError(f"sd={sd} is not the standard deviation of differences: finite and not negative")
    return margin + (normal_quantile(1 - alpha / 2) + normal_quantile(power)) * sd / math.sqrt(n)


def _check(n: int, margin: float, alpha: float, power: float) -> None:
    if n < 1 or margin < 0 or not 0 < alpha < 1 or not 0.5 <= power < 1:
        raise ValueError(
            f"n={n}, margin={margin}, alpha={alpha}, power={power}: n is at least 1, the margin not negative, "
            "alpha in (0, 1), power in [0.5, 1)"
        )
