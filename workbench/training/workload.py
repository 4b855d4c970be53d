"""What the forecast asks of a training, and of each of its processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..forecast import Workload
from ..settings import FineTuned
from .packing import Row, tokens_of
from .settings import TrainingSettings
from .sharing import share_of


def workload_of(
    settings: TrainingSettings | FineTuned,
    rows: Sequence[Row],
    *,
    dtype: str,
    device: str,
    packed: bool,
    processes: int,
) -> Workload:
    """A training on these rows, whatever number of processes share its steps."""
    return Workload(
        method=settings.method,
        dtype=dtype,
        device=device,
        batch_size=settings.batch_size,
        **tokens_of(rows),
        rank=settings.rank,
        accumulation=settings.gradient_accumulation,
        packed=packed,
        dropout=settings.dropout,
        dora=settings.dora,
        own_loss=settings.loss is not None,
        processes=processes,
    )


def of_each(work: Workload) -> Workload:
    """What one of its processes has of every step. Raises TrainingError where a step cannot be shared evenly."""
    share = share_of(work.batch_size, work.accumulation, work.processes)
    return replace(work, batch_size=share.batch_size, accumulation=share.accumulation)
