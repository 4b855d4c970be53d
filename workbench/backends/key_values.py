"""Keys and values of prompts: computed once for a shared beginning, laid side by side for a batch.

Only caches of plain and sliding-window attention are taken apart; `portable` says whether a model's is one.
Imported where a model runs: it loads torch and transformers.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

_PLAIN = (DynamicLayer, DynamicSlidingWindowLayer)


@dataclass(frozen=True, slots=True)
class Piece:
    """A cache of some prompts, each from the left: row i's first lengths[i] columns are its own."""

    cache: Any
    lengths: tuple[int, ...]


def portable(model: Any) -> bool:
    """Whether the model's cache can be forked, expanded and merged: attention layers alone, no states."""
    config = model.config.get_text_config(decoder=True)
    if not model._supports_default_dynamic_cache() or getattr(config, "attention_chunk_size", None):
        return False
    return all(type(layer) in _PLAIN for layer in DynamicCache(config=config).layers)


def empty(model: Any) -> Any:
    """A cache without tokens, made for the model's layers."""
    return DynamicCache(config=model.config.get_text_config(decoder=True))


def window(cache: Any) -> int | None:
    """The most columns that every layer keeps; None where all are kept."""
    sizes = [layer.sliding_window - 1 for layer in cache.layers if layer.is_sliding]
    return min(sizes, default=None)


def forked(cache: Any, rows: int = 1) -> Any:
    """A cache that goes on by itself, its only row `rows` times; nothing is copied, for layers grow by replacing."""
    other = copy.copy(cache)
    other.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in other.layers if rows > 1 else ():
        layer.keys = layer.keys.expand(rows, -1, -1, -1)
        layer.values = layer.values.expand(rows, -1, -1, -1)
    return other


def keep_rows(cache: Any, rows: Any) -> None:
    """Let all rows but these leave the cache."""
    for layer in cache.layers:
        layer.keys, layer.values = layer.keys[rows], layer.values[rows]


def merged(pieces: Sequence[Piece]) -> Any:
    """One cache of all rows, each moved to the right so that all end together; zeros stand before the shorter."""
    width = max(n for piece in pieces for n in piece.lengths)
    if len(pieces) == 1 and set(pieces[0].lengths) == {width}:
        return pieces[0].cache
    whole = forked(pieces[0].cache)
    for index, layer in enumerate(whole.layers):
        kept = min(width, layer.sliding_window - 1) if layer.is_sliding else width
        parts = [(piece.cache.layers[index], piece.lengths) for piece in pieces]
        layer.keys = _aligned([(part.keys, part.get_seq_length(), own) for part, own in parts], kept)
        layer.values = _aligned([(part.values, part.get_seq_length(), own) for part, own in parts], kept)
        if layer.is_sliding:
            layer.cumulative_length = width
    return whole


def _aligned(parts: Sequence[tuple[Any, int, tuple[int, ...]]], kept: int) -> Any:
    """[rows, heads, kept, size] of parts (tensor, columns seen, own columns of each row)."""
    like = parts[0][0]
    out = torch.zeros(
        (sum(len(own) for _, _, own in parts), like.shape[1], kept, like.shape[3]),
        dtype=like.dtype,
        device=like.device,
    )
    rows = iter(out)
    for tensor, seen, own in parts:
        for row, length in zip(tensor, own, strict=True):
            mine = row[:, : row.shape[1] - (seen - length)][:, -kept:]
            next(rows)[:, kept - mine.shape[1] :] = mine
    return out
