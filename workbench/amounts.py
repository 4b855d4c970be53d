"""Amounts of which some may be unknown: a part of a bill is no bill."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean


def total(amounts: Iterable[float | None]) -> float | None:
    """The sum, in the amounts' own unit; None where one of them is unknown."""
    values = list(amounts)
    known = [amount for amount in values if amount is not None]
    return sum(known, 0.0) if len(known) == len(values) else None


def mean(amounts: Iterable[float | None]) -> float | None:
    """The mean of what every one has; None where one is unknown, or there are none."""
    values = list(amounts)
    known = [amount for amount in values if amount is not None]
    return fmean(known) if known and len(known) == len(values) else None
