"""RAG: passages of the corpus, found for each question, put before it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from validators.examples import Message

from ..records import Passage, Prompt, Sample
from ..retrieval import chunk, load_corpus, open_index
from ..settings import Rag
from . import Fitted, Setting, needed_backend, with_system
from .few_shot import as_turns, check_enough, similar_examples


def fit_rag(settings: Rag, setting: Setting) -> Fitted:
    """Index the corpus (or open its index) and prepare to retrieve."""
    experiment = setting.experiment
    assert experiment.data.corpus is not None  # the experiment file is refused without one
    check_enough(settings, setting)
    documents = load_corpus(experiment.resolve(experiment.data.corpus))
    chunks = [piece for document in documents for piece in chunk(document)]
    index = open_index(chunks, setting.embedder(), setting.run.index_folder())
    choose = similar_examples(settings.examples, setting) if settings.examples else None

    def passages(samples: Sequence[Sample]) -> list[list[Passage]]:
        return index.search([s.question for s in samples], settings.top_k, settings.retriever)

    def prompts(samples: Sequence[Sample]) -> list[Prompt]:
        chosen = choose(samples) if choose else [[] for _ in samples]
        shown = {shot.id: shot for shots in chosen for shot in shots}
        beside = dict(zip(shown, passages(list(shown.values())), strict=True))
        made = []
        for sample, shots, found in zip(samples, chosen, passages(samples), strict=True):
            turns = [turn for shot in shots for turn in as_turns(_with_passages(shot, beside[shot.id]))]
            made.append(_prompt(sample, turns, found, settings.system))
        return made

    return Fitted(
        prompts, needed_backend(setting), notes={"documents": len(documents), "chunks": len(chunks)}
    )


def _prompt(sample: Sample, shots: Sequence[Message], found: list[Passage], system: str | None) -> Prompt:
    """System text, examples with their passages, then the sample with its own."""
    messages = with_system(_with_passages(sample, found).messages, system)
    before = tuple(m for m in messages if m.role == "system")
    asked = tuple(m for m in messages if m.role != "system")
    shown = found if any(m.role == "user" for m in asked) else []
    return Prompt(id=sample.id, messages=(*before, *shots, *asked), tools=sample.tools, passages=tuple(shown))


def _with_passages(sample: Sample, found: Sequence[Passage]) -> Sample:
    """The sample with passages, the best first, put before its last user message."""
    place = max((i for i, m in enumerate(sample.messages) if m.role == "user"), default=None)
    if place is None or not found:
        # Nobody asked anything, or nothing was found.
        return sample
    context = "\n\n".join(p.text for p in found)
    text = f"Use these passages to answer.\n\n{context}\n\nQuestion: {sample.messages[place].text}\n\nAnswer:"
    messages = list(sample.messages)
    messages[place] = msgspec.structs.replace(messages[place], content=text)
    return msgspec.structs.replace(sample, messages=tuple(messages))
