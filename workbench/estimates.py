"""How long and how much memory a local model takes, from its size and a short measurement.

No weights are loaded: parameters come from the headers of the safetensors files.
"""

from __future__ import annotations

import json
import math
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from validators.assets import require

# Shares of the measured product's speed at which useful work (2 × parameters × tokens) gets done.
# Measured with SmolLM2-135M-Instruct on an EPYC with bf16 products; the first on one thread by CPU
# time, since others used the machine (two threads there were 4 to 70 times slower than on it idle):
#   prefill, share of the product: rows of 142 tokens 0.86–1.01 (bf16), 1.1–1.2 (fp32);
#     rows of 660 tokens, whose attention costs more, 0.46–0.51 (bf16), 0.85–0.89 (fp32);
#   decode, a step of 16 rows: one thread 0.11 (bf16), 0.40 (fp32); two threads of the idle machine
#     0.29–0.33 (bf16, 33 ms), 0.23–0.6 (fp32, 75–79 ms);
#   train, LoRA on all linear layers in bf16: batch 4 of about 75 tokens took about 1 s a step on two
#     threads, 81 of some 450 GFLOP/s.
# No accelerator was measured: there the estimate is rough, and bounded by PASS_SECONDS.
EFFICIENCY = {"prefill": 0.6, "decode": 0.2, "train": 0.18}
# A decoding step reads all weights whatever the batch: fewer rows take as long as this many.
DECODE_ROWS = 16
# Assumed, not measured: launching some thirty layers from Python takes about this on the fastest device.
PASS_SECONDS = 0.02
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
# Python, torch and transformers themselves.
RUNTIME_BYTES = 700 * 2**20


@dataclass(frozen=True, slots=True)
class ModelSize:
    """What time and memory depend on. `linear` is Σ (inputs + outputs) of the layers an adapter is put on."""

    parameters: int
    linear: int
    layers: int
    hidden: int
    intermediate: int
    key_values: int
    vocabulary: int


def model_size(folder: Path) -> ModelSize | None:
    """The size of a transformers folder by its config and safetensors headers; None where they do not tell."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        shapes = {
            k: v for path in sorted(folder.glob("*.safetensors")) for k, v in tensor_shapes(path).items()
        }
        config = config.get("text_config", config)
        hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
        head = int(config.get("head_dim") or hidden // heads)
        linear = [
            s
            for name, s in shapes.items()
            if len(s) == 2 and not any(w in name for w in ("embed", "lm_head", "wte"))
        ]
        return (
            ModelSize(
                parameters=sum(math.prod(s) for s in shapes.values()),
                linear=sum(map(sum, linear)),
                layers=int(config["num_hidden_layers"]),
                hidden=hidden,
                intermediate=int(config.get("intermediate_size") or 4 * hidden),
                key_values=head * int(config.get("num_key_value_heads") or heads),
                vocabulary=int(config["vocab_size"]),
            )
            if shapes
            else None
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error):
        return None


def tensor_shapes(path: Path) -> dict[str, list[int]]:
    """Name → shape of every tensor in a safetensors file: 8 bytes of length, then a JSON header."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > path.stat().st_size:
            raise ValueError(f"{path}: not a safetensors file")
        header: dict[str, Any] = json.loads(file.read(length))
    return {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}


def measured_speed(device: str, dtype: str, *, seconds: float = 0.3) -> float:
    """FLOP/s of a square matrix product on `device` in `dtype`, measured for about `seconds`."""
    torch = require("torch", "an estimate of time", "local")
    size = 2048 if device == "cpu" else 4096
    left = torch.ones((size, size), dtype=getattr(torch, dtype), device=device)
    (left @ left)[0, 0].item()
    begun, rounds = time.perf_counter(), 0
    while (took := time.perf_counter() - begun) < seconds:
        # Reading a number back waits for the device.
        (left @ left)[0, 0].item()
        rounds += 1
    return 2 * size**3 * max(1, rounds) / took


def seconds_to_answer(
    size: ModelSize, speed: float, *, prompt_tokens: float, requests: int, batch_size: int, new_tokens: int
) -> float:
    """Seconds for `requests` answers of `new_tokens` each, after `prompt_tokens` in all."""
    batches = math.ceil(requests / batch_size)
    prefill = 2 * size.parameters * prompt_tokens / (speed * EFFICIENCY["prefill"])
    rows = max(min(batch_size, requests), DECODE_ROWS)
    step = 2 * size.parameters * rows / (speed * EFFICIENCY["decode"])
    return max(prefill, batches * PASS_SECONDS) + batches * new_tokens * max(step, PASS_SECONDS)


def seconds_to_train(size: ModelSize, speed: float, *, tokens: float, steps: int) -> float:
    """Seconds for LoRA steps over `tokens` in all epochs together; a step is three passes at least."""
    return max(2 * size.parameters * tokens / (speed * EFFICIENCY["train"]), 3 * steps * PASS_SECONDS)


def answering_bytes(size: ModelSize, dtype: str, *, rows: int, longest: int, new_tokens: int) -> int:
    """Peak memory of answering: weights, and the keys and values of a batch, kept twice for likelihoods."""
    cache = 2 * size.layers * size.key_values * rows * (longest + new_tokens)
    return RUNTIME_BYTES + BYTES[dtype] * (size.parameters + 2 * cache)


def training_bytes(size: ModelSize, dtype: str, *, rank: int, rows: int, longest: int, answer: int) -> int:
    """Peak memory of LoRA training: weights, adapter with gradients and moments, activations, logits.

    `answer` is the most tokens of a row from the first trained one on: logits are made for those alone.
    """
    adapter = 4 * 4 * rank * size.linear
    # A layer keeps about 14 tensors as wide as the hidden state and 4 as wide as its inner layer.
    activations = rows * longest * size.layers * (14 * size.hidden + 4 * size.intermediate)
    logits = 3 * 4 * rows * answer * size.vocabulary
    return RUNTIME_BYTES + BYTES[dtype] * (size.parameters + activations) + adapter + logits
