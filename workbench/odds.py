"""What stands beside a verdict: odds of being best, and the smallest effect that the test could show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from metrics import bootstrap_values, smallest_detectable_effect
from metrics.types import row_mean

from .difference import compare
from .evidence import Evidence
from .experiment import Experiment
from .runs import Run

# Planning assumes that two contenders disagree on a fifth of the samples.
PLANNED_DISCORDANT = 0.2
# An effect lies this many standard errors beyond an interval's half width to be shown in 80 of 100 cases.
SHOWN_IN_80 = NormalDist().inv_cdf(0.8)


def odds_of_best(evidence: Sequence[Evidence], experiment: Experiment) -> dict[str, dict[str, float]]:
    """For each contender the share of common resamples in which it is best, and its mean regret."""
    usable = [e for e in evidence if e.summary.score is not None]
    higher = experiment.metric(experiment.primary).higher_is_better
    return _odds(tuple(usable), experiment.data.split.seed, higher)


@lru_cache(maxsize=16)
def _odds(usable: tuple[Evidence, ...], seed: int, higher: bool) -> dict[str, dict[str, float]]:
    """The same whatever margins and prices are tried."""
    if (
        len(usable) < 2
        or any(e.ids != usable[0].ids for e in usable)
        or len({e.rows.signature for e in usable}) > 1
    ):
        return {}
    if not np.logical_and.reduce([e.rows.scored for e in usable]).any():
        return {}
    if _groups(usable[0]) == [len(usable[0].ids)]:
        return {}  # every resample would hold the same one group
    values = bootstrap_values([e.rows for e in usable], groups=usable[0].groups, seed=seed)
    if not np.isfinite(values).all():
        return {}
    if not higher:
        values = -values
    best = values.max(axis=1, keepdims=True)
    wins = values == best
    probability = (wins / wins.sum(axis=1, keepdims=True)).mean(axis=0)
    regret = (best - values).mean(axis=0)
    return {
        e.name: {"probability_best": float(p), "expected_regret": float(r)}
        for e, p, r in zip(usable, probability, regret, strict=True)
    }


def smallest_effect(
    run: Run, experiment: Experiment, tuned: Evidence | None, others: Sequence[Evidence]
) -> float | None:
    """The smallest gain that 80 of 100 test splits of this size would show, against none.

    From the interval of the tuned contender against the best other one (`others` has the best first); before
    anything tuned was scored, from an assumed disagreement. Only for metrics that average samples on 0–1.
    """
    scored = [*([tuned] if tuned else []), *others]
    n = len(scored[0].ids) if scored else len(run.samples())
    alpha = experiment.decision.alpha
    if n < 2 or experiment.metric(experiment.primary).scale != "0-1":
        return None
    compared = compare(tuned, others[0], experiment) if tuned is not None and others else None
    if compared is None or tuned is None or tuned.rows.reduce is not row_mean:
        sizes = _groups(scored[0]) if scored else None
        return smallest_detectable_effect(n, discordant=PLANNED_DISCORDANT, alpha=alpha, groups=sizes)
    if compared.interval is None:
        return None
    half = (compared.interval[1] - compared.interval[0]) / 2
    return half * (1 + SHOWN_IN_80 / NormalDist().inv_cdf(1 - alpha / 2))


def _groups(e: Evidence) -> list[int] | None:
    """The sizes of the groups; None where samples are independent."""
    if all(group is None for group in e.groups):
        return None
    return list(Counter(group if group is not None else i for i, group in enumerate(e.groups)).values())
