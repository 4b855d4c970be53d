"""BLEU and chrF from sacrebleu's own segment statistics (Papineni et al. 2002; Popović 2015; Post 2018).

sacrebleu counts each segment; the sums become a score here, vectorised over resamples, with the same
formulas: exponential smoothing for BLEU, effective order for chrF. Values equal sacrebleu's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .inputs import fill, texts
from .types import Array, Mask, Reduce, Rows

_ORDER = 4
_CHUNK = 1000  # segments handed over at once: sacrebleu keeps all n-grams of a corpus in memory
# Smoothing depends on counts, not on rates, so each row carries how many segments the corpus has.
_BLEU_COLUMNS = (
    "segments",
    "prediction_length",
    "reference_length",
    *(f"correct{n}" for n in range(1, _ORDER + 1)),
    *(f"total{n}" for n in range(1, _ORDER + 1)),
)


def bleu(
    predictions: Iterable[str | None],
    references: Iterable[str | Sequence[str]],
    *,
    tokenize: str = "13a",
    lowercase: bool = False,
) -> Rows:
    """Measure n-gram hits and lengths for corpus BLEU-4; `tokenize` is a tokenizer of sacrebleu (13a, zh, char…)."""
    from sacrebleu.metrics.bleu import BLEU

    if tokenize not in BLEU.TOKENIZERS:
        raise ValueError(f"sacrebleu has no tokenizer {tokenize!r}: pick one of {', '.join(BLEU.TOKENIZERS)}")
    metric = BLEU(tokenize=tokenize, lowercase=lowercase)
    counted = _segments(metric, *texts(predictions, references))
    segments = float(sum(row is not None for row in counted))
    rows = [None if row is None else (segments, *row) for row in counted]
    scored = [row for row in rows if row is not None]
    short = bool(scored) and all(row[2] < _ORDER and row[-1] == 0 for row in scored)
    reason = (
        "BLEU counts runs of four tokens and no text here has four: pick chrf or exact_match, or tokenize='char'"
        if short
        else None
    )
    return fill(rows, bleu_reducer(_BLEU_COLUMNS), _BLEU_COLUMNS, f"bleu|{metric.get_signature()}", reason)


def chrf(
    predictions: Iterable[str | None],
    references: Iterable[str | Sequence[str]],
    *,
    word_order: int = 0,
    lowercase: bool = False,
) -> Rows:
    """Measure character n-gram hits for corpus chrF2 (six characters); `word_order=2` is chrF++."""
    from sacrebleu.metrics.chrf import CHRF

    metric = CHRF(word_order=word_order, lowercase=lowercase)
    rows = _segments(metric, *texts(predictions, references))
    columns = tuple(
        f"{what}:{order}"
        for order in range(1, metric.char_order + word_order + 1)
        for what in ("prediction", "reference", "match")
    )
    return fill(rows, chrf_reducer(columns), columns, f"chrf|{metric.get_signature()}")


def _segments(metric: Any, answers: list[str | None], accepted: list[list[str]]) -> list[list[float] | None]:
    kept = [row for row, answer in enumerate(answers) if answer is not None]
    rows: list[list[float] | None] = [None] * len(answers)
    if not kept:
        metric.num_refs = 0
        return rows
    most = max(len(accepted[row]) for row in kept)
    for at in range(0, len(kept), _CHUNK):
        part = kept[at : at + _CHUNK]
        # sacrebleu takes streams of references; None fills a stream where a segment has fewer.
        streams = [
            [accepted[row][rank] if rank < len(accepted[row]) else None for row in part]
            for rank in range(most)
        ]
        counted = metric._extract_corpus_statistics([answers[row] for row in part], streams)
        for row, statistics in zip(part, counted, strict=True):
            rows[row] = [float(number) for number in statistics]
    return rows


def bleu_reducer(columns: Sequence[str]) -> Reduce:
    """Return corpus BLEU (0–100, exponential smoothing) of mean rows."""
    if tuple(columns) != _BLEU_COLUMNS:
        raise ValueError(f"bleu has the columns {list(_BLEU_COLUMNS)}, not {list(columns)}")

    def reduce(means: Array) -> Array:
        counts = means[..., 1:] * means[..., :1]
        said, wanted = counts[..., 0], counts[..., 1]
        correct, total = counts[..., 2 : 2 + _ORDER], counts[..., 2 + _ORDER :]
        missed = (correct == 0) & (total > 0)
        halvings = np.cumsum(missed, axis=-1)
        hits = np.where(missed, 0.5**halvings, correct)
        with np.errstate(divide="ignore"):
            logs = np.log(_ratio(hits, total, total > 0)).mean(axis=-1)
        brevity = np.exp(np.minimum(0.0, 1 - _ratio(wanted, said, said > 0)))
        found = correct.any(axis=-1)
        return np.where(found, 100 * brevity * np.exp(np.where(found, logs, 0.0)), 0.0)

    return reduce


def chrf_reducer(columns: Sequence[str]) -> Reduce:
    """Return corpus chrF2 (0–100) of mean rows: triples (prediction, reference, match) an order."""
    if not columns or len(columns) % 3:
        raise ValueError(f"chrf has three columns an order, not {list(columns)}")

    def reduce(means: Array) -> Array:
        said, wanted, match = means[..., 0::3], means[..., 1::3], means[..., 2::3]
        used = (said > 0) & (wanted > 0)
        orders = np.maximum(used.sum(axis=-1), 1)
        precision = _ratio(match, said, used).sum(axis=-1) / orders
        recall = _ratio(match, wanted, used).sum(axis=-1) / orders
        below = 4 * precision + recall
        return 100 * _ratio(5 * precision * recall, below, below > 0)

    return reduce


def _ratio(above: Array, below: Array, where: Mask) -> Array:
    return np.divide(above, below, out=np.zeros(np.shape(above)), where=where)
