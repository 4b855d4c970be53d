"""What stands beside a verdict: odds of being best, the smallest effect the test could show, caveats."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metrics import METRICS, bootstrap_values, smallest_detectable_effect, smallest_detectable_effect_from_sd

from .evidence import Evidence
from .experiment import Experiment
from .gates import CUT_SHARE, blocking
from .runs import Run

# Planning assumes that two contenders disagree on a fifth of the samples.
PLANNED_DISCORDANT = 0.2
FEW_SAMPLES = 50


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
    if not METRICS[experiment.primary].higher_is_better:
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
    if n < 2 or METRICS[experiment.primary].scale != "0-1":
        return None
    other = others[0] if others else None
    if tuned is None or other is None or tuned.ids != other.ids or tuned.rows.stats.shape[1] > 1:
        return smallest_detectable_effect(n, discordant=PLANNED_DISCORDANT, alpha=alpha)
    both = tuned.rows.scored & other.rows.scored
    difference = (tuned.rows.stats - other.rows.stats)[both, 0]
    if len(difference) < 2 or not difference.any():
        return smallest_detectable_effect(n, discordant=PLANNED_DISCORDANT, alpha=alpha)
    return smallest_detectable_effect_from_sd(len(difference), float(difference.std(ddof=1)), alpha=alpha)


def caveats(
    run: Run, experiment: Experiment, evidence: Sequence[Evidence], racing: Sequence[Evidence]
) -> tuple[str, ...]:
    """What a sceptic should know before acting on the verdict; `racing` are those still served."""
    said = []
    tuned = [e for e in evidence if e.tuned]
    if any(e.info.get("training") for e in tuned):
        said.append("one training seed")
    silent = [e.name for e in tuned if (e.info.get("dev") or {}).get("metric") != experiment.primary]
    if len(tuned) > 1 and len(silent) == len(tuned):
        said.append("several tuned contenders and no dev score: the first was judged")
    elif len(tuned) > 1 and silent:
        said.append(f"no dev score, so not judged: {', '.join(silent)}")
    said += [f"{e.name} left the race: its model is served no more" for e in evidence if e not in racing]
    if evidence and len(evidence[0].ids) < FEW_SAMPLES:
        said.append(f"only {len(evidence[0].ids)} test samples")
    for e in evidence:
        if e.summary.errors:
            said.append(f"{e.summary.errors} answers of {e.name} failed and are not scored")
        cut = sum(p.finish_reason == "length" for p in e.predictions)
        if cut > CUT_SHARE * len(e.ids):
            said.append(f"{cut} of {len(e.ids)} answers of {e.name} ran into the token limit")
    missing = [c.name for c in experiment.contenders if c.name not in {e.name for e in evidence}]
    if missing:
        said.append(f"not scored: {', '.join(missing)}")
    others = [
        f for f in run.findings() if f["severity"] == "error" and not blocking(f["code"], f["severity"])
    ]
    if others:
        codes = ", ".join(sorted({f["code"] for f in others}))
        said.append(f"{len(others)} other lint errors ({codes})")
    if evidence and all(e.summary.usd_per_1000 is None for e in evidence):
        said.append("costs are unknown: set decision.costs.gpu_usd_per_hour or a backend's price")
    return tuple(said)
