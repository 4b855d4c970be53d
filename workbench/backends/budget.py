"""What a server has been paid and may still be paid: a request is sent only where its worst case fits."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from validators.assets import AssetError
from validators.examples import Example
from validators.tokens import Tokenizer, load_tokenizer

from ..files import Appender, open_appender, read_rows
from ..records import Payment
from ..settings import OpenAIBackend as Settings
from . import BackendError, Request, cost_usd, server_of

# An upper bound of what pictures and sounds cost that are named by an address, in tokens each.
PART_TOKENS = 50_000
# Over the count of a known tokenizer: tools and templates are counted by a rule of thumb.
SLACK = 1.1


class Amount(msgspec.Struct, frozen=True):
    """Tokens, and USD at the settings' prices (0 where they state none)."""

    tokens: int = 0
    usd: float = 0.0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.tokens + other.tokens, self.usd + other.usd)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.tokens - other.tokens, self.usd - other.usd)


class Budget:
    """The limits of one backend, what is spent, and what requests under way may come to.

    `ledger` is a JSON-lines file of all that was paid for: it holds across starts, whatever becomes of the
    answers. Without one only this process counts.
    """

    def __init__(self, settings: Settings, ledger: Path | None) -> None:
        self._settings, self._path = settings, ledger
        self._server = str(server_of(settings))
        self._limited = settings.budget_usd is not None or settings.budget_tokens is not None
        self._spent = self._reserved = Amount()
        self._file: Appender | None = None
        self._waiting: list[asyncio.Future[None]] = []
        self._tokenizer = _tokenizer_of(settings.model) if self._limited else None
        for name in ("budget_usd", "budget_tokens"):
            if getattr(settings, name) == 0:
                raise BackendError(
                    f"backend of model {settings.model!r}: {name} is 0, so nothing may be asked. Raise {name} or "
                    "give these contenders another backend."
                )

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Read what was spent before, and keep the ledger open for what is spent now."""
        self._reserved = Amount()
        if self._path is None:
            yield
            return
        rows = read_rows(self._path, Payment) if self._limited else iter(())
        mine = (r for r in rows if (r.server, r.model) == (self._server, self._settings.model))
        self._spent = sum((self._amount(r) for r in mine), Amount())
        with open_appender(self._path) as self._file:
            yield

    async def reserve(self, request: Request, body: dict[str, Any]) -> Amount:
        """Set a request's worst case aside, when there is room. Raises BackendError where there never will be."""
        if not self._limited:
            return Amount()
        worst = self._worst(request, body)
        while (over := self._over(self._spent + self._reserved + worst)) is not None:
            if self._reserved.tokens == 0:
                raise BackendError(self._told(over, worst))
            settled = asyncio.get_running_loop().create_future()
            self._waiting.append(settled)
            await settled
        self._reserved += worst
        return worst

    def settle(self, worst: Amount, request: Request, body: dict[str, Any], usage: tuple[int, int, int | None] | None,
               *, lost: bool = False) -> None:  # fmt: skip
        """Put what a request cost in the place of its worst case. Neither usage nor `lost`: it cost nothing."""
        self._reserved -= worst
        if usage is None and lost:
            usage = (self._prompt(request, body), self._settings.max_new_tokens, None)
        if usage is not None:
            paid = Payment(
                server=self._server,
                model=self._settings.model,
                prompt_tokens=usage[0],
                completion_tokens=usage[1],
                cached_tokens=usage[2],
                usd=cost_usd(self._settings, *usage),
                lost=lost or None,
            )
            self._spent += self._amount(paid)
            if self._file is not None:
                self._file.append(paid)
        waiting, self._waiting = self._waiting, []
        for settled in waiting:
            if not settled.done():
                settled.set_result(None)

    def _amount(self, paid: Payment) -> Amount:
        """At today's price, whatever it was when it was paid: a price that was stated wrong guards nothing."""
        usd = cost_usd(self._settings, paid.prompt_tokens, paid.completion_tokens, paid.cached_tokens)
        return Amount(paid.prompt_tokens + paid.completion_tokens, usd or 0.0)

    def _over(self, total: Amount) -> str | None:
        """The name of the limit that would be crossed."""
        settings = self._settings
        if settings.budget_usd is not None and total.usd > settings.budget_usd + 1e-12:
            return "budget_usd"
        if settings.budget_tokens is not None and total.tokens > settings.budget_tokens:
            return "budget_tokens"
        return None

    def _worst(self, request: Request, body: dict[str, Any]) -> Amount:
        prompt = self._prompt(request, body)
        # A price for cached tokens may be the higher one: some providers charge for filling the cache.
        usd = max(
            cost_usd(self._settings, prompt, self._settings.max_new_tokens, cached) or 0.0
            for cached in (0, prompt)
        )
        return Amount(prompt + self._settings.max_new_tokens, usd)

    def _prompt(self, request: Request, body: dict[str, Any]) -> int:
        """Tokens of a prompt, rather too many: by the model's own tokenizer, or a token a byte."""
        parts = [p for m in request.prompt.messages if isinstance(m.content, tuple) for p in m.content]
        pictures: int = PART_TOKENS * sum(part.get("type") != "text" for part in parts)
        if self._tokenizer is None:
            plain = {k: v for k, v in body.items() if k in ("messages", "tools", "response_format")}
            return pictures + len(json.dumps(plain, ensure_ascii=False).encode("utf-8", "replace"))
        counted = self._tokenizer.count_example(Example(request.prompt.messages, request.prompt.tools))
        schema = body.get("response_format")
        return pictures + int(counted * SLACK) + (len(json.dumps(schema)) if schema else 0) + 1

    def _told(self, over: str, worst: Amount) -> str:
        limit = getattr(self._settings, over)
        if over == "budget_usd":
            sums = f"{self._spent.usd:.6g} of {limit:.6g} USD are spent, the next request may cost {worst.usd:.3g}"
        else:
            sums = (
                f"{self._spent.tokens} of {limit} tokens are spent, the next request may take {worst.tokens}"
            )
        return (
            f"{over} of the backend of model {self._settings.model!r} would be crossed: {sums}. Finished answers "
            f"are kept: raise {over} and run again."
        )


def _tokenizer_of(model: str) -> Tokenizer | None:
    """The model's own tokenizer where it is on this machine: nothing is fetched for a count."""
    try:
        return load_tokenizer(model, offline=True)
    except AssetError:
        return None
