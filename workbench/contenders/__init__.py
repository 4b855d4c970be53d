"""Contenders: the ways to get an answer that an experiment compares. One table, one module a kind.

A contender is fitted on train and dev, then turns questions into prompts. It is handed questions
without their references: no contender ever sees a test answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from validators.examples import Example, Message

from ..backends import Backend
from ..experiment import Experiment
from ..records import Prompt, Sample
from ..retrieval import Embedder
from ..runs import Run
from ..settings import Brought, FewShot, FineTuned, Prompting, Rag
from ..settings import Contender as Settings

Progress = Callable[[int, int, str], None]


class ContenderError(ValueError):
    """A contender cannot be set up; the message says which, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Everything a contender may use: training and dev samples, its backend, the run's folders."""

    experiment: Experiment
    train: tuple[Sample, ...]
    dev: tuple[Sample, ...]
    conversations: Mapping[str, Example]
    run: Run
    backend: Backend | None
    embedder: Callable[[], Embedder]
    progress: Progress


@dataclass(frozen=True, slots=True)
class Fitted:
    """A contender that is ready: questions → prompts, answered by `backend`, with `adapter` put on."""

    prompts: Callable[[Sequence[Sample]], list[Prompt]]
    backend: Backend
    adapter: Path | None = None
    training: Mapping[str, Any] | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


def fit(settings: Settings, setting: Setting) -> Fitted:
    """Make a contender ready to answer."""
    return CONTENDERS[settings.kind](settings, setting)


def is_tuned(settings: Settings) -> bool:
    """Whether the contender's model was trained for this task."""
    return isinstance(settings, FineTuned) or (isinstance(settings, Brought) and settings.tuned)


def question(sample: Sample) -> Sample:
    """The sample as contenders see it: without its references and group."""
    return msgspec.structs.replace(sample, references=(), group=None)


def with_system(messages: Sequence[Message], system: str | None) -> tuple[Message, ...]:
    """Messages under another system prompt; None keeps the one they have."""
    if system is None:
        return tuple(messages)
    return (Message("system", system), *(m for m in messages if m.role != "system"))


def plain_prompt(sample: Sample, messages: Sequence[Message] | None = None) -> Prompt:
    """The sample's own messages (or other ones) as a prompt."""
    return Prompt(id=sample.id, messages=tuple(messages or sample.messages), tools=sample.tools)


def needed_backend(setting: Setting) -> Backend:
    """The contender's backend; every kind but `predictions` has one."""
    if setting.backend is None:
        raise ContenderError("this contender needs a backend")
    return setting.backend


def _prompting(settings: Prompting, setting: Setting) -> Fitted:
    def prompts(samples: Sequence[Sample]) -> list[Prompt]:
        return [plain_prompt(s, with_system(s.messages, settings.system)) for s in samples]

    return Fitted(prompts, needed_backend(setting))


def _few_shot(settings: FewShot, setting: Setting) -> Fitted:
    from .few_shot import fit_few_shot

    return fit_few_shot(settings, setting)


def _rag(settings: Rag, setting: Setting) -> Fitted:
    from .rag import fit_rag

    return fit_rag(settings, setting)


def _fine_tuned(settings: FineTuned, setting: Setting) -> Fitted:
    from .fine_tuned import fit_fine_tuned

    return fit_fine_tuned(settings, setting)


def _predictions(settings: Brought, setting: Setting) -> Fitted:
    from .predictions import fit_predictions

    return fit_predictions(settings, setting)


CONTENDERS: dict[str, Callable[[Any, Setting], Fitted]] = {
    "prompting": _prompting,
    "few-shot": _few_shot,
    "rag": _rag,
    "fine-tuned": _fine_tuned,
    "predictions": _predictions,
}
