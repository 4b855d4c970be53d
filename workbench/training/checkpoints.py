"""Checkpoints: which one a killed training goes on from, and the folder of what was trained."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..files import write_atomic
from ..runs import Run
from .rows import TrainingError
from .settings import TrainingSettings

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


def stopped_early(log: Sequence[dict[str, Any]], patience: int | None) -> bool:
    """Whether the dev loss has not been lowered for `patience` epochs. A loss that is no number lowers nothing."""
    if patience is None:
        return False
    losses = [row["eval_loss"] for row in log if "eval_loss" in row]
    best = min((i for i, loss in enumerate(losses) if loss == loss), key=losses.__getitem__, default=-1)
    return len(losses) - 1 - best >= patience


def cut_log(run: Run, name: str, checkpoint: Path | None) -> float:
    """Drop log rows that the resumed training will write again; return the seconds spent on those kept."""
    reached = int(checkpoint.name.rsplit("-", 1)[1]) if checkpoint else 0
    kept = [row for row in run.training(name) if row["step"] <= reached]
    run.write_training(name, kept)
    return float(kept[-1].get("seconds", 0.0)) if kept else 0.0


def remove_checkpoints(folder: Path) -> None:
    """Remove checkpoints that are no longer needed, and what a kill left of an earlier removal.

    They go out of their place at once: half a checkpoint must not be resumed from.
    """
    away = folder.with_name(f".{folder.name}")
    shutil.rmtree(away, ignore_errors=True)
    if folder.exists():
        folder.rename(away)
        shutil.rmtree(away, ignore_errors=True)


def save_trained(model: Any, settings: TrainingSettings, folder: Path) -> None:
    """Write the folder of an adapter, or of a whole model: beside its place first, then renamed."""
    if not all(p.isfinite().all() for p in model.parameters() if p.requires_grad):
        raise TrainingError(f"the weights that were trained are no longer numbers. {DIVERGED}")
    work = folder.with_name(f".{folder.name}")
    shutil.rmtree(work, ignore_errors=True)
    if settings.method == "full":
        _save_model(model, settings, work)
    else:
        _save_adapter(model, settings, work)
    shutil.rmtree(folder, ignore_errors=True)
    work.rename(folder)


def _save_model(model: Any, settings: TrainingSettings, work: Path) -> None:
    import torch
    from transformers import AutoTokenizer

    # As it will be loaded and scored.
    model.to(getattr(torch, settings.dtype)).save_pretrained(work)
    AutoTokenizer.from_pretrained(settings.folder).save_pretrained(work)


def _save_adapter(model: Any, settings: TrainingSettings, work: Path) -> None:
    # A reader can use the base's name, not this machine's folder; with the name, peft would look the
    # vocabulary up on the hub, which is the base's own anyway.
    model.peft_config["default"].base_model_name_or_path = settings.model
    model.save_pretrained(work, save_embedding_layers=False)
    # peft's README describes a hub model that does not exist.
    (work / "README.md").unlink(missing_ok=True)
    # peft keeps its modules in a set, whose order changes with every process.
    config = json.loads((work / "adapter_config.json").read_text(encoding="utf-8"))
    ordered = {key: sorted(value) if key == "target_modules" else value for key, value in config.items()}
    write_atomic(work / "adapter_config.json", json.dumps(ordered, indent=2, sort_keys=True) + "\n")
