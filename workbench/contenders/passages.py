"""Passages before a question: what RAG, and a model tuned for it, are shown, and how their answers are read."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from validators.examples import Message

from ..records import Passage, Prediction, Prompt, Sample
from ..retrieval import Chunk, Embedder, chunk, corpus_of, open_index
from ..settings import FineTuned, Rag, one
from . import ContenderError, Setting, plain_prompt, reply_of

# The oracle shows whole documents; of longer ones than this many passages, those nearest the question.
MOST_ORACLE = 8
_CITED = re.compile(r"\s*\[(\d+(?:\s*[,;]\s*\d+)*)\]")


@dataclass(frozen=True, slots=True)
class Library:
    """An experiment's corpus: `find(samples, count)` retrieves the best passages of each, the best first."""

    chunks: Sequence[Chunk]
    find: Callable[[Sequence[Sample], int], list[list[Passage]]]
    notes: dict[str, Any] = field(default_factory=dict)


def open_library(settings: Rag | FineTuned, setting: Setting) -> Library:
    """Read the corpus and index it, or open its index. Raises CorpusError."""
    chunks, notes = _read(setting)
    index = open_index(
        chunks,
        # Words need no vectors, which take time or money.
        None if one(settings.retriever) == "bm25" else setting.embedder(),
        setting.run.index_folder(),
        settings=setting.experiment.retrieval,
        progress=setting.progress,
    )

    def find(samples: Sequence[Sample], count: int) -> list[list[Passage]]:
        return index.search([s.question for s in samples], count, one(settings.retriever)) if samples else []

    return Library(chunks, find, notes)


def open_oracle(settings: Rag, setting: Setting) -> Library:
    """The corpus as one would see it who knows which documents answer: found are theirs, and nothing else.

    Raises ContenderError for samples that name documents which are not there.
    """
    chunks, notes = _read(setting)
    by_document: dict[str, list[Chunk]] = {}
    for piece in chunks:
        by_document.setdefault(piece.document, []).append(piece)

    def find(samples: Sequence[Sample], count: int) -> list[list[Passage]]:
        unknown = {name for s in samples for name in s.sources if name not in by_document}
        if unknown:
            raise ContenderError(
                f"contender {settings.name!r}: data.sources names documents that the corpus does not hold: "
                f"{', '.join(sorted(unknown)[:10])}. It holds, for example: {', '.join(list(by_document)[:3])}."
            )
        most = max(count, MOST_ORACLE)
        held = [[piece for name in s.sources for piece in by_document[name]] for s in samples]
        return [
            [
                Passage(piece.document, piece.text, 1.0)
                for piece in (known if len(known) <= most else _nearest(known, s, most, setting.embedder()))
            ]
            for s, known in zip(samples, held, strict=True)
        ]

    return Library(chunks, find, notes)


def with_passages(sample: Sample, found: Sequence[Passage], settings: Rag | FineTuned) -> Sample:
    """The sample with passages, the best first, put before its last user message.

    Where nothing was found the question stands alone, unless the contender was told what to say then.
    """
    place = max((i for i, m in enumerate(sample.messages) if m.role == "user"), default=None)
    if place is None or not (found or settings.no_answer):
        return sample
    told = ["Use these passages to answer."]
    if settings.no_answer:
        told.append(f"If they do not hold the answer, say exactly: {settings.no_answer}")
    if settings.citations:
        told.append("After the answer, name the passages you used by their numbers, like [1].")
    shown = [f"[{n}] {p.text}" if settings.citations else p.text for n, p in enumerate(found, 1)]
    parts = ["\n".join(told), *(shown or ["(no passage was found)"])]
    text = "\n\n".join([*parts, f"Question: {sample.messages[place].text}", "Answer:"])
    messages = list(sample.messages)
    messages[place] = msgspec.structs.replace(messages[place], content=text)
    return msgspec.structs.replace(sample, messages=tuple(messages))


def asked_with(sample: Sample, found: Sequence[Passage], settings: Rag | FineTuned) -> Prompt:
    """The prompt of a sample with its passages; they are on record where they were shown."""
    prompt = plain_prompt(with_passages(sample, found, settings))
    shown = found if any(m.role == "user" for m in sample.messages) else ()
    return msgspec.structs.replace(prompt, passages=tuple(shown))


def taught(sample: Sample, found: Sequence[Passage], settings: Rag | FineTuned, reply: Message) -> Message:
    """A training sample's reply beside these passages: cites the right ones, says so where none is among them.

    Without data.sources nobody knows which passages are right, and the reply stays as it is.
    """
    right = [n for n, p in enumerate(found, 1) if p.document in sample.sources]
    if settings.no_answer and sample.sources and not right:
        return Message("assistant", settings.no_answer, weight=reply.weight)
    if settings.citations and right and not reply.tool_calls:
        cited = f"{reply.text} [{', '.join(map(str, right))}]"
        return msgspec.structs.replace(reply, content=cited)
    return reply


def answered_with(
    sample: Sample, found: Sequence[Passage], settings: Rag | FineTuned, setting: Setting
) -> tuple[Message, ...]:
    """A training sample as turns, its passages and its answer included."""
    turns = tuple(m for m in with_passages(sample, found, settings).messages if m.role != "system")
    return (*turns, taught(sample, found, settings, reply_of(sample, setting)))


def read_citations(prompt: Prompt, prediction: Prediction) -> Prediction:
    """Take the numbers of passages, like [1], out of an answer; the row keeps the documents they stand for."""
    if prediction.prediction is None:
        return prediction
    cited: dict[str, None] = {}

    def strip(mark: re.Match[str]) -> str:
        numbers = [int(n) for n in re.findall(r"\d+", mark[1])]
        if not all(1 <= n <= len(prompt.passages) for n in numbers):
            return mark[0]
        cited.update((prompt.passages[n - 1].document, None) for n in numbers)
        return ""

    text = _CITED.sub(strip, prediction.prediction)
    return msgspec.structs.replace(prediction, prediction=text, citations=tuple(cited))


def _read(setting: Setting) -> tuple[list[Chunk], dict[str, Any]]:
    """The corpus in passages; how much there is, and which files were left out and why."""
    experiment = setting.experiment
    corpus, how = corpus_of(experiment), experiment.retrieval
    chunks = [c for d in corpus.documents for c in chunk(d, how.chunk_words, how.chunk_overlap)]
    notes: dict[str, Any] = {"documents": len(corpus.documents), "chunks": len(chunks)}
    return chunks, notes | ({"left_out": corpus.skipped} if corpus.skipped else {})


def _nearest(chunks: Sequence[Chunk], sample: Sample, count: int, embedder: Embedder) -> list[Chunk]:
    """The chunks nearest the question, in the order of the documents."""
    nearness = (
        embedder.embed([c.text for c in chunks], "document") @ embedder.embed([sample.question])[0]
    ).round(5)
    best = sorted((-nearness).argsort(kind="stable")[:count])
    return [chunks[i] for i in best]
