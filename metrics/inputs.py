"""Turn what callers hold (lists, numpy arrays, polars columns) into checked plain values."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence, Set
from typing import Any

import numpy as np
import numpy.typing as npt

from .types import Array, Mask, Reduce, Rows

Groups = npt.NDArray[np.intp]


def texts(predictions: Iterable[Any], references: Iterable[Any]) -> tuple[list[str | None], list[list[str]]]:
    """Pair predictions with their lists of references; None stays for a failed prediction.

    ValueError names the first row that is not text, has no reference, or has no partner.
    """
    said, wanted = listed("predictions", predictions), listed("references", references)
    checked = [_answer(row, value) for row, value in enumerate(said)]
    accepted = [_accepted(row, value) for row, value in enumerate(wanted)]
    _same_length(checked, accepted)
    return checked, accepted


def sized(predictions: Iterable[Any], references: Iterable[Any]) -> tuple[list[Any], list[Any]]:
    """Pair predictions with references of any shape; ValueError where their numbers differ."""
    said, wanted = listed("predictions", predictions), listed("references", references)
    _same_length(said, wanted)
    return said, wanted


def answers(predictions: Iterable[Any]) -> list[str | None]:
    """Check answers of metrics that need no reference; ValueError names the first row that is not text."""
    return [_answer(row, value) for row, value in enumerate(listed("predictions", predictions))]


def listed(name: str, values: Any) -> list[Any]:
    """Return one entry a sample from a list, an array or a column; ValueError for what is none.

    Sets and mappings are none: nothing says which of their entries belongs to which sample.
    """
    if isinstance(values, (str, bytes, Mapping, Set)) or not isinstance(values, Iterable):
        raise ValueError(f"{name} is a {type(values).__name__}: give a list with one entry a sample")
    return list(values)


def _same_length(said: list[Any], wanted: list[Any]) -> None:
    if len(said) != len(wanted):
        raise ValueError(
            f"{len(said)} predictions but {len(wanted)} references: give one reference (or a list) each"
        )


def _answer(row: int, value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise ValueError(f"predictions[{row}] is a {type(value).__name__}: give text, or None for a failed one")


def _accepted(row: int, value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    several = list(value) if isinstance(value, Iterable) and not isinstance(value, Mapping) else []
    if several and all(isinstance(one, str) for one in several):
        return several
    raise ValueError(f"references[{row}] is {value!r:.60}: give text or a list with at least one text")


def likelihoods(predictions: Iterable[Any]) -> list[tuple[float, float, float] | None]:
    """Check (nats, tokens, bytes) triples: negative log-likelihood and the sizes it was summed over."""
    triples: list[tuple[float, float, float] | None] = []
    for row, value in enumerate(listed("predictions", predictions)):
        if value is None:
            triples.append(None)
            continue
        try:
            numbers = [] if isinstance(value, (str, bytes)) else [float(number) for number in value]
        except (TypeError, ValueError):
            numbers = []
        if len(numbers) != 3 or not all(np.isfinite(number) and number >= 0 for number in numbers):
            raise ValueError(
                f"predictions[{row}] is {value!r:.60}: give (nats, tokens, bytes), finite and not negative; "
                "nats is the negative log-likelihood"
            )
        triples.append((numbers[0], numbers[1], numbers[2]))
    return triples


def fill(
    rows: Sequence[Sequence[float] | None],
    reduce: Reduce,
    columns: Sequence[str],
    signature: str,
    reason: str | None = None,
) -> Rows:
    """Make `Rows` of one sequence of statistics a sample, None where it could not be scored."""
    scored: Mask = np.array([row is not None for row in rows], dtype=np.bool_)
    stats = np.zeros((len(rows), len(columns)))
    if scored.any():
        stats[scored] = [row for row in rows if row is not None]
    return Rows(stats, scored, reduce, tuple(columns), signature, reason)


def statistics(name: str, values: Any) -> Array:
    """Return `[n, k]` finite floats from n scores or n rows of statistics; ValueError says where not."""
    given = values if hasattr(values, "__array__") else listed(name, values)
    try:
        array = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is not a list of numbers or of equally long rows: {error}") from error
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or not array.size:
        raise ValueError(f"{name} is empty or not a table, its shape is {array.shape}: give one row a sample")
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise ValueError(f"{name}[{row}] is not finite: leave out samples that either contender failed on")
    return array


def paired(a: Any, b: Any) -> tuple[Array, Array]:
    """Return two tables of statistics of the same samples, `[n, k]` each; ValueError where they do not pair."""
    left, right = statistics("a", a), statistics("b", b)
    if left.shape != right.shape:
        raise ValueError(f"a has shape {left.shape} and b {right.shape}: pair the same samples in one order")
    return left, right


def group_codes(groups: Iterable[Hashable] | None, n: int) -> Groups | None:
    """Number the groups 0…G−1; a sample whose group is None (or NaN) is a group of its own.

    Returns None where samples are independent: no groups given, or none given for any sample. ValueError
    for another number of labels than n and for labels that cannot be compared.
    """
    if groups is None:
        return None
    # NaN, which does not equal itself, is how tables of numbers write that there is no label.
    labels = [None if label != label else label for label in listed("groups", groups)]
    if len(labels) != n:
        raise ValueError(f"{len(labels)} groups for {n} samples: give one group a sample")
    if all(label is None for label in labels):
        return None
    seen: dict[Hashable, int] = {}
    keys = [(row,) if label is None else (None, label) for row, label in enumerate(labels)]
    try:
        return np.array([seen.setdefault(key, len(seen)) for key in keys], dtype=np.intp)
    except TypeError as error:
        raise ValueError(f"groups hold what is no label ({error}): give texts or numbers") from error
