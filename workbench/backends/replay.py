"""A backend that answers from a file: recorded answers, put through the whole pipeline again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from validators.reading import DataError, read_rows

from ..records import Prediction
from . import Backend, BackendError, Identity, Request


class ReplayBackend(Backend):
    """Answers prompts whose last user message is in a JSONL file of {"input", "answer"} rows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            rows = [(row.line, row.value["input"], row.value["answer"]) for row in read_rows(path)]
        except DataError as error:
            raise BackendError(f"replay backend: {error}") from None
        except KeyError as error:
            raise BackendError(
                f"replay backend: {path}: every row needs the keys input and answer ({error} is missing)"
            ) from None
        for line, *pair in rows:
            if not all(isinstance(text, str) for text in pair):
                raise BackendError(f"replay backend: {path}:{line}: input and answer must be texts")
        self._answers = {question: answer for _, question, answer in rows}

    def identity(self) -> Identity:
        """The file's content is the model."""
        return Identity(model="replay", sha256=hashlib.sha256(self._path.read_bytes()).hexdigest())

    def answer(
        self, requests: Sequence[Request], *, done: frozenset[str] = frozenset(), adapter: Path | None = None
    ) -> Iterator[Prediction]:
        """Yield the recorded answer of each request; a question that was not recorded is an error row."""
        for request in requests:
            prompt = request.prompt
            if prompt.id in done:
                continue
            question = next((m.text for m in reversed(prompt.messages) if m.role == "user"), "")
            known: dict[str, Any] = {
                "id": prompt.id,
                "references": request.references,
                "group": request.group,
            }
            if question in self._answers:
                text = self._answers[question]
                yield Prediction(**known, prediction=text, seconds=0.0, finish_reason="stop")
            else:
                yield Prediction(**known, error=f"{self._path.name} holds no answer to this question")
