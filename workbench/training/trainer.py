"""Training: transformers' Trainer with our rows, our order, our loss, and an exact resume.

The Trainer's loop, accumulation and checkpoints are used as they are. Ours is what goes wrong elsewhere:
which tokens train, who sees whom, what the loss is divided by, and that a killed run goes on to the same weights.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import transformers

from validators.examples import Example
from validators.tokens import HuggingFaceTokenizer

from ..runs import Run
from .attention import why_not_packed
from .batches import Batches, batches_of
from .checkpoints import cut_log, last_checkpoint, remove_checkpoints, steps_of, stopped_early, trained_folder
from .job import Job
from .launch import launch
from .log import Keeping, Log, Progress, finite
from .loss import attach_loss, attach_own_loss
from .methods import load_base, with_method
from .monitor import Monitor
from .own_loss import load_loss, loss_digest, try_loss
from .packing import Row
from .room import named, room_for
from .row_facts import padding, row_facts
from .rows import IGNORED, encode_rows
from .saving import save_trained
from .settings import DevScore, TrainingSettings, TrainingSummary
from .supervised import SupervisedTrainer
from .trackers import open_log
from .xray import FirstBatch, x_ray

log = logging.getLogger("workbench.training")
GROUPED = "batches of like lengths"


def fine_tune(
    settings: TrainingSettings,
    train: Mapping[str, Example],
    dev: Mapping[str, Example],
    tokenizer: HuggingFaceTokenizer,
    run: Run,
    progress: Progress,
    score: DevScore | None = None,
    first_batch: FirstBatch = lambda _: None,
) -> TrainingSummary:
    """Train on `train`, keep the epoch with the lowest loss on `dev` (or the best `score`), save it in the run folder.

    An interrupted training goes on from its last whole checkpoint. `first_batch` is told what the first step
    sees, before it is made (see `xray`). Raises TrainingError.
    """
    rows = encode_rows(train, tokenizer, settings.max_length)
    dev_rows = encode_rows(dev, tokenizer, settings.max_length)
    checkpoints = run.checkpoint_folder(settings.name)
    last = last_checkpoint(checkpoints)
    sources = [(name, example.line) for name, example in train.items()]
    job = Job(settings, run, rows, dev_rows, sources, last, cut_log(run, settings.name, last))
    if settings.processes > 1:
        summary = launch(job, progress, first_batch)
    else:
        summary = train_job(job, tokenizer, progress, first_batch, score)
    # On record before the checkpoints go: a kill in between would else train everything again.
    if (info := run.contender(settings.name)) is not None:
        run.write_contender(settings.name, info | {"training": summary.as_dict()})
    remove_checkpoints(checkpoints)
    return summary


def train_job(
    job: Job,
    tokenizer: HuggingFaceTokenizer,
    progress: Progress,
    first_batch: FirstBatch,
    score: DevScore | None = None,
) -> TrainingSummary:
    """Train in this process, which is the only one or one of several; the first of them writes and tells."""
    settings, run, last = job.settings, job.run, job.last
    transformers.set_seed(settings.seed)
    with named(settings, job.rows):
        model, packing = prepare(settings, job.rows)
    # Time spent before an interruption counts: it was paid for.
    begun = time.monotonic() - job.spent
    checkpoints = run.checkpoint_folder(settings.name)
    trainer = trainer_for(
        model,
        settings,
        job.rows,
        job.dev_rows,
        checkpoints,
        tokenizer,
        packed=packing == "packed",
        score=score,
    )
    stopped = functools.partial(stopped_early, patience=settings.patience, score=score)
    if last and stopped(_history(last)):
        trainer.args.max_steps = steps_of(last)
    with contextlib.ExitStack() as files:
        append: Callable[[Any], None] = _nothing
        if trainer.is_world_process_zero():
            batch = x_ray(trainer.first_sequences(), job, tokenizer, packing)
            run.write_first_batch(settings.name, batch)
            first_batch(batch)
            append = files.enter_context(open_log(settings, run, steps_of(last) if last else 0))
        told = Log(append, progress, trainer.tokens_of_all, begun, Monitor(settings.device))
        trainer.add_callback(told)
        trainer.add_callback(Keeping(settings.save_seconds, stopped))
        with named(settings, job.rows, lambda: told.broke(trainer.state.global_step, "memory")):
            trainer.train(resume_from_checkpoint=str(last) if last else None)
    if trainer.is_world_process_zero():
        save_trained(trainer.model, settings, trained_folder(run, settings), run, job.rows)
    facts = row_facts(job.rows, job.dev_rows, tokenizer)
    facts["padding"] = 0.0 if packing == "packed" else padding(job.rows, settings)
    return _summary(trainer, job, time.monotonic() - begun, packing, facts)


def _nothing(*_: Any) -> None:
    """What the other processes write."""


def prepare(settings: TrainingSettings, rows: Sequence[Row]) -> tuple[Any, str]:
    """The model as it will be trained, and how its rows are batched: `packed`, or otherwise and why."""
    model = load_base(settings)
    packing = GROUPED
    # As fast as like lengths where rows are equally long (measured on a CPU), and faster everywhere else.
    if settings.packing != "off":
        reason = why_not_packed(model, rows)
        packing = f"{GROUPED}: {reason}" if reason else "packed"
        if reason:
            log.warning("contender %r is trained in %s.", settings.name, packing)
    adapted = with_method(model, settings)
    # Around the head as it now is: it may be trained too.
    if settings.loss is not None:
        own_loss = load_loss(settings.loss, settings.code)
        vocabulary = int(model.config.get_text_config().vocab_size)
        try_loss(own_loss, settings.loss, rows[0]["labels"], vocabulary, settings.device)
        attach_own_loss(model, own_loss)
    elif not attach_loss(model):
        log.warning(
            "%s keeps its head to itself: the logits of whole batches stand in memory.", type(model).__name__
        )
    return adapted, packing


def trainer_for(
    model: Any,
    settings: TrainingSettings,
    rows: Sequence[Row],
    dev_rows: Sequence[Row],
    checkpoints: Path,
    tokenizer: HuggingFaceTokenizer,
    *,
    packed: bool,
    score: DevScore | None = None,
) -> SupervisedTrainer:
    """The Trainer over rows as they are batched; `model` is as `prepare` returns it."""
    pad_id = tokenizer.tokenizer.pad_token_id or 0
    batches = batches_of(settings, rows, dev_rows, pad_id, packed=packed)
    room = room_for(model, settings, rows, packed=packed)
    asked = settings.gradient_checkpointing == "on" and room.parts == 1
    if (told := room.told()) and not asked:
        log.warning("contender %r is trained in the memory that is free: %s.", settings.name, told)
    trainer = SupervisedTrainer(
        order=batches.order,
        score=score,
        room=room,
        model=model,
        args=_arguments(settings, batches, checkpoints, room.checkpointing),
        train_dataset=batches.train,
        eval_dataset=batches.dev or None,
        data_collator=batches.collator,
    )
    if score is not None:
        trainer.args.metric_for_best_model = "eval_score"
        trainer.args.greater_is_better = score.higher_is_better
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def _arguments(
    settings: TrainingSettings, batches: Batches, checkpoints: Path, recompute: bool
) -> transformers.TrainingArguments:
    steps, evaluates = batches.steps * settings.epochs, bool(batches.dev)
    return transformers.TrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=batches.train_size,
        per_device_eval_batch_size=batches.dev_size,
        gradient_accumulation_steps=batches.accumulation,
        gradient_checkpointing=recompute,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        learning_rate=settings.learning_rate,
        lr_scheduler_type="constant_with_warmup" if settings.schedule == "constant" else settings.schedule,
        warmup_steps=max(1, round(settings.warmup_ratio * steps)) if settings.warmup_ratio else 0,
        weight_decay=settings.weight_decay,
        max_grad_norm=1.0,
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


def _history(checkpoint: Path) -> list[dict[str, Any]]:
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    return list(state["log_history"])


def _summary(
    trainer: SupervisedTrainer, job: Job, seconds: float, packing: str, facts: Mapping[str, Any]
) -> TrainingSummary:
    settings, rows, state = job.settings, job.rows, trainer.state
    # A training that stopped early has seen less.
    epochs = state.epoch or settings.epochs
    best_step = state.best_global_step or None if job.dev_rows else None
    at_best: dict[str, Any] = next(
        (row for row in state.log_history if row["step"] == best_step and "eval_loss" in row), {}
    )
    return TrainingSummary(
        examples=len(rows),
        steps=state.global_step,
        tokens=round(sum(len(r["input_ids"]) for r in rows) * epochs),
        trained_tokens=round(sum(t != IGNORED for r in rows for t in r["labels"]) * epochs),
        best_step=best_step,
        dev_loss=finite(at_best.get("eval_loss")),
        seconds=seconds,
        packing=packing,
        rows=facts,
        processes=settings.processes,
        dev_score=finite(at_best.get("eval_score")),
        loss=loss_digest(settings.loss, settings.code) if settings.loss is not None else None,
        sparing=trainer.room.told(),
    )
