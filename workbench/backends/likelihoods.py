"""Negative log-likelihoods of bare texts under a causal language model."""

from __future__ import annotations

from typing import Any

from .generation import LOGITS


def row_nats(model: Any, rows: list[list[int]], pad: int, device: str) -> list[float]:
    """Negative log-likelihood of every row after its first token, in nats; batches of rows of like length."""
    import torch

    order = sorted(range(len(rows)), key=lambda i: (-len(rows[i]), i))
    nats = [0.0] * len(rows)
    while order:
        width = max(2, len(rows[order[0]]))
        # A row's logits are as wide as the vocabulary: they bound the batch.
        size = max(1, LOGITS // (width * model.config.get_text_config().vocab_size))
        batch, order = order[:size], order[size:]
        ids = torch.tensor([rows[i] + [pad] * (width - len(rows[i])) for i in batch], device=device)
        mask = torch.tensor([[1] * len(rows[i]) + [0] * (width - len(rows[i])) for i in batch], device=device)
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1].float()
        wanted = ids[:, 1:]
        chosen = logits.gather(2, wanted[..., None])[..., 0] - logits.logsumexp(2)
        totals = -(chosen * mask[:, 1:]).double().sum(1)
        for i, total in zip(batch, totals.tolist(), strict=True):
            nats[i] = total
    return nats
