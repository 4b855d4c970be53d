"""LoRA training: transformers' Trainer with our rows, our loss positions, and an exact resume.

The Trainer's loop, accumulation and checkpoints are used as they are. Ours is what goes wrong elsewhere:
which tokens train, and that a killed run continues from its last epoch to the same adapter.
"""

from __future__ import annotations

import functools
import json
import math
import re
import resource
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from validators.assets import require
from validators.examples import Example
from validators.tokens import HuggingFaceTokenizer

from ..files import write_atomic
from ..models import load_model
from ..runs import Run
from .rows import IGNORED, TrainingError, collate, encode_rows

Progress = Callable[[int, int, str], None]
_DIVERGED = "Lower learning_rate (a tenth is a good next try), or use dtype: float32."


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """What a training run is, apart from its data. `name` says whose files in the run folder are written."""

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


@dataclass(frozen=True, slots=True)
class TrainingSummary:
    """What training did."""

    examples: int
    steps: int
    tokens: int
    trained_tokens: int
    best_step: int | None
    dev_loss: float | None
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """As contender.json stores it."""
        return {field: getattr(self, field) for field in self.__slots__}


def train_lora(
    settings: TrainingSettings,
    train: Mapping[str, Example],
    dev: Mapping[str, Example],
    tokenizer: HuggingFaceTokenizer,
    run: Run,
    progress: Progress,
) -> TrainingSummary:
    """Train an adapter on `train`, keep the epoch with the lowest loss on `dev`, save it in the run folder.

    An interrupted training goes on from its last whole epoch. Raises TrainingError.
    """
    transformers = require("transformers", "training", "local")
    rows = encode_rows(train, tokenizer, settings.max_length)
    dev_rows = encode_rows(dev, tokenizer, settings.max_length)
    checkpoints = run.checkpoint_folder(settings.name)
    transformers.set_seed(settings.seed)
    trainer = _trainer_class()(
        model=_with_adapter(settings),
        args=_arguments(settings, len(rows), bool(dev_rows), checkpoints),
        train_dataset=rows,
        eval_dataset=dev_rows or None,
        data_collator=functools.partial(collate, pad_id=tokenizer.tokenizer.pad_token_id or 0),
    )
    trainer.remove_callback(transformers.PrinterCallback)
    last = _last_checkpoint(checkpoints)
    # Time spent before an interruption counts: it was paid for.
    begun = time.monotonic() - _cut_log(run, settings.name, last)
    with run.open_training(settings.name) as log:
        trainer.add_callback(_log_callback(log.append, progress, lambda: int(trainer.tokens_seen), begun))
        try:
            trainer.train(resume_from_checkpoint=str(last) if last else None)
        except require("torch", "training", "local").OutOfMemoryError as error:
            raise TrainingError(
                f"training does not fit the memory of {settings.device}. Lower batch_size or max_length; a training "
                "that has finished an epoch goes on from there only with the same settings."
            ) from error
    state = trainer.state
    _save_adapter(trainer.model, settings, run.adapter_folder(settings.name))
    summary = TrainingSummary(
        examples=len(rows),
        steps=state.global_step,
        tokens=round(sum(len(r["input_ids"]) for r in rows) * settings.epochs),
        trained_tokens=round(sum(t != IGNORED for r in rows for t in r["labels"]) * settings.epochs),
        best_step=state.best_global_step if dev_rows else None,
        dev_loss=state.best_metric,
        seconds=time.monotonic() - begun,
    )
    # On record before the checkpoints go: a kill in between would else train everything again.
    if (info := run.contender(settings.name)) is not None:
        run.write_contender(settings.name, info | {"training": summary.as_dict()})
    remove_checkpoints(checkpoints)
    return summary


def _with_adapter(settings: TrainingSettings) -> Any:
    peft = require("peft", "training", "local")
    model = load_model(settings.folder, settings.device, settings.dtype)
    model.config.use_cache = False
    config = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    # The adapter's own weights stay fp32 (peft's default for bf16 bases): updates of 1e-4 vanish in bf16.
    return peft.get_peft_model(model, config)


def _arguments(settings: TrainingSettings, rows: int, evaluates: bool, checkpoints: Path) -> Any:
    import transformers

    steps = math.ceil(rows / settings.batch_size) * settings.epochs
    return transformers.TrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size * 2,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, round(0.03 * steps)),
        weight_decay=0.0,
        max_grad_norm=1.0,
        train_sampling_strategy="group_by_length",
        bf16=settings.dtype == "bfloat16",
        fp16=settings.dtype == "float16",
        use_cpu=settings.device == "cpu",
        eval_strategy="epoch" if evaluates else "no",
        save_strategy="epoch",
        save_total_limit=2,
        load_best_model_at_end=evaluates,
        metric_for_best_model="eval_loss" if evaluates else None,
        greater_is_better=False if evaluates else None,
        logging_steps=max(1, min(10, int(steps) // 20)),
        # A NaN must be seen, not filtered out of the mean.
        logging_nan_inf_filter=False,
        prediction_loss_only=True,
        remove_unused_columns=False,
        dataloader_pin_memory=settings.device.startswith("cuda"),
        disable_tqdm=True,
        report_to="none",
        seed=settings.seed,
        data_seed=settings.seed,
    )


@functools.cache
def _trainer_class() -> Any:
    """The Trainer with one change: logits are computed only where something trains."""
    import torch
    import transformers

    class SupervisedTrainer(transformers.Trainer):
        # The Trainer divides by the tokens of the whole step only for losses that say they take the count.
        model_accepts_loss_kwargs = True
        # Real tokens trained on so far, padding left out.
        tokens_seen: Any = 0

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            """Cross-entropy summed over trained tokens, divided by their count in the whole step."""
            if model.training:
                self.tokens_seen = self.tokens_seen + inputs["attention_mask"].sum()
            labels = inputs["labels"][:, 1:]
            trained = labels != IGNORED
            # Answers stand at the end of a row, so the vocabulary projection skips the common prompt.
            first = int(trained.any(0).int().argmax())
            out = model(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                logits_to_keep=inputs["labels"].shape[1] - first,
            )
            loss = torch.nn.functional.cross_entropy(
                out.logits[:, :-1].float().flatten(0, 1),
                labels[:, first:].flatten(),
                ignore_index=IGNORED,
                reduction="sum",
            )
            count = num_items_in_batch if num_items_in_batch is not None else trained.sum()
            if not torch.isfinite(loss):
                raise TrainingError(f"the training loss is no longer a number. {_DIVERGED}")
            return (loss / count, out) if return_outputs else loss / count

    return SupervisedTrainer


def _log_callback(
    append: Callable[[dict[str, Any]], None],
    progress: Progress,
    tokens_seen: Callable[[], int],
    begun: float,
) -> Any:
    import transformers

    class Log(transformers.TrainerCallback):
        """Writes train.jsonl and tells how far training is."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self._last = (time.monotonic(), tokens_seen())

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            progress(state.global_step, state.max_steps, "")

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            row = {
                "step": state.global_step,
                "epoch": round(state.epoch or 0.0, 4),
                "seconds": round(time.monotonic() - begun, 3),
                "memory_mb": _memory_mb(),
            }
            if "loss" in logs:
                now, tokens = time.monotonic(), tokens_seen()
                row |= {
                    "loss": logs["loss"],
                    "learning_rate": logs["learning_rate"],
                    "tokens_per_second": (tokens - self._last[1]) / (now - self._last[0]),
                }
                self._last = (now, tokens)
                progress(state.global_step, state.max_steps, f"loss {logs['loss']:.3f}")
            elif "eval_loss" in logs:
                row |= {"dev_loss": logs["eval_loss"]}
                self._last = (time.monotonic(), tokens_seen())
            else:
                return
            append(row)

    return Log()


def _memory_mb() -> int:
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated() // 2**20)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak // (2**20 if sys.platform == "darwin" else 2**10))


def _last_checkpoint(folder: Path) -> Path | None:
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


def _cut_log(run: Run, name: str, checkpoint: Path | None) -> float:
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


def _save_adapter(model: Any, settings: TrainingSettings, folder: Path) -> None:
    """Write the adapter folder whole: beside its place first, then renamed."""
    if not all(p.isfinite().all() for p in model.parameters() if p.requires_grad):
        raise TrainingError(f"the adapter's weights are no longer numbers. {_DIVERGED}")
    work = folder.with_name(".adapter")
    shutil.rmtree(work, ignore_errors=True)
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
    shutil.rmtree(folder, ignore_errors=True)
    work.rename(folder)
