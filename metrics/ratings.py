"""Ratings of answers by a judge model or by people, as a metric of samples."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from .inputs import fill, listed
from .types import Rows, row_mean


def judge(predictions: Iterable[Any], references: object = None, *, by: str | None = None) -> Rows:
    """Measure the mean rating of each answer by a judge; references are ignored.

    Shapes: n ratings, each a number from 0 to 1, a list of repeated ratings of the same answer, or None
    where it was not rated. A sample's row is the mean of its ratings, so the judge's own noise spreads
    the rows and lies inside the interval. `by` (model and rubric) goes into the signature.
    """
    return _measure("judge", predictions, by)


def human(predictions: Iterable[Any], references: object = None, *, by: str | None = None) -> Rows:
    """Measure the mean rating of each answer by people; shapes and options as `judge`."""
    return _measure("human", predictions, by)


def _measure(name: str, ratings: Iterable[Any], by: str | None) -> Rows:
    means = [rating(f"predictions[{row}]", value) for row, value in enumerate(listed("predictions", ratings))]
    rows = [None if mean is None else (mean,) for mean in means]
    return fill(rows, row_mean, ("rating",), f"{name}|by:{by or 'unstated'}|v:1")


def rating(place: str, value: Any) -> float | None:
    """Return the mean of one rating or of several, None where there is none; ValueError outside 0 to 1."""
    several = list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [value]
    numbers = [_number(place, one) for one in several if one is not None]
    return math.fsum(numbers) / len(numbers) if numbers else None


def _number(place: str, value: Any) -> float:
    try:
        number = math.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number <= 1:
        raise ValueError(
            f"{place} is {value!r:.40}: give numbers from 0 to 1 (a 1–5 rating r as (r − 1) ÷ 4), None where not rated"
        )
    return number
