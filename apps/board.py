"""What pages show of a run, derived from its folder by workbench and metrics; no Streamlit in here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from apps.reading import derived
from metrics import METRICS
from workbench.comparisons import comparison_now
from workbench.evidence import Evidence, gather, repriced
from workbench.experiment import Experiment, readable_experiment
from workbench.human import scores_now
from workbench.records import ContenderSummary, Difference
from workbench.runs import Run

experiment_of = derived(readable_experiment)


def alpha_of(run: Run) -> float:
    """How often an interval that decides may miss: paired gains, slices and costs have it; scores are at 95 %."""
    experiment = experiment_of(run)
    return 0.05 if experiment is None else experiment.decision.alpha


def level(run: Run) -> str:
    """The same as the level of those intervals, in words."""
    return f"{100 * (1 - alpha_of(run)):.4g} %"


@derived
def evidence_of(run: Run, usd_per_hour: float, *, diagnostic: bool = False) -> tuple[Evidence, ...]:
    """Every scored contender with its rows and answers, priced at this hour of the machine.

    The same objects as long as the files are the same: what was compared once is not compared again.
    """
    experiment = experiment_of(run)
    if experiment is None:
        return ()
    as_filed = _gathered(run, diagnostic)
    if usd_per_hour == experiment.decision.costs.gpu_usd_per_hour:
        return as_filed
    costs = experiment.decision.costs.model_copy(update={"gpu_usd_per_hour": usd_per_hour})
    decision = experiment.decision.model_copy(update={"costs": costs})
    tried = experiment.model_copy(update={"decision": decision})
    return tuple(repriced(e, tried) for e in as_filed)


@derived
def _gathered(run: Run, diagnostic: bool) -> tuple[Evidence, ...]:
    """At the file's own price; other prices share its answers and rows."""
    experiment = experiment_of(run)
    return () if experiment is None else tuple(gather(run, experiment, diagnostic=diagnostic))


def priced_evidence(run: Run, experiment: Experiment, *, diagnostic: bool = False) -> tuple[Evidence, ...]:
    """`evidence_of` at the price that an experiment names."""
    return evidence_of(run, experiment.decision.costs.gpu_usd_per_hour, diagnostic=diagnostic)


@derived
def heads(run: Run) -> dict[str, dict[str, Any]]:
    """scores.json of each scored contender without what it says of single samples; ratings as they stand now."""
    experiment = experiment_of(run)
    found: Iterable[tuple[str, Mapping[str, Any]]]
    if experiment is None:
        found = ((name, scores) for name in run.contenders() if (scores := run.scores(name)) is not None)
    else:
        found = scores_now(run, experiment)
    return {name: _head(scores) for name, scores in found}


def _head(scores: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "metrics": {
            metric: {key: value for key, value in score.items() if key != "rows"}
            for metric, score in scores["metrics"].items()
        },
        "operations": scores["operations"],
        "confusion": scores.get("confusion"),
    }


def metrics_of(run: Run) -> list[str]:
    """Metrics that any contender was scored by, the primary first where the verdict names one."""
    names = list(dict.fromkeys(metric for scores in heads(run).values() for metric in scores["metrics"]))
    verdict = run.verdict()
    first = verdict.metric if verdict else None
    return sorted(names, key=lambda metric: (metric != first, _place(metric)))


def _place(metric: str) -> int:
    return list(METRICS).index(metric) if metric in METRICS else len(METRICS)


def summaries(run: Run, metric: str) -> list[ContenderSummary]:
    """One line a contender on one metric; a contender without scores has its reason instead."""
    verdict = run.verdict()
    # The verdict's prices include local seconds at the price of the machine's hour.
    prices = {c.name: c.usd_per_1000 for c in verdict.contenders} if verdict else {}
    scores = heads(run)
    return [
        _summary(name, run.contender(name) or {}, scores.get(name), metric, prices.get(name))
        for name in run.contenders()
    ]


def _summary(
    name: str,
    contender: Mapping[str, Any],
    scores: Mapping[str, Any] | None,
    metric: str,
    price: float | None,
) -> ContenderSummary:
    kind, tuned = contender.get("kind", ""), bool(contender.get("tuned"))
    score = scores["metrics"].get(metric) if scores else None
    if scores is None or score is None:
        reason = "not scored yet" if scores is None else "not scored by this metric"
        return ContenderSummary(
            name=name, kind=kind, tuned=tuned, score=None, interval=None, n=0, errors=0, reason=reason
        )
    operations = scores["operations"]
    prompt, completion = operations["prompt_tokens"], operations["completion_tokens"]
    return ContenderSummary(
        name=name,
        kind=kind,
        tuned=tuned,
        score=score["value"],
        interval=tuple(score["interval"]) if score["interval"] else None,
        n=score["n"],
        errors=score["unscored"],
        reason=score["reason"],
        usd_per_1000=operations["usd_per_1000"] if price is None else price,
        seconds_per_request=operations["seconds_per_request"],
        tokens_per_request=None if prompt is None or completion is None else prompt + completion,
    )


def signatures(run: Run, metric: str) -> dict[str, list[str]]:
    """How a metric was computed: signature → contenders. Two signatures must not be ranked together."""
    found: dict[str, list[str]] = {}
    for name, scores in heads(run).items():
        if score := scores["metrics"].get(metric):
            found.setdefault(score["signature"], []).append(name)
    return found


def diagnostics(run: Run) -> list[str]:
    """Contenders that explain the others and can neither win nor be an alternative."""
    return [name for name in run.contenders() if (run.contender(name) or {}).get("diagnostic")]


def higher_is_better(metric: str, run: Run | None = None) -> bool:
    """The direction of a metric; of a user's own as its scores say, and up where nobody does."""
    if metric in METRICS:
        return METRICS[metric].higher_is_better
    scored = [s["metrics"][metric] for s in (heads(run).values() if run else ()) if metric in s["metrics"]]
    return bool(scored[0]["higher_is_better"]) if scored else True


@dataclass(frozen=True, slots=True)
class Pair:
    """One paired comparison of comparison.json: tuned minus alternative, in the metric's own unit."""

    tuned: str
    difference: Difference
    conclusion: str
    n: int
    groups: int | None
    p_holm: float | None = None
    """p adjusted over the pair's secondary metrics; None for the primary one, whose p stands alone."""


def pairs(run: Run, metric: str) -> list[Pair]:
    """Paired comparisons on one metric."""
    comparison = _comparison(run) or {"metrics": {}}
    return [_pair(row) for row in comparison["metrics"].get(metric, ())]


@derived
def _comparison(run: Run) -> dict[str, Any] | None:
    experiment = experiment_of(run)
    return run.comparison() if experiment is None else comparison_now(run, experiment)


def _pair(row: Mapping[str, Any]) -> Pair:
    found = row["difference"]
    difference = Difference(
        against=row["against"],
        estimate=found["estimate"],
        interval=tuple(found["interval"]) if found["interval"] else None,
        p=found["p"],
        method=found["method"],
    )
    return Pair(row["tuned"], difference, row["conclusion"], row["n"], row["groups"], row.get("p_holm"))


def gain(difference: Difference, better_up: bool) -> Difference:
    """A difference turned so that more is better."""
    if better_up:
        return difference
    ends = difference.interval
    turned = (-ends[1], -ends[0]) if ends else None
    return msgspec.structs.replace(difference, estimate=-difference.estimate, interval=turned)
