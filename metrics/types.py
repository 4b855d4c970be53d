"""The nouns of the package: rows of sufficient statistics, metrics, scores and comparisons."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .tables import table

Array: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]
Reduce: TypeAlias = Callable[[Array], Array]
Interval: TypeAlias = tuple[float, float]


_BOUNDED = re.compile(r"(-?\d+(?:\.\d+)?)[-–](-?\d+(?:\.\d+)?)")
_FROM = re.compile(r"\bfrom (-?\d+(?:\.\d+)?)$")


def bounds(scale: str) -> Interval:
    """Return where a value of this scale lies: "0-1" is from 0 to 1, "USD, from 0" from 0 up, others anywhere."""
    if found := _BOUNDED.fullmatch(scale):
        return float(found[1]), float(found[2])
    found = _FROM.search(scale)
    return (float(found[1]) if found else -math.inf), math.inf


def row_mean(means: Array) -> Array:
    """Reduce one column to its mean, `[..., 1] → [...]`: the metrics that are plain averages of samples.

    The tests of a paired comparison look for this very function: what reduces by it is compared
    sample by sample, everything else as a corpus metric.
    """
    return means[..., 0]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """What a metric measured: one row of sufficient statistics a sample.

    `reduce` maps means of rows, `[..., columns]`, to values, `[...]`, so any resampling of the samples
    is a matrix product. Rows that could not be scored (the contender failed) are zeros with `scored`
    false. `reason` says why there is no value at all. ValueError on wrong shapes and non-finite numbers.
    """

    stats: Array
    scored: Mask
    reduce: Reduce
    columns: tuple[str, ...]
    signature: str
    reason: str | None = None

    def __post_init__(self) -> None:
        if self.stats.ndim != 2 or self.stats.shape[1] != len(self.columns):
            raise ValueError(f"stats has shape {self.stats.shape}, but there are {len(self.columns)} columns")
        if self.scored.shape != self.stats.shape[:1]:
            raise ValueError(f"scored has shape {self.scored.shape}, but stats has {len(self.stats)} rows")
        finite = np.isfinite(self.stats).all(axis=1)
        if not finite.all():
            raise ValueError(f"stats[{int(np.argmin(finite))}] holds a number that is not finite")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: how it measures samples and how means of its rows become a value.

    `measure(predictions, references, **options)` returns `Rows`; `reducer(columns)` rebuilds `reduce`
    for rows read back from a file. None marks a failed prediction. `needs` says what predictions are:

    - "text": answers, against texts (structured metrics read them as JSON);
    - "likelihood": (nats, tokens, bytes) triples, references ignored;
    - "ranking": ranked document ids, against the relevant ones;
    - "rating": numbers from 0 to 1 or lists of them, references ignored.
    """

    name: str
    scale: str
    higher_is_better: bool
    needs: str
    summary: str
    measure: Callable[..., Rows]
    reducer: Callable[[Sequence[str]], Reduce]


@dataclass(frozen=True, slots=True)
class Score:
    """A metric's value over a sample set with its interval; no value is None with a reason.

    `n` samples were scored, `unscored` were not (their prediction failed). Scores with different
    signatures must not be ranked against each other.
    """

    metric: str
    value: float | None
    reason: str | None
    interval: Interval | None
    n: int
    unscored: int
    higher_is_better: bool
    signature: str

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as strict JSON values."""
        return _plain(asdict(self))

    def _repr_html_(self) -> str:
        value = "not available" if self.value is None else f"{self.value:.4g}{_span(self.interval, '.4g')}"
        rows = [
            ("value", value),
            ("why", self.reason),
            ("samples", self.n),
            ("unscored", self.unscored or None),
        ]
        return table(self.metric, [*rows, ("signature", self.signature)])

    def __str__(self) -> str:
        failed = f", {self.unscored} unscored" if self.unscored else ""
        if self.value is None:
            return f"{self.metric} not available: {self.reason}"
        return f"{self.metric} {self.value:.4g}{_span(self.interval, '.4g')} (n {self.n}{failed})"


@dataclass(frozen=True, slots=True)
class Comparison:
    """b against a on the same samples: `difference` is b − a in the metric's unit.

    `interval` has level 1 − alpha, `equivalence_interval` 1 − 2·alpha; `p` tests a difference of 0.
    `conclusion` is better, worse, equivalent or inconclusive, said of b and in the metric's direction.
    `groups` counts the groups, None where samples were taken as independent. `reason` explains a None.
    """

    difference: float
    interval: Interval | None
    equivalence_interval: Interval | None
    p: float | None
    method: str
    conclusion: str
    n: int
    groups: int | None
    reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as strict JSON values."""
        return _plain(asdict(self))

    def _repr_html_(self) -> str:
        rows = [
            ("b − a", f"{self.difference:+.4g}{_span(self.interval, '+.4g')}"),
            ("p", None if self.p is None else f"{self.p:.3g}"),
            ("samples", self.n),
            ("groups", self.groups),
            ("method", self.method),
            ("why", self.reason),
        ]
        return table(f"b is {self.conclusion}" if self.conclusion != "inconclusive" else "inconclusive", rows)

    def __str__(self) -> str:
        p = "" if self.p is None else f", p {self.p:.3g}"
        why = f" ({self.reason})" if self.reason else ""
        return f"{self.difference:+.4g}{_span(self.interval, '+.4g')}{p}: {self.conclusion}{why}"


def _span(interval: Interval | None, form: str) -> str:
    return "" if interval is None else f" [{interval[0]:{form}}, {interval[1]:{form}}]"


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
