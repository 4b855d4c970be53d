"""Accuracy and F1 over labels, to which answers are mapped by a stated rule (`mapping=`, see labels.py).

Labels are those of the references (or `labels=`). An answer that is no label is *unmapped*: it counts
as a missed case of the true class, never as a class of its own. Where a sample accepts several labels,
the one that was answered is the true one, otherwise the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from .inputs import fill
from .labels import labelled
from .types import Array, Reduce, Rows, row_mean

MOST_LABELS = 1000
PARTS = ("tp", "fp", "fn")


def accuracy(
    predictions: Iterable[str | None],
    references: Iterable[str | Sequence[str]],
    *,
    labels: Iterable[str] | None = None,
    mapping: str = "equal",
) -> Rows:
    """Measure 1 where the answer is an accepted label, else 0 (unmapped answers are 0)."""
    found = labelled(predictions, references, labels, mapping)
    rows = [None if pair is None else (float(pair[0] == pair[1]),) for pair in found.pairs]
    return fill(rows, row_mean, ("correct",), found.signature("accuracy"))


def micro_f1(
    predictions: Iterable[str | None],
    references: Iterable[str | Sequence[str]],
    *,
    labels: Iterable[str] | None = None,
    mapping: str = "equal",
) -> Rows:
    """Measure hits, false alarms and misses over all labels; equals accuracy unless answers are unmapped."""
    found = labelled(predictions, references, labels, mapping)
    rows: list[tuple[float, ...] | None] = []
    for pair in found.pairs:
        if pair is None:
            rows.append(None)
            continue
        said, true = pair
        rows.append((1, 0, 0) if said == true else (0, float(said is not None), 1))
    return fill(rows, micro_reducer(PARTS), PARTS, found.signature("micro_f1"))


def macro_f1(
    predictions: Iterable[str | None],
    references: Iterable[str | Sequence[str]],
    *,
    labels: Iterable[str] | None = None,
    mapping: str = "equal",
) -> Rows:
    """Measure hits, false alarms and misses of each label; the value is the plain mean of their F1.

    A label that occurs in no reference and no answer has no F1 and is left out of the mean, as in
    scikit-learn without `labels`. More than 1,000 labels are no classification: no value, with a reason.
    """
    found = labelled(predictions, references, labels, mapping)
    pairs, known = found.pairs, found.labels
    signature = found.signature("macro_f1")
    if len(known) > MOST_LABELS:
        reason = f"{len(known)} different labels are no classification (at most {MOST_LABELS}); pick token_f1 or rouge_l"
        return fill(
            [None if pair is None else (0.0,) for pair in pairs], row_mean, ("none",), signature, reason
        )
    place = {label: index for index, label in enumerate(known)}
    columns = tuple(f"{part}:{label}" for part in PARTS for label in known)
    stats = np.zeros((len(pairs), len(columns)))
    for row, pair in enumerate(pairs):
        if pair is None:
            continue
        said, true = pair
        if said == true:
            stats[row, place[true]] = 1
            continue
        stats[row, 2 * len(known) + place[true]] = 1
        if said is not None:
            stats[row, len(known) + place[said]] = 1
    scored = np.array([pair is not None for pair in pairs], dtype=np.bool_)
    return Rows(stats, scored, macro_reducer(columns), columns, signature)


def micro_reducer(columns: Sequence[str]) -> Reduce:
    """Return 2·tp ÷ (2·tp + fp + fn) over the columns tp, fp, fn."""
    if tuple(columns) != PARTS:
        raise ValueError(f"micro_f1 has the columns {list(PARTS)}, not {list(columns)}")

    def reduce(means: Array) -> Array:
        return _f1(means[..., 0], means[..., 1], means[..., 2])

    return reduce


def macro_reducer(columns: Sequence[str]) -> Reduce:
    """Return the mean F1 over labels; columns are all tp, then all fp, then all fn, in one label order."""
    if tuple(columns) == ("none",):
        return row_mean
    size = len(columns) // 3
    names = [name.partition(":")[2] for name in columns]
    parts = [name.partition(":")[0] for name in columns]
    if names != names[:size] * 3 or parts != [part for part in PARTS for _ in range(size)]:
        raise ValueError("macro_f1 has the columns tp:LABEL…, fp:LABEL…, fn:LABEL… in one order of labels")

    def reduce(means: Array) -> Array:
        scores = _f1(means[..., :size], means[..., size : 2 * size], means[..., 2 * size :])
        occurs = ~np.isnan(scores)
        return _ratio(np.where(occurs, scores, 0.0).sum(axis=-1), occurs.sum(axis=-1).astype(np.float64))

    return reduce


def _f1(hits: Array, alarms: Array, misses: Array) -> Array:
    return _ratio(2 * hits, 2 * hits + alarms + misses)


def _ratio(above: Array, below: Array) -> Array:
    # 0/0 is "does not occur", which is NaN here and left out or refused further up, never a score of 0.
    quotient: Array = np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)
    return quotient
