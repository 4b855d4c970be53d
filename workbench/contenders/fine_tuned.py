"""Fine-tuned: the base model with an adapter, trained on the training split or brought along."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from validators.examples import Example, Message

from ..backends.hf import HfBackend
from ..recipe import Recipe
from ..records import Passage, Prompt, Sample
from ..settings import FineTuned
from ..training import TrainingSettings, encode_rows, fine_tune, remove_checkpoints, trained_folder
from . import ContenderError, Fitted, Setting, needed_backend, plain_prompt, reply_of
from .passages import Library, asked_with, open_library, read_citations, taught, with_passages

# Training rows whose passages lack the right one, so that the model learns to tell: as in RAFT (Zhang et al. 2024).
WITHOUT_RIGHT = 0.2


def fit_fine_tuned(settings: FineTuned, setting: Setting) -> Fitted:
    """Train the adapter, or take the one that is there (brought, or whole from an earlier start)."""
    backend = needed_backend(setting)
    if not isinstance(backend, HfBackend):
        raise ContenderError(f"contender {settings.name!r} needs a local backend (kind: hf)")
    fitted = _asking(settings, setting, backend)
    if settings.adapter is not None:
        folder = setting.experiment.resolve(settings.adapter)
        _check_adapter(folder, settings.name)
        return replace(fitted, adapter=folder)
    asked = _training_settings(settings, setting, backend)
    folder = trained_folder(setting.run, asked)
    training = (setting.run.contender(settings.name) or {}).get("training")
    if folder.exists() and training is not None:
        remove_checkpoints(setting.run.checkpoint_folder(settings.name))
    else:
        # Training loads its own copy of the base; two copies at once would double the memory.
        backend.release()
        training = fine_tune(
            asked,
            *training_rows(settings, setting),
            backend.tokenizer,
            setting.run,
            setting.progress,
        ).as_dict()
    if settings.method == "full":
        tuned = setting.experiment.backend_of(settings).model_copy(update={"model": str(folder)})
        return replace(fitted, backend=setting.open(tuned), training=training)
    return replace(fitted, adapter=folder, training=training)


def training_rows(
    settings: FineTuned, setting: Setting
) -> tuple[Mapping[str, Example], Mapping[str, Example]]:
    """What is trained on, and what the dev loss is measured on: conversations, or questions with passages.

    With passages, a dev row has those that were retrieved, as a test question will. A training row has the
    right one (where data.sources names it) among `distractors` retrieved ones in chance order; a fifth of
    them lack it. Raises CorpusError.
    """
    if settings.with_ is None:
        train, dev = (
            {s.id: setting.conversations[s.id] for s in samples if s.id in setting.conversations}
            for samples in (setting.train, setting.dev)
        )
        return train, dev
    library = open_library(settings, setting)
    retrieved = library.find(setting.dev, settings.top_k)
    return (
        _with_contexts(
            setting.train, _training_contexts(settings, setting.train, library), settings, setting
        ),
        _with_contexts(setting.dev, retrieved, settings, setting),
    )


def _training_contexts(
    settings: FineTuned, samples: Sequence[Sample], library: Library
) -> list[list[Passage]]:
    """The passages of each training row."""
    beside = settings.top_k - 1 if settings.distractors is None else settings.distractors
    contexts = []
    # The right document's passages are left out of the distractors: twice as many are surely enough.
    for sample, found in zip(samples, library.find(samples, 2 * (beside + settings.top_k)), strict=True):
        chance = random.Random(f"{settings.seed} {sample.id}")
        right = [p for p in found if p.document in sample.sources] or [
            Passage(c.document, c.text, 0.0) for c in library.chunks if c.document in sample.sources
        ]
        wrong = [p for p in found if p.document not in sample.sources]
        lacks = chance.random() < WITHOUT_RIGHT
        if not right:
            contexts.append(found[: settings.top_k])
            continue
        context = wrong[: beside + 1] if lacks else [right[0], *wrong[:beside]]
        chance.shuffle(context)
        contexts.append(context)
    return contexts


def _with_contexts(
    samples: Sequence[Sample], contexts: Sequence[Sequence[Passage]], settings: FineTuned, setting: Setting
) -> dict[str, Example]:
    """Rows of one answer each: earlier answers of a conversation train in the rows that ask for them."""
    by_line: dict[int, list[Example]] = defaultdict(list)
    for example in setting.conversations.values():
        by_line[example.line].append(example)
    rows = {}
    for sample, found in zip(samples, contexts, strict=True):
        said = len(sample.messages)
        known = (e.messages for e in by_line[sample.line] if e.messages[:said] == sample.messages)
        reply = next((m[said] for m in known if len(m) > said), None) or reply_of(sample, setting)
        asked = [_untrained(m) for m in with_passages(sample, found, settings).messages]
        messages = (*asked, taught(sample, found, settings, reply))
        rows[sample.id] = Example(messages, sample.tools, line=sample.line)
    return rows


def _untrained(message: Message) -> Message:
    return msgspec.structs.replace(message, weight=0) if message.role == "assistant" else message


def check_rows(settings: FineTuned, setting: Setting) -> None:
    """Raise TrainingError now for rows that could not be trained on, before anything is spent on others."""
    backend = needed_backend(setting)
    if isinstance(backend, HfBackend):
        rows = setting.conversations
        if settings.with_ is not None and setting.train:
            train, dev = training_rows(settings, setting)
            rows = {**train, **dev}
        encode_rows(rows, backend.tokenizer, settings.max_length)


def _asking(settings: FineTuned, setting: Setting, backend: HfBackend) -> Fitted:
    """How questions are put: as they are, or with the passages that are retrieved for them."""
    if settings.with_ is None:
        return Fitted(lambda samples: [plain_prompt(s) for s in samples], backend)
    library = open_library(settings, setting)

    def prompts(samples: Sequence[Sample]) -> list[Prompt]:
        found = library.find(samples, settings.top_k)
        return [asked_with(s, passages, settings) for s, passages in zip(samples, found, strict=True)]

    fitted = Fitted(prompts, backend, notes=library.notes)
    return replace(fitted, read=read_citations) if settings.citations else fitted


def _training_settings(settings: FineTuned, setting: Setting, backend: HfBackend) -> TrainingSettings:
    recipe = {name: getattr(settings, name) for name in Recipe.model_fields}
    if settings.continue_from is not None:
        recipe["continue_from"] = setting.experiment.resolve(settings.continue_from)
    return TrainingSettings(
        name=settings.name,
        model=backend.identity().model,
        folder=backend.folder,
        device=backend.device,
        dtype=backend.dtype,
        **recipe,
    )


def _check_adapter(folder: Path, name: str) -> None:
    """An adapter folder as peft writes it: config and safetensors weights."""
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    except OSError:
        raise ContenderError(
            f"contender {name!r}: {folder} holds no adapter_config.json, so it is no adapter folder of peft."
        ) from None
    except ValueError as error:
        raise ContenderError(
            f"contender {name!r}: {folder / 'adapter_config.json'} is damaged ({error})."
        ) from None
    if not (folder / "adapter_model.safetensors").exists():
        raise ContenderError(
            f"contender {name!r}: {folder} holds no adapter_model.safetensors; other weight formats are not read."
        )
    kind = config.get("peft_type") if isinstance(config, dict) else None
    if kind != "LORA":
        raise ContenderError(f"contender {name!r}: {folder} is an adapter of kind {kind}, LORA is supported.")
