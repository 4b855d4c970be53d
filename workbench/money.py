"""What tuning costs, what it saves or earns, and after how many months it has paid back.

Everything is measured where it can be: USD of every test answer (tokens at today's prices, or a local
model's seconds), seconds of training, the difference in quality. The spread comes from resampling the test
samples (or their groups), costs and quality of both contenders on the same draws.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from metrics import Rows, bootstrap_values
from metrics.types import Array, row_mean

from .difference import comparable
from .evidence import HOURS_PER_MONTH, Evidence, pooled_seeds
from .experiment import Experiment
from .sections import Decision

# How sure it must be that tuning is the cheaper way.
SURE = 0.9
# What people call a point of a metric; a whole unit on other scales.
POINTS = {"0-1": 0.01, "0-100": 1.0}
COST_OF_ERROR = "cost_of_error"


@dataclass(frozen=True, slots=True)
class Money:
    """USD of tuning against one alternative; None where a price is unknown.

    `fixed` is spent once: data, labour, every training, the evaluation. `saving_per_month` is what requests
    get cheaper by, less hosting; `value_per_month` what the difference in quality is worth, None where
    nothing says. `payback_months` None with `saving_per_month` known means: never; so does an end of
    `payback_interval` that is None. `payback_probability` is that of paying back inside the horizon,
    `cheaper_probability` the same from costs alone. `usd_per_point` is what a point of the primary metric
    costs a month where tuning never pays back.
    """

    fixed: float
    training: float
    evaluation: float
    hosting_per_month: float
    saving_per_month: float | None = None
    value_per_month: float | None = None
    payback_months: float | None = None
    payback_interval: tuple[float | None, float | None] | None = None
    payback_probability: float | None = None
    cheaper_probability: float | None = None
    usd_per_point: float | None = None

    def as_dict(self, decision: Decision) -> dict[str, float | None]:
        """As verdict.json stores it."""
        low, high = self.payback_interval or (None, None)
        return {
            "fixed_usd": self.fixed,
            "training_usd": self.training,
            "evaluation_usd": self.evaluation,
            "hosting_usd_per_month": self.hosting_per_month,
            "saving_usd_per_month": self.saving_per_month,
            "value_usd_per_month": self.value_per_month,
            "cheaper_probability": self.cheaper_probability,
            "payback_probability": self.payback_probability,
            "payback_months_low": low,
            "payback_months_high": high,
            "requests_per_month": decision.requests_per_month,
            "horizon_months": decision.horizon_months,
        }


@dataclass(frozen=True, slots=True)
class _Worth:
    """A metric whose unit is worth money: USD a month for each unit that the tuned contender lies higher."""

    metric: str
    usd_per_unit: float


def money(tuned: Evidence, other: Evidence, experiment: Experiment) -> Money:
    """Compare the costs of two contenders, and what their quality is worth, over the decision's horizon."""
    decision = experiment.decision
    training, evaluation = _training(tuned, decision), _evaluation(tuned)
    fixed = decision.costs.data_usd + decision.costs.labour_usd + training + evaluation
    hosting = _hosting(tuned, decision) * HOURS_PER_MONTH
    worth = _worth(tuned, other, experiment)
    value = None if worth is None else worth.usd_per_unit * _gap(tuned, other, worth.metric)
    if tuned.usd is None or other.usd is None:
        return Money(fixed, training, evaluation, hosting, value_per_month=value)
    saving = decision.requests_per_month * (_mean_usd(other) - _mean_usd(tuned)) - hosting
    savings, values = _spread(tuned, other, worth, experiment, hosting)
    paybacks = _payback(fixed, savings + values)
    net = saving + (value or 0.0)
    return Money(
        fixed=fixed,
        training=training,
        evaluation=evaluation,
        hosting_per_month=hosting,
        saving_per_month=saving,
        value_per_month=value,
        payback_months=fixed / net if net > 0 else None,
        payback_interval=_interval(paybacks, decision.alpha),
        payback_probability=float(np.mean(paybacks <= decision.horizon_months)) if len(paybacks) else None,
        cheaper_probability=(
            float(np.mean(savings * decision.horizon_months > fixed)) if len(savings) else None
        ),
        usd_per_point=None if net > 0 else _per_point(tuned, other, experiment, fixed, saving),
    )


def surely_cheaper(bills: Iterable[Money]) -> bool:
    """Whether tuning costs less than every alternative over the horizon; not where a price is unknown."""
    return all((bill.cheaper_probability or 0.0) >= SURE for bill in bills)


def break_even(
    tuned: Evidence, other: Evidence, experiment: Experiment, volumes: Iterable[float]
) -> list[dict[str, float]]:
    """What tuning has brought by the horizon's end at each volume (requests a month), USD: `net`, and its interval.

    Rows of `volume`, `net`, `low` and `high`; empty where a price is unknown or nothing can be paired.
    """
    decision = experiment.decision
    found = []
    for volume in volumes:
        at = decision.model_copy(update={"requests_per_month": volume})
        tried = experiment.model_copy(update={"decision": at})
        bill = money(tuned, other, tried)
        if bill.saving_per_month is None:
            return []
        savings, values = _spread(tuned, other, _worth(tuned, other, tried), tried, bill.hosting_per_month)
        if not len(savings):
            return []
        monthly = bill.saving_per_month + (bill.value_per_month or 0.0)
        ends = np.quantile(savings + values, [decision.alpha / 2, 1 - decision.alpha / 2])
        net, low, high = (float(decision.horizon_months * m - bill.fixed) for m in (monthly, *ends))
        found.append({"volume": float(volume), "net": net, "low": low, "high": high})
    return found


def cost_interval(e: Evidence, experiment: Experiment) -> tuple[float, float] | None:
    """The interval of USD per 1,000 requests, by resampling the samples (or their groups); None without prices."""
    if e.usd is None:
        return None
    return _cost_interval(e, experiment.data.split.seed, experiment.decision.alpha)


@lru_cache(maxsize=64)
def _cost_interval(e: Evidence, seed: int, alpha: float) -> tuple[float, float]:
    drawn = bootstrap_values([_costs(e)], groups=e.groups, seed=seed)[:, 0]
    low, high = np.quantile(1000 * drawn[np.isfinite(drawn)], [alpha / 2, 1 - alpha / 2])
    return float(low), float(high)


# -- what is spent once --------------------------------------------------------------------------------


def _training(tuned: Evidence, decision: Decision) -> float:
    """USD of every training: all seeds, all folds, here or at a provider."""
    return tuned.training_usd + tuned.training_seconds * decision.costs.gpu_usd_per_hour / 3600


def _hosting(tuned: Evidence, decision: Decision) -> float:
    """USD an hour: as the experiment says, else the provider's fee."""
    costs = decision.costs
    named = "hosting_usd_per_hour" in costs.model_fields_set
    return costs.hosting_usd_per_hour if named else tuned.hosting_usd_per_hour


@lru_cache(maxsize=64)
def _mean_usd(e: Evidence) -> float:
    return float(np.mean(e.usd or ()))


@lru_cache(maxsize=64)
def _evaluation(tuned: Evidence) -> float:
    """USD of the tuned contender's test answers, seed by seed alike, and of the judge that rated them."""
    scores = tuned.seed_scores or (tuned.scores,)
    judged = sum(((one.get("judge") or {}).get("usd") or 0.0) for one in scores)
    return float(len(scores) * sum(tuned.usd or ()) + judged)


# -- what quality is worth -----------------------------------------------------------------------------


def _worth(tuned: Evidence, other: Evidence, experiment: Experiment) -> _Worth | None:
    """By `decision.value_per_point` of the primary metric, else by the cost of errors where it was measured."""
    decision = experiment.decision
    if decision.value_per_point is not None:
        name = experiment.primary
        unit = decision.value_per_point / _point(experiment)
        usd = unit if experiment.metric(name).higher_is_better else -unit
    elif COST_OF_ERROR in experiment.metric_names:
        name, usd = COST_OF_ERROR, -decision.requests_per_month
    else:
        return None
    if any(name not in e.scores["metrics"] for e in (tuned, other)) or not comparable(tuned, other, name):
        return None
    return _Worth(name, usd)


def _point(experiment: Experiment) -> float:
    return POINTS.get(experiment.metric(experiment.primary).scale, 1.0)


@lru_cache(maxsize=64)
def _gap(tuned: Evidence, other: Evidence, metric: str) -> float:
    """The difference on the samples that both were scored on, in the metric's own direction."""
    mine, theirs = (pooled_seeds(e.of_seeds(metric)) for e in (tuned, other))
    both = mine.scored & theirs.scored
    after, before = (rows.reduce(rows.stats[both].mean(axis=0)) for rows in (mine, theirs))
    return float(after - before)


def _per_point(
    tuned: Evidence, other: Evidence, experiment: Experiment, fixed: float, saving: float
) -> float | None:
    """USD a month for each point gained; None where nothing was gained, or nothing is lost by it."""
    if not comparable(tuned, other, experiment.primary):
        return None
    gap = _gap(tuned, other, experiment.primary)
    points = (gap if experiment.metric(experiment.primary).higher_is_better else -gap) / _point(experiment)
    spent = fixed / experiment.decision.horizon_months - saving
    return spent / points if points > 0 and spent > 0 else None


# -- how sure that is ----------------------------------------------------------------------------------


def _spread(
    tuned: Evidence, other: Evidence, worth: _Worth | None, experiment: Experiment, hosting: float
) -> tuple[Array, Array]:
    """Draws of the saving and of the value a month, on common resamples; empty where nothing can be paired."""
    drawn = _draws(tuned, other, worth.metric if worth else None, experiment.data.split.seed)
    savings = experiment.decision.requests_per_month * (drawn[:, 1] - drawn[:, 0]) - hosting
    values = worth.usd_per_unit * (drawn[:, 2] - drawn[:, 3]) if worth else np.zeros(len(drawn))
    return savings, values


@lru_cache(maxsize=64)
def _draws(tuned: Evidence, other: Evidence, metric: str | None, seed: int) -> Array:
    """Resampled USD a request of both, and both values of a metric: the same whatever prices are tried."""
    rows = [_costs(tuned), _costs(other)]
    if metric is not None:
        rows += [pooled_seeds(e.of_seeds(metric)) for e in (tuned, other)]
    if tuned.ids != other.ids or not np.logical_and.reduce([one.scored for one in rows]).any():
        return np.empty((0, len(rows)))
    drawn = bootstrap_values(rows, groups=tuned.groups, seed=seed)
    usable: Array = drawn[np.isfinite(drawn).all(axis=1)]
    return usable


def _costs(e: Evidence) -> Rows:
    """USD of each sample as rows; failed answers have none."""
    answered = np.array([p.error is None for p in e.predictions], dtype=bool)
    stats = np.zeros((len(answered), 1))
    stats[answered, 0] = e.usd
    return Rows(stats, answered, row_mean, ("usd",), "usd")


def _payback(fixed: float, net: Array) -> Array:
    """Months until `fixed` is earned back at `net` USD a month; infinite where that is never."""
    months = np.full(len(net), math.inf)
    np.divide(fixed, net, out=months, where=net > 0)
    return months


def _interval(paybacks: Array, alpha: float) -> tuple[float | None, float | None] | None:
    if not len(paybacks):
        return None
    # No interpolation: between a number and infinity there is none.
    ends = np.quantile(paybacks, [alpha / 2, 1 - alpha / 2], method="inverted_cdf")
    low, high = (float(end) if math.isfinite(end) else None for end in ends)
    return low, high
