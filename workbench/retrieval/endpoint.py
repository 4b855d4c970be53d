"""Vectors from a server that speaks the OpenAI embeddings protocol."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..files import append_shared
from ..records import Payment
from ..sections import EmbeddingEndpoint
from .embedder import Progress, RetrievalError, Role, Vectors, unit

BATCH = 32
ATTEMPTS = 10
TIMEOUT_SECONDS = 120.0


class EndpointEmbedder:
    """Asks an embeddings endpoint, 32 texts a request. Its weights cannot be seen: the name stands for them.

    What each answer cost is written to `ledger`.
    """

    def __init__(
        self, settings: EmbeddingEndpoint, *, offline: bool = False, ledger: Path | None = None
    ) -> None:
        import openai

        if offline:
            raise RetrievalError(
                f"the embedder {settings.model!r} is a server, and --offline opens no connection. "
                "Use `embedder: minilm-l6-v2`, or run without --offline."
            )
        key = os.environ.get(settings.api_key_env)
        if key is None and settings.base_url is None:
            raise RetrievalError(
                f"the embedder {settings.model!r} needs an API key: set the variable {settings.api_key_env}"
            )
        self._settings, self._ledger = settings, ledger
        self._secret = key
        self._size: int | None = None
        self._client = openai.OpenAI(
            api_key=key or "none",
            base_url=settings.base_url,
            timeout=TIMEOUT_SECONDS,
            max_retries=ATTEMPTS - 1,
        )

    @property
    def key(self) -> str:
        """A hash of the address and the model's name."""
        named = json.dumps([self._settings.base_url, self._settings.model])
        return hashlib.sha256(named.encode()).hexdigest()[:16]

    def check(self) -> None:
        """Embed one sign, so that a wrong key or model is told before anything is spent. Raises RetrievalError."""
        self._ask(["."])

    def embed(self, texts: Sequence[str], role: Role = "query", progress: Progress | None = None) -> Vectors:
        """Embed texts: float32 [len(texts), size], rows of length 1, in the order given. Raises RetrievalError."""
        parts: list[Vectors] = []
        for begin in range(0, len(texts), BATCH):
            parts.append(self._ask([text if text.strip() else "." for text in texts[begin : begin + BATCH]]))
            if progress:
                progress(min(begin + BATCH, len(texts)), len(texts), "embedding")
        return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)

    def _ask(self, texts: list[str]) -> Vectors:
        """One request; the client retries what a server may get over, and answers that are no answers come again."""
        import openai

        fault = ""
        for _ in range(3):
            try:
                answer = self._client.embeddings.create(
                    model=self._settings.model, input=texts, encoding_format="float"
                )
            except openai.OpenAIError as error:
                raise self._error(self._plain(error)) from None
            except ValueError as error:  # no JSON, or half of it
                fault = f"its answer is no JSON ({self._plain(error)})"
                continue
            self._pay(answer)
            vectors, fault = _read(answer, len(texts))
            if vectors is not None:
                return self._same_size(unit(vectors))
        raise self._error(fault)

    def _pay(self, answer: object) -> None:
        """On record even where the answer turns out to be of no use; without a usage the price is unknown."""
        if self._ledger is None:
            return
        tokens = getattr(getattr(answer, "usage", None), "prompt_tokens", None)
        price = self._settings.price
        paid = Payment(
            server=self._settings.base_url or str(self._client.base_url),
            model=self._settings.model,
            prompt_tokens=tokens if isinstance(tokens, int) else 0,
            completion_tokens=0,
            usd=price * tokens / 1e6 if price is not None and isinstance(tokens, int) else None,
        )
        append_shared(self._ledger, [paid])

    def _same_size(self, vectors: Vectors) -> Vectors:
        self._size = self._size or vectors.shape[1]
        if vectors.shape[1] != self._size:
            raise self._error(f"it gave vectors of {self._size} numbers before and now of {vectors.shape[1]}")
        return vectors

    def _error(self, told: str) -> RetrievalError:
        told = told.rstrip(".")
        where = self._settings.base_url or "the OpenAI API"
        return RetrievalError(
            f"embedder {self._settings.model!r} at {where}: {told.rstrip('.')}. Check `retrieval.embedder` and the key in "
            f"{self._settings.api_key_env}; texts too long for it: lower `retrieval.chunk_words`. "
            "Vectors that came are kept: run again."
        )

    def _plain(self, error: object) -> str:
        cause = getattr(error, "__cause__", None)
        text = " ".join(f"{error} {cause or ''}".split())[:300] or type(error).__name__
        return text.replace(self._secret, "***") if self._secret else text


def _read(answer: object, wanted: int) -> tuple[Vectors | None, str]:
    """(vectors, "") of a whole answer, (None, what is wrong with it) of any other; servers may mix the order."""
    rows = getattr(answer, "data", None)
    if not isinstance(rows, list) or len(rows) != wanted:
        came = len(rows) if isinstance(rows, list) else "no"
        return None, f"it was asked for {wanted} vectors and gave {came}"
    by_place = {getattr(row, "index", None): getattr(row, "embedding", None) for row in rows}
    try:
        vectors = np.array([by_place[i] for i in range(wanted)], np.float32)
    except (KeyError, ValueError, TypeError):
        return None, "its vectors are not one for each text, all of one size"
    if vectors.ndim != 2 or not vectors.shape[1] or not np.isfinite(vectors).all():
        return None, "its vectors are not of finite numbers"
    return vectors, ""
