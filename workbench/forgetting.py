"""Forgetting: what tuning did to everything else, as bits per byte of a general text before and after.

`general_text.jsonl` holds 61 passages in many registers, five languages, some code and arithmetic, written
for this purpose (Apache-2.0). They are fixed: two runs anywhere measure the same thing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from metrics import compare_paired
from metrics.language_model import bits_reducer
from metrics.types import Array

from .backends.hf import HfBackend
from .records import Forgetting


class GeneralPassage(msgspec.Struct, frozen=True):
    """One passage of the general text."""

    id: str
    kind: str
    language: str
    text: str


@cache
def general_text() -> tuple[GeneralPassage, ...]:
    """The passages, in their order."""
    lines = _blob().splitlines()
    return tuple(msgspec.json.decode(line, type=GeneralPassage) for line in lines)


def measure(backend: HfBackend, adapter: Path) -> dict[str, Any]:
    """Rows of [nats, tokens, bytes] a passage under the base (`before`) and with the adapter (`after`)."""
    texts = [passage.text for passage in general_text()]
    before, after = (backend.plain_text_nats(texts, adapter=one) for one in (None, adapter))
    return {
        "sample": hashlib.sha256(_blob()).hexdigest(),
        "before": [list(row) for row in before],
        "after": [list(row) for row in after],
    }


def forgetting_of(
    measured: Mapping[str, Any] | None, *, alpha: float = 0.05, seed: int = 0
) -> Forgetting | None:
    """What was forgotten, from the rows that `measure` gave; None where nothing was measured.

    A passage has the same bytes before and after, so the relative change in bits per byte is that of the
    nats: each passage carries (nats, nats before), and both sides are reduced to their ratio.
    """
    if not measured:
        return None
    before, after = (np.array(measured[side], dtype=float) for side in ("before", "after"))
    bits = bits_reducer(("nats", "bytes"))
    was, now = (float(bits(side[:, [0, 2]].mean(axis=0))) for side in (before, after))
    compared = compare_paired(
        before[:, [0, 0]],
        np.column_stack([after[:, 0], before[:, 0]]),
        alpha=alpha,
        seed=seed,
        reduce=_ratio,
    )
    return Forgetting(
        before=was,
        after=now,
        change=compared.difference,
        interval=compared.interval,
        passages=len(before),
    )


def _ratio(means: Array) -> Array:
    ratio: Array = means[..., 0] / means[..., 1]
    return ratio


@cache
def _blob() -> bytes:
    return resources.files(__package__).joinpath("general_text.jsonl").read_bytes()
