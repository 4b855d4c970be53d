"""One sample to its answer: every attempt, whatever the server does meanwhile."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ..records import Prediction
from ..settings import OpenAIBackend as Settings
from . import BackendError, Request, cost_usd
from .api_key import ApiKey
from .budget import Budget
from .chat import Answer, body_of, label_of, read_answer, tokens_of
from .pacing import Pace, Patience, backoff, retry_after
from .troubles import STRUCTURED, Trouble, trouble_of

log = logging.getLogger("workbench.server")

# Samples in a row that may be given up: on a server that never answered, and on one that did.
ROWS_IN_A_ROW = (4, 19)
# What takes the place of a refused parameter; the others are left out.
INSTEAD = {"max_completion_tokens": "max_tokens", "max_tokens": "max_completion_tokens"}


@dataclass
class Learned:
    """What a server has taught so far; it holds for all requests of a backend."""

    limit: float
    """How many at once."""
    adapted: dict[str, str | None] = field(default_factory=dict)
    """Parameters that the model refuses, each with what is sent instead."""
    answered: bool = False
    """Whether it ever gave a good answer."""


@dataclass
class _Tries:
    """How often one sample was asked, and how it went."""

    begun: float
    away_before: float
    attempts: int = 0
    failures: int = 0
    first_failure: float | None = None


class Asker:
    """Asks one server, within one event loop."""

    def __init__(
        self,
        client: Any,
        settings: Settings,
        *,
        key: ApiKey,
        budget: Budget,
        learned: Learned,
        patience: Patience,
        schema: dict[str, Any] | None,
    ) -> None:
        self._client, self._settings, self._key = client, settings, key
        self._budget, self._learned, self._patience, self._schema = budget, learned, patience, schema
        self._pace = Pace(settings.concurrency, patience, limit=learned.limit)
        self._rows_in_a_row = 0

    async def ask(self, request: Request) -> Prediction:
        """The answer, or a row with an error. Raises BackendError where no other request would fare better."""
        try:
            return await self._ask(request)
        except BackendError as error:
            self._pace.stop(error)
            raise
        finally:
            self._learned.limit = self._pace.limit

    async def _ask(self, request: Request) -> Prediction:
        pace = self._pace
        tries = _Tries(pace.now(), pace.away_in_all())
        while True:
            async with pace.turn() as sent:
                tries.attempts += 1
                found, wait = await self._send(request)
                seconds = pace.now() - sent
            if isinstance(found, Answer):
                self._rows_in_a_row, self._learned.answered = 0, True
                pace.good()
                return self._row(request, found, tries, seconds)
            if found.kind == "busy":
                self._check_patience(found)
                pace.busy(sent, wait)
                await pace.sleep(wait or backoff(min(tries.attempts, 6), self._patience))
            elif found.kind == "refused":
                self._adapt(found)
            elif found.kind in ("long", "bad"):
                pace.alive()
                return self._failed(request, tries, _policy(found))
            elif found.kind == "stop":
                raise BackendError(self._refusal(found))
            elif self._hopeless(request, found, tries):
                self._count_row(found)
                return self._failed(request, tries, f"{tries.attempts} attempts, the last: {found.text}")
            elif not pace.away_for():
                await pace.sleep(max(wait or 0.0, backoff(tries.failures, self._patience)))

    async def _send(self, request: Request) -> tuple[Answer | Trouble, float | None]:
        """One request: its answer or trouble, and the seconds that the server asks to wait."""
        self._client.api_key = self._key.read()
        body = body_of(request, self._settings, self._learned.adapted, self._schema)
        worst = await self._budget.reserve(request, body)
        usage, lost = None, True  # until it is known what was paid
        try:
            # In all, not a read: an answer that drips a byte a second must end as well.
            async with asyncio.timeout(self._settings.timeout_seconds):
                blob = await self._client.post("/chat/completions", cast_to=bytes, body=body)
            answer = read_answer(blob)
            usage = _whole(answer.prompt_tokens, answer.completion_tokens, answer.cached_tokens)
        except Exception as error:
            trouble = trouble_of(error, frozenset(body))
            usage, lost = _whole(*tokens_of(trouble.usage)), trouble.maybe_billed
            headers = getattr(getattr(error, "response", None), "headers", {})
            return trouble, retry_after(headers, self._patience)
        finally:
            self._budget.settle(worst, request, body, usage, lost=lost and usage is None)
        if request.choices:
            answer = msgspec.structs.replace(answer, text=label_of(answer, request.choices))
        return answer, None

    def _hopeless(self, request: Request, found: Trouble, tries: _Tries) -> bool:
        """Whether this sample is given up. Raises BackendError where the whole server is."""
        pace, patience, learned = self._pace, self._patience, self._learned
        was_away = pace.away_for() > 0
        if found.kind == "faulty":
            pace.alive()
        elif not learned.answered and (found.surely_away or found.key):
            raise BackendError(self._refusal(found))
        elif learned.answered:
            pace.lost(request.prompt.id, self._shown(found), surely=found.surely_away)
        if found.surely_away:
            self._check_patience(found)
        now = pace.now()
        tries.first_failure = tries.first_failure or now
        tries.failures += not was_away  # else it says nothing of the sample
        # While nobody is answered it is the server, not the sample.
        own = found.kind == "faulty" or not learned.answered or pace.last_good > tries.first_failure
        away = pace.away_in_all() - tries.away_before
        return (
            (tries.failures >= patience.attempts and own)
            or (not found.surely_away and now - tries.first_failure > patience.away)
            or now - tries.begun - away > patience.sample
        )

    def _check_patience(self, found: Trouble) -> None:
        """Raises BackendError where the server has answered nobody for too long."""
        if self._pace.now() - self._pace.last_good > self._patience.away:
            raise BackendError(
                f"{self._shown(found)}, for {self._patience.away / 60:.0f} minutes now. Finished answers are kept: "
                "run again."
            )

    def _count_row(self, found: Trouble) -> None:
        """Raises BackendError where too many samples in a row were given up."""
        self._rows_in_a_row += 1
        if self._rows_in_a_row > ROWS_IN_A_ROW[self._learned.answered]:
            raise BackendError(
                f"{self._rows_in_a_row} samples in a row failed, the last: {self._shown(found)}. Finished answers are "
                "kept: run again when the server is well."
            )

    def _adapt(self, found: Trouble) -> None:
        """Leave out a refused parameter or send its stand-in, from now on. Raises BackendError where that is no cure."""
        name, adapted = found.parameter or "", self._learned.adapted
        if name in STRUCTURED:
            raise BackendError(
                f"{self._shown(found)}. The server does not take {name}: try another `labels_by` of the backend "
                "(json_schema, structured_outputs, guided_choice), or leave out `constrain: labels` or response_schema."
            )
        instead = INSTEAD.get(name)
        if (
            adapted.get(instead or "") == name
        ):  # neither name of the limit is taken: without one nothing is bounded
            raise BackendError(self._refusal(found))
        if name not in adapted:  # else others that were under way say it again
            adapted[name] = instead
            told = f"{instead} is sent instead" if instead else "it is left out from now on"
            log.warning("%s: %s.", self._shown(found), told)

    def _refusal(self, found: Trouble) -> str:
        settings = self._settings
        where = settings.base_url or "the OpenAI API"
        if found.key:
            return self._key.hide(f"{where} refuses the key ({found.text}): {self._key.cure}.")
        if found.surely_away:
            told = f"{where} cannot be reached: {found.text}. Is the server running? Check base_url. Finished answers are kept."
            return self._key.hide(told)
        return self._key.hide(
            f"the server refused model {settings.model!r}: {found.text}. Check `model`, `base_url` and the key in "
            f"{self._key.place}. Finished answers are kept: run again."
        )

    def _shown(self, found: Trouble) -> str:
        return self._key.hide(f"{self._settings.base_url or 'OpenAI'}: {found.text}")

    def _row(self, request: Request, answer: Answer, tries: _Tries, seconds: float) -> Prediction:
        return Prediction(
            id=request.prompt.id,
            references=request.references,
            group=request.group,
            prediction=answer.text,
            tool_calls=answer.tool_calls,
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            cached_tokens=answer.cached_tokens,
            seconds=seconds,
            usd=cost_usd(
                self._settings, answer.prompt_tokens, answer.completion_tokens, answer.cached_tokens
            ),
            finish_reason=answer.finish_reason,
            logprob=answer.logprob,
            attempts=tries.attempts,
        )

    def _failed(self, request: Request, tries: _Tries, told: str) -> Prediction:
        return Prediction(
            id=request.prompt.id,
            references=request.references,
            group=request.group,
            attempts=tries.attempts,
            error=self._key.hide(told),
        )


def _whole(
    prompt: int | None, completion: int | None, cached: int | None
) -> tuple[int, int, int | None] | None:
    return None if prompt is None or completion is None else (prompt, completion, cached)


def _policy(found: Trouble) -> str:
    if found.kind == "long":
        return (
            f"too long for this model: {found.text} (no sample is cut: one that is too long is not answered)"
        )
    return found.text
