"""Training: transformers' Trainer with our rows, our order, our loss, and an exact resume.

The Trainer's loop, accumulation and checkpoints are used as they are. Ours is what goes wrong elsewhere:
which tokens train, who sees whom, what the loss is divided by, and that a killed run goes on to the same weights.
"""

from __future__ import annotations

import functools
import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.trainer_utils import EvalLoopOutput

from validators.examples import Example
from validators.tokens import HuggingFaceTokenizer

from ..runs import Run
from .attention import why_not_packed
from .checkpoints import cut_log, last_checkpoint, remove_checkpoints, save_trained, stopped_early
from .log import Keeping, Log, Progress
from .loss import attach_loss
from .methods import load_base, with_method
from .order import Order
from .packing import Row, collate_packed, pack_rows
from .rows import IGNORED, TrainingError, collate, encode_rows
from .settings import TrainingSettings, TrainingSummary

log = logging.getLogger("workbench.training")
GROUPED = "batches of like lengths"


def fine_tune(
    settings: TrainingSettings,
    train: Mapping[str, Example],
    dev: Mapping[str, Example],
    tokenizer: HuggingFaceTokenizer,
    run: Run,
    progress: Progress,
) -> TrainingSummary:
    """Train on `train`, keep the epoch with the lowest loss on `dev`, save it in the run folder.

    An interrupted training goes on from its last whole checkpoint. Raises TrainingError.
    """
    rows = encode_rows(train, tokenizer, settings.max_length)
    dev_rows = encode_rows(dev, tokenizer, settings.max_length)
    checkpoints = run.checkpoint_folder(settings.name)
    transformers.set_seed(settings.seed)
    model, packing = prepare(settings, rows)
    last = last_checkpoint(checkpoints)
    # Time spent before an interruption counts: it was paid for.
    begun = time.monotonic() - cut_log(run, settings.name, last)
    trainer = trainer_for(model, settings, rows, dev_rows, checkpoints, tokenizer, packed=packing == "packed")
    if last and stopped_early(_history(last), settings.patience):
        trainer.args.max_steps = _steps(last)
    with run.open_training(settings.name) as file:
        trainer.add_callback(Log(file.append, progress, lambda: int(trainer.tokens_seen), begun))
        trainer.add_callback(Keeping(settings.save_seconds, settings.patience))
        try:
            trainer.train(resume_from_checkpoint=str(last) if last else None)
        except torch.OutOfMemoryError as error:
            raise TrainingError(
                f"training does not fit the memory of {settings.device}. Lower batch_size or max_length, set "
                "gradient_checkpointing: on, or use method: qlora; a training that has finished an epoch goes on "
                "from there only with the same settings."
            ) from error
    save_trained(trainer.model, settings, trained_folder(run, settings))
    summary = _summary(trainer.state, settings, rows, bool(dev_rows), time.monotonic() - begun, packing)
    # On record before the checkpoints go: a kill in between would else train everything again.
    if (info := run.contender(settings.name)) is not None:
        run.write_contender(settings.name, info | {"training": summary.as_dict()})
    remove_checkpoints(checkpoints)
    return summary


def trained_folder(run: Run, settings: TrainingSettings) -> Path:
    """Where the adapter lies, or the whole model of `method: full`."""
    adapter = run.adapter_folder(settings.name)
    return adapter.with_name("model") if settings.method == "full" else adapter


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
    if not attach_loss(model):
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
) -> SupervisedTrainer:
    """The Trainer over rows as they are batched; `model` is as `prepare` returns it."""
    train: Sequence[Any] = rows
    dev: Sequence[Any] = sorted(dev_rows, key=lambda row: len(row["input_ids"]))
    collator: Any = functools.partial(collate, pad_id=tokenizer.tokenizer.pad_token_id or 0)
    order = Order(len(rows), settings.seed, [len(r["input_ids"]) for r in rows], settings.batch_size)
    if packed:
        train, dev = (pack_rows(some, settings.batch_size, settings.seed) for some in (rows, dev_rows))
        collator, order = collate_packed, Order(len(train), settings.seed)
    trainer = SupervisedTrainer(
        order=order,
        model=model,
        args=_arguments(
            settings, len(train), bool(dev_rows), checkpoints, packed, _checkpoints(model, settings, rows)
        ),
        train_dataset=train,
        eval_dataset=dev or None,
        data_collator=collator,
    )
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def _arguments(
    settings: TrainingSettings, items: int, evaluates: bool, checkpoints: Path, packed: bool, recompute: bool
) -> transformers.TrainingArguments:
    """`items` are rows, or bins where rows are packed: a bin is a whole micro-batch."""
    size = 1 if packed else settings.batch_size
    steps = math.ceil(math.ceil(items / size) / settings.gradient_accumulation) * settings.epochs
    return transformers.TrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=size,
        per_device_eval_batch_size=1 if packed else size * 2,
        gradient_accumulation_steps=settings.gradient_accumulation,
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


def _checkpoints(model: Any, settings: TrainingSettings, rows: Sequence[Row]) -> bool:
    """Whether layers are computed again in the backward pass: as asked, or where a GPU would not hold what they keep."""
    if settings.gradient_checkpointing != "auto" or not settings.device.startswith("cuda"):
        return settings.gradient_checkpointing == "on"
    longest = max(len(row["input_ids"]) for row in rows)
    mean = sum(len(row["input_ids"]) for row in rows) / len(rows)
    config = model.config.get_text_config()
    wide = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    # Inputs of the linear layers, norms and attention of one token in one layer, in 16 bits.
    kept = 2 * (14 * config.hidden_size + 4 * wide) * config.num_hidden_layers
    free, _ = torch.cuda.mem_get_info(settings.device)
    return bool(kept * max(longest, settings.batch_size * mean) > 0.8 * free)


class SupervisedTrainer(transformers.Trainer):
    """The Trainer over a model that `attach_loss` has made to return summed cross-entropies."""

    # Real tokens trained on so far, padding left out.
    tokens_seen: Any = 0

    def __init__(self, *, order: Order, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._order = order
        # The Trainer divides by the tokens of the whole step only for losses that say they take the count.
        self.model_accepts_loss_kwargs = True

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Cross-entropy summed over trained tokens, divided by their count in the whole step on all devices."""
        if model.training:
            mask = inputs.get("attention_mask")
            self.tokens_seen += inputs["input_ids"].numel() if mask is None else mask.sum()
        out = model(**inputs, use_cache=False)
        count = _trained(inputs) if num_items_in_batch is None else num_items_in_batch
        loss = out.loss / count
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            # Gradients are averaged over processes, each of which has divided by the tokens of all.
            loss = loss * self.accelerator.num_processes
        return (loss, out) if return_outputs else loss

    def evaluation_loop(
        self,
        dataloader: Any,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """The mean over all trained tokens of the split: a mean of batches would weigh short answers more."""
        whole: Any = self.model
        model = self._wrap_model(whole, training=False).eval()
        loss, count = 0.0, 0.0
        for batch in dataloader:
            inputs = self._prepare_inputs(batch)
            with torch.no_grad(), self.compute_loss_context_manager():
                summed = model(**inputs, use_cache=False).loss.detach().float()
            both = torch.stack([summed, _trained(inputs).to(summed)])
            summed_all, counted_all = self.accelerator.reduce(both, "sum").tolist()
            loss, count = loss + summed_all, count + counted_all
        metrics = {f"{metric_key_prefix}_loss": loss / count}
        nothing: Any = None
        return EvalLoopOutput(nothing, nothing, metrics, num_samples=len(dataloader.dataset))

    def _get_train_sampler(self, train_dataset: Any = None) -> Order:
        return self._order


def _trained(inputs: Mapping[str, Any]) -> torch.Tensor:
    labels: torch.Tensor = inputs["labels"]
    return (labels[:, 1:] != IGNORED).sum()


def _history(checkpoint: Path) -> list[dict[str, Any]]:
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    return list(state["log_history"])


def _steps(checkpoint: Path) -> int:
    return int(checkpoint.name.rsplit("-", 1)[1])


def _summary(
    state: Any, settings: TrainingSettings, rows: Sequence[Row], evaluated: bool, seconds: float, packing: str
) -> TrainingSummary:
    # A training that stopped early has seen less.
    epochs = state.epoch or settings.epochs
    best = state.best_metric if evaluated and state.best_global_step else None
    return TrainingSummary(
        examples=len(rows),
        steps=state.global_step,
        tokens=round(sum(len(r["input_ids"]) for r in rows) * epochs),
        trained_tokens=round(sum(t != IGNORED for r in rows for t in r["labels"]) * epochs),
        best_step=state.best_global_step if best is not None else None,
        dev_loss=best,
        seconds=seconds,
        packing=packing,
    )
