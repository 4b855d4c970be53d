"""What one training would take: rows, steps, tokens, and memory, time and USD of each method side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from typing import get_args

import msgspec

from validators.assets import AssetError
from validators.encoding import Encoding, encode
from validators.examples import Example
from validators.tokens import HuggingFaceTokenizer, TokenizerError

from .backends.memory import free_bytes
from .data import Dataset
from .experiment import Experiment
from .forecast import Pace, Workload, fitted, peak_bytes, spared, training_seconds
from .means import Means
from .plan_prompts import first_passages, with_passage
from .recipe import Method
from .settings import FineTuned
from .training.packing import tokens_of
from .training.rows import as_row
from .training.workload import of_each, workload_of


@dataclass(frozen=True, slots=True)
class MethodPlan:
    """One training by one method. `fits` what is free now, computed as `sparing` says; None is unknown.

    Seconds and USD are unknown too where it does not fit.
    """

    method: Method
    chosen: bool
    memory_gb: float
    fits: bool | None
    sparing: str | None
    minutes: float | None = None
    usd: float | None = None


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """One training, and how many of it; None where the model's tokenizer or size is not here.

    Tokens are over all epochs of one training; `minutes` and `usd` are of all `trainings`: folds times
    seeds, and a learning curve's smaller ones by their share of the rows. `methods` are one training each.
    """

    rows: int
    steps: int | None
    tokens: int | None = None
    trained_tokens: int | None = None
    truncated_rows: int | None = None
    minutes: float | None = None
    memory_gb: float | None = None
    usd: float | None = None
    trainings: float = 1
    methods: tuple[MethodPlan, ...] = ()


def hours_usd(seconds: float, experiment: Experiment) -> float | None:
    """USD of local time; None unless the experiment names the hour's price (0 where it is free)."""
    costs = experiment.decision.costs
    named = "gpu_usd_per_hour" in costs.model_fields_set
    return seconds * costs.gpu_usd_per_hour / 3600 if named else None


def plan_training(
    settings: FineTuned, experiment: Experiment, dataset: Dataset, means: Means
) -> TrainingPlan:
    """Rows, steps and tokens as the trainer would see them; memory and time as forecast. Raises CorpusError."""
    examples = _examples(settings, experiment, dataset)
    updates = math.ceil(math.ceil(len(examples) / settings.batch_size) / settings.gradient_accumulation)
    planned = TrainingPlan(rows=len(examples), steps=max(1, math.ceil(updates * settings.epochs)))
    if means.tokenizer is None:
        return planned
    encodings = _encoded(examples, means.tokenizer, settings.max_length)
    if not encodings:
        return planned
    planned = replace(
        planned,
        tokens=round(sum(len(e.ids) for e in encodings) * settings.epochs),
        trained_tokens=round(sum(e.trained for e in encodings) * settings.epochs),
        truncated_rows=sum(e.truncated > 0 for e in encodings),
    )
    asked = [dataset.conversations[s.id] for s in dataset.dev if s.id in dataset.conversations]
    dev = _encoded(asked, means.tokenizer, settings.max_length)
    methods = _methods(settings, experiment, means, encodings, dev)
    own = next((m for m in methods if m.chosen), None)
    if own is None:
        return planned
    return replace(planned, memory_gb=own.memory_gb, minutes=own.minutes, usd=own.usd, methods=methods)


def _examples(settings: FineTuned, experiment: Experiment, dataset: Dataset) -> list[Example]:
    examples = [dataset.conversations[s.id] for s in dataset.train if s.id in dataset.conversations]
    if settings.with_ is None:
        return examples
    beside = settings.top_k - 1 if settings.distractors is None else settings.distractors
    passages = cycle(first_passages(experiment))
    contexts = ("\n\n".join(islice(passages, 1 + beside)) for _ in examples)
    return [
        msgspec.structs.replace(e, messages=with_passage(e.messages, context))
        for e, context in zip(examples, contexts, strict=True)
    ]


def _encoded(examples: Sequence[Example], tokenizer: HuggingFaceTokenizer, most: int) -> list[Encoding]:
    encodings = []
    for example in examples:
        try:
            encodings.append(encode(example, tokenizer, most))
        except TokenizerError:
            continue  # the trainer names these rows and stops; the plan counts the others
    return encodings


def _methods(
    settings: FineTuned,
    experiment: Experiment,
    means: Means,
    encodings: Sequence[Encoding],
    dev: Sequence[Encoding],
) -> tuple[MethodPlan, ...]:
    """Every method over these rows; none where the model's shape is not known, or tokens meet only some of its weights."""
    if means.size is None or means.size.experts or means.device is None:
        return ()
    usual = workload_of(
        settings,
        [as_row(e) for e in encodings],
        dtype=means.dtype,
        device=means.device,
        packed=settings.packing != "off",
        processes=experiment.launch.processes,
    )
    dev_tokens = replace(usual, **tokens_of([as_row(e) for e in dev])).computed if dev else 0
    # Processes share a step, and a CPU: its memory holds all of them, and they are no faster than one.
    on_cpu = usual.place == "cpu"
    free = free_bytes(means.device)
    found = []
    for method in get_args(Method):
        work = replace(usual, method=method)
        way, fits = fitted(means.size, of_each(work), settings.gradient_checkpointing, free)
        work = replace(work, checkpointing=way.checkpointing, parts=way.parts)
        plan = MethodPlan(
            method=method,
            chosen=method == settings.method,
            memory_gb=peak_bytes(means.size, way) * (work.processes if on_cpu else 1) / 1e9,
            fits=None if free is None else fits,
            sparing=spared(way.checkpointing, way.parts),
        )
        pace = means.pace(means.folder, work) if fits and means.folder and means.pace else None
        if pace is not None:
            seconds = training_seconds(work, pace, epochs=settings.epochs, dev_tokens=dev_tokens)
            seconds /= 1 if on_cpu else work.processes
            plan = replace(plan, minutes=seconds / 60, usd=hours_usd(seconds, experiment))
        found.append(plan)
    return tuple(found)


def measured(folder: Path, work: Workload) -> Pace | None:
    """The pace of `work` on this machine, from a few steps; None where these cannot be made."""
    try:
        from .training.pace import measured_pace

        return measured_pace(folder, work)
    except (AssetError, ImportError, OSError, ValueError, RuntimeError, MemoryError):
        return None
