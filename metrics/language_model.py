"""Perplexity and bits per byte of the references under a contender's prompt.

Both take (nats, tokens, bytes) triples a sample: the negative log-likelihood of the reference, and the
number of tokens and of UTF-8 bytes it was summed over. Perplexity depends on the tokenizer: it ranks
contenders only within one; bits per byte compares across.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .inputs import fill, likelihoods
from .types import Array, Reduce, Rows


def perplexity(
    predictions: Iterable[Any], references: object = None, *, tokenizer: str | None = None
) -> Rows:
    """Measure exp(Σ nats ÷ Σ tokens); `tokenizer` goes into the signature, so that others do not rank with it."""
    columns = ("nats", "tokens")
    triples = likelihoods(predictions)
    rows = [None if triple is None else triple[:2] for triple in triples]
    signature = f"perplexity|tok:{tokenizer or 'unstated'}|v:1"
    return fill(rows, perplexity_reducer(columns), columns, signature, _nothing(rows, "tokens"))


def bits_per_byte(predictions: Iterable[Any], references: object = None) -> Rows:
    """Measure Σ nats ÷ (ln 2 · Σ bytes)."""
    columns = ("nats", "bytes")
    triples = likelihoods(predictions)
    rows = [None if triple is None else (triple[0], triple[2]) for triple in triples]
    return fill(rows, bits_reducer(columns), columns, "bits_per_byte|v:1", _nothing(rows, "bytes"))


def _nothing(rows: Sequence[tuple[float, ...] | None], unit: str) -> str | None:
    scored = [row for row in rows if row is not None]
    return f"the scored references have no {unit}" if scored and not any(row[1] for row in scored) else None


def perplexity_reducer(columns: Sequence[str]) -> Reduce:
    """Return exp(nats ÷ tokens) of mean rows."""
    _check(columns, ("nats", "tokens"))

    def reduce(means: Array) -> Array:
        # A model that is off by hundreds of nats a token overflows; infinity is refused where scores are made.
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            return np.asarray(np.exp(means[..., 0] / means[..., 1]), dtype=np.float64)

    return reduce


def bits_reducer(columns: Sequence[str]) -> Reduce:
    """Return nats ÷ (ln 2 · bytes) of mean rows."""
    _check(columns, ("nats", "bytes"))

    def reduce(means: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(means[..., 0] / (np.log(2.0) * means[..., 1]), dtype=np.float64)

    return reduce


def _check(columns: Sequence[str], wanted: tuple[str, ...]) -> None:
    if tuple(columns) != wanted:
        raise ValueError(f"the columns are {list(columns)}, this metric has {list(wanted)}")
