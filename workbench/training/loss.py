"""The loss head: cross-entropy at trained positions, in chunks, so that a batch's logits never exist at once.

A loss of the user's own sees whole logits instead: nobody can say that it could be computed in chunks.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions, CausalLMOutputWithPast

from .own_loss import OwnLoss
from .rows import IGNORED

# Logits in memory at once: 64 MiB of float32.
CHUNK = 2**24
Head = Callable[[torch.Tensor], torch.Tensor]


def attach_loss(model: Any) -> bool:
    """Let `model(..., labels=…)` return the summed cross-entropy alone; True where it does so in chunks.

    The forward stays that of the model in all that stands around it (adapters, checkpointing, data parallelism).
    Where the head cannot be told from the decoder for sure, the model's own logits are used: right,
    but whole. Labels are those of the row: position t is judged by the label at t + 1.
    """
    own, decoder = model.forward, _decoder(model)
    chunked_loss: Any = _ChunkedLoss.apply
    head = _head(model, own, decoder)
    chunked = decoder is not None and _is_exact(model, own, decoder, head)
    rows = max(1, CHUNK // int(model.config.get_text_config().vocab_size))

    def forward(self: Any, *args: Any, labels: torch.Tensor | None = None, **inputs: Any) -> Any:
        if labels is None:
            return own(*args, **inputs)
        trained = labels[:, 1:] != IGNORED
        targets = labels[:, 1:][trained]
        if not chunked:
            logits = own(*args, **inputs).logits[:, :-1][trained]
            return CausalLMOutputWithPast(loss=cross_entropy(logits.float(), targets, reduction="sum"))
        states = decoder(*args, **inputs).last_hidden_state[:, :-1][trained]
        if not torch.is_grad_enabled():
            return CausalLMOutputWithPast(loss=_summed(head, rows, targets, states))
        weights = [p for p in model.get_output_embeddings().parameters() if p.requires_grad]
        return CausalLMOutputWithPast(loss=chunked_loss(head, rows, targets, states, *weights))

    model.forward = types.MethodType(forward, model)
    return chunked


def attach_own_loss(model: Any, function: OwnLoss) -> None:
    """Let `model(..., labels=…)` return a loss of the user's own, times the trained tokens that it is a mean of."""
    own = model.forward

    def forward(self: Any, *args: Any, labels: torch.Tensor | None = None, **inputs: Any) -> Any:
        if labels is None:
            return own(*args, **inputs)
        wanted = labels[:, 1:]
        mask = wanted != IGNORED
        logits = own(*args, **inputs).logits[:, :-1].float()
        # A process's share may be blank: the mean of nothing is no number.
        mean = function(logits=logits, labels=wanted, mask=mask) if mask.any() else logits.sum() * 0
        return CausalLMOutputWithPast(loss=mean * mask.sum())

    model.forward = types.MethodType(forward, model)


def _decoder(model: Any) -> Any:
    """The module that makes the hidden states; None where transformers does not know it, or no head follows."""
    decoder = getattr(model, model.base_model_prefix, None)
    return None if decoder is None or decoder is model or model.get_output_embeddings() is None else decoder


def _head(model: Any, own: Callable[..., Any], decoder: Any) -> Head:
    """States [n, hidden] → logits [n, vocabulary], by the model's own code behind the decoder.

    The decoder is told to say what it has already said. So scaling, soft caps and biases are the model's own,
    without a list of who has which.
    """
    device = torch.device(model.device)

    def head(states: torch.Tensor) -> torch.Tensor:
        said = BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=states[None])
        decoder.forward = lambda *_, **__: said
        try:
            asked = torch.zeros(1, len(states), dtype=torch.long, device=device)
            logits: torch.Tensor = own(input_ids=asked, use_cache=False).logits[0]
            return logits
        finally:
            del decoder.forward

    return head


def _is_exact(model: Any, own: Callable[..., Any], decoder: Any, head: Head) -> bool:
    """Whether decoder and head, one after the other, give the model's own logits to the bit, nearly."""
    ids = torch.arange(2, 10, device=model.device)[None] % model.get_input_embeddings().num_embeddings
    with torch.no_grad():
        whole = own(input_ids=ids, use_cache=False).logits[0].float()
        try:
            parts = head(decoder(input_ids=ids, use_cache=False).last_hidden_state[0]).float()
        except (AttributeError, TypeError, ValueError, RuntimeError):
            return False
    tolerance = 1e-5 if model.dtype == torch.float32 else 0.02
    return parts.shape == whole.shape and torch.allclose(parts, whole, rtol=tolerance, atol=tolerance)


class _ChunkedLoss(torch.autograd.Function):
    """Summed cross-entropy of states [n, hidden]; gradients are made with it, chunk by chunk."""

    @staticmethod
    def forward(
        ctx: Any, head: Head, rows: int, targets: torch.Tensor, states: torch.Tensor, *weights: torch.Tensor
    ) -> torch.Tensor:
        total = torch.zeros((), device=states.device)
        wanted = ctx.needs_input_grad[3:]
        gradients = [
            torch.zeros_like(x) if w else None for x, w in zip((states, *weights), wanted, strict=True)
        ]
        for part, part_targets, place in _chunks(states, targets, rows):
            part.requires_grad_(wanted[0])
            asked = [x for x, w in zip((part, *weights), wanted, strict=True) if w]
            with torch.enable_grad():
                loss = cross_entropy(head(part).float(), part_targets, reduction="sum")
            total += loss.detach()
            found = iter(torch.autograd.grad(loss, asked))
            if gradients[0] is not None:
                gradients[0][place] = next(found)
            for gradient in gradients[1:]:
                if gradient is not None:
                    gradient += next(found)
        ctx.save_for_backward(*(g for g in gradients if g is not None))
        return total

    @staticmethod
    def backward(ctx: Any, *given: torch.Tensor) -> Any:
        saved = iter(ctx.saved_tensors)
        wanted = ctx.needs_input_grad[3:]
        scaled = (given[0].to(g.dtype) * g for g in saved)
        return None, None, None, *(next(scaled) if w else None for w in wanted)


def _chunks(
    states: torch.Tensor, targets: torch.Tensor, rows: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor, slice]]:
    for begin in range(0, len(targets), rows):
        place = slice(begin, begin + rows)
        yield states[place].detach(), targets[place], place


def _summed(head: Head, rows: int, targets: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    """The same without gradients."""
    total = torch.zeros((), device=states.device)
    for part, part_targets, _ in _chunks(states, targets, rows):
        total += cross_entropy(head(part).float(), part_targets, reduction="sum")
    return total
