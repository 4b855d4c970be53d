"""Any server that speaks the OpenAI chat protocol, through the openai client.

The client sends and reads; when to send, what a failure means and what may still be spent is decided here:
`asking` takes one sample to its answer, `pacing` says how many at once, `budget` what there is money for.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..experiment import read_schema, settings_hash
from ..records import Prediction
from ..settings import OpenAIBackend as Settings
from . import Backend, BackendError, Identity, Request
from .api_key import ApiKey
from .asking import Asker, Learned
from .budget import Budget
from .feeding import as_finished
from .pacing import Patience
from .troubles import Trouble, trouble_of

# For the first look at a server: whether it is there, takes the key and knows the model.
LOOK_SECONDS = 10.0


class OpenAIBackend(Backend):
    """Asks a chat-completions endpoint, several requests at a time; connections live for one call of `answer`."""

    def __init__(
        self,
        settings: Settings,
        base: Path = Path(),
        *,
        offline: bool = False,
        ledger: Path | None = None,
        patience: Patience | None = None,
    ) -> None:
        """Raises BackendError within seconds where the server, the key or the model is wrong."""
        if offline:
            raise BackendError(
                f"backend of model {settings.model!r} is a server, and --offline opens no connection"
            )
        self._settings, self._patience = settings, patience or Patience()
        self._schema = read_schema(base / settings.response_schema) if settings.response_schema else None
        self._schema_hash = settings_hash(self._schema) if self._schema else None
        self._key = ApiKey(settings, base)
        self._budget = Budget(settings, ledger)
        self._learned = Learned(settings.concurrency)
        self._look()

    def identity(self) -> Identity:
        """The server's model name: a server does not tell its weights."""
        return Identity(
            model=self._settings.model,
            revision=self._settings.base_url,
            template=self._schema_hash,
        )

    def answer(
        self, requests: Sequence[Request], *, done: frozenset[str] = frozenset(), adapter: Path | None = None
    ) -> Iterator[Prediction]:
        """Yield answers as they arrive. Raises BackendError where the run has to stop; it can be run again."""
        if adapter is not None:
            raise BackendError(
                "a server cannot load a local adapter; name the tuned model as `model:` of a backend"
            )
        waiting = (request for request in requests if request.prompt.id not in done)
        with self._budget.open():
            # Twice as many as may ask at once: some always wait to be asked again.
            yield from as_finished(self._session, waiting, 2 * self._settings.concurrency)

    def notes(self) -> dict[str, Any]:
        """Parameters that the server refused, each with what was sent instead."""
        adapted = {name: instead or "left out" for name, instead in self._learned.adapted.items()}
        return {"refused by the server": adapted} if adapted else {}

    @contextlib.asynccontextmanager
    async def _session(self) -> AsyncIterator[Callable[[Request], Awaitable[Prediction]]]:
        import openai

        http = _fast_http()
        client = _client(
            openai.AsyncOpenAI, openai.AsyncAzureOpenAI, self._settings, self._key, http_client=http
        )
        asker = Asker(
            client,
            self._settings,
            key=self._key,
            budget=self._budget,
            learned=self._learned,
            patience=self._patience,
            schema=self._schema,
        )
        try:
            yield asker.ask
        finally:
            await client.close()

    def _look(self) -> None:
        """Ask the server for the model. Many know no such question: only what is surely wrong counts."""
        import openai

        settings = self._settings
        client = _client(openai.OpenAI, openai.AzureOpenAI, settings, self._key)
        client = client.with_options(timeout=LOOK_SECONDS)
        try:
            client.models.retrieve(settings.model)
        except Exception as error:
            wrong = self._wrong(trouble_of(error, frozenset()))
            if wrong:
                raise BackendError(self._key.hide(wrong)) from None
        finally:
            client.close()

    def _wrong(self, trouble: Trouble) -> str | None:
        settings = self._settings
        where = settings.base_url or "the OpenAI API"
        if trouble.key and "scope" not in trouble.text and trouble.surely_away:
            return f"{where} refuses the key ({trouble.text}): {self._key.cure}."
        if trouble.surely_away and not trouble.key:
            return f"{where} cannot be reached: {trouble.text}. Is the server running? Check base_url."
        # A server that does not know this question says 404 as well, of the path and not of the model.
        about_model = settings.model in trouble.text and "/models" not in trouble.text
        if trouble.text.startswith("HTTP 404") and about_model and settings.api_version is None:
            return f"{where} has no model {settings.model!r} ({trouble.text}). Check `model` of the backend."
        return None


def _client(plain: Any, azure: Any, settings: Settings, key: ApiKey, **options: Any) -> Any:
    """The client of OpenAI's protocol or of Azure's; it neither repeats nor waits by itself."""
    options |= {"api_key": key.read(), "timeout": settings.timeout_seconds, "max_retries": 0}
    if settings.api_version is None:
        return plain(base_url=settings.base_url, **options)
    return azure(azure_endpoint=settings.base_url or "", api_version=settings.api_version, **options)


def _fast_http() -> Any:
    """The client's transport over aiohttp, a third less CPU time a request; None (its own) without that package."""
    import openai

    try:
        return openai.DefaultAioHttpClient()
    except (AttributeError, RuntimeError, ImportError):
        return None
