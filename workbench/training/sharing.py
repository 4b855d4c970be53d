"""One step shared by several processes: they train on the very rows that one process alone would.

A step takes `batch_size` × `gradient_accumulation` rows however many processes there are. Its micro-batches
are dealt out one after another; where there are too few, each is cut into pieces first. What is left over at an
epoch's end is filled with rows that train nothing: filling with real ones, as is usual, would count them twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .packing import Row, spread
from .rows import IGNORED, TrainingError

# Two tokens, neither of which trains.
BLANK: Row = {"input_ids": [0, 0], "labels": [IGNORED, IGNORED]}


@dataclass(frozen=True, slots=True)
class Share:
    """One process's part of a step: `accumulation` micro-batches of `batch_size` rows, `pieces` to a whole one."""

    processes: int
    pieces: int
    batch_size: int
    accumulation: int


def share_of(batch_size: int, accumulation: int, processes: int) -> Share:
    """How a step is shared. Raises TrainingError where its rows cannot be shared evenly."""
    pieces = processes // math.gcd(accumulation, processes)
    if batch_size % pieces:
        raise TrainingError(
            f"launch: {processes} processes cannot share steps of batch_size {batch_size} × gradient_accumulation "
            f"{accumulation} evenly. Make gradient_accumulation a multiple of {processes} or batch_size one of {pieces}."
        )
    return Share(processes, pieces, batch_size // pieces, accumulation * pieces // processes)


def in_pieces(bins: Sequence[Sequence[Row]], pieces: int) -> list[list[Row]]:
    """Each bin as `pieces` nearly equally long ones, one behind the other; an empty piece holds a blank row."""
    if pieces == 1:
        return [list(one) for one in bins]
    return [
        [one[i] for i in piece] or [BLANK]
        for one in bins
        for piece in spread([len(row["input_ids"]) for row in one], pieces)
    ]


def filled(items: Sequence[Any], multiple: int, blank: Any) -> list[Any]:
    """The items and as many blanks as make their count a multiple."""
    return [*items, *[blank] * (-len(items) % multiple)]
