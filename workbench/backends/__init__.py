"""Backends: what answers a prompt. One table, one module a kind, each imported when it is needed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from ..records import Prediction, Prompt
from ..settings import Backend as BackendSettings

# Kinds of backends that can draw an answer by a seed; the others answer the same question the same way.
DRAWING = ("openai",)
# Where the openai client goes without an address.
OPENAI = "https://api.openai.com/v1"


class BackendError(RuntimeError):
    """A backend cannot be started or used at all; the message says what to do."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt, and the references its answer is compared with.

    The references never reach the model's input: they are carried along to the prediction row, and the
    first one's likelihood is measured after the prompt where the backend can. With a `seed` the answer is
    drawn at temperature 1; without one it is the likeliest. Kinds that are not in DRAWING always give that.
    With `choices` the answer is one of them and nothing else, where the backend can hold a model to that.
    """

    prompt: Prompt
    references: tuple[str, ...]
    group: str | None = None
    seed: int | None = None
    choices: tuple[str, ...] = ()


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What exactly answered: enough to tell whether an old answer is still good."""

    model: str
    revision: str | None = None
    sha256: str | None = None
    template: str | None = None
    licence: str | None = None
    hardware: dict[str, str] = {}


class Backend(Protocol):
    """Something that answers prompts. One that holds nothing and has nothing to tell needs the first two alone."""

    def identity(self) -> Identity:
        """Model, template and hardware, without loading the weights."""
        ...

    def answer(
        self, requests: Sequence[Request], *, done: frozenset[str] = frozenset(), adapter: Path | None = None
    ) -> Iterator[Prediction]:
        """Yield predictions as they finish, without those in `done`.

        The whole list is always given, so that a backend which batches forms the same batches after a
        resume as before. A request that fails yields a row with `error`.
        """
        ...

    def notes(self) -> dict[str, Any]:
        """What a reader of the answers should know of how they came about, as contender.json stores it."""
        return {}

    def release(self) -> None:
        """Free the memory of a model; it loads again when it is next asked."""
        return

    def close(self) -> None:
        """Free everything, for good."""
        return


def _hf(settings: Any, base: Path, offline: bool, ledger: Path | None) -> Backend:
    from .hf import HfBackend

    return HfBackend(settings, base, offline=offline)


def _openai(settings: Any, base: Path, offline: bool, ledger: Path | None) -> Backend:
    from .openai_server import OpenAIBackend

    return OpenAIBackend(settings, base, offline=offline, ledger=ledger)


def _echo(settings: Any, base: Path, offline: bool, ledger: Path | None) -> Backend:
    from .echo import EchoBackend

    return EchoBackend()


def _replay(settings: Any, base: Path, offline: bool, ledger: Path | None) -> Backend:
    from .replay import ReplayBackend

    return ReplayBackend(base / settings.path)


BACKENDS: dict[str, Callable[[Any, Path, bool, Path | None], Backend]] = {
    "hf": _hf,
    "openai": _openai,
    "echo": _echo,
    "replay": _replay,
}


def open_backend(
    settings: BackendSettings, *, base: Path, offline: bool = False, ledger: Path | None = None
) -> Backend:
    """Make a backend from its settings; models load on first use. Raises BackendError, AssetError.

    `ledger` is where a server's backend writes what it spends, and reads what was spent before.
    """
    return BACKENDS[settings.kind](settings, base, offline, ledger)


def server_of(settings: BackendSettings) -> str | None:
    """The address that a backend's requests go to; None where nothing leaves this process."""
    if settings.kind != "openai":
        return None
    # As the client itself finds it.
    return settings.base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI


def cost_usd(
    settings: BackendSettings,
    prompt_tokens: int | None,
    completion_tokens: int | None,
    cached_tokens: int | None = None,
) -> float | None:
    """USD of one request by the settings' price a million tokens; None where price or usage is unknown.

    `cached_tokens` are those of the prompt that the server had in its cache; without a price of their own
    they cost what the others do.
    """
    if settings.price is None or prompt_tokens is None or completion_tokens is None:
        return None
    fresh, answered = settings.price
    cached = min(cached_tokens or 0, prompt_tokens)
    reused = fresh if settings.cached_price is None else settings.cached_price
    return (fresh * (prompt_tokens - cached) + reused * cached + answered * completion_tokens) / 1e6
