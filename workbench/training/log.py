"""train.jsonl and the progress of a training; checkpoints between the ends of epochs."""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
import transformers

from .checkpoints import DIVERGED, stopped_early
from .rows import TrainingError

Progress = Callable[[int, int, str], None]
# The share of time that checkpoints between the ends of epochs may take.
_SAVING = 0.05


class Log(transformers.TrainerCallback):
    """Writes train.jsonl and tells how far training is. `tokens` counts real ones, trained on or not."""

    def __init__(
        self,
        append: Callable[[dict[str, Any]], None],
        progress: Progress,
        tokens: Callable[[], int],
        begun: float,
    ) -> None:
        self._append, self._progress, self._tokens, self._begun = append, progress, tokens, begun
        self._last = (begun, 0)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Speed counts from here."""
        self._last = (time.monotonic(), self._tokens())

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Tell the step."""
        self._progress(state.global_step, state.max_steps, "")

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Log before the checkpoint, so that a resumed training logs the very means of an uninterrupted one."""
        control.should_log = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Write a row; a loss that is no number ends the training."""
        row = {
            "step": state.global_step,
            "epoch": round(state.epoch or 0.0, 4),
            "seconds": round(time.monotonic() - self._begun, 3),
            "memory_mb": _memory_mb(),
        }
        if "loss" in logs:
            if not math.isfinite(logs["loss"]):
                raise TrainingError(f"the training loss is no longer a number. {DIVERGED}")
            now, tokens = time.monotonic(), self._tokens()
            row |= {
                "loss": logs["loss"],
                "learning_rate": logs["learning_rate"],
                "gradient_norm": logs.get("grad_norm"),
                "tokens_per_second": (tokens - self._last[1]) / max(now - self._last[0], 1e-9),
            }
            self._last = (now, tokens)
            self._progress(state.global_step, state.max_steps, f"loss {logs['loss']:.3f}")
        elif "eval_loss" in logs:
            finite = math.isfinite(logs["eval_loss"])
            row |= {"dev_loss": logs["eval_loss"] if finite else None}
            self._last = (time.monotonic(), self._tokens())
        else:
            return
        self._append(row)


class Keeping(transformers.TrainerCallback):
    """Asks for checkpoints within long epochs, and ends a training whose dev loss no longer falls.

    A checkpoint follows a log row, so that no mean is cut in two.
    """

    def __init__(self, seconds: float, patience: int | None) -> None:
        self._seconds, self._patience = seconds, patience
        self._saved = self._asked = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Ask for a checkpoint where the last is old enough."""
        self._asked = time.monotonic()
        if "loss" in logs and self._asked - self._saved >= self._seconds:
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Checkpoints that take long come less often."""
        self._saved = time.monotonic()
        self._seconds = max(self._seconds, (self._saved - self._asked) / _SAVING)

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop where patience is at its end."""
        self._asked = time.monotonic()
        if stopped_early(state.log_history, self._patience):
            control.should_training_stop = True


def _memory_mb() -> int:
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated() // 2**20)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak // (2**20 if sys.platform == "darwin" else 2**10))
