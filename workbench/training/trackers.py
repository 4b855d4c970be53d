"""Trackers: train.jsonl told to TensorBoard and Weights & Biases as well, into the run folder.

Their own libraries write; transformers' callbacks would put this machine's folders among the settings.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from validators.assets import AssetError, require

from ..runs import Run
from ..sections import Tracker
from .rows import TrainingError
from .settings import TrainingSettings

log = logging.getLogger("workbench.training")
# Rows say these of themselves; every other number in them is a curve.
_AXES = ("step", "seconds")


class Teller(Protocol):
    """One tracker of one training."""

    def write(self, row: Mapping[str, Any]) -> None:
        """Take a row of train.jsonl."""
        ...

    def close(self) -> None:
        """The training is over, or broke off."""
        ...


def check_trackers(names: Sequence[Tracker]) -> None:
    """Raise AssetError, which names the extra, for a tracker whose package is not installed."""
    for name in names:
        require(name, f"track: [{name}]", "track")


@contextlib.contextmanager
def open_log(
    settings: TrainingSettings, run: Run, reached: int
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yield what takes the rows of train.jsonl after step `reached`, and tells them to the trackers too.

    Raises AssetError for a missing package, TrainingError where a tracker cannot begin. One that fails later is
    left behind: it is a copy, and no reason to lose a training.
    """
    tellers = {name: _begin(name, settings, run, reached) for name in settings.track}

    def each(tell: Callable[[Teller], None]) -> None:
        for name, teller in tuple(tellers.items()):
            try:
                tell(teller)
            except Exception as error:
                del tellers[name]
                log.warning("%s is told no more of this training (%s); train.jsonl has it all.", name, error)

    with run.open_training(settings.name) as file:

        def write(row: dict[str, Any]) -> None:
            file.append(row)
            each(lambda teller: teller.write(row))

        try:
            yield write
        finally:
            each(lambda teller: teller.close())


def _begin(name: Tracker, settings: TrainingSettings, run: Run, reached: int) -> Teller:
    folder = run.tracker_folder(settings.name, name)
    if not reached:
        shutil.rmtree(folder, ignore_errors=True)  # of a training that was begun and is begun anew
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return TRACKERS[name](settings, run, reached)
    except AssetError:
        raise
    except Exception as error:
        raise TrainingError(
            f"track: {name} cannot begin ({type(error).__name__}: {' '.join(str(error).split())[:300]}). Mend that, or "
            f"take {name} out of track: train.jsonl is always written."
        ) from error


class TensorBoard:
    """Event files for `tensorboard --logdir`; after a kill, later steps that were written already are struck out."""

    def __init__(self, settings: TrainingSettings, run: Run, reached: int) -> None:
        require("tensorboard", "track: [tensorboard]", "track")
        from torch.utils.tensorboard import SummaryWriter

        make: Any = SummaryWriter
        self._writer = make(
            str(run.tracker_folder(settings.name, "tensorboard")), purge_step=reached + 1 if reached else None
        )

    def write(self, row: Mapping[str, Any]) -> None:
        """A scalar for each number of the row."""
        for tag, value in curves(row).items():
            self._writer.add_scalar(tag, value, row["step"])
        self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


class WeightsAndBiases:
    """A W&B run in offline mode: `wandb sync` sends it. Environment variables of W&B's own may say otherwise."""

    def __init__(self, settings: TrainingSettings, run: Run, reached: int) -> None:
        wandb = require("wandb", "track: [wandb]", "track")
        self._folder = run.tracker_folder(settings.name, "wandb")
        # The same W&B run goes on after a kill: its id is the end of its folder's name.
        known = sorted(self._folder.glob("*run-*"))
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", (run.whole or run.folder).name),
            name=settings.name,
            id=known[-1].name.rsplit("-", 1)[1] if known else None,
            resume="allow" if known else None,
            config=_public(settings),
            settings=wandb.Settings(
                mode=wandb_mode(settings.offline, os.environ),
                root_dir=str(self._folder.parent),
                console="off",
                silent=True,
                symlink=False,
                disable_git=True,
                disable_code=True,
                x_disable_meta=True,
                x_disable_stats=True,
                x_disable_machine_info=True,
            ),
        )

    def write(self, row: Mapping[str, Any]) -> None:
        """Log the numbers of the row at its step."""
        self._run.log(curves(row), step=row["step"])

    def close(self) -> None:
        """End the run, and remove its debug logs: they tell of this machine's folders."""
        self._run.finish()
        for folder in self._folder.glob("*run-*/logs"):
            shutil.rmtree(folder, ignore_errors=True)


TRACKERS: dict[Tracker, Callable[[TrainingSettings, Run, int], Teller]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
}


def wandb_mode(offline: bool, environment: Mapping[str, str]) -> Any:
    """Nothing leaves this machine unless WANDB_MODE says so, and with `offline` nothing at all."""
    asked = environment.get("WANDB_MODE", "offline")
    return asked if asked == "disabled" or not offline else "offline"


def curves(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a row by their names as curves: `train/loss`, `dev/loss`, `machine/memory_mb`, …"""
    return {
        _tag(key): value
        for key, value in row.items()
        if key not in _AXES and isinstance(value, int | float) and not isinstance(value, bool)
    }


def _tag(key: str) -> str:
    if key.startswith("dev_"):
        return f"dev/{key.removeprefix('dev_')}"
    return f"{'machine' if key.endswith(('_mb', '_percent')) else 'train'}/{key}"


def _public(settings: TrainingSettings) -> dict[str, Any]:
    """The settings without this machine's folders."""
    values = {name: getattr(settings, name) for name in settings.__slots__}
    return {name: value for name, value in values.items() if not isinstance(value, Path)}
