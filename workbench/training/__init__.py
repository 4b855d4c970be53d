"""Training: examples → encoded rows → an adapter or a whole model, through transformers and peft."""

from __future__ import annotations

from .checkpoints import remove_checkpoints
from .rows import TrainingError, encode_rows
from .settings import TrainingSettings, TrainingSummary
from .trainer import fine_tune, trained_folder

__all__ = [
    "TrainingError",
    "TrainingSettings",
    "TrainingSummary",
    "encode_rows",
    "fine_tune",
    "remove_checkpoints",
    "trained_folder",
]
