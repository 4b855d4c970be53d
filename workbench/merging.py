"""Merging an adapter into its base, and how far the merged model is from the one that was scored.

Merged weights are rounded once to the number format of the base, so that small changes may be lost: nobody
can say from the weights what that does, so both models are asked the same questions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .adapters import origin_of
from .backends import Request
from .backends.hf import HfBackend
from .models import load_model


class MergeError(ValueError):
    """A merged model is not what was scored; the message says how far off, and what to do."""


@dataclass(frozen=True, slots=True)
class Drift:
    """A merged model against base and adapter as scored, over the same prompts.

    Logits are compared at `positions`, each token of the reference answers, over the whole vocabulary: the
    `largest` and `mean` absolute difference beside the `spread` (standard deviation) of the scored ones, and
    the share at which both hold the `same_token` likeliest. `same_answers` of `answers` greedy ones are equal.
    """

    prompts: int
    positions: int
    largest: float
    mean: float
    spread: float
    same_token: float
    answers: int
    same_answers: int


def merge(backend: HfBackend, adapter: Path, out: Path) -> None:
    """Write the backend's base with `adapter` merged into it to `out`, in the number format of the backend.

    The base of an adapter that was trained on 4 bits is unpacked first: packing the merged weights again would
    lose most of what was learnt. Raises AssetError, MergeError.
    """
    import peft

    backend.release()
    four_bits = bool(origin_of(adapter).get("four_bits"))
    base = load_model(backend.folder, backend.device, backend.dtype, four_bits=four_bits)
    if four_bits:
        base = base.dequantize(dtype=base.dtype)
    merged = peft.PeftModel.from_pretrained(base, adapter).merge_and_unload()
    if not all(p.isfinite().all() for p in merged.parameters()):
        raise MergeError(
            f"{adapter}: merged into its base, weights are no longer numbers: the adapter is damaged."
        )
    merged.save_pretrained(out)


def drift_of(
    backend: HfBackend, adapter: Path, merged: Path, requests: Sequence[Request], *, logits: int = 16
) -> Drift:
    """Ask base with adapter, then the merged model, the same `requests`; compare the logits of the first ones.

    Raises BackendError.
    """
    sides = [
        ({p.id: p for p in backend.answer(requests, adapter=one)}, _logits(backend, requests[:logits], one))
        for one in (adapter, merged)
    ]
    (asked, before), (again, after) = sides
    whole = [i for i, p in asked.items() if p.error is None]
    gaps = [(b - a).abs() for b, a in zip(before, after, strict=True)]
    count = sum(map(len, gaps))
    return Drift(
        prompts=len(gaps),
        positions=count,
        largest=max((float(gap.max()) for gap in gaps), default=0.0),
        mean=sum(float(gap.mean(1).sum()) for gap in gaps) / max(1, count),
        spread=math.sqrt(sum(float(b.var(1).sum()) for b in before) / max(1, count)),
        same_token=sum(int((b.argmax(1) == a.argmax(1)).sum()) for b, a in zip(before, after, strict=True))
        / max(1, count),
        answers=len(whole),
        same_answers=sum(_said(asked[i]) == _said(again[i]) for i in whole),
    )


def _logits(backend: HfBackend, requests: Sequence[Request], trained: Path) -> list[Any]:
    found = backend.reference_logits(requests, adapter=trained)
    return [logits.float() for logits in found if logits is not None]


def _said(answer: Any) -> tuple[Any, ...]:
    return answer.prediction, answer.tool_calls, answer.error
