"""Which labels are taken for which: counts, and precision, recall and F1 of each class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .labels import labelled
from .tables import grid

Counts: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One label's scores; a value that is 0 ÷ 0 is None: never answered, never true, or neither."""

    label: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True, slots=True, eq=False)
class Confusion:
    """Counts `[true label, answered label + unmapped]`, labels sorted, the last column for answers that are none.

    `unscored` predictions had failed and are counted nowhere. Unmapped answers lower the recall of the
    true label and are no class of their own. The mean of `per_class` F1 is macro_f1.
    """

    labels: tuple[str, ...]
    counts: Counts
    unscored: int
    signature: str

    @property
    def per_class(self) -> tuple[ClassScore, ...]:
        """Precision, recall, F1 and support (number of true cases) of each label."""
        hits = np.diagonal(self.counts)
        said, true = self.counts[:, :-1].sum(axis=0), self.counts.sum(axis=1)
        return tuple(
            ClassScore(
                label,
                _share(hits[place], said[place]),
                _share(hits[place], true[place]),
                _share(2 * hits[place], said[place] + true[place]),
                int(true[place]),
            )
            for place, label in enumerate(self.labels)
        )

    @property
    def unmapped(self) -> int:
        """The number of answers that are no label."""
        return int(self.counts[:, -1].sum())

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as strict JSON values."""
        return {
            "labels": list(self.labels),
            "counts": self.counts.tolist(),
            "unscored": self.unscored,
            "signature": self.signature,
            "per_class": [asdict(one) for one in self.per_class],
        }

    def _repr_html_(self) -> str:
        rows = [
            [one.label, *counts, *map(_shown, (one.precision, one.recall, one.f1)), one.support]
            for one, counts in zip(self.per_class, self.counts.tolist(), strict=True)
        ]
        head = ["true ↓ answered →", *self.labels, "(unmapped)", "precision", "recall", "F1", "support"]
        return grid(f"{int(self.counts.sum())} answers, {self.unscored} unscored", head, rows)


def confusion(
    predictions: Iterable[str | None],
    references: Iterable[str | Sequence[str]],
    *,
    labels: Iterable[str] | None = None,
    mapping: str = "equal",
) -> Confusion:
    """Count n answers (None = failed) by true and answered label; shapes, options and errors as `accuracy`."""
    found = labelled(predictions, references, labels, mapping)
    place = {label: index for index, label in enumerate(found.labels)}
    size = len(found.labels)
    scored = [pair for pair in found.pairs if pair is not None]
    cells = [place[true] * (size + 1) + (size if said is None else place[said]) for said, true in scored]
    counts = np.bincount(np.array(cells, dtype=np.intp), minlength=size * (size + 1)).reshape(size, size + 1)
    unscored = len(found.pairs) - len(scored)
    return Confusion(tuple(found.labels), counts.astype(np.int64), unscored, found.signature("confusion"))


def _share(part: Any, whole: Any) -> float | None:
    return float(part / whole) if whole else None


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
