"""Contenders: the ways to get an answer that an experiment compares. One table, one module a kind.

A contender is fitted on train and dev, then turns questions into prompts. It is handed questions
without their references: no contender ever sees a test answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from validators.examples import Example, Message, ToolCall
from validators.tokens import TokenizerError

from ..backends import Backend, open_backend
from ..experiment import Experiment
from ..hosted import Purse
from ..records import Prediction, Prompt, Sample
from ..retrieval import Embedder
from ..runs import Run
from ..settings import Backend as BackendSettings
from ..settings import Brought, FewShot, FineTuned, Hosted, Prompting, Rag
from ..settings import Contender as Settings

Progress = Callable[[int, int, str], None]

# More different answers than this are no labels that a model could be held to.
MOST_LABELS = 200


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
    open: Callable[[BackendSettings], Backend] = lambda wanted: open_backend(wanted, base=Path())
    """Opens a further backend, for a model that did not exist before."""
    purse: Purse = field(default_factory=Purse)
    score: Callable[[Sequence[Prediction]], float | None] = lambda _: None
    """The primary metric of this contender's answers; None where it has no value."""
    first_batch: Callable[[Mapping[str, Any]], None] = lambda _: None
    """Told what a training's first step sees, before it is made."""
    offline: bool = False
    """Whether no connection may be opened."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A contender that is ready: questions → prompts, answered by `backend` with what was trained: the folder
    `adapter`, which may hold a whole model.

    Answers are held to `choices` where there are some; `read` takes out of an answer what is not part of it.
    """

    prompts: Callable[[Sequence[Sample]], list[Prompt]]
    backend: Backend
    adapter: Path | None = None
    training: Mapping[str, Any] | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)
    choices: tuple[str, ...] = ()
    read: Callable[[Prompt, Prediction], Prediction] = lambda _, prediction: prediction


def fit(settings: Settings, setting: Setting) -> Fitted:
    """Make a contender ready to answer; an option of which there are several was chosen before."""
    labels = labels_of(settings, setting.train) if settings.constrain else ()
    fitted = CONTENDERS[settings.kind](settings, setting)
    return replace(fitted, choices=labels) if labels else fitted


def labels_of(settings: Settings, train: Sequence[Sample]) -> tuple[str, ...]:
    """The labels that answers are held to: the different answers of the training split, other wordings left out.

    Raises ContenderError where they are free text: a model held to old answers could give no other.
    """
    answers = [sample.references[0] for sample in train]
    labels = tuple(sorted(set(answers)))
    if 2 <= len(labels) <= min(MOST_LABELS, max(2, len(answers) // 2)):
        return labels
    found = f"{len(labels)} different in {len(answers)} rows" if answers else "no rows"
    raise ContenderError(
        f"contender {settings.name!r}: constrain: labels holds answers to those of the training split, but there they are "
        f"no labels ({found}). Leave out constrain."
    )


def is_tuned(settings: Settings) -> bool:
    """Whether the contender's model was trained for this task."""
    return isinstance(settings, FineTuned | Hosted) or (isinstance(settings, Brought) and settings.tuned)


def question(sample: Sample, *, sources: bool = False) -> Sample:
    """The sample as contenders see it: the question alone, without its references, group and tags.

    The documents that answer it are seen only with `sources`, by the contender that is shown them.
    """
    known = sample.sources if sources else ()
    return msgspec.structs.replace(sample, references=(), group=None, tags={}, sources=known)


def with_system(messages: Sequence[Message], system: str | None) -> tuple[Message, ...]:
    """Messages under another system prompt; None keeps the one they have."""
    if system is None:
        return tuple(messages)
    return (Message("system", system), *(m for m in messages if m.role != "system"))


def plain_prompt(sample: Sample, messages: Sequence[Message] | None = None) -> Prompt:
    """The sample's own messages (or other ones) as a prompt."""
    return Prompt(id=sample.id, messages=tuple(messages or sample.messages), tools=sample.tools)


def reply_of(sample: Sample, setting: Setting) -> Message:
    """A training sample's answer as the assistant would give it: tool calls as calls, where the model can be shown any."""
    text = sample.references[0]
    calls = _calls(text) if sample.tools else ()
    if calls and _shows_calls(needed_backend(setting)):
        return Message("assistant", None, tool_calls=calls)
    return Message("assistant", text)


def _calls(text: str) -> tuple[ToolCall, ...]:
    """The tool calls that a reference spells out as JSON; none where it is a text."""
    try:
        found = json.loads(text)
    except ValueError:
        return ()
    if not isinstance(found, list) or not all(
        isinstance(c, dict) and {"name", "arguments"} <= {*c} for c in found
    ):
        return ()
    return tuple(
        ToolCall(f"call_{n}", str(c["name"]), json.dumps(c["arguments"], ensure_ascii=False))
        for n, c in enumerate(found, 1)
    )


def _shows_calls(backend: Backend) -> bool:
    """Whether the model sees earlier tool calls: servers do, chat templates that know none would drop them."""
    tokenizer = getattr(backend, "tokenizer", None)
    if tokenizer is None:
        return True
    call = ToolCall("call_1", "probe", '{"word": "tracer"}')
    turns = (Message("user", "?"), Message("assistant", None, tool_calls=(call,)))
    try:
        return "tracer" in tokenizer.script(turns).write(turns)
    except TokenizerError:
        return False


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


def _hosted(settings: Hosted, setting: Setting) -> Fitted:
    from .hosted import fit_hosted

    return fit_hosted(settings, setting)


def _predictions(settings: Brought, setting: Setting) -> Fitted:
    from .predictions import fit_predictions

    return fit_predictions(settings, setting)


CONTENDERS: dict[str, Callable[[Any, Setting], Fitted]] = {
    "prompting": _prompting,
    "few-shot": _few_shot,
    "rag": _rag,
    "fine-tuned": _fine_tuned,
    "hosted": _hosted,
    "predictions": _predictions,
}
