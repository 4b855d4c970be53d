"""The order of rows: a function of seed and epoch alone, so that a killed epoch goes on with the rows it had not seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers.trainer_pt_utils import get_length_grouped_indices


class Order(torch.utils.data.Sampler[int]):
    """Indices of an epoch, shuffled; with `lengths`, rows of like lengths stand together in batches of `batch_size`."""

    def __init__(
        self, count: int, seed: int, lengths: Sequence[int] | None = None, batch_size: int = 1
    ) -> None:
        self._count, self._seed, self._lengths, self._batch_size = count, seed, lengths, batch_size
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the data loader before each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[int]:
        chance = torch.Generator().manual_seed(1_000_003 * self._seed + self._epoch)
        if self._lengths is None:
            return iter(torch.randperm(self._count, generator=chance).tolist())
        grouped: Any = get_length_grouped_indices
        return iter(grouped(self._lengths, self._batch_size, generator=chance))


class SharedOrder(torch.utils.data.Sampler[int]):
    """The order of one process's training in pieces, filled up to a multiple with the blanks behind the items."""

    def __init__(self, order: Order, pieces: int, multiple: int) -> None:
        self._order, self._pieces = order, pieces
        real = len(order) * pieces
        self._blanks = range(real, real + -real % multiple)

    def set_epoch(self, epoch: int) -> None:
        """Called by the data loader before each epoch."""
        self._order.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self._order) * self._pieces + len(self._blanks)

    def __iter__(self) -> Iterator[int]:
        for index in self._order:
            yield from range(index * self._pieces, (index + 1) * self._pieces)
        yield from self._blanks
