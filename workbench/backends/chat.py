"""A chat completion on the wire: the request as servers take it, the answer as they send it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from validators.examples import Message

from ..settings import OpenAIBackend as Settings
from . import BackendError, Request
from .troubles import BadAnswer, one_line

# The property of the JSON object that holds a label.
LABEL = "answer"


class _Message(msgspec.Struct):
    content: Any = None
    refusal: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class _Choice(msgspec.Struct):
    message: _Message | None = None
    finish_reason: str | None = None
    logprobs: Any = None


class _Completion(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a server said. `prompt_tokens` and `completion_tokens` are its own counts, where it gives them."""

    text: str
    refused: bool = False
    tool_calls: tuple[dict[str, Any], ...] = ()
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    logprob: float | None = None


_DECODER = msgspec.json.Decoder(_Completion)


def own_api(settings: Settings) -> bool:
    """Whether this is OpenAI's own API or Azure's: they know `max_completion_tokens`, others ignore it."""
    return settings.api_version is not None or not settings.base_url or "api.openai.com" in settings.base_url


def body_of(
    request: Request, settings: Settings, adapted: Mapping[str, str | None], schema: dict[str, Any] | None
) -> dict[str, Any]:
    """The request's JSON. `adapted` are parameters that this model refuses, each with its stand-in or None."""
    body: dict[str, Any] = {
        "model": settings.model,
        "messages": [_message(m) for m in request.prompt.messages],
        "max_completion_tokens" if own_api(settings) else "max_tokens": settings.max_new_tokens,
        "temperature": 0 if request.seed is None else 1,
        "seed": request.seed or 0,
    }
    if settings.logprobs:
        body["logprobs"] = True
    if request.prompt.tools:
        body["tools"] = list(request.prompt.tools)
    if request.choices and settings.labels_by == "guided_choice":
        body["guided_choice"] = list(request.choices)
    elif request.choices and settings.labels_by == "structured_outputs":
        body["structured_outputs"] = {"choice": list(request.choices)}
    elif request.choices:
        body["response_format"] = _format(_enum(request.choices))
    elif schema is not None:
        body["response_format"] = _format(schema)
    for name, instead in adapted.items():
        value = body.pop(name, None)
        if value is not None and instead is not None:
            body[instead] = value
    return body


def _format(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


def _enum(choices: tuple[str, ...]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {LABEL: {"type": "string", "enum": list(choices)}},
        "required": [LABEL],
        "additionalProperties": False,
    }


def _message(message: Message) -> dict[str, Any]:
    """As it is, less the training weight; parts that are all text become one text, which every server takes."""
    plain = {k: v for k, v in message.as_dict().items() if k != "weight"}
    parts = message.content if isinstance(message.content, tuple) else ()
    if parts and all(part.get("type") == "text" for part in parts):
        plain["content"] = message.text
    return plain


def read_answer(blob: bytes) -> Answer:
    """Read a chat completion. Raises BadAnswer."""
    try:
        completion = _DECODER.decode(blob)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        begins = blob[:60].decode("utf-8", "replace")
        raise BadAnswer(f"is no chat completion ({one_line(error)}): {one_line(begins)!r}") from None
    usage = completion.usage
    if completion.error:
        told = completion.error
        told = told.get("message", told) if isinstance(told, dict) else told
        raise BadAnswer(f"is an error: {one_line(told)}", usage)
    if not completion.choices or (message := completion.choices[0].message) is None:
        raise BadAnswer("holds no message", usage)
    choice = completion.choices[0]
    used = tokens_of(usage)
    return Answer(
        text=_text(message),
        refused=bool(message.refusal),
        tool_calls=tuple(_call(call, number) for number, call in enumerate(message.tool_calls or ())),
        finish_reason=choice.finish_reason,
        prompt_tokens=used[0],
        completion_tokens=used[1],
        cached_tokens=used[2],
        logprob=_mean_logprob(choice.logprobs),
    )


def tokens_of(usage: Any) -> tuple[int | None, int | None, int | None]:
    """Prompt, completion and cached tokens of a `usage`; None for each that is not there as a number."""
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    found = (usage.get("prompt_tokens"), usage.get("completion_tokens"), cached)
    prompt, completion, cached = (n if isinstance(n, int) and n >= 0 else None for n in found)
    return prompt, completion, cached


def _text(message: _Message) -> str:
    if isinstance(message.content, str):
        return message.content
    if isinstance(message.content, list):  # some servers answer in parts, as they may be asked
        return "".join(str(p.get("text", "")) for p in message.content if isinstance(p, dict))
    return message.refusal or ""


def _call(call: dict[str, Any], number: int) -> dict[str, Any]:
    """A tool call in OpenAI form; some servers leave out its id or send its arguments as an object."""
    function = call.get("function") or {}
    arguments = function.get("arguments", "")
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    return {
        "id": call.get("id") or f"call_{number}",
        "type": "function",
        "function": {"name": str(function.get("name", "")), "arguments": arguments},
    }


def label_of(answer: Answer, choices: tuple[str, ...]) -> str:
    """The label that an answer's JSON holds, or its text where that is one or was cut or refused. Raises BackendError."""
    text = answer.text
    if text in choices:
        return text
    try:
        label = msgspec.json.decode(text)[LABEL]
    except (msgspec.MsgspecError, TypeError, KeyError):
        label = None
    if label in choices:
        return str(label)
    if answer.refused or answer.finish_reason in ("length", "content_filter"):
        return text
    raise BackendError(
        f"the server was held to {len(choices)} labels and answered {one_line(text)[:80]!r}: it does not do what "
        "`labels_by` asks for. Try another of json_schema, structured_outputs, guided_choice in the backend, or "
        "leave out `constrain: labels`."
    )


def _mean_logprob(logprobs: Any) -> float | None:
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    values = [t.get("logprob") for t in content or () if isinstance(t, dict)]
    known = [float(v) for v in values if isinstance(v, int | float)]
    return sum(known) / len(known) if known and len(known) == len(values) else None
