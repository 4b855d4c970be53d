"""What tuning costs, what it saves, and after how many months it has paid back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .evidence import HOURS_PER_MONTH, Evidence
from .experiment import Decision

RESAMPLES = 2000
# How sure it must be that tuning is the cheaper way.
SURE = 0.9


@dataclass(frozen=True, slots=True)
class Money:
    """USD of tuning against one alternative; None where a price is unknown.

    `payback_months` None with `saving_per_month` known means: never.
    """

    fixed: float
    hosting_per_month: float
    saving_per_month: float | None
    payback_months: float | None
    cheaper_probability: float | None

    def as_dict(self, decision: Decision) -> dict[str, float | None]:
        """As verdict.json stores it."""
        return {
            "fixed_usd": self.fixed,
            "hosting_usd_per_month": self.hosting_per_month,
            "saving_usd_per_month": self.saving_per_month,
            "cheaper_probability": self.cheaper_probability,
            "requests_per_month": decision.requests_per_month,
        }


def money(tuned: Evidence, other: Evidence, decision: Decision, *, seed: int) -> Money:
    """Compare the costs of two contenders over the decision's horizon.

    The probability that the tuned one is cheaper comes from resampling the costs of single requests.
    """
    costs = decision.costs
    seconds = (tuned.info.get("training") or {}).get("seconds") or 0.0
    fixed = costs.data_usd + costs.labour_usd + seconds * costs.gpu_usd_per_hour / 3600
    hosting = costs.hosting_usd_per_hour * HOURS_PER_MONTH
    if tuned.usd is None or other.usd is None:
        return Money(fixed, hosting, None, None, None)
    rng = np.random.default_rng(seed)
    mean_tuned, mean_other = (_resampled_means(e.usd or [], rng) for e in (tuned, other))
    savings = decision.requests_per_month * (mean_other - mean_tuned) - hosting
    saving = decision.requests_per_month * float(np.mean(other.usd) - np.mean(tuned.usd)) - hosting
    return Money(
        fixed=fixed,
        hosting_per_month=hosting,
        saving_per_month=saving,
        payback_months=fixed / saving if saving > 0 else None,
        cheaper_probability=float(np.mean(savings * decision.horizon_months > fixed)),
    )


def surely_cheaper(bills: Iterable[Money]) -> bool:
    """Whether tuning costs less than every alternative over the horizon; not where a price is unknown."""
    return all((bill.cheaper_probability or 0.0) >= SURE for bill in bills)


def _resampled_means(values: list[float], rng: np.random.Generator) -> np.ndarray:
    weights = rng.multinomial(len(values), np.full(len(values), 1 / len(values)), size=RESAMPLES)
    means: np.ndarray = weights @ np.asarray(values) / len(values)
    return means
