"""Which test samples a report shows: those where the tuned contender and the best alternative part ways."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from metrics.types import row_mean

from . import card as words
from .document import Answer, Block, SampleBlock, Text
from .records import ContenderSummary, Prediction, Prompt, Sample
from .runs import Run
from .scoring import reduction

# Metrics that call a single answer right or wrong.
RIGHT_OR_WRONG = ("exact_match", "accuracy", "json_valid", "schema_match", "tool_call_match")
EACH = 4  # samples of a kind
_LIMITS = {"question": 1500, "answer": 800, "passage": 900}

Values = Mapping[str, float | None]
# What a text becomes before it is cut: half of a masked value must not stay behind.
Mask = Callable[[str], str]


def sample_blocks(
    run: Run,
    scores: Mapping[str, Mapping[str, Any]],
    contenders: Sequence[ContenderSummary],
    primary: str | None,
    mask: Mask = str,
) -> Iterator[Block]:
    """About a dozen samples: won by tuning, lost by it, missed by both, unanswered.

    The choice is by how much the two differ and then by sample id, a hash: arbitrary, yet the same
    every time. Without a tuned contender the best two are set against each other.
    """
    metric = _sample_metric(scores, primary)
    if metric is None:
        return
    values = {name: _values(found, metric) for name, found in scores.items()}
    higher = bool(next(iter(scores.values()))["metrics"][metric]["higher_is_better"])
    pair = _pair(contenders, values, higher)
    if pair is None:
        return
    chosen = _choose(values[pair[0]], values[pair[1]], pair, higher)
    if not chosen:
        yield Text("Every sample was answered alike.")
        return
    against = f"{pair[0]} and {pair[1]}" if pair[0] != pair[1] else pair[0]
    yield Text(
        f"Up to {EACH} samples of each kind, by the {words.metric_label(metric)} of {against}.", "note"
    )
    samples = {sample.id: sample for sample in run.samples()}
    answers = {name: {p.id: p for p in run.predictions(name)} for name in values}
    prompts = {name: {p.id: p for p in run.prompts(name)} for name in values}
    for identity, note in chosen:
        if identity in samples:
            shown = tuple(
                _answer(
                    name,
                    answers[name].get(identity),
                    prompts[name].get(identity),
                    values[name].get(identity),
                    metric,
                    mask,
                )
                for name in values
            )
            yield _block(samples[identity], note, shown, mask)


def _sample_metric(scores: Mapping[str, Mapping[str, Any]], primary: str | None) -> str | None:
    """The primary metric where it is an average of samples, else one that is and was scored by everyone."""
    everyone = [set(found["metrics"]) for found in scores.values()]
    shared = set.intersection(*everyone) if everyone else set()
    wanted = (primary, "exact_match", "token_f1", "field_f1", "tool_call_match", "rouge_l")
    averages = [m for m in wanted if m is not None and m in shared and _is_average(scores, m)]
    return next(iter(averages), primary if primary in shared else None)


def _is_average(scores: Mapping[str, Mapping[str, Any]], metric: str) -> bool:
    columns = next(iter(scores.values()))["metrics"][metric]["columns"]
    return reduction(metric, columns) is row_mean


def _values(found: Mapping[str, Any], metric: str) -> Values:
    """Each sample's own value of the metric; None where the request failed."""
    score = found["metrics"][metric]
    reduce = reduction(metric, score["columns"])
    return {
        identity: None if row is None else float(reduce(np.asarray(row, dtype=np.float64)))
        for identity, row in zip(found["ids"], score["rows"], strict=True)
    }


def _pair(
    contenders: Sequence[ContenderSummary], values: Mapping[str, Values], higher: bool
) -> tuple[str, str] | None:
    ranked = [c for c in words.best_first(contenders, higher) if c.name in values]
    tuned = [c.name for c in ranked if c.tuned]
    others = [c.name for c in ranked if not c.tuned]
    names = [*tuned[:1], *others[:1]] if tuned and others else [c.name for c in ranked]
    return (names[0], names[min(1, len(names) - 1)]) if names else None


def _choose(first: Values, second: Values, pair: tuple[str, str], higher: bool) -> list[tuple[str, str]]:
    """(sample id, why it is shown), in the order they are shown."""
    sign = 1.0 if higher else -1.0
    both = {i: (a, b) for i, a in first.items() if a is not None and (b := second.get(i)) is not None}
    gains = {i: sign * (a - b) for i, (a, b) in both.items()}
    wins = sorted((i for i in gains if gains[i] > 0), key=lambda i: (-gains[i], i))
    losses = sorted((i for i in gains if gains[i] < 0), key=lambda i: (gains[i], i))
    missed = sorted(i for i, (a, b) in both.items() if a == b == 0.0 and sign > 0)
    failed = sorted(i for i in first if first[i] is None or second.get(i) is None)
    kinds = [
        (wins, f"{pair[0]} did better than {pair[1]}"),
        (losses, f"{pair[1]} did better than {pair[0]}"),
        (missed, "neither was right" if pair[0] != pair[1] else "wrong"),
        (failed, "one of the two has no score"),
    ]
    return [(i, note) for ids, note in kinds for i in ids[:EACH]]


def _answer(
    name: str,
    prediction: Prediction | None,
    prompt: Prompt | None,
    value: float | None,
    metric: str,
    mask: Mask,
) -> Answer:
    if prediction is None:
        return Answer(name, "", "", "not answered yet")
    calls = json.dumps(prediction.tool_calls, ensure_ascii=False) if prediction.tool_calls else ""
    text = _clip(mask(" ".join(filter(None, [prediction.prediction, calls]))), "answer")
    passages = tuple(
        (p.document, _clip(mask(p.text), "passage")) for p in (prompt.passages if prompt else ())
    )
    if prediction.prediction is None and not calls:
        return Answer(name, "failed", "", _clip(mask(prediction.error or "no answer"), "answer"), passages)
    return Answer(
        name, _mark(value, metric), text or "(empty)", _clip(mask(prediction.error or ""), "answer"), passages
    )


def _mark(value: float | None, metric: str) -> str:
    if value is None:
        return "not scored"
    if metric in RIGHT_OR_WRONG and value in (0.0, 1.0):
        return "right" if value else "wrong"
    return words.number(value, metric)


def _block(sample: Sample, note: str, answers: tuple[Answer, ...], mask: Mask) -> SampleBlock:
    tags = [f"{k} {v}" for k, v in sample.tags.items()]
    about = words.DOT.join(filter(None, [note, sample.group or "", *tags]))
    references = tuple(_clip(mask(r), "answer") for r in sample.references)
    return SampleBlock(about, _clip(mask(sample.question), "question"), references, answers)


def _clip(text: str, kind: str) -> str:
    limit = _LIMITS[kind]
    return text if len(text) <= limit else f"{text[:limit]} … ({len(text) - limit:,} characters more)"
