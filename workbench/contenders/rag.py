"""RAG: passages of the corpus, found for each question, put before it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..experiment import Rag
from ..records import Passage, Prompt, Sample
from ..retrieval import chunk, load_corpus, open_index
from . import Fitted, Setting, needed_backend, with_system


def fit_rag(settings: Rag, setting: Setting) -> Fitted:
    """Index the corpus (or open its index) and prepare to retrieve."""
    experiment = setting.experiment
    assert experiment.data.corpus is not None  # the experiment file is refused without one
    documents = load_corpus(experiment.resolve(experiment.data.corpus))
    chunks = [piece for document in documents for piece in chunk(document)]
    index = open_index(chunks, setting.embedder(), setting.run.index_folder())

    def prompts(samples: Sequence[Sample]) -> list[Prompt]:
        found = index.search([s.question for s in samples], settings.top_k, settings.retriever)
        return [_prompt(s, passages, settings.system) for s, passages in zip(samples, found, strict=True)]

    return Fitted(
        prompts, needed_backend(setting), notes={"documents": len(documents), "chunks": len(chunks)}
    )


def _prompt(sample: Sample, passages: list[Passage], system: str | None) -> Prompt:
    """Put the passages, the best first, before the last user message."""
    messages = list(with_system(sample.messages, system))
    place = max((i for i, m in enumerate(messages) if m.role == "user"), default=None)
    if place is None:
        # Nobody asked anything, so nothing was looked up.
        return Prompt(id=sample.id, messages=tuple(messages), tools=sample.tools)
    context = "\n\n".join(p.text for p in passages)
    text = f"{context}\n\n---\n\n{messages[place].text}" if passages else messages[place].text
    messages[place] = msgspec.structs.replace(messages[place], content=text)
    return Prompt(
        id=sample.id,
        messages=tuple(messages),
        tools=sample.tools,
        passages=tuple(msgspec.structs.replace(p) for p in passages),
    )
