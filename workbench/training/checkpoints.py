"""Checkpoints: which one a killed training goes on from, and the folder of what was trained."""

from __future__ import annotations

import contextlib
import json
import math
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..files import write_atomic
from ..runs import Run
from ..settings import FineTuned
from .rows import TrainingError
from .settings import DevScore, TrainingSettings

# What the last row of a training says that could not go on (`log.py`).
ENDS = ("memory", "loss")
DIVERGED = "Lower learning_rate (a tenth is a good next try), or use dtype: float32."


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written whole; a torn one is removed."""
    numbered = [
        (int(m[1]), p)
        for p in folder.glob("checkpoint-*")
        if (m := re.fullmatch(r"checkpoint-(\d+)", p.name))
    ]
    for _, path in sorted(numbered, reverse=True):
        try:
            # The Trainer writes its state last, so a folder that holds it is whole.
            state = json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            shutil.rmtree(path, ignore_errors=True)
            continue
        if best := state.get("best_model_checkpoint"):
            # Noted as a path; the run folder may have been moved since, or be seen from elsewhere.
            state["best_model_checkpoint"] = str(path.with_name(Path(best).name))
            write_atomic(path / "trainer_state.json", json.dumps(state))
        return path
    return None


def steps_of(checkpoint: Path) -> int:
    """How many steps were made before a checkpoint."""
    return int(checkpoint.name.rsplit("-", 1)[1])


def lowest(loss: float) -> float:
    """A loss to compare by: what is no number is worse than all."""
    return loss if loss == loss else math.inf


def stopped_early(log: Sequence[dict[str, Any]], patience: int | None, score: DevScore | None = None) -> bool:
    """Whether no epoch of the last `patience` has lowered the dev loss, or bettered the score where one is given.

    Of equal scores the lower loss is better. What is no number betters nothing.
    """
    if patience is None:
        return False
    sign = -1 if score is not None and score.higher_is_better else 1
    key = "eval_loss" if score is None else "eval_score"
    worths = [(sign * row[key], lowest(row["eval_loss"])) for row in log if key in row]
    known = [i for i, (worth, _) in enumerate(worths) if worth == worth]
    return len(worths) - 1 - min(known, default=-1, key=worths.__getitem__) >= patience


def cut_log(run: Run, name: str, checkpoint: Path | None) -> float:
    """Drop log rows that the resumed training will write again; return the seconds spent on those kept."""
    reached = steps_of(checkpoint) if checkpoint else 0
    kept = [row for row in run.training(name) if row["step"] <= reached and row.get("broke") not in ENDS]
    run.write_training(name, kept)
    return float(kept[-1].get("seconds", 0.0)) if kept else 0.0


@contextlib.contextmanager
def written(what: str, place: Path, half: Path) -> Iterator[None]:
    """Say so where `what` cannot be written to `place`, of which `half` is then removed. Raises TrainingError."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        # torch and safetensors tell a full disk in words of their own.
        shutil.rmtree(half, ignore_errors=True)
        raise TrainingError(
            f"{what} cannot be written to {place.parent.name}/{place.name} ({' '.join(str(error).split())[:200]}). Make "
            "room on the disk and run the same command again: it goes on from the last whole checkpoint."
        ) from error


def remove_checkpoints(folder: Path) -> None:
    """Remove checkpoints that are no longer needed, and what a kill left of an earlier removal.

    They go out of their place at once: half a checkpoint must not be resumed from.
    """
    away = folder.with_name(f".{folder.name}")
    shutil.rmtree(away, ignore_errors=True)
    if folder.exists():
        folder.rename(away)
        shutil.rmtree(away, ignore_errors=True)


def trained_folder(run: Run, settings: TrainingSettings | FineTuned) -> Path:
    """Where the adapter lies, or the whole model of `method: full`."""
    adapter = run.adapter_folder(settings.name)
    return adapter.with_name("model") if settings.method == "full" else adapter
