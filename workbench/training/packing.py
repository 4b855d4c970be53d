"""Packing: several rows in one sequence, so that no position is padding.

A bin is a list of rows that are trained on side by side in one sequence [1, tokens]; who sees whom is
the attention's business (`attention.py`).
"""

from __future__ import annotations

import heapq
import itertools
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
    return spread(lengths, math.ceil(len(lengths) / batch_size), seed)


def spread(lengths: Sequence[int], count: int, seed: int = 0) -> list[list[int]]:
    """Indices of rows in `count` bins of nearly equal tokens."""
    order = list(range(len(lengths)))
    random.Random(seed).shuffle(order)
    order.sort(key=lambda index: -lengths[index])
    bins: list[list[int]] = [[] for _ in range(count)]
    emptiest = [(0, number) for number in range(count)]
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
    """One sequence of all rows: input_ids, position_ids (from 0 in each row), labels, each [1, tokens]; see `layout`.

    What all rows begin with (a system text, say), and none is trained on, stands once, before them: nothing
    behind it changes what a causal model makes of it. No attention mask: one would make rows see each other.
    """
    import torch

    rows = [row for one in bins for row in one]
    begin = common_beginning(rows)
    own = [len(row["input_ids"]) - begin for row in rows]
    ids = [*rows[0]["input_ids"][:begin], *(i for row in rows for i in row["input_ids"][begin:])]
    # The first own token of a row follows what is shared, or nothing: its label would be predicted from the row before.
    labels = [label for row in rows for label in (IGNORED, *row["labels"][begin + 1 :])]
    places = [torch.arange(begin), *(torch.arange(begin, begin + tokens) for tokens in own)]
    return {
        "input_ids": torch.tensor([ids]),
        "position_ids": torch.cat(places)[None],
        "labels": torch.tensor([[IGNORED] * begin + labels]),
        **layout(begin, own),
    }


def common_beginning(rows: Sequence[Row]) -> int:
    """How many tokens all rows begin with, before the first state that the loss of any is taken at; 0 of one row."""
    first = rows[0]["input_ids"]
    most = min(map(_untrained, rows)) if len(rows) > 1 else 0
    return next((i for i in range(most) if any(row["input_ids"][i] != first[i] for row in rows)), most)


def _untrained(row: Row) -> int:
    """States before the first one that is judged, which is by the label after it; one is left to the row at least."""
    labels = row["labels"]
    return next((i for i, label in enumerate(labels) if i and label != IGNORED), len(labels)) - 1


def tokens_of(rows: Sequence[Row]) -> dict[str, Any]:
    """The part of a forecast's workload that its rows are: lengths, trained tokens, and how many all begin with."""
    return {
        "lengths": tuple(len(row["input_ids"]) for row in rows),
        "trained": sum(label != IGNORED for row in rows for label in row["labels"]),
        "shared": common_beginning(rows),
    }


def layout(begin: int, own: Sequence[int]) -> dict[str, Any]:
    """Where packed rows lie and what they see: `begin` tokens that all share, then each row's own.

    `cu_seq_lens_q` says where the shared tokens (if any) and each row's own begin and end in the sequence,
    `cu_seq_lens_k` the same of what they see, `max_length_q` and `max_length_k` the longest of each: under the names
    that transformers hands through to its attention functions. `key_places` [seen tokens] says where in the
    sequence lies what they see; it is left out where each row sees itself alone.
    """
    import torch

    if not begin:
        ends = _ends(own)
        return {
            "cu_seq_lens_q": ends,
            "cu_seq_lens_k": ends,
            "max_length_q": max(own),
            "max_length_k": max(own),
        }
    ends, shared = _ends([begin, *own]), torch.arange(begin)
    rows = [(shared, torch.arange(a, b)) for a, b in itertools.pairwise(ends.tolist()[1:])]
    return {
        "cu_seq_lens_q": ends,
        "cu_seq_lens_k": _ends([begin, *(begin + tokens for tokens in own)]),
        "max_length_q": max(begin, *own),
        "max_length_k": begin + max(own),
        "key_places": torch.cat([shared, *(part for row in rows for part in row)]),
    }


def _ends(lengths: Sequence[int]) -> Any:
    import torch

    return torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)


def apart(values: Any, batch: Mapping[str, Any]) -> Any:
    """What a model gave for a packed batch [tokens, …], row by row: what is shared, in each of them."""
    if "key_places" not in batch:
        return values
    begin = int(batch["cu_seq_lens_q"][1])
    return values[batch["key_places"].to(values.device)][begin:]


def useful_tokens(batch: Mapping[str, Any]) -> Any:
    """How many tokens the rows of a batch hold, packed or padded; what is shared counts in each of them."""
    if "key_places" in batch:
        # In 64 bits: it is summed up over a training.
        return batch["key_places"].numel() - batch["cu_seq_lens_q"][1].long()
    mask = batch.get("attention_mask")
    return batch["input_ids"].numel() if mask is None else mask.sum()
