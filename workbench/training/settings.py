"""What a training run is asked to be, and what it says of itself afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..recipe import Method, Schedule, StopOn, Switch
from ..sections import Tracker


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """What a training run is, apart from its data. `name` says whose files in the run folder are written.

    `batch_size` counts rows a micro-batch, packed or not, so that packing changes no learning: a step takes
    `batch_size` × `gradient_accumulation` rows (packed: on average), shared by `processes`, so that these change
    no learning either. `patience` is in epochs.
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
    processes: int = 1
    gradient_checkpointing: Switch = "auto"
    packing: Switch = "auto"
    patience: int | None = None
    stop_on: StopOn = "dev_loss"
    loss: str | None = None
    """`package.module:function` instead of cross-entropy; looked for where Python does, then in `code`."""
    code: Path | None = None
    track: tuple[Tracker, ...] = ()
    offline: bool = False
    """Whether trackers, too, may open no connection."""
    save_seconds: float = 300.0
    """How long a kill may cost at most, beside the end of each epoch; longer where a checkpoint takes long."""


@dataclass(frozen=True, slots=True)
class DevScore:
    """The primary metric on dev. `of` takes the model as it stands in training; None where it has no value."""

    metric: str
    higher_is_better: bool
    of: Callable[[Any], float | None]


@dataclass(frozen=True, slots=True)
class TrainingSummary:
    """What training did. `packing` is `packed`, or how rows were batched instead, and why.

    `dev_loss`, `dev_score` are those of `best_step`; `loss` names a loss of the user's own.
    """

    examples: int
    steps: int
    tokens: int
    trained_tokens: int
    best_step: int | None
    dev_loss: float | None
    seconds: float
    packing: str
    rows: Mapping[str, Any]
    """What could be told of the rows beforehand (`row_facts`)."""
    processes: int = 1
    dev_score: float | None = None
    loss: str | None = None
    sparing: str | None = None
    """How memory was spared, in words (`Room.told`); None where a micro-batch was computed in one go."""

    def as_dict(self) -> dict[str, Any]:
        """As contender.json stores it."""
        return {field: getattr(self, field) for field in self.__slots__}
