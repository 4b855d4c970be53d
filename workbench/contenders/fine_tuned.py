"""Fine-tuned: the base model with an adapter, trained on the training split or brought along."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from validators.examples import Example, Message

from ..adapters import AdapterError, check_adapter
from ..backends import Request
from ..backends.hf import HfBackend
from ..recipe import Recipe
from ..records import Passage, Prompt, Sample
from ..settings import FineTuned
from ..training import (
    DevScore,
    TrainingSettings,
    check_continued,
    check_launch,
    check_trackers,
    encode_rows,
    fine_tune,
    load_loss,
    remove_checkpoints,
    trained_folder,
)
from . import ContenderError, Fitted, Setting, labels_of, needed_backend, plain_prompt, question, reply_of
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
        try:
            check_adapter(
                folder, backend.identity().model, backend.folder, template=backend.identity().template
            )
        except AdapterError as error:
            raise ContenderError(f"contender {settings.name!r}: {error}") from None
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
            _dev_score(fitted, settings, setting, backend),
            setting.first_batch,
        ).as_dict()
    return replace(fitted, adapter=folder, training=training)


def _dev_score(fitted: Fitted, settings: FineTuned, setting: Setting, backend: HfBackend) -> DevScore | None:
    """How a model in training is scored where stop_on: primary: dev answered as the test split will be."""
    if settings.stop_on != "primary":
        return None
    experiment = setting.experiment
    choices = labels_of(settings, setting.train) if settings.constrain else ()
    prompts = fitted.prompts([question(s) for s in setting.dev])
    requests = [
        Request(prompt=p, references=s.references, group=s.group, choices=choices)
        for p, s in zip(prompts, setting.dev, strict=True)
    ]
    by_id = {p.id: p for p in prompts}

    def of(model: Any) -> float | None:
        with backend.lent(model):
            return setting.score([fitted.read(by_id[a.id], a) for a in backend.answer(requests)])

    return DevScore(experiment.primary, experiment.metric(experiment.primary).higher_is_better, of)


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
    """Raise TrainingError now for rows or a loss that could not be trained on, before anything is spent on others."""
    if settings.loss is not None:
        load_loss(settings.loss, setting.experiment.folder)
    check_trackers(setting.experiment.track)
    backend = needed_backend(setting)
    if isinstance(backend, HfBackend):
        asked = _training_settings(settings, setting, backend)
        check_launch(asked)
        if asked.continue_from is not None:
            check_continued(asked)
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
    recipe = {name: getattr(settings, name) for name in Recipe.model_fields if name != "allow_code"}
    if settings.continue_from is not None:
        recipe["continue_from"] = setting.experiment.resolve(settings.continue_from)
    return TrainingSettings(
        name=settings.name,
        model=backend.identity().model,
        folder=backend.folder,
        device=backend.device,
        dtype=backend.dtype,
        code=setting.experiment.folder,
        processes=setting.experiment.launch.processes,
        track=setting.experiment.track,
        offline=setting.offline,
        **recipe,
    )
