"""What pages show of a run, derived from its folder by workbench and metrics; no Streamlit in here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np

from metrics import METRICS
from workbench.records import ContenderSummary, Difference, Prediction, Sample
from workbench.runs import Run

Outcome = Literal["win", "loss", "tie", "error"]
OUTCOMES: dict[Outcome, str] = {"win": "wins", "loss": "losses", "tie": "ties", "error": "failed"}


def metrics_of(run: Run) -> list[str]:
    """Metrics that any contender was scored by, the primary first where the verdict names one."""
    scored = [run.scores(name) or {"metrics": {}} for name in run.contenders()]
    names = list(dict.fromkeys(metric for scores in scored for metric in scores["metrics"]))
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
    return [
        _summary(name, run.contender(name) or {}, run.scores(name), metric, prices.get(name))
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
    if contender.get("diagnostic"):
        kind = f"{kind}, diagnostic: it cannot win"
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
    for name in run.contenders():
        score = (run.scores(name) or {"metrics": {}})["metrics"].get(metric)
        if score:
            found.setdefault(score["signature"], []).append(name)
    return found


def higher_is_better(metric: str) -> bool:
    """The direction of a metric; a metric unknown here counts up."""
    return METRICS[metric].higher_is_better if metric in METRICS else True


@dataclass(frozen=True, slots=True)
class Pair:
    """One paired comparison of comparison.json: tuned minus alternative, in the metric's own unit."""

    tuned: str
    difference: Difference
    conclusion: str
    n: int
    groups: int | None


def pairs(run: Run, metric: str) -> list[Pair]:
    """Paired comparisons on one metric."""
    comparison = run.comparison() or {"metrics": {}}
    return [_pair(row) for row in comparison["metrics"].get(metric, ())]


def _pair(row: Mapping[str, Any]) -> Pair:
    found = row["difference"]
    difference = Difference(
        against=row["against"],
        estimate=found["estimate"],
        interval=tuple(found["interval"]) if found["interval"] else None,
        p=found["p"],
        method=found["method"],
    )
    return Pair(row["tuned"], difference, row["conclusion"], row["n"], row["groups"])


@dataclass(frozen=True, slots=True)
class Case:
    """One test sample with every contender's answer and its own score on one metric."""

    number: int
    sample: Sample
    answers: dict[str, Prediction]
    values: dict[str, float | None]

    @property
    def different(self) -> bool:
        """Whether any two contenders that answered said different things."""
        said = {p.prediction for p in self.answers.values() if p.error is None}
        return len(said) > 1 or self.failed

    @property
    def failed(self) -> bool:
        """Whether any contender's request failed."""
        return any(p.error is not None for p in self.answers.values())

    def outcome(self, one: str, other: str, better_up: bool) -> Outcome:
        """How `one` did against `other` on this sample."""
        a, b = self.values.get(one), self.values.get(other)
        if a is None or b is None:
            return "error"
        if a == b:
            return "tie"
        return "win" if (a > b) == better_up else "loss"

    def holds(self, words: str) -> bool:
        """Whether the question, a reference, an answer or an error holds these words (case ignored)."""
        texts = [self.sample.id, self.sample.question, *self.sample.references]
        texts += [text for p in self.answers.values() for text in (p.prediction, p.error) if text]
        return any(words.casefold() in text.casefold() for text in texts)


def cases(run: Run, metric: str | None) -> list[Case]:
    """Every test sample in order; `metric` gives the samples their values."""
    names = run.contenders()
    answers = {name: {p.id: p for p in run.predictions(name)} for name in names}
    values = {name: _values(run.scores(name), metric) for name in names}
    return [
        Case(
            number,
            sample,
            {name: answers[name][sample.id] for name in names if sample.id in answers[name]},
            {name: values[name].get(sample.id) for name in names},
        )
        for number, sample in enumerate(run.samples(), 1)
    ]


def _values(scores: Mapping[str, Any] | None, metric: str | None) -> dict[str, float | None]:
    """A score a sample: the metric's reduction of that sample's row alone."""
    score = scores["metrics"].get(metric) if scores and metric else None
    if scores is None or score is None or metric not in METRICS:
        return {}
    reduce = METRICS[metric].reducer(score["columns"])
    return {
        sample: None if row is None else _one(reduce, row)
        for sample, row in zip(scores["ids"], score["rows"], strict=True)
    }


def _one(reduce: Any, row: Sequence[float]) -> float | None:
    value = float(reduce(np.asarray(row, dtype=np.float64)))
    return value if np.isfinite(value) else None


def gain(difference: Difference, better_up: bool) -> Difference:
    """A difference turned so that more is better."""
    if better_up:
        return difference
    ends = difference.interval
    turned = (-ends[1], -ends[0]) if ends else None
    return msgspec.structs.replace(difference, estimate=-difference.estimate, interval=turned)
