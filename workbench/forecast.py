"""What a training will take: its peak memory, and its time at a measured pace. No weights, no torch.

The trainer's own way is counted: products in `dtype` with an adapter in float32 (or all weights, where all
train), a loss head that makes logits in chunks, layers that are computed again where they are checkpointed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from .recipe import Method, Switch
from .shapes import ModelSize

WIDTH = {"float32": 4, "bfloat16": 2, "float16": 2}
# NF4: four bits, and a scale of 8 bits for every 64 of them, itself scaled in float32 for every 256.
_NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)
# What a layer keeps of a token for its backward pass, beside attention: bytes by its hidden and by its inner width,
# with 16-bit products and with float32; and what layers in one piece do not keep of the first. Counted on the saved
# tensors of small models of each family.
_KEPT = {"gpt2": (16, 26, 10, 20, 0), "gpt_neox": (10, 22, 4, 8, 0), "phi": (10, 8, 10, 20, 6)}
_KEPT_GATED = (18, 16, 8, 16, 6)
# DoRA keeps each layer's answer with and without its adapter, dropout what it leaves of each layer's input: bytes by
# the widths of what goes into and out of all layers that are adapted.
_DORA = (2.75, 5.5)
_DROPOUT = (2.1, 2.3)
# Attention with dropout keeps its scores, the chances and what is left: bytes a score.
_SCORE = 12
# Logits at once, and bytes of each with its softmax and gradients, in 16 bits and in float32.
LOGITS = 2**24
_LOGIT = (16, 12)
# Python, torch and transformers themselves; on a GPU only tensors are counted.
RUNTIME = {"cpu": 800 * 10**6}
# The C library's heap on a CPU: what is freed between tensors that stay is not all used again. Measured on glibc:
# 1.4 to 1.7 times what is kept, and about a dozen layers' worth where layers are freed and made again.
_HEAP = {"cpu": 1.4}
_HEAP_LAYERS = {"cpu": 12}
# What packing weights into 4 bits leaves of the file's size there.
_HEAP_PACKED = {"cpu": 0.5}
# The share of free memory that a training may plan with.
USABLE = 0.9


@dataclass(frozen=True, slots=True)
class Workload:
    """What memory and time of a training depend on, beside the model. `lengths` are the tokens of its rows.

    `trained` counts the trained tokens of all rows, `shared` those that all rows begin with: packed, they stand
    once in a micro-batch. A micro-batch is `batch_size` rows, computed in `parts`. A loss of the user's own sees
    the logits of whole micro-batches.
    """

    method: Method
    dtype: str
    device: str
    batch_size: int
    lengths: tuple[int, ...]
    trained: int
    shared: int = 0
    rank: int = 16
    accumulation: int = 1
    packed: bool = True
    checkpointing: bool = False
    parts: int = 1
    dropout: float = 0.0
    dora: bool = False
    own_loss: bool = False
    processes: int = 1

    @property
    def place(self) -> str:
        """`cpu`, `cuda` or `mps`."""
        return self.device.split(":")[0]

    @property
    def one_piece(self) -> bool:
        """Whether adapted layers are computed in one piece."""
        return self.method == "lora" and not self.dropout and not self.dora

    @property
    def mean(self) -> float:
        """Tokens of a row on average."""
        return sum(self.lengths) / len(self.lengths)

    @property
    def rows(self) -> int:
        """Rows of the largest part of a micro-batch."""
        return math.ceil(min(self.batch_size, len(self.lengths)) / self.parts)

    @property
    def fullest(self) -> float:
        """Tokens that are computed at once at most, padding included."""
        longest = max(self.lengths)
        if not self.packed:
            return self.rows * longest
        return max(longest, self.shared + self.rows * (self.mean - self.shared))

    @property
    def computed(self) -> float:
        """Tokens computed in an epoch, padding left out."""
        batches = math.ceil(len(self.lengths) / self.batch_size) * self.parts
        return sum(self.lengths) - self.packed * self.shared * max(0, len(self.lengths) - batches)

    @property
    def low(self) -> bool:
        """Whether products are in 16 bits."""
        return WIDTH[self.dtype] == 2


@dataclass(frozen=True, slots=True)
class Pace:
    """A measured training: seconds of a micro-batch of `tokens`, and of one update of the weights."""

    tokens: int
    batch: float
    update: float


def peak_bytes(size: ModelSize, work: Workload) -> int:
    """Peak memory of a training: on a CPU of the whole process, on a GPU of its tensors."""
    full = work.method == "full"
    weights, tuned = _weights(size, work), size.parameters if full else work.rank * size.linear
    embedding = size.vocabulary * size.hidden
    # Weights of an adapter in float32, and two moments of all that trains.
    standing = weights + (0 if full else 4 * tuned) + 8 * tuned
    if work.method == "qlora":
        standing += _HEAP_PACKED.get(work.place, 0) * size.file_bytes
    in_chunks = min(work.rows * work.trained / len(work.lengths), LOGITS // size.vocabulary)
    logits = (work.fullest if work.own_loss else in_chunks) * size.vocabulary
    forward: float = _HEAP.get(work.place, 1) * _activations(size, work) + _LOGIT[not work.low] * logits
    if full:
        # The head's gradient as it is summed and passed on, and 16-bit copies of the weights.
        forward += 12 * embedding + (2 * (size.multiplied + embedding) if work.low else 0)
    again = 4 * tuned if work.accumulation * work.parts > 1 else 0
    update = 4 * tuned + (4 * embedding if full else 0)
    loading = weights + (_file(size, weights) if work.place == "cpu" else 0)
    return round(RUNTIME.get(work.place, 0) + max(standing + max(forward + again, update), loading))


def resident_bytes(size: ModelSize, work: Workload) -> int:
    """What of the peak is in memory once the model is loaded."""
    return round(RUNTIME.get(work.place, 0) + _weights(size, work))


def _weights(size: ModelSize, work: Workload) -> float:
    width = WIDTH[work.dtype]
    if work.method == "full":
        return 4.0 * size.parameters
    if work.method == "qlora":
        return _NF4 * size.multiplied + width * (size.parameters - size.multiplied)
    return float(width * size.parameters)


def _file(size: ModelSize, weights: float) -> float:
    """The weight file stands in memory beside the weights while they are made of it, unless they are the very same."""
    return 0.0 if abs(size.file_bytes - weights) < 0.05 * weights else float(size.file_bytes)


def _activations(size: ModelSize, work: Workload) -> float:
    """Bytes that are kept for the backward pass of the largest part of a micro-batch."""
    layer = work.fullest * _kept_in_layer(size, work)
    if not work.checkpointing:
        return size.layers * layer
    stream = 2 if work.low and work.method != "full" else 4
    inputs = work.fullest * size.layers * stream * size.hidden
    return inputs + min(_HEAP_LAYERS.get(work.place, 1), size.layers) * layer


def _kept_in_layer(size: ModelSize, work: Workload) -> float:
    """Bytes of one token in one layer."""
    low, full, width = work.low, work.method == "full", WIDTH[work.dtype]
    table = _KEPT.get(size.family, _KEPT_GATED)
    hidden, inner = table[0 if low else 1], table[2 if low else 3]
    hidden -= table[4] if low and work.one_piece else 0
    if full:  # norms keep their input and what they make of it; the stream is float32
        hidden += 8 if size.gated else 4
    # Packed rows are cut out of repeated keys and values, and their answers are put together again.
    keys = size.attention if work.packed else size.key_values
    # Each row sees what all share in a copy of its own.
    seen = max(1, work.rows * work.mean / work.fullest) if work.shared and work.packed else 1
    # Packed, a CPU attends in float32.
    states = 4 if work.packed and work.place == "cpu" else width
    kept: float = states * (2 * size.attention + 2 * keys * seen)
    kept += 2 * size.attention if low else 4 * size.attention * work.packed
    if not full:
        way = (_DORA[not low] if work.dora else 0) + (_DROPOUT[not low] if work.dropout else 0)
        kept += way * size.linear / size.layers
    if size.normed:
        kept += (8 if full else 4) * (size.attention + size.key_values)
    if size.attention_dropout:
        mean_square = sum(n * n for n in work.lengths) / sum(work.lengths)
        kept += _SCORE * size.heads * mean_square
    return hidden * size.hidden + inner * size.intermediate + kept


# -- what fits -----------------------------------------------------------------------------------------


def fitted(
    size: ModelSize, work: Workload, switch: Switch, available: int | None, resident: int = 0
) -> tuple[Workload, bool]:
    """The first way to compute this training that fits `available` bytes, and whether it does; else the leanest.

    As asked; layers computed again (where the switch leaves it open); then micro-batches in 2, 4, … parts down
    to single rows, for one process with the usual loss. None of these changes what is learned. `resident` bytes of
    the forecast are in use already. Processes share a CPU's memory, and each has a GPU of its own.
    """
    way = work
    if available is not None and work.place == "cpu":
        available //= work.processes
    for way in _ways(work, switch):
        if available is None or peak_bytes(size, way) - resident <= USABLE * available:
            return way, True
    return way, False


def _ways(work: Workload, switch: Switch) -> Iterator[Workload]:
    if switch != "on":
        yield replace(work, checkpointing=False)
    way = replace(work, checkpointing=switch != "off")
    if way.checkpointing:
        yield way
    if work.own_loss or work.processes > 1:
        return
    most = min(work.batch_size, len(work.lengths))
    while way.parts < most:
        way = replace(way, parts=min(2 * way.parts, most))
        yield way


def spared(checkpointing: bool, parts: int) -> str | None:
    """How memory is spared, in words; None where all is computed as asked."""
    told = ["gradient checkpointing"] if checkpointing else []
    told += [f"micro-batches in {parts} parts"] if parts > 1 else []
    return ", ".join(told) or None


# -- time ----------------------------------------------------------------------------------------------


def training_seconds(work: Workload, pace: Pace, *, epochs: float, dev_tokens: float = 0) -> float:
    """Seconds of all steps and of the dev loss after each epoch, for which `dev_tokens` are computed."""
    batches = math.ceil(len(work.lengths) / work.batch_size)
    token = pace.batch / pace.tokens
    # A forward pass alone: of 2 passes' worth of products with an adapter, of 3 where all weights train, 1 more if made again.
    alone = 1 / ((3 if work.method == "full" else 2) + work.checkpointing)
    updates = math.ceil(batches / work.accumulation)
    epoch = (
        token * work.computed
        + updates * pace.update
        + math.ceil(epochs) / epochs * alone * token * dev_tokens
    )
    return epochs * epoch
