"""Memory in training: how sparingly a micro-batch is computed, planned before the first step and tightened when it runs out.

What is spared changes nothing that is learned: layers are computed again in the backward pass, then a
micro-batch in 2, 4, … parts whose gradients add up to the same.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..backends.memory import free_bytes, is_out_of_memory
from ..forecast import fitted, resident_bytes, spared
from ..shapes import size_of
from .packing import Row, layout
from .rows import TrainingError
from .settings import TrainingSettings
from .workload import of_each, workload_of


@dataclass(slots=True)
class Room:
    """How a micro-batch is computed now, and how far that may be tightened."""

    checkpointing: bool = False
    parts: int = 1
    may_checkpoint: bool = False
    most_parts: int = 1

    def tighten(self) -> str | None:
        """Spare more memory from now on, and say how; None where nothing is left to spare."""
        if self.may_checkpoint and not self.checkpointing:
            self.checkpointing = True
        elif self.parts < self.most_parts:
            self.parts = min(2 * self.parts, self.most_parts)
        else:
            return None
        return self.told()

    def told(self) -> str | None:
        """What is spared, in words; None where all is computed as asked."""
        return spared(self.checkpointing, self.parts)


def room_for(model: Any, settings: TrainingSettings, rows: Sequence[Row], *, packed: bool) -> Room:
    """Plan with the forecast: as asked where that fits what is free, else as sparing as it must be.

    A loss of the user's own sees whole micro-batches. Several processes stay in step: none of them changes its
    way alone.
    """
    alone, open_ = settings.processes == 1, settings.gradient_checkpointing == "auto"
    room = Room(
        checkpointing=settings.gradient_checkpointing == "on",
        may_checkpoint=open_ and alone,
        most_parts=settings.batch_size if alone and settings.loss is None else 1,
    )
    work = of_each(
        workload_of(
            settings,
            rows,
            dtype=settings.dtype,
            device=settings.device,
            packed=packed,
            processes=settings.processes,
        )
    )
    with contextlib.suppress(KeyError, TypeError, ValueError):  # a config that does not tell its shape
        size = size_of(model.config.to_dict())
        way, _ = fitted(
            size,
            work,
            settings.gradient_checkpointing,
            free_bytes(settings.device),
            resident=resident_bytes(size, work),
        )
        room.checkpointing = way.checkpointing
        room.parts = way.parts
    return room


def in_parts(inputs: dict[str, Any], parts: int) -> list[dict[str, Any]]:
    """A batch as at most `parts` smaller ones of whole rows, of about as many tokens each."""
    if parts == 1:
        return [inputs]
    if (ends := inputs.get("cu_seq_lens_q")) is not None:
        return _packed_parts(inputs, ends.tolist(), parts)
    count = len(inputs["input_ids"])
    borders = sorted({count * i // parts for i in range(parts + 1)})
    cut = []
    for begin, end in itertools.pairwise(borders):
        width = int(inputs["attention_mask"][begin:end].sum(1).max())
        cut.append({name: value[begin:end, :width] for name, value in inputs.items()})
    return cut


def _packed_parts(inputs: dict[str, Any], ends: Sequence[int], parts: int) -> list[dict[str, Any]]:
    # What all rows share goes into each part.
    begin = ends[1] if "key_places" in inputs else 0
    rows = ends[1:] if begin else ends
    wanted = (begin + (rows[-1] - begin) * i / parts for i in range(parts + 1))
    borders = sorted({bisect_left(rows, place) for place in wanted})
    cut = []
    for first, last in itertools.pairwise(borders):
        places = torch.cat([torch.arange(begin), torch.arange(rows[first], rows[last])])
        whole = {name: inputs[name][:, places] for name in ("input_ids", "position_ids", "labels")}
        own = [b - a for a, b in itertools.pairwise(rows[first : last + 1])]
        device = inputs["input_ids"].device
        lies = {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in layout(begin, own).items()}
        cut.append(whole | lies)
    return cut


def release(device: str) -> None:
    """Give back what a failed step held."""
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()


@contextlib.contextmanager
def named(
    settings: TrainingSettings, rows: Sequence[Row], broke: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Turn a lack of memory into a TrainingError that says what to change; `broke` is called before."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, TrainingError) or not is_out_of_memory(error):
            raise
        broke()
        raise TrainingError(_does_not_fit(settings, rows)) from error


def _does_not_fit(settings: TrainingSettings, rows: Sequence[Row]) -> str:
    longest = max(len(row["input_ids"]) for row in rows)
    free = free_bytes(settings.device)
    here = "" if free is None else f" ({free / 1e9:.1f} GB of it are free now)"
    cures = [f"lower max_length (the longest row has {longest:,} tokens)"]
    if settings.gradient_checkpointing == "off":
        cures.insert(0, "set gradient_checkpointing: auto")
    if settings.processes > 1 or settings.loss is not None:
        cures.insert(0, f"lower batch_size (now {settings.batch_size}) and raise gradient_accumulation")
    if settings.method == "full":
        cures.append("use method: lora")
    if settings.method != "qlora":
        cures.append("use method: qlora")
    return (
        f"training does not fit the memory of {settings.device}{here}. Either of these helps: {'; '.join(cures)}; or a "
        "smaller model. `workbench run EXPERIMENT --dry-run` shows what each method would take."
    )
