"""Attention over packed rows, each of which sees only itself, and the probe that it is so.

Registered with transformers' AttentionInterface, so it serves every model that goes through it; the
probe finds out which do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import transformers
from torch.nn.functional import scaled_dot_product_attention

from .packing import Row, apart, collate_packed, common_beginning, layout
from .rows import IGNORED

NAME = "packed_rows"
# Packed against separate logits, relative to the largest logit. Low precision rounds by the shape of the product.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-5}
LOW_PRECISION = 0.05


def set_packed_attention(model: Any) -> None:
    """Let a model attend within packed rows from now on. Batches of several sequences are then refused."""
    if model.config._attn_implementation != NAME:
        model.unpacked_attention = model.config._attn_implementation
    transformers.AttentionInterface.register(NAME, _attend)
    transformers.AttentionMaskInterface.register(NAME, _no_mask)
    model.set_attn_implementation(NAME)


@contextlib.contextmanager
def as_scored(model: Any) -> Iterator[Any]:
    """The model in training as it will answer: in eval mode, with attention that takes padded batches.

    And without the autocast that training's mixed precision wraps around its forward: it rounds otherwise.
    """
    base = model.get_base_model() if hasattr(model, "peft_config") else model
    packed, training = base.config._attn_implementation == NAME, model.training
    forward = model.forward
    model.forward = getattr(model, "_original_forward", forward)
    if packed:
        base.set_attn_implementation(base.unpacked_attention)
    try:
        yield model.eval()
    finally:
        if packed:
            set_packed_attention(base)
        model.forward = forward
        model.train(training)


def why_not_packed(model: Any, rows: Sequence[Row]) -> str | None:
    """Try packed attention on the longest and the shortest rows; None where it holds, and the model then keeps it.

    Two things must be so. A row's logits are the same packed as alone under the model's own attention
    (≤ 1e-5 of the largest logit in float32), which finds lost positions, windows and caps. And they stay when
    the row before is another, which finds a leak exactly in any precision. Otherwise says what is not so.
    """
    own = model.config._attn_implementation
    ranked = sorted(rows, key=lambda row: len(row["input_ids"]))
    probe = [ranked[0], ranked[-1], ranked[len(ranked) // 2]]
    alone = torch.cat([_logits(model, {"input_ids": torch.tensor([row["input_ids"]])}) for row in probe])
    set_packed_attention(model)
    try:
        packed = _logits(model, collate_packed([probe]))
        # Another row before the others, that begins as they do and goes on otherwise.
        begin, ids = common_beginning(probe), probe[0]["input_ids"]
        count = model.get_input_embeddings().num_embeddings
        first = [*ids[:begin], *((i + 1) % count for i in ids[begin:])]
        other = {"input_ids": first, "labels": [*[IGNORED] * (begin + 1), *first[begin + 1 :]]}
        beside = _logits(model, collate_packed([[other, *probe[1:]]]))
    except (NotImplementedError, TypeError, ValueError) as error:
        model.set_attn_implementation(own)
        return (
            f"{type(model).__name__} cannot attend within packed rows ({' '.join(str(error).split())[:200]})"
        )
    size = float(alone.abs().max().clamp(min=1e-6))
    moved = float((packed - alone).abs().max()) / size
    leaked = float((packed - beside)[len(first) :].abs().max()) / size
    if moved <= TOLERANCE.get(model.dtype, LOW_PRECISION) and leaked <= 1e-5:
        return None
    model.set_attn_implementation(own)
    what = (
        f"rows see each other ({leaked:.1e})"
        if leaked > 1e-5
        else f"packed rows are read otherwise ({moved:.1e})"
    )
    return f"{what} in {type(model).__name__}, measured on its logits"


def _logits(model: Any, batch: dict[str, Any]) -> torch.Tensor:
    """[tokens, vocabulary] in float32, row by row."""
    there = {k: v.to(model.device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
    there.pop("labels", None)
    with torch.no_grad():
        logits: torch.Tensor = apart(model(**there, use_cache=False).logits[0], batch)
    return logits.float()


def _no_mask(*_: Any, **__: Any) -> None:
    return None


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    cu_seq_lens_k: torch.Tensor | None = None,
    max_length_q: int | None = None,
    max_length_k: int | None = None,
    key_places: torch.Tensor | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention within rows; query, key, value [1, heads, tokens, size] → [1, tokens, heads, size].

    The names of what says where rows lie are those of `packing.layout`.
    """
    odd = [name for name in ("s_aux", "position_bias", "head_mask") if others.get(name) is not None]
    if odd or query.shape[0] != 1:
        raise NotImplementedError(f"packed attention knows no {', '.join(odd) or 'padded batches'}")
    if not getattr(module, "is_causal", True) or query.shape[2] != key.shape[2]:
        raise NotImplementedError("packed attention is causal self-attention")
    if cu_seq_lens_q is None or cu_seq_lens_k is None:  # one row alone
        max_length_q = max_length_k = query.shape[2]
        cu_seq_lens_q = cu_seq_lens_k = layout(0, [max_length_q])["cu_seq_lens_q"].to(query.device)
    if key_places is not None:  # each row's keys behind those that all share
        key, value = key.index_select(2, key_places), value.index_select(2, key_places)
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    varlen = _varlen(query, value) if softcap is None and not dropout else None
    if varlen is not None:
        q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
        window = (-1 if sliding_window is None else sliding_window - 1, 0)
        ends, lengths = (cu_seq_lens_q, cu_seq_lens_k), (max_length_q, max_length_k)
        # Causal by the last keys, as in `_row`: a row's queries are those of its own tokens.
        return varlen(q, k, v, *ends, *lengths, scale=scaling, window_size=window)[None], None
    # A CPU goes back through attention three times as fast in float32 as in bf16.
    low = (torch.bfloat16, torch.float16)
    given = [x.float() if x.is_cpu and x.dtype in low else x for x in (query, key, value)]
    places = (cu_seq_lens_q, cu_seq_lens_k, cu_seq_lens_k)
    rows = (torch.split(x, ends.diff().tolist(), 2) for x, ends in zip(given, places, strict=True))
    ways = (dropout, scaling, sliding_window, softcap)
    with torch.autocast("cpu", enabled=False):
        parts = [_row(row, *ways) for row in zip(*rows, strict=True)]
    return torch.cat(parts, 2).to(query.dtype).transpose(1, 2), None


def _varlen(query: torch.Tensor, value: torch.Tensor) -> Any:
    """torch's variable-length kernel where it takes these tensors; None elsewhere."""
    low = query.dtype in (torch.bfloat16, torch.float16)
    if not query.is_cuda or not low or query.shape[-1] != value.shape[-1]:
        return None
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn


def _row(
    states: Sequence[torch.Tensor],
    dropout: float,
    scaling: float | None,
    window: int | None,
    softcap: float | None,
) -> torch.Tensor:
    """Causal attention of one row's query, key and value: the queries are those of its last keys.

    With a window each token sees itself and the window − 1 before it.
    """
    query, key, value = states
    length, before = key.shape[2], key.shape[2] - query.shape[2]
    binds = window is not None and length > window
    if not binds and not before and softcap is None:
        return scaled_dot_product_attention(
            query, key, value, dropout_p=dropout, is_causal=True, scale=scaling
        )
    place = torch.arange(length, device=query.device)
    back = place[before:, None] - place
    seen = back >= 0 if window is None else (back >= 0) & (back < window)
    if softcap is None:
        return scaled_dot_product_attention(query, key, value, seen, dropout_p=dropout, scale=scaling)
    scores = query @ key.transpose(2, 3) * (scaling or query.shape[-1] ** -0.5)
    scores = (torch.tanh(scores / softcap) * softcap).masked_fill(~seen, float("-inf"))
    shares = torch.softmax(scores, -1, dtype=torch.float32).to(query.dtype)
    return torch.nn.functional.dropout(shares, dropout) @ value
