"""Predictions → scores: every metric of the experiment measured on one contender's answers.

What is stored keeps the row statistics of every sample, so that any comparison can be redone from the
files without the answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np

from metrics import METRICS, Metric, Rows, confusion, measure, score_rows
from metrics.text import plain
from metrics.types import Reduce, row_mean
from validators.suggest import did_you_mean

from .experiment import Experiment
from .records import Prediction, Prompt, Sample
from .runs import Run


@dataclass(frozen=True, slots=True)
class Rated:
    """Ratings of one contender's answers: who gave them, and all values (0–1) of each sample that was rated."""

    by: str
    values: Mapping[str, Sequence[float]]


class ScoreError(ValueError):
    """A metric cannot be measured on this data; the message says which, on what, and what to do."""


# A confusion matrix of more labels than this is read by nobody.
MOST_LABELS = 100
CLASSIFYING = ("accuracy", "macro_f1", "micro_f1")


@dataclass(frozen=True, slots=True)
class Retrieved:
    """Documents by sample id: as retrieved, the best first, and those that answer it."""

    ranked: Mapping[str, list[str]]
    relevant: Mapping[str, tuple[str, ...]]


def score_contender(
    name: str,
    predictions: Sequence[Prediction],
    experiment: Experiment,
    metrics: Sequence[str],
    *,
    tokenizer: str,
    ratings: Mapping[str, Rated] | None = None,
    retrieved: Retrieved | None = None,
) -> dict[str, Any]:
    """The content of scores.json: each metric with its interval and rows, and what a request takes.

    `ratings` holds those of the metrics that are measured by ratings (judge, human), by metric;
    `retrieved` what the prompts held, for the metrics of rankings.
    """
    groups = [p.group for p in predictions]
    scored = {}
    for metric in metrics:
        of = experiment.metric(metric)
        if of.needs == "rating":
            rows = _rated(of, predictions, (ratings or {}).get(metric))
        elif of.needs == "ranking":
            rows = _ranked(of, predictions, retrieved or Retrieved({}, {}), experiment.options_of(metric))
        else:
            rows = measured(metric, predictions, experiment, tokenizer=tokenizer)
        scored[metric] = _stored(of, rows, groups, experiment.data.split.seed)
    return {
        "contender": name,
        "ids": [p.id for p in predictions],
        "groups": groups,
        "metrics": scored,
        "operations": operations(predictions),
        **({"confusion": table} if (table := _confusion(predictions, experiment)) else {}),
    }


def score_rated(
    metric: Metric, predictions: Sequence[Prediction], rated: Rated, *, seed: int
) -> dict[str, Any]:
    """A metric that is measured by ratings as scores.json holds it."""
    rows = _rated(metric, predictions, rated)
    return _stored(metric, rows, [p.group for p in predictions], seed)


def _stored(metric: Metric, rows: Rows, groups: Sequence[str | None], seed: int) -> dict[str, Any]:
    score = score_rows(metric, rows, groups=groups, seed=seed).as_dict()
    return score | {"scale": metric.scale, "columns": list(rows.columns), "rows": _stored_rows(rows)}


def _confusion(predictions: Sequence[Prediction], experiment: Experiment) -> dict[str, Any] | None:
    """True against answered labels where the task is classification, by the mapping of its metrics."""
    known = {r for p in predictions for r in p.references}
    if experiment.task != "classification" or not 1 < len(known) <= MOST_LABELS:
        return None
    mapping = next(
        (o["mapping"] for n in CLASSIFYING if "mapping" in (o := experiment.options_of(n))), "equal"
    )
    answers = [p.prediction if p.error is None else None for p in predictions]
    return confusion(answers, [p.references for p in predictions], mapping=mapping).as_dict()


def stored_rows(scores: Mapping[str, Any], metric: str) -> Rows:
    """The rows of one metric as they were measured, from scores.json."""
    stored = scores["metrics"][metric]
    width = len(stored["columns"])
    return Rows(
        stats=np.array([row or [0.0] * width for row in stored["rows"]], dtype=float).reshape(-1, width),
        scored=np.array([row is not None for row in stored["rows"]], dtype=bool),
        reduce=reduction(metric, stored["columns"]),
        columns=tuple(stored["columns"]),
        signature=stored["signature"],
        reason=stored["reason"],
    )


def reduction(metric: str, columns: Sequence[str]) -> Reduce:
    """What turns means of stored rows into a value. A user's own metric is a plain mean: no code of theirs runs."""
    return METRICS[metric].reducer(columns) if metric in METRICS else row_mean


def operations(predictions: Sequence[Prediction]) -> dict[str, float | None]:
    """Means over the answered samples: seconds, tokens, and USD per 1,000 requests where all are known."""
    answered = [p for p in predictions if p.error is None]

    def values(field: str) -> list[float]:
        found = [getattr(p, field) for p in answered]
        return found if found and None not in found else []

    seconds, usd = values("seconds"), values("usd")
    return {
        "seconds_per_request": fmean(seconds) if seconds else None,
        "seconds_p95": float(np.quantile(seconds, 0.95)) if seconds else None,
        "prompt_tokens": fmean(v) if (v := values("prompt_tokens")) else None,
        "completion_tokens": fmean(v) if (v := values("completion_tokens")) else None,
        "usd_per_1000": 1000 * fmean(usd) if usd else None,
    }


def measured(name: str, predictions: Sequence[Prediction], experiment: Experiment, *, tokenizer: str) -> Rows:
    """The rows of one metric over a contender's answers, under the experiment's options for it."""
    metric = experiment.metric(name)
    if metric.needs == "likelihood":
        return _likelihoods(metric, predictions, tokenizer)
    options = experiment.options_of(name)
    references = [p.references for p in predictions]
    if name == "cost_of_error" and "labels" not in options:
        # The matrix may price a label that this part of the data does not hold.
        priced = {label for true, row in options["costs"].items() for label in (true, *row)}
        options["labels"] = sorted({r for many in references for r in many} | (priced - {"*", "unmapped"}))
    # An answer that came with an error is not scored: nobody knows what it would have become.
    answers: list[Any] = [p.prediction if p.error is None else None for p in predictions]
    if name == "tool_call_match":
        answers = [(list(p.tool_calls) or p.prediction) if p.error is None else None for p in predictions]
    try:
        return measure(metric, answers, references, **options)
    except ValueError as error:
        raise ScoreError(f"metric {name}: {error}") from None


def check_metrics(experiment: Experiment, samples: Sequence[Sample], others: Iterable[Sample] = ()) -> None:
    """Measure the references themselves: what a metric cannot read is found before anything is spent. ScoreError.

    `others` are the samples that are not tested: they hold labels too.
    """
    _check_priced(experiment, {r for s in (*samples, *others) for r in s.references})
    perfect = [Prediction(id=s.id, prediction=s.references[0], references=s.references) for s in samples]
    for name in experiment.metric_names:
        if experiment.metric(name).needs == "text":
            measured(name, perfect, experiment, tokenizer="")


def _check_priced(experiment: Experiment, labels: set[str]) -> None:
    """A price for a true label that no row has would never be paid: most likely its name is mistyped."""
    costs = experiment.metrics.options.get("cost_of_error", {}).get("costs", {})
    known = {plain(label) for label in labels}
    if "cost_of_error" not in experiment.metric_names or not isinstance(costs, Mapping) or not known:
        return
    for true in costs:
        if true != "*" and plain(str(true)) not in known:
            raise ScoreError(
                f"metric cost_of_error: costs names the true label {true!r}, which no row has."
                f"{did_you_mean(str(true), known)}"
            )


def _rated(metric: Metric, predictions: Sequence[Prediction], rated: Rated | None) -> Rows:
    """A failed answer has no rating; one that nobody rated is not scored, and no error."""
    values = {} if rated is None else rated.values
    given = [values.get(p.id) if p.error is None else None for p in predictions]
    rows = measure(metric, given, by=None if rated is None else rated.by)
    if not rows.scored.any() and any(p.error is None for p in predictions):
        return replace(rows, reason=f"no answer was rated ({metric.name})")
    return rows


def retrieved_by(run: Run, name: str) -> Retrieved:
    """What stands in a contender's prompts and what should stand there, from the run's files."""
    return retrieved_in(run.prompts(name), run.samples())


def retrieved_in(prompts: Iterable[Prompt], samples: Iterable[Sample]) -> Retrieved:
    """What stands in prompts, and what should stand in those of these samples."""
    return Retrieved(
        {p.id: list(dict.fromkeys(x.document for x in p.passages)) for p in prompts if p.passages},
        {s.id: s.sources for s in samples if s.sources},
    )


def _ranked(
    metric: Metric, predictions: Sequence[Prediction], found: Retrieved, options: Mapping[str, Any]
) -> Rows:
    """Rankings are measured on samples that some document answers, whatever became of the answer."""
    known = [p.id in found.relevant for p in predictions]
    ranked = [
        found.ranked.get(p.id, []) if ok and found.ranked else None
        for p, ok in zip(predictions, known, strict=True)
    ]
    # A sample that nothing answers is not scored; the measure wants some relevant document all the same.
    rows = measure(metric, ranked, [found.relevant.get(p.id, ("none",)) for p in predictions], **options)
    if not found.ranked:
        return replace(rows, reason="this contender retrieves nothing")
    return replace(rows, reason="no sample names its documents") if not any(known) else rows


def _likelihoods(metric: Metric, predictions: Sequence[Prediction], tokenizer: str) -> Rows:
    triples = [
        None
        if p.error is not None or p.reference_nats is None
        else (p.reference_nats, p.reference_tokens, p.reference_bytes)
        for p in predictions
    ]
    if not any(t for t in triples) and any(p.error is None for p in predictions):
        empty = measure(metric, triples)
        reason = "these answers came without likelihoods of the references"
        return Rows(empty.stats, empty.scored, empty.reduce, empty.columns, empty.signature, reason)
    # Perplexities of different tokenizers do not rank; the signature keeps them apart.
    options = {"tokenizer": tokenizer} if metric.name == "perplexity" else {}
    return measure(metric, triples, **options)


def _stored_rows(rows: Rows) -> list[list[float] | None]:
    return [row if ok else None for row, ok in zip(rows.stats.tolist(), rows.scored.tolist(), strict=True)]
