"""Predictions → scores: every metric of the experiment measured on one contender's answers.

What is stored keeps the row statistics of every sample, so that any comparison can be redone from the
files without the answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from metrics import METRICS, Rows, measure, reducer, score_rows

from .records import Prediction


def score_contender(
    name: str, predictions: Sequence[Prediction], metrics: Sequence[str], *, tokenizer: str, seed: int
) -> dict[str, Any]:
    """The content of scores.json: each metric with its interval and rows, and what a request takes."""
    groups = [p.group for p in predictions]
    scored = {}
    for metric in metrics:
        rows = _measure(metric, predictions, tokenizer)
        stored = score_rows(metric, rows, groups=groups, seed=seed).as_dict()
        stored |= {"columns": list(rows.columns), "rows": _stored_rows(rows)}
        scored[metric] = stored
    return {
        "contender": name,
        "ids": [p.id for p in predictions],
        "groups": groups,
        "metrics": scored,
        "operations": operations(predictions),
    }


def stored_rows(scores: Mapping[str, Any], metric: str) -> Rows:
    """The rows of one metric as they were measured, from scores.json."""
    stored = scores["metrics"][metric]
    width = len(stored["columns"])
    return Rows(
        stats=np.array([row or [0.0] * width for row in stored["rows"]], dtype=float).reshape(-1, width),
        scored=np.array([row is not None for row in stored["rows"]], dtype=bool),
        reduce=reducer(metric, stored["columns"]),
        columns=tuple(stored["columns"]),
        signature=stored["signature"],
        reason=stored["reason"],
    )


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


def _measure(metric: str, predictions: Sequence[Prediction], tokenizer: str) -> Rows:
    if METRICS[metric].needs == "likelihood":
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
        options = {"tokenizer": tokenizer} if metric == "perplexity" else {}
        return measure(metric, triples, **options)
    # An answer that came with an error is not scored: nobody knows what it would have become.
    answers = [p.prediction if p.error is None else None for p in predictions]
    return measure(metric, answers, [p.references for p in predictions])


def _stored_rows(rows: Rows) -> list[list[float] | None]:
    return [row if ok else None for row, ok in zip(rows.stats.tolist(), rows.scored.tolist(), strict=True)]
