"""Negative log-likelihoods of given tokens under a causal language model."""

from __future__ import annotations

from typing import Any

# Logits in memory at once: 256 MB as floats.
_LOGITS = 1 << 26


def reference_nats(
    model: Any, first: Any, cache: Any, prompt: dict[str, Any], references: list[list[int]]
) -> list[float | None]:
    """Negative log-likelihood of each reference after its prompt, in nats; None for an empty one."""
    import torch

    width = max(map(len, references))
    if width == 0:
        return [None] * len(references)
    ids = torch.tensor([r + [0] * (width - len(r)) for r in references], device=first.device)
    mask = torch.tensor([[1] * len(r) + [0] * (width - len(r)) for r in references], device=first.device)
    logits = first[:, None]
    if width > 1:
        position = prompt["position_ids"][:, -1:] + 1 + torch.arange(width - 1, device=first.device)
        rest = model(
            input_ids=ids[:, :-1],
            attention_mask=torch.cat([prompt["attention_mask"], mask[:, :-1]], 1),
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
        ).logits.float()
        logits = torch.cat([logits, rest], 1)
    chosen = logits.gather(2, ids[..., None])[..., 0] - logits.logsumexp(2)
    totals = -(chosen * mask).double().sum(1)
    return [float(t) if r else None for t, r in zip(totals, references, strict=True)]


def row_nats(model: Any, rows: list[list[int]], pad: int, device: str) -> list[float]:
    """Negative log-likelihood of every row after its first token, in nats; batches of rows of like length."""
    import torch

    order = sorted(range(len(rows)), key=lambda i: (-len(rows[i]), i))
    nats = [0.0] * len(rows)
    while order:
        width = max(2, len(rows[order[0]]))
        # A row's logits are as wide as the vocabulary: they bound the batch.
        size = max(1, _LOGITS // (width * model.config.get_text_config().vocab_size))
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
