"""The questions to answer before tuning, filled in from the run as far as it knows; no Streamlit in here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from apps.board import experiment_of
from workbench.card import DOT, best_first, count, gap, interval, metric_label, months, number, percent, usd
from workbench.experiment import Experiment
from workbench.records import Verdict
from workbench.runs import Run

# The ways of doing without tuning that one should have tried.
UNTUNED = {"prompting": "prompting", "few-shot": "few-shot", "rag": "RAG"}


@dataclass(frozen=True, slots=True)
class Point:
    """One question: what the run answers, and what it does not know with the setting that would say it."""

    topic: str
    question: str
    answer: str | None
    missing: str | None = None


def checklist(run: Run, verdict: Verdict) -> tuple[Point, ...]:
    """Use case, alternatives, costs and benefits, from the experiment, the verdict and the run's records."""
    experiment = experiment_of(run)
    if experiment is None:
        return ()
    return (
        *_use_case(run, verdict, experiment),
        *_alternatives(verdict, experiment),
        *_costs(verdict, experiment),
        *_benefits(verdict),
    )


def _use_case(run: Run, verdict: Verdict, experiment: Experiment) -> Iterator[Point]:
    rows = run.meta().get("dataset", {}).get("rows")
    data = f"{experiment.task}, {count(rows, 'example')}" if isinstance(rows, int) else experiment.task
    yield Point("Use case", "What is it for, on which data?", data)
    metric = metric_label(verdict.metric, verdict.higher_is_better)
    worth = f"{metric}, worth it from {gap(verdict.margin, verdict.metric)}"
    said = "worth_it" in experiment.decision.model_fields_set
    yield Point(
        "Use case", "What does better mean?", worth, None if said else "decision.worth_it is the default"
    )
    volume = experiment.decision.requests_per_month
    known = "requests_per_month" in experiment.decision.model_fields_set
    hint = None if known else "decision.requests_per_month is the default"
    yield Point("Use case", "How often?", f"{count(volume, 'request')} a month", hint)


def _alternatives(verdict: Verdict, experiment: Experiment) -> Iterator[Point]:
    untuned = [c for c in best_first(verdict.contenders, verdict.higher_is_better) if not c.tuned]
    tried = [f"{c.name} {number(c.score, verdict.metric)}" for c in untuned if c.score is not None]
    kinds = {c.kind for c in experiment.contenders}
    absent = [name for kind, name in UNTUNED.items() if kind not in kinds]
    yield Point(
        "Alternatives",
        "What was tried without tuning?",
        DOT.join(tried) or None,
        f"not tried: {', '.join(absent)}" if absent else None,
    )
    silent = [c.name for c in untuned if c.score is None]
    if silent:
        yield Point("Alternatives", "Without a score", ", ".join(silent))


def _costs(verdict: Verdict, experiment: Experiment) -> Iterator[Point]:
    costs, stated = verdict.costs, experiment.decision.costs
    for key, question in (("data_usd", "The data?"), ("labour_usd", "The work?")):
        value = getattr(stated, key)
        hint = None if value else f"counts as $0: set {key} in decision.costs"
        yield Point("Costs", question, usd(value) if value else None, hint)
    training, free = costs.get("training_usd"), not stated.gpu_usd_per_hour
    hint = "counts as $0: set gpu_usd_per_hour in decision.costs" if free else "nothing was trained here"
    yield Point("Costs", "Training?", usd(training) if training else None, hint if not training else None)
    hosting = costs.get("hosting_usd_per_month")
    hint = None if hosting else "counts as $0: set hosting_usd_per_hour in decision.costs"
    yield Point("Costs", "Keeping it up?", f"{usd(hosting)} a month" if hosting else None, hint)
    answers = [f"{c.name} {usd(c.usd_per_1000)}" for c in verdict.contenders if c.usd_per_1000 is not None]
    unknown = [c.name for c in verdict.contenders if c.usd_per_1000 is None]
    yield Point(
        "Costs",
        "1,000 answers?",
        DOT.join(answers) or None,
        f"no price known: {', '.join(unknown)}" if unknown else None,
    )


def _benefits(verdict: Verdict) -> Iterator[Point]:
    d = verdict.difference
    won = None
    if d is not None:
        span = interval(d.interval, verdict.metric, signed=True)
        won = f"{gap(d.estimate, verdict.metric)} {span} over {d.against}".replace("  ", " ")
    yield Point("Benefits", "How much better?", won, None if won else "nothing tuned was compared yet")
    saving, value = (verdict.costs.get(f"{key}_usd_per_month") for key in ("saving", "value"))
    yield Point(
        "Benefits",
        "Cheaper a month by?",
        None if saving is None else usd(saving),
        "a price is missing" if saving is None else None,
    )
    yield Point(
        "Benefits",
        "Worth a month?",
        None if value is None else usd(value),
        "not said: set value_per_point in decision" if value is None else None,
    )
    if saving is not None:
        pays = verdict.payback_months
        yield Point("Benefits", "Paid back in?", "never" if pays is None else months(pays))
    harm = verdict.harm
    if harm is not None:
        worse = f"{count(len(harm.worse), 'slice')} worse" if harm.worse else "no slice surely worse"
        lost = harm.forgetting
        parts = [worse, f"forgetting {percent(lost.change)} bits per byte"] if lost else [worse]
        yield Point("Benefits", "What got worse?", DOT.join(parts))
