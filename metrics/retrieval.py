"""Recall@k, MRR and nDCG of ranked documents against those that are relevant.

Document ids are compared as text; one that is ranked twice counts where it stands first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any, TypeAlias

from .inputs import fill, sized
from .types import Rows, row_mean

Value: TypeAlias = Callable[[list[str], dict[str, float]], float]


def recall_at_k(predictions: Iterable[Any], references: Iterable[Any], *, k: int | None = 10) -> Rows:
    """Measure the share of the relevant documents among the first k (10, as BEIR and MTEB cut nDCG).

    Shapes: n ranked lists of document ids (None = failed, [] = nothing found); n lists of relevant ids, or
    mappings of ids to gains of which those above 0 are relevant. `k=None` takes the whole ranking.
    ValueError names a reference with no relevant document: it has no recall.
    """

    def value(ranked: list[str], gains: dict[str, float]) -> float:
        return sum(one in gains for one in ranked[:k]) / len(gains)

    return _measure("recall_at_k", predictions, references, k, value, "")


def mrr(predictions: Iterable[Any], references: Iterable[Any], *, k: int | None = None) -> Rows:
    """Measure 1 ÷ the place of the first relevant document, 0 where none of the first k is; shapes as recall_at_k."""

    def value(ranked: list[str], gains: dict[str, float]) -> float:
        return next((1 / place for place, one in enumerate(ranked[:k], 1) if one in gains), 0.0)

    return _measure("mrr", predictions, references, k, value, "")


def ndcg(predictions: Iterable[Any], references: Iterable[Any], *, k: int | None = 10) -> Rows:
    """Measure the discounted gain of the first k ÷ that of the best order of all relevant documents.

    Gain g at place i counts g ÷ log2(i + 1), as in scikit-learn; listed ids have gain 1. Shapes as
    recall_at_k. Järvelin & Kekäläinen 2002, with k = 10 as in BEIR and MTEB.
    """

    def value(ranked: list[str], gains: dict[str, float]) -> float:
        ideal = _discounted(sorted(gains.values(), reverse=True)[:k])
        return _discounted([gains.get(one, 0.0) for one in ranked[:k]]) / ideal

    return _measure("ndcg", predictions, references, k, value, "|gain:linear")


def _discounted(gains: Iterable[float]) -> float:
    return math.fsum(gain / math.log2(place + 1) for place, gain in enumerate(gains, 1))


def _measure(
    name: str, predictions: Iterable[Any], references: Iterable[Any], k: int | None, value: Value, more: str
) -> Rows:
    if k is not None and (isinstance(k, bool) or not isinstance(k, int) or k < 1):
        raise ValueError(f"k={k!r} is no number of documents: give 1 or more, or None for the whole ranking")
    rankings, wanted = sized(predictions, references)
    rows = []
    for row, (ranking, reference) in enumerate(zip(rankings, wanted, strict=True)):
        gains = _relevant(row, reference)
        rows.append(None if ranking is None else (value(_ranked(row, ranking), gains),))
    return fill(rows, row_mean, (name,), f"{name}|k:{'all' if k is None else k}{more}|v:1")


def _ranked(row: int, ranking: Any) -> list[str]:
    if isinstance(ranking, (str, Mapping)) or not isinstance(ranking, Iterable):
        raise ValueError(f"predictions[{row}] is {ranking!r:.60}: give a list of document ids, best first")
    return list(dict.fromkeys(map(str, ranking)))


def _relevant(row: int, reference: Any) -> dict[str, float]:
    if isinstance(reference, str) or not isinstance(reference, Iterable):
        raise ValueError(
            f"references[{row}] is {reference!r:.60}: give a list of relevant ids, or a mapping of ids to gains"
        )
    gains = dict(reference) if isinstance(reference, Mapping) else dict.fromkeys(reference, 1.0)
    for one, gain in gains.items():
        if not isinstance(gain, Real) or not (math.isfinite(gain) and float(gain) >= 0):
            raise ValueError(
                f"references[{row}] gives {one!r} the gain {gain!r}: gains are finite and not negative"
            )
    relevant = {str(one): float(gain) for one, gain in gains.items() if gain > 0}
    if not relevant:
        raise ValueError(
            f"references[{row}] has no relevant document, so nothing can be found: leave the sample out"
        )
    return relevant
