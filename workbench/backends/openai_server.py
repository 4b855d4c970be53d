"""Any server that speaks the OpenAI chat protocol, through the openai client.

The client retries 408, 409, 429 and 5xx with backoff and honours Retry-After; what still fails becomes
an error row, which the next run asks again.
"""

from __future__ import annotations

import os
import socket
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from validators.tokens import template_message

from ..records import Prediction
from ..settings import OpenAIBackend as Settings
from . import BackendError, Identity, Request, cost_usd

TIMEOUT_SECONDS = 120.0
ATTEMPTS = 10
REACH_SECONDS = 10.0


class OpenAIBackend:
    """Asks a chat-completions endpoint, several requests at a time."""

    def __init__(self, settings: Settings, *, offline: bool = False) -> None:
        import openai

        if offline:
            raise BackendError(
                f"backend of model {settings.model!r} is a server, and --offline opens no connection"
            )
        key = os.environ.get(settings.api_key_env)
        if key is None and settings.base_url is None:
            raise BackendError(
                f"model {settings.model!r} needs an API key: set the variable {settings.api_key_env}"
            )
        _reach(settings)
        self._settings = settings
        self._client = openai.OpenAI(
            api_key=key or "none",
            base_url=settings.base_url,
            timeout=TIMEOUT_SECONDS,
            max_retries=ATTEMPTS - 1,
        )

    def identity(self) -> Identity:
        """The server's model name: a server does not tell its weights."""
        return Identity(model=self._settings.model, revision=self._settings.base_url)

    def answer(
        self, requests: Sequence[Request], *, done: frozenset[str] = frozenset(), adapter: Path | None = None
    ) -> Iterator[Prediction]:
        """Yield answers as they arrive."""
        if adapter is not None:
            raise BackendError(
                "a server cannot load a local adapter; name the tuned model as `model:` of a backend"
            )
        waiting = [r for r in requests if r.prompt.id not in done]
        pool = ThreadPoolExecutor(self._settings.concurrency)
        failure: BackendError | None = None
        try:
            futures = [pool.submit(self._ask, r) for r in waiting]
            for future in as_completed(futures):
                if future.cancelled():
                    continue
                try:
                    yield future.result()
                except BackendError as error:
                    # What is under way is paid for, so it is still taken; nothing more is sent.
                    failure = failure or error
                    for unsent in futures:
                        unsent.cancel()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        if failure is not None:
            raise failure

    def _ask(self, request: Request) -> Prediction:
        import openai

        prompt = request.prompt
        known: dict[str, Any] = {"references": request.references, "group": request.group}
        asked: dict[str, Any] = {
            "model": self._settings.model,
            "messages": [template_message(m) for m in prompt.messages],
            "max_completion_tokens": self._settings.max_new_tokens,
            "temperature": 0 if request.seed is None else 1,
            "seed": request.seed or 0,
        }
        if prompt.tools:
            asked["tools"] = list(prompt.tools)
        begun = time.monotonic()
        try:
            answer = self._client.chat.completions.create(**asked)
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            # The same for every sample: stop instead of writing the same error a thousand times.
            raise BackendError(
                f"the server refused model {self._settings.model!r}: {self._plain(error)}. Check `model`, `base_url` "
                f"and the key in {self._settings.api_key_env}."
            ) from None
        except openai.APITimeoutError as error:
            # The server is there; this one request may be too long for it.
            return Prediction(id=prompt.id, **known, error=self._plain(error))
        except openai.APIConnectionError as error:
            where = self._settings.base_url or "the OpenAI API"
            raise BackendError(
                f"{where} cannot be reached ({self._plain(error.__cause__ or error)}). Finished answers are kept: run again."
            ) from None
        except openai.OpenAIError as error:
            return Prediction(id=prompt.id, **known, error=self._plain(error))
        except ValueError as error:
            return Prediction(
                id=prompt.id, **known, error=f"the server's answer is no JSON: {self._plain(error)}"
            )
        # The client checks nothing: a proxy's web page or half an answer arrives here as it is.
        if not getattr(answer, "choices", None) or answer.choices[0].message is None:
            return Prediction(id=prompt.id, **known, error="the server's answer holds no message")
        choice, usage = answer.choices[0], answer.usage
        used = (usage.prompt_tokens, usage.completion_tokens) if usage else (None, None)
        cached = getattr(getattr(usage, "prompt_tokens_details", None), "cached_tokens", None)
        cached = cached if isinstance(cached, int) else None  # some servers send other things here
        return Prediction(
            id=prompt.id,
            **known,
            prediction=choice.message.content or "",
            tool_calls=tuple(c.model_dump() for c in choice.message.tool_calls or ()),
            prompt_tokens=used[0],
            completion_tokens=used[1],
            cached_tokens=cached,
            seconds=time.monotonic() - begun,
            usd=cost_usd(self._settings, used[0], used[1], cached),
            finish_reason=choice.finish_reason,
        )

    def release(self) -> None:
        """Keep the connections: they take no room."""

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _plain(self, error: BaseException) -> str:
        """The error in one line, without the key, which some servers repeat."""
        text = " ".join(str(getattr(error, "message", error)).split())
        if key := os.environ.get(self._settings.api_key_env):
            text = text.replace(key, "[key]")
        return f"{type(error).__name__}: {text[:300]}"


def _reach(settings: Settings) -> None:
    """Raise BackendError within seconds where no server listens: the client would retry for minutes.

    Behind a proxy only the client knows the way, so nothing is tried.
    """
    url = urllib.parse.urlsplit(settings.base_url or "")
    if not url.hostname or urllib.request.getproxies():
        return
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        socket.create_connection((url.hostname, port), timeout=REACH_SECONDS).close()
    except OSError as error:
        raise BackendError(
            f"{settings.base_url} cannot be reached ({error.strerror or error}). Is the server running? Check base_url."
        ) from None
