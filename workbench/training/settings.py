"""What a training run is asked to be, and what it says of itself afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..recipe import Method, Schedule, Switch


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """What a training run is, apart from its data. `name` says whose files in the run folder are written.

    `batch_size` counts rows a micro-batch, packed or not, so that packing changes no learning: a step takes
    `batch_size` × `gradient_accumulation` rows (packed: on average). `patience` is in epochs.
    """

    name: str
    model: str
    folder: Path
    device: str
    dtype: str
    epochs: float
    learning_rate: float
    rank: int
    alpha: int
    batch_size: int
    max_length: int
    seed: int
    method: Method = "lora"
    dropout: float = 0.0
    dora: bool = False
    rslora: bool = False
    target_modules: tuple[str, ...] = ()
    """Names of linear layers; all of them but the head where none are given."""
    modules_to_save: tuple[str, ...] = ()
    continue_from: Path | None = None
    schedule: Schedule = "cosine"
    warmup_ratio: float = 0.03
    weight_decay: float = 0.0
    gradient_accumulation: int = 1
    gradient_checkpointing: Switch = "auto"
    packing: Switch = "auto"
    patience: int | None = None
    save_seconds: float = 300.0
    """How long a kill may cost at most, beside the end of each epoch; longer where a checkpoint takes long."""


@dataclass(frozen=True, slots=True)
class TrainingSummary:
    """What training did. `packing` is `packed`, or how rows were batched instead, and why."""

    examples: int
    steps: int
    tokens: int
    trained_tokens: int
    best_step: int | None
    dev_loss: float | None
    seconds: float
    packing: str

    def as_dict(self) -> dict[str, Any]:
        """As contender.json stores it."""
        return {field: getattr(self, field) for field in self.__slots__}
