"""A backend that answers with the last user message: a pipeline's test without a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ..records import Prediction
from . import Backend, Identity, Request


class EchoBackend(Backend):
    """Answers every prompt with its own last user message."""

    def identity(self) -> Identity:
        """A fixed name: there is no model."""
        return Identity(model="echo")

    def answer(
        self, requests: Sequence[Request], *, done: frozenset[str] = frozenset(), adapter: Path | None = None
    ) -> Iterator[Prediction]:
        """Yield one answer a request; words stand for tokens."""
        for request in requests:
            prompt = request.prompt
            if prompt.id in done:
                continue
            text = next((m.text for m in reversed(prompt.messages) if m.role == "user"), "")
            yield Prediction(
                id=prompt.id,
                prediction=text,
                references=request.references,
                group=request.group,
                prompt_tokens=sum(len(m.text.split()) for m in prompt.messages),
                completion_tokens=len(text.split()),
                seconds=0.0,
                finish_reason="stop",
            )
