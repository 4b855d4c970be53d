"""The Trainer's step, evaluation and checkpoints: a loss over all trained tokens, a score, a disk that may be full."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from accelerate.utils import broadcast
from transformers.trainer_utils import EvalLoopOutput

from ..backends.memory import is_out_of_memory
from .attention import as_scored
from .checkpoints import lowest, written
from .packing import Row, useful_tokens
from .room import Room, in_parts, release
from .rows import IGNORED
from .settings import DevScore

log = logging.getLogger("workbench.training")


class SupervisedTrainer(transformers.Trainer):
    """The Trainer over a model that `attach_loss` has made to return summed cross-entropies."""

    # Real tokens trained on so far, padding left out.
    tokens_seen: Any = 0

    def __init__(
        self, *, order: Any, score: DevScore | None = None, room: Room | None = None, **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        self._order, self._score = order, score
        self.room = room or Room()
        # Micro-batches of this step that are done, and the tokens seen before it.
        self._done: list[Any] = []
        self._seen_before: Any = 0
        # The Trainer divides by the tokens of the whole step only for losses that say they take the count.
        self.model_accepts_loss_kwargs = True

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Cross-entropy summed over trained tokens, divided by their count in the whole step on all devices."""
        if model.training:
            self.tokens_seen += useful_tokens(inputs)
        out = model(**inputs, use_cache=False)
        count = _trained(inputs) if num_items_in_batch is None else num_items_in_batch
        loss = out.loss / count
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            # Gradients are averaged over processes, each of which has divided by the tokens of all.
            loss = loss * self.accelerator.num_processes
        return (loss, out) if return_outputs else loss

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """A micro-batch, as sparingly as there is room; where memory runs out, again and more sparingly."""
        if not self._done:
            self._seen_before = self.tokens_seen + 0
        batches = [inputs]
        while (loss := self._tried(model, batches, num_items_in_batch)) is None:
            # Half a backward pass may be in the gradients: this step begins anew.
            model.zero_grad()
            self.tokens_seen = self._seen_before + 0
            batches = [*self._done, inputs]
        self._done = [] if self.accelerator.sync_gradients else [*self._done, inputs]
        return loss

    def _tried(self, model: Any, batches: list[Any], count: Any) -> torch.Tensor | None:
        """The loss of the last micro-batch; None where memory ran out and something was left to spare."""
        try:
            for batch in batches:
                parts = in_parts(batch, self.room.parts)
                losses = [super(SupervisedTrainer, self).training_step(model, part, count) for part in parts]
            return torch.stack(losses).sum()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or (told := self.room.tighten()) is None:
                raise
            log.warning("memory ran out at step %d; from now on %s.", self.state.global_step + 1, told)
        # Not before: the error holds what the step held.
        release(str(self.args.device))
        if self.room.checkpointing and not self.args.gradient_checkpointing:
            self.args.gradient_checkpointing = True
            model.gradient_checkpointing_enable(self.args.gradient_checkpointing_kwargs)
        return None

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
        if self._score is not None:
            metrics[f"{metric_key_prefix}_score"] = self._scored(whole, self._score)
        nothing: Any = None
        return EvalLoopOutput(nothing, nothing, metrics, num_samples=len(dataloader.dataset))

    def _scored(self, model: Any, score: DevScore) -> float:
        """The primary metric on dev; NaN, which is never the best, where it has no value."""
        with as_scored(model):
            value = score.of(model)
        value = math.nan if value is None else value
        if self.accelerator.num_processes > 1:  # all have to stop at the same epoch
            value = broadcast(torch.tensor(value, dtype=torch.float64, device=self.args.device)).item()
        return value

    def first_sequences(self) -> list[list[Row]]:
        """The rows of the first micro-batch (of every process), by the sequence in which they stand."""
        size = self.args.per_device_train_batch_size * self.args.world_size
        indices = itertools.islice(self._order, size)
        items: list[Any] = [self.train_dataset[index] for index in indices]  # type: ignore[index]
        return [item if isinstance(item, list) else [item] for item in items]

    def tokens_of_all(self) -> int:
        """Real tokens trained on so far in all processes, which all have to ask at once."""
        seen = torch.as_tensor(self.tokens_seen, device=self.args.device)
        return int(self.accelerator.reduce(seen, "sum"))

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """As the Trainer does, and of equal scores the lower loss is the best."""
        better: bool = super()._determine_best_metric(metrics, trial)
        state = self.state
        if self._score is None or better or metrics["eval_score"] != state.best_metric:
            return better
        losses = (
            r["eval_loss"]
            for r in state.log_history
            if r["step"] == state.best_global_step and "eval_loss" in r
        )
        if lowest(metrics["eval_loss"]) < lowest(next(losses, -math.inf)):
            state.best_global_step = state.global_step
            return True
        return False

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder, step = Path(str(self.args.output_dir)), self.state.global_step
        with written(f"the checkpoint after step {step}", folder, folder / f"checkpoint-{step}"):
            super()._save_checkpoint(model, trial)

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        # The Trainer's own state comes last and makes a checkpoint whole: it waits for every process's part.
        self.accelerator.wait_for_everyone()

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return self._order


def _trained(inputs: Mapping[str, Any]) -> torch.Tensor:
    labels: torch.Tensor = inputs["labels"]
    return (labels[:, 1:] != IGNORED).sum()
