"""The report's charts as figures of a document."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .document import Figure, Text


def figures(*drawings: tuple[Callable[[Any], Any], str]) -> tuple[Text | Figure, ...]:
    """Draw charts by the functions of `charts`; those that have nothing to show are left out."""
    from . import charts

    try:
        drawn = [(draw(charts), caption) for draw, caption in drawings]
        return tuple(Figure(charts.svg(chart), caption) for chart, caption in drawn if chart is not None)
    except charts.ChartsMissing as error:
        return (Text(str(error), "note"),)
