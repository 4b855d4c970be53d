"""How long a contender's prompts are: its questions counted, examples and passages by their mean over real ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import fmean

from validators.examples import Message

from .contenders import with_system
from .data import Dataset
from .experiment import Experiment
from .means import Means, count_prompt
from .records import Sample
from .retrieval import chunk, corpus_of
from .settings import Contender as Settings
from .settings import FewShot, FineTuned, Rag, likens, one, retrieves

# The mean of this many rows or passages is near enough; a corpus can hold a million.
MEASURED = 200

Messages = tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Prompts:
    """Tokens of each prompt, and of the examples that all of them begin with: a local model reads those once."""

    tokens: list[float]
    alike: float = 0.0

    @property
    def spared(self) -> float:
        """Tokens that need not be computed."""
        return self.alike * max(0, len(self.tokens) - 1)


def count_prompts(
    settings: Settings, experiment: Experiment, dataset: Dataset, asked: Sequence[Sample], means: Means
) -> Prompts:
    """Prompt tokens of each sample: its own counted, shots and passages by their mean over real rows."""
    system = getattr(settings, "system", None)
    counted = [(s, count_prompt(means, s, with_system(s.messages, system))) for s in asked]
    own = [(s, n) for s, n in counted if n is not None]
    if not own:
        return Prompts([])
    sample, tokens = own[0]
    messages = with_system(sample.messages, system)

    def added(changed: Iterable[Messages]) -> float:
        """Mean tokens that a change of the first sample's prompt adds to it."""
        counts = [count_prompt(means, sample, m) for m in changed]
        known = [n - tokens for n in counts if n is not None]
        return fmean(known) if known else 0.0

    extra = alike = 0.0
    shots = one(settings.examples) if isinstance(settings, FewShot | Rag) else 0
    if shots:
        extra = shots * added(_with_shot(messages, s) for s in dataset.train[:MEASURED])
        alike = 0.0 if likens(settings) else extra
    if isinstance(settings, Rag | FineTuned) and retrieves(settings):
        # The examples shown bring passages of their own.
        shown = added(with_passage(messages, p) for p in first_passages(experiment))
        extra += one(settings.top_k) * (1 + shots) * shown
    return Prompts([n + extra for _, n in own], alike)


def first_passages(experiment: Experiment) -> list[str]:
    """The first passages of the corpus, for their mean length. Raises CorpusError."""
    documents, how = corpus_of(experiment).documents, experiment.retrieval
    pieces = (piece.text for d in documents for piece in chunk(d, how.chunk_words, how.chunk_overlap))
    return list(islice(pieces, MEASURED))


def _with_shot(messages: Messages, shot: Sample) -> Messages:
    """An example shown before the question, as few-shot prompts have it."""
    system = tuple(m for m in messages if m.role == "system")
    asked = tuple(m for m in messages if m.role != "system")
    turns = tuple(m for m in shot.messages if m.role != "system")
    return (*system, *turns, Message("assistant", shot.references[0]), *asked)


def with_passage(messages: Messages, passage: str) -> Messages:
    """A passage put before the last user message, as retrieval prompts have it."""
    place = max((i for i, m in enumerate(messages) if m.role == "user"), default=None)
    if place is None:
        return messages
    text = f"{passage}\n\n{messages[place].text}"
    return (*messages[:place], Message("user", text), *messages[place + 1 :])
