"""Training: examples → encoded rows → a LoRA adapter, through transformers and peft."""

from __future__ import annotations

from .lora import TrainingSettings, TrainingSummary, remove_checkpoints, train_lora
from .rows import TrainingError, encode_rows

__all__ = [
    "TrainingError",
    "TrainingSettings",
    "TrainingSummary",
    "encode_rows",
    "remove_checkpoints",
    "train_lora",
]
