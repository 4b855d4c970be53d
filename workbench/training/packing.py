"""Packing: several rows in one sequence, so that no position is padding.

A bin is a list of rows that are trained on side by side in one sequence [1, tokens]; who sees whom is
the attention's business (`attention.py`).
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from .rows import IGNORED

Row = Mapping[str, list[int]]


def pack(lengths: Sequence[int], batch_size: int, seed: int = 0) -> list[list[int]]:
    """Indices of rows by bin: as many bins as there would be batches of `batch_size` rows, nearly equally full.

    The longest row first, each into the emptiest bin. So packing changes neither how many steps a training
    has nor how many rows a step sees on average, as bins of a fixed width would; and as a bin is as wide as what is
    in it, nothing is padding. `seed` says which of equally long rows meet.
    """
    order = list(range(len(lengths)))
    random.Random(seed).shuffle(order)
    order.sort(key=lambda index: -lengths[index])
    bins: list[list[int]] = [[] for _ in range(math.ceil(len(lengths) / batch_size))]
    emptiest = [(0, number) for number in range(len(bins))]
    for index in order:
        tokens, number = emptiest[0]
        bins[number].append(index)
        heapq.heapreplace(emptiest, (tokens + lengths[index], number))
    return bins


def pack_rows(rows: Sequence[Row], batch_size: int, seed: int) -> list[list[Row]]:
    """The rows by bin, about `batch_size` in each."""
    bins = pack([len(row["input_ids"]) for row in rows], batch_size, seed)
    return [[rows[i] for i in one] for one in bins]


def collate_packed(bins: Sequence[Sequence[Row]]) -> dict[str, Any]:
    """One sequence of all rows: input_ids, position_ids (from 0 in each row), labels, each [1, tokens].

    `cu_seq_lens_q`, `cu_seq_lens_k` [rows + 1] and `max_length_q`, `max_length_k` say where rows begin, under the names
    that transformers hands through to its attention functions. No attention mask: one would make rows
    see each other.
    """
    import torch

    rows = [row for one in bins for row in one]
    lengths = [len(row["input_ids"]) for row in rows]
    ends = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
    # The first token of a row follows nothing; its label would be predicted from the row before.
    labels = [label for row in rows for label in (IGNORED, *row["labels"][1:])]
    return {
        "input_ids": torch.tensor([[i for row in rows for i in row["input_ids"]]]),
        "position_ids": torch.cat([torch.arange(length) for length in lengths])[None],
        "labels": torch.tensor([labels]),
        "cu_seq_lens_q": ends,
        "cu_seq_lens_k": ends,
        "max_length_q": max(lengths),
        "max_length_k": max(lengths),
    }
