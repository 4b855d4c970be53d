"""How long and how much memory a local model's answers take, from its size and a short measurement."""

from __future__ import annotations

import math
import time

from validators.assets import require

from .forecast import WIDTH
from .shapes import ModelSize

# Shares of the measured product's speed at which useful work (2 × parameters × tokens) gets done.
# Measured with SmolLM2-135M-Instruct on an EPYC with bf16 products; the first on one thread by CPU
# time, since others used the machine (two threads there were 4 to 70 times slower than on it idle):
#   prefill, share of the product: rows of 142 tokens 0.86–1.01 (bf16), 1.1–1.2 (fp32);
#     rows of 660 tokens, whose attention costs more, 0.46–0.51 (bf16), 0.85–0.89 (fp32);
#   decode, a step of 16 rows: one thread 0.11 (bf16), 0.40 (fp32); two threads of the idle machine
#     0.29–0.33 (bf16, 33 ms), 0.23–0.6 (fp32, 75–79 ms).
# No accelerator was measured: there the estimate is rough, and bounded by PASS_SECONDS.
EFFICIENCY = {"prefill": 0.6, "decode": 0.2}
# A decoding step reads all weights whatever the batch: fewer rows take as long as this many.
DECODE_ROWS = 16
# Assumed, not measured: launching some thirty layers from Python takes about this on the fastest device.
PASS_SECONDS = 0.02
# Python, torch and transformers themselves.
RUNTIME_BYTES = 700 * 2**20


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


def answering_bytes(size: ModelSize, dtype: str, *, rows: int, longest: int, new_tokens: int) -> int:
    """Peak memory of answering: weights, and the keys and values of a batch, kept twice for likelihoods."""
    cache = 2 * size.layers * size.key_values * rows * (longest + new_tokens)
    return RUNTIME_BYTES + WIDTH[dtype] * (size.parameters + 2 * cache)
