"""Rows as one process of a training takes them: bins or batches, in their order, and its share of each step."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .order import Order, SharedOrder
from .packing import Row, collate_packed, pack_rows
from .rows import collate
from .settings import TrainingSettings
from .sharing import BLANK, filled, in_pieces, share_of


@dataclass(frozen=True, slots=True)
class Batches:
    """Items (a row, or a bin of packed rows) of training and dev, and how many of each this process takes at once.

    `accumulation` is this process's micro-batches a step, `steps` all processes' steps an epoch.
    """

    train: Sequence[Any]
    dev: Sequence[Any]
    order: Any
    collator: Any
    train_size: int
    dev_size: int
    accumulation: int
    steps: int


def batches_of(
    settings: TrainingSettings, rows: Sequence[Row], dev_rows: Sequence[Row], pad_id: int, *, packed: bool
) -> Batches:
    """The rows as they are batched and shared. Raises TrainingError where they cannot be shared evenly."""
    share = share_of(settings.batch_size, settings.gradient_accumulation, settings.processes)
    train: list[Any]
    dev: list[Any]
    order: Any
    blank: Any
    if packed:  # a bin is a whole micro-batch
        bins, dev = (pack_rows(some, settings.batch_size, settings.seed) for some in (rows, dev_rows))
        train, order, blank = in_pieces(bins, share.pieces), Order(len(bins), settings.seed), [BLANK]
        pieces, train_size, dev_size = share.pieces, 1, 1
    else:
        lengths = [len(row["input_ids"]) for row in rows]
        train, dev = list(rows), sorted(dev_rows, key=lambda row: len(row["input_ids"]))
        order, blank = Order(len(rows), settings.seed, lengths, settings.batch_size), BLANK
        # Twice the rows at once where nothing is kept for a backward pass.
        pieces, train_size, dev_size = 1, share.batch_size, 2 * share.batch_size
    if settings.processes > 1:
        order = SharedOrder(order, pieces, train_size * settings.processes)
        train = filled(train, train_size * settings.processes, blank)
        dev = filled(dev, dev_size * settings.processes, blank)
    return Batches(
        train,
        dev,
        order,
        collate_packed if packed else functools.partial(collate, pad_id=pad_id),
        train_size,
        dev_size,
        share.accumulation,
        math.ceil(math.ceil(len(rows) / settings.batch_size) / settings.gradient_accumulation),
    )
