"""What can go wrong with a request, and what follows from it: one table for every server."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

# What follows:
#   busy    the server says 429: fewer at once, again after its Retry-After
#   away    no answer: the server may be gone, or this request may be too much for it
#   faulty  an answer, but none of use: again
#   refused a parameter that this model does not take: without it, again
#   long    the prompt does not fit the model's context: an error row
#   bad     this request is wrong for the server: an error row
#   stop    the same for every request: the run stops
Kind = Literal["busy", "away", "faulty", "refused", "long", "bad", "stop"]

# Parameters that some models or servers refuse, of those that are sent.
ADAPTABLE = ("max_completion_tokens", "max_tokens", "temperature", "seed", "logprobs")
STRUCTURED = ("response_format", "json_schema", "structured_outputs", "guided_choice")

_TOO_LONG = re.compile(
    r"context_length_exceeded|maximum context|max(imum)?[_ ]model[_ ]len|context (length|window|size)|"
    r"(prompt|input|request)( is| tokens?)? (is )?too (long|large)|exceeds? the (available )?context|"
    r"string_above_max_length|reduce the length",
    re.IGNORECASE,
)
_QUOTA = re.compile(r"insufficient_quota|billing_hard_limit|exceeded your current quota|insufficient (credit|balance|funds)",
                    re.IGNORECASE)  # fmt: skip
# Errors that end a connection before it stands, and those of one that stood.
_CONNECTING = (
    "ConnectError",
    "ConnectTimeout",
    "ProxyError",
    "ClientConnectorError",
    "ConnectionTimeoutError",
)
_CONNECTED = ("ServerDisconnectedError", "ClientOSError", "ConnectionResetError", "SocketTimeoutError")


@dataclass(frozen=True, slots=True)
class Trouble:
    """One failed request."""

    kind: Kind
    text: str
    surely_away: bool = False
    """Nothing can be asked at all: no connection, or no right key."""
    key: bool = False
    """The key is refused."""
    maybe_billed: bool = False
    """The answer was lost on its way: the server may bill it."""
    parameter: str | None = None
    usage: Any = None


class BadAnswer(ValueError):
    """An answer that cannot be used; `usage` where it tells what it cost."""

    def __init__(self, text: str, usage: Any = None) -> None:
        super().__init__(text)
        self.usage = usage


def trouble_of(error: Exception, sent: frozenset[str]) -> Trouble:
    """What an error of the client means. `sent` are the names of the request's parameters."""
    import openai

    if isinstance(error, BadAnswer):
        return Trouble("faulty", f"the server's answer {error}", maybe_billed=True, usage=error.usage)
    if isinstance(error, TimeoutError):
        return Trouble("away", "no whole answer in time", maybe_billed=True)
    if isinstance(error, openai.APIStatusError):
        return _of_status(error.status_code, *_told(error), sent)
    if isinstance(error, openai.APIConnectionError):  # a timeout is one, too
        return _of_connection(error)
    return Trouble("bad", f"{type(error).__name__}: {one_line(error)}")


def _of_connection(error: BaseException) -> Trouble:
    """By the names of all causes: the client's transports differ in classes, and one calls every end a timeout."""
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(cause)
    names = {type(cause).__name__ for cause in causes}
    last = causes[-1]
    text = f"the connection failed ({type(last).__name__}{': ' if str(last) else ''}{one_line(last)})"
    never_sent = not names.isdisjoint(_CONNECTING) and names.isdisjoint(_CONNECTED)
    # What was sent may have been answered and billed.
    return Trouble("away", text, surely_away=never_sent, maybe_billed=not never_sent)


def _of_status(status: int, told: str, code: str, sent: frozenset[str]) -> Trouble:
    text = f"HTTP {status}: {told}"
    said = f"{code} {told}"
    if status == 429:
        # Larger than what the account may ever send in a minute: waiting does not help.
        alone: Kind = "long" if re.search("request too large", said, re.IGNORECASE) else "busy"
        return Trouble("stop" if _QUOTA.search(said) else alone, text)
    if status == 402:
        return Trouble("stop", text)
    if status in (401, 403):  # some servers say 403 to one question that they will not have
        return Trouble("away", text, surely_away=status == 401, key=True)
    if status == 404:
        return Trouble("stop", text)
    if status == 413 or (status in (400, 422, 500) and _TOO_LONG.search(said)):
        return Trouble("long", text)
    if status >= 500:
        return Trouble("away", text)
    if status in (408, 409, 425):
        return Trouble("faulty", text)
    if status in (400, 422):
        named = next(
            (p for p in (*ADAPTABLE, *STRUCTURED) if p in sent and re.search(rf"\b{p}\b", said)), None
        )
        if named is not None:
            return Trouble("refused", text, parameter=named)
    return Trouble("bad", text)


def _told(error: Any) -> tuple[str, str]:
    """The server's own words and codes; servers wrap them in `error`, `detail` or nothing."""
    body = error.body
    if not isinstance(body, dict):
        return one_line(body or error.response.text or error), ""
    wrapped = body.get("error")
    inner: dict[str, Any] = wrapped if isinstance(wrapped, dict) else body
    told = inner.get("message") or inner.get("detail") or inner.get("error") or inner
    return one_line(told), " ".join(str(inner.get(k)) for k in ("code", "type", "param") if inner.get(k))


def one_line(what: object) -> str:
    """Any text on one line, the first 300 letters."""
    return " ".join(str(what).split())[:300]
