"""Training: examples → encoded rows → an adapter or a whole model, through transformers and peft.

All but `fine_tune` is light: torch is loaded when that is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .checkpoints import remove_checkpoints, trained_folder
from .launch import check_launch
from .methods import check_continued
from .own_loss import load_loss, loss_digest
from .rows import TrainingError, encode_rows
from .settings import DevScore, TrainingSettings, TrainingSummary
from .trackers import check_trackers

if TYPE_CHECKING:
    from .trainer import fine_tune

__all__ = [
    "DevScore",
    "TrainingError",
    "TrainingSettings",
    "TrainingSummary",
    "check_continued",
    "check_launch",
    "check_trackers",
    "encode_rows",
    "fine_tune",
    "load_loss",
    "loss_digest",
    "remove_checkpoints",
    "trained_folder",
]


def __getattr__(name: str) -> Any:
    if name == "fine_tune":
        from .trainer import fine_tune

        return fine_tune
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
