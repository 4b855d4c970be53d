"""What stands beside a verdict: odds of being best, and the smallest effect that the test could show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metrics import bootstrap_values, smallest_detectable_effect, smallest_detectable_effect_from_sd

from .evidence import Evidence
from .experiment import Experiment
from .runs import Run

# Planning assumes that two contenders disagree on a fifth of the samples.
PLANNED_DISCORDANT = 0.2


def odds_of_best(evidence: Sequence[Evidence], experiment: Experiment) -> dict[str, dict[str, float]]:
    """For each contender the share of common resamples in which it is best, and its mean regret."""
    usable = [e for e in evidence if e.summary.score is not None]
    if (
        len(usable) < 2
        or len({tuple(e.ids) for e in usable}) > 1
        or len({e.rows.signature for e in usable}) > 1
    ):
        return {}
    if not np.logical_and.reduce([e.rows.scored for e in usable]).any():
        return {}
    values = bootstrap_values(
        [e.rows for e in usable], groups=usable[0].groups, seed=experiment.data.split.seed
    )
    if not np.isfinite(values).all():
        return {}
    if not experiment.metric(experiment.primary).higher_is_better:
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

    From the disagreement that was seen between the tuned contender and the best other one (`others`
    has the best first); before
    anything tuned was scored, from an assumed one. Only for metrics that average samples on 0–1.
    """
    scored = [*([tuned] if tuned else []), *others]
    n = len(scored[0].ids) if scored else len(run.samples())
    alpha = experiment.decision.alpha
    if n < 2 or experiment.metric(experiment.primary).scale != "0-1":
        return None
    other = others[0] if others else None
    if tuned is None or other is None or tuned.ids != other.ids or tuned.rows.stats.shape[1] > 1:
        return smallest_detectable_effect(n, discordant=PLANNED_DISCORDANT, alpha=alpha)
    both = tuned.rows.scored & other.rows.scored
    difference = (tuned.rows.stats - other.rows.stats)[both, 0]
    if len(difference) < 2 or not difference.any():
        return smallest_detectable_effect(n, discordant=PLANNED_DISCORDANT, alpha=alpha)
    return smallest_detectable_effect_from_sd(len(difference), float(difference.std(ddof=1)), alpha=alpha)
