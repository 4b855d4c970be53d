"""How fast this machine trains a shape: a few steps of the same model with one layer and with three.

What a step costs beside its layers (embeddings, head, loss) is in both; the difference is two layers.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from validators.assets import require

from ..forecast import Pace, Workload
from ..shapes import ModelSize, size_of
from .attention import set_packed_attention
from .loss import attach_loss, attach_own_loss
from .methods import with_method
from .packing import Row, collate_packed
from .rows import IGNORED, collate
from .settings import TrainingSettings

# Depths that are timed, timed steps of each, and the most tokens of a step.
DEPTHS = (1, 3)
STEPS = 3
TOKENS = {"cpu": 640, "cuda": 8192}
# The most products of a step, so that large layers take seconds too.
FLOPS = {"cpu": 2e11, "cuda": 2e13}


@dataclass(frozen=True, slots=True)
class _Timed:
    batch: float
    update: float

    def at(self, other: _Timed, layers: int) -> _Timed:
        """On the line through this and `other`, of DEPTHS layers, at `layers`."""

        def line(a: float, b: float) -> float:
            return max(b, a + (layers - DEPTHS[0]) * (b - a) / (DEPTHS[1] - DEPTHS[0]))

        return _Timed(line(self.batch, other.batch), line(self.update, other.update))


def measured_pace(folder: Path, work: Workload) -> Pace:
    """Time a few steps of `work` on this machine, with random weights in the shape that folder/config.json has.

    Raises OSError, ValueError for a config that transformers cannot read, RuntimeError where a step fails.
    """
    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    rows = _rows(work, size_of(config.to_dict()))
    layers = int(config.get_text_config().num_hidden_layers)
    batch = collate_packed([rows]) if work.packed else collate(rows, 0)
    with torch.random.fork_rng():
        few, more = (_timed(config, depth, work, batch) for depth in DEPTHS)
    timed = few.at(more, layers)
    return Pace(tokens=batch["input_ids"].numel(), batch=timed.batch, update=timed.update)


def _rows(work: Workload, size: ModelSize) -> list[Row]:
    """A micro-batch: rows of evenly spaced lengths, with the share of trained tokens that all rows have."""
    ranked = sorted(work.lengths)
    count = min(work.batch_size, len(ranked))
    if work.packed:
        lengths = [ranked[(2 * i + 1) * len(ranked) // (2 * count)] for i in range(count)]
    else:  # rows of like lengths stand together
        lengths = [ranked[len(ranked) // 2]] * count
    a_token = 6 * sum(DEPTHS) * size.multiplied / size.layers
    most = int(min(TOKENS.get(work.place, TOKENS["cpu"]), FLOPS.get(work.place, FLOPS["cpu"]) / a_token))
    while sum(lengths) > most and len(lengths) > 1:
        lengths = lengths[::2] if len(lengths) > 2 else lengths[:1]
    lengths = [min(length, max(most, 16)) for length in lengths]
    share = work.trained / sum(work.lengths)
    ids = torch.Generator().manual_seed(0)
    shared = torch.randint(size.vocabulary, (min(work.shared, *lengths),), generator=ids)
    own = [torch.randint(size.vocabulary, (n - len(shared),), generator=ids) for n in lengths]
    return [_row(torch.cat([shared, row]).tolist(), share) for row in own]


def _row(ids: list[int], share: float) -> Row:
    trained = max(1, round(share * len(ids)))
    return {"input_ids": ids, "labels": [IGNORED] * (len(ids) - trained) + ids[-trained:]}


def _timed(config: Any, depth: int, work: Workload, batch: Mapping[str, Any]) -> _Timed:
    """The quickest of some steps: other work on the machine only makes them slower."""
    model = _model(config, depth, work)
    tuned = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(tuned, lr=1e-6, fused=True)
    batch = {k: v.to(work.device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
    low = torch.autocast(work.place, getattr(torch, work.dtype)) if work.low else contextlib.nullcontext()
    batches, updates = [], []
    for _ in range(STEPS + 1):
        begun = _now(work)
        with low:
            loss = model(**batch, use_cache=False).loss
        loss.backward()
        passed = _now(work)
        torch.nn.utils.clip_grad_norm_(tuned, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        batches.append(passed - begun)
        updates.append(_now(work) - passed)
    return _Timed(min(batches[1:]), min(updates[1:]))


def _model(config: Any, depth: int, work: Workload) -> Any:
    """A model of `depth` layers with random weights, ready to train as `prepare` would make it."""
    small = type(config).from_dict(config.to_dict() | {"tie_word_embeddings": config.tie_word_embeddings})
    text = small.get_text_config()
    text.num_hidden_layers = depth
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:depth]
    auto: Any = transformers.AutoModelForCausalLM
    dtype = torch.float32 if work.method == "full" else getattr(torch, work.dtype)
    with torch.device(work.device):
        model = auto.from_config(small, dtype=dtype)
    if work.method == "qlora":
        _pack_in_4_bits(model, dtype, work.device)
    if work.packed:
        set_packed_attention(model)
    adapted = with_method(model, _settings(work))
    if work.own_loss:
        attach_own_loss(model, _mean_loss)
    else:
        attach_loss(model)
    if work.checkpointing:
        adapted.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return adapted.train()


def _mean_loss(*, logits: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """What a loss of the user's own takes at least."""
    return torch.nn.functional.cross_entropy(logits[mask], labels[mask])


def _pack_in_4_bits(model: Any, dtype: torch.dtype, device: str) -> None:
    """Put NF4 layers in the place of a model's linear ones, but for the head."""
    bnb = require("bitsandbytes", "method: qlora", "qlora")
    head = model.get_output_embeddings()
    linear = [(n, m) for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head]
    for name, layer in linear:
        packed = bnb.nn.LinearNF4(
            *(layer.in_features, layer.out_features, layer.bias is not None), compute_dtype=dtype
        )
        packed.load_state_dict(layer.state_dict())
        packed.support_avx512bf16_for_cpu = False
        model.set_submodule(name, packed.to(device).requires_grad_(False))


def _settings(work: Workload) -> TrainingSettings:
    return TrainingSettings(
        *("pace", "", Path(), work.device, work.dtype),
        epochs=1,
        learning_rate=1e-6,
        rank=work.rank,
        alpha=work.rank,
        seed=0,
        batch_size=work.batch_size,
        max_length=max(work.lengths),
        method=work.method,
        dropout=work.dropout,
        dora=work.dora,
    )


def _now(work: Workload) -> float:
    if work.place == "cuda":
        torch.cuda.synchronize(work.device)
    return time.perf_counter()
