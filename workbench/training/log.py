"""train.jsonl and the progress of a training; checkpoints between the ends of epochs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, Literal

import transformers
from accelerate.utils import broadcast_object_list

from .checkpoints import DIVERGED
from .monitor import Monitor
from .rows import TrainingError

Progress = Callable[[int, int, str], None]
Broke = Literal["memory", "loss"]
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
        monitor: Monitor,
    ) -> None:
        self._append, self._progress, self._tokens, self._begun = append, progress, tokens, begun
        self._monitor = monitor
        self._last, self._told = (begun, 0), ""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Speed counts from here."""
        self._last = (time.monotonic(), self._tokens())

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Tell the step."""
        self._progress(state.global_step, state.max_steps, self._told)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Log before the checkpoint, so that a resumed training logs the very means of an uninterrupted one."""
        control.should_log = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Write a row; a loss that is no number ends the training."""
        row = {
            "step": state.global_step,
            "epoch": round(state.epoch or 0.0, 4),
            "seconds": round(time.monotonic() - self._begun, 3),
            **self._monitor.look(),
        }
        if "loss" in logs:
            if not math.isfinite(logs["loss"]):
                self.broke(state.global_step, "loss")
                raise TrainingError(f"the training loss is no longer a number. {DIVERGED}")
            now, tokens = time.monotonic(), self._tokens()
            speed = (tokens - self._last[1]) / max(now - self._last[0], 1e-9)
            row |= {
                "loss": logs["loss"],
                "learning_rate": logs["learning_rate"],
                "gradient_norm": finite(logs.get("grad_norm")),
                "tokens_per_second": speed,
            }
            self._last = (now, tokens)
            self._told = (
                f"loss {logs['loss']:.3f} · {speed:,.0f} tokens/s · {row['memory_mb'] / 1024:.1f} GiB at most"
            )
            self._progress(state.global_step, state.max_steps, self._told)
        elif "eval_loss" in logs:
            row |= {"dev_loss": finite(logs["eval_loss"]), "dev_score": finite(logs.get("eval_score"))}
            if row["dev_loss"] is None:
                row["broke"] = "dev loss"
            self._last = (time.monotonic(), self._tokens())
        else:
            return
        self._append(row)

    def broke(self, step: int, what: Broke) -> None:
        """Write the last row of a training that cannot go on, for the doctor to find."""
        self._append({"step": step, "seconds": round(time.monotonic() - self._begun, 3), "broke": what})


class Keeping(transformers.TrainerCallback):
    """Asks for checkpoints within long epochs, and ends a training that no longer gets better on dev.

    A checkpoint follows a log row, so that no mean is cut in two.
    """

    def __init__(self, seconds: float, stopped: Callable[[list[dict[str, Any]]], bool]) -> None:
        self._seconds, self._stopped = seconds, stopped
        self._saved = self._asked = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Ask for a checkpoint where the last is old enough."""
        self._asked = time.monotonic()
        if "loss" in logs and _agreed(self._asked - self._saved >= self._seconds):
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Checkpoints that take long come less often."""
        self._saved = time.monotonic()
        self._seconds = max(self._seconds, (self._saved - self._asked) / _SAVING)

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop where patience is at its end."""
        self._asked = time.monotonic()
        if self._stopped(state.log_history):
            control.should_training_stop = True


def _agreed(due: bool) -> bool:
    """What the first of several processes says: clocks differ, and a checkpoint is written by all."""
    return bool(broadcast_object_list([due])[0])


def finite(value: float | None) -> float | None:
    """The value as strict JSON holds it: None for what is no number."""
    return value if value is not None and math.isfinite(value) else None
