"""A row of any format as one neutral conversation, from which any other format is written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from .examples import ExampleError, parse_example
from .findings import kind_of, quoted
from .row_fixes import tools_for_functions
from .rules.subjects import row_format
from .strict_json import decode

Message = dict[str, Any]

ROLES_OF_OTHERS = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "chatgpt": "assistant",
    "system": "system",
    "tool": "tool",
    "observation": "tool",
    "function_response": "tool",
    "function_call": "function_call",
}


class Neutral(msgspec.Struct, frozen=True):
    """One row: OpenAI messages with tool calls that have ids and text arguments, tools, further keys.

    For a preference `messages` is what was asked and the two sides hold the answers. `format` is the
    row's own, `losses` what reading it already gave up. `plain` says that the row held bare texts, to
    which a trainer applies no chat template.
    """

    format: str
    messages: list[Message]
    tools: list[Any] = []
    further: dict[str, Any] = {}
    chosen: list[Message] | None = None
    rejected: list[Message] | None = None
    losses: tuple[str, ...] = ()
    plain: bool = False

    @property
    def conversation(self) -> list[Message]:
        """The messages with the preferred answer."""
        return [*self.messages, *(self.chosen or ())]


def read_neutral(value: dict[str, Any]) -> Neutral:
    """Read a row of any known format. Raises ExampleError with the place of what is wrong."""
    name = row_format(value)
    if name is None:
        raise ExampleError("$", "no key of a known format is there; a chat row has 'messages'")
    return _READERS[name](value)


def _chat(value: dict[str, Any]) -> Neutral:
    parse_example(value)
    value = tools_for_functions(value, None)
    messages = with_ids([_message(m) for m in value["messages"]])
    return Neutral("chat", messages, _tools(value), _without(value, "messages", "tools"))


def _preference(value: dict[str, Any]) -> Neutral:
    if "preferred_output" in value or "non_preferred_output" in value:
        return _openai_preference(value)
    sides = {side: _side(value, side, "assistant") for side in ("chosen", "rejected")}
    if "prompt" in value:
        asked = _side(value, "prompt", "user")
    else:
        if not isinstance(value.get("chosen"), list):
            raise ExampleError("prompt", "a pair of texts needs its prompt")
        pairs = zip(sides["chosen"][:-1], sides["rejected"][:-1], strict=False)
        shared = next((i for i, (a, b) in enumerate(pairs) if a != b), None)
        if shared is None:
            shared = min(len(side) for side in sides.values()) - 1
        asked = sides["chosen"][:shared]
        sides = {name: side[shared:] for name, side in sides.items()}
    return Neutral(
        "preference",
        asked,
        _tools(value),
        _without(value, "prompt", "chosen", "rejected", "tools"),
        sides["chosen"],
        sides["rejected"],
        plain=all(isinstance(value.get(key), str) for key in ("prompt", "chosen", "rejected")),
    )


def _openai_preference(value: dict[str, Any]) -> Neutral:
    asked = value.get("input")
    if not isinstance(asked, dict):
        raise ExampleError("input", f"an object with messages is needed, this is {kind_of(asked)}")
    beside = {key: asked[key] for key in ("parallel_tool_calls", "tool_choice") if key in asked}
    lost = asked.keys() - {"messages", "tools", *beside}
    return Neutral(
        "preference",
        _side(asked, "messages", "user"),
        _tools(asked),
        beside | _without(value, "input", "preferred_output", "non_preferred_output"),
        _side(value, "preferred_output", "assistant"),
        _side(value, "non_preferred_output", "assistant"),
        tuple(f"the key {quoted(key)} of input" for key in sorted(lost)),
    )


def _prompt_completion(value: dict[str, Any]) -> Neutral:
    asked = _side(value, "prompt", "user")
    # Here only the completion trains.
    asked = [m | {"weight": 0} if m["role"] == "assistant" else m for m in asked]
    messages = [*asked, *_side(value, "completion", "assistant")]
    return Neutral(
        "prompt-completion",
        messages,
        _tools(value),
        _without(value, "prompt", "completion", "tools"),
        plain=isinstance(value.get("prompt"), str) and isinstance(value.get("completion"), str),
    )


def _alpaca(value: dict[str, Any]) -> Neutral:
    messages = [{"role": "system", "content": value["system"]}] if value.get("system") else []
    history = value.get("history") or []
    if not isinstance(history, list):
        raise ExampleError("history", f"a list of turns is needed, this is {kind_of(history)}")
    for i, pair in enumerate(history):
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(t, str) for t in pair):
            raise ExampleError(f"history[{i}]", "a turn is a list of two texts, asked and answered")
        messages += _turns(*pair)
    texts = {key: value.get(key) or "" for key in ("instruction", "input", "output", "system")}
    for key, text in texts.items():
        if not isinstance(text, str) or (key == "output" and key not in value):
            raise ExampleError(key, f"text is needed, this is {kind_of(value.get(key))}")
    asked = "\n".join(text for text in (texts["instruction"], texts["input"]) if text)
    messages += _turns(asked, texts["output"])
    losses = ("the border between instruction and input",) if texts["instruction"] and texts["input"] else ()
    further = _without(value, "instruction", "input", "output", "system", "history")
    return Neutral("alpaca", messages, [], further, losses=losses)


def _sharegpt(value: dict[str, Any]) -> Neutral:
    turns = value.get("conversations")
    if not isinstance(turns, list) or not turns:
        raise ExampleError("conversations", f"a list of turns is needed, this is {kind_of(turns)}")
    messages: list[Message] = []
    if isinstance(value.get("system"), str) and value["system"]:
        messages.append({"role": "system", "content": value["system"]})
    lost: set[str] = set()
    for i, turn in enumerate(turns):
        where = f"conversations[{i}]"
        role = ROLES_OF_OTHERS.get(str(turn.get("from"))) if isinstance(turn, dict) else None
        if role is None or not isinstance(turn.get("value"), str):
            raise ExampleError(where, "a turn has 'from' (human, gpt, system, …) and a text 'value'")
        lost |= turn.keys() - {"from", "value"}
        if role == "function_call":
            messages.append(
                {"role": "assistant", "content": None, "tool_calls": _called(turn["value"], where)}
            )
        else:
            messages.append({"role": role, "content": turn["value"]})
    wrapped = [t if "function" in t else {"type": "function", "function": t} for t in _tools(value)]
    return Neutral(
        "sharegpt",
        with_ids(messages),
        wrapped,
        _without(value, "conversations", "system", "tools"),
        losses=tuple(f"the key {quoted(key)} of turns" for key in sorted(lost)),
    )


def _called(text: str, where: str) -> list[Any]:
    try:
        calls = json.loads(text)
    except ValueError as error:
        raise ExampleError(where, f"the function call is not JSON: {error}") from error
    calls = calls if isinstance(calls, list) else [calls]
    if not calls or not all(isinstance(c, dict) and isinstance(c.get("name"), str) for c in calls):
        raise ExampleError(where, 'a function call is {"name": …, "arguments": …}')
    return [
        {"type": "function", "function": {"name": c["name"], "arguments": as_json(c.get("arguments", {}))}}
        for c in calls
    ]


def _text(value: dict[str, Any]) -> Neutral:
    if not isinstance(value["text"], str):
        raise ExampleError("text", f"text is needed, this is {kind_of(value['text'])}")
    return Neutral("text", [{"role": "assistant", "content": value["text"]}], [], _without(value, "text"))


def _gemini(value: dict[str, Any]) -> Neutral:
    from .gemini import read_gemini

    return read_gemini(value)


_READERS: dict[str, Callable[[dict[str, Any]], Neutral]] = {
    "chat": _chat,
    "preference": _preference,
    "prompt-completion": _prompt_completion,
    "alpaca": _alpaca,
    "sharegpt": _sharegpt,
    "text": _text,
    "gemini": _gemini,
}


def as_json(arguments: Any) -> str:
    """Tool arguments as JSON text; text is taken as it is."""
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def from_json(text: str) -> Any:
    """The value of strict JSON text; None where it is none."""
    decoded = decode(text.encode("utf-8", "surrogatepass"))
    return None if decoded.faults else decoded.value


def with_ids(messages: Iterable[Message]) -> list[Message]:
    """The messages with an id for each tool call and each result, which answer in the calls' order."""
    messages = list(messages)
    taken = {call.get("id") for m in messages for call in m.get("tool_calls") or ()}
    open_ids: list[str] = []
    number = 0
    done: list[Message] = []
    for message in messages:
        calls = []
        for call in message.get("tool_calls") or ():
            if not call.get("id"):
                number += 1
                while f"call{number:05}" in taken:
                    number += 1
                call = {"id": f"call{number:05}", **_without(call, "id")}
            open_ids.append(call["id"])
            calls.append(call)
        if calls:
            message = message | {"tool_calls": calls}
        if message["role"] == "tool":
            if not message.get("tool_call_id") and open_ids:
                message = message | {"tool_call_id": open_ids[0]}
            if message.get("tool_call_id") in open_ids:
                open_ids.remove(message["tool_call_id"])
        done.append(message)
    return done


def _side(value: dict[str, Any], key: str, role: str) -> list[Message]:
    """A prompt or an answer: a text, or messages (one alone may stand without its list)."""
    side = value.get(key)
    if isinstance(side, str):
        return [{"role": role, "content": side}] if side or role == "assistant" else []
    messages = [side] if isinstance(side, dict) else side
    if not isinstance(messages, list) or (not messages and role == "assistant"):
        raise ExampleError(key, f"text or a list of messages is needed, this is {kind_of(side)}")
    if messages:
        parse_example({"messages": messages})
        messages = tools_for_functions({"messages": messages}, None)["messages"]
    return with_ids([_message(m) for m in messages])


def _message(message: Message) -> Message:
    """A message without what is null (tables fill every column), its arguments as text."""
    kept = {k: v for k, v in message.items() if v is not None or k == "content"}
    kept.setdefault("content", None)
    if calls := kept.get("tool_calls"):
        if not all(call.get("id") is None or isinstance(call["id"], str) for call in calls):
            raise ExampleError("tool_calls", "an id is text")
        kept["tool_calls"] = [
            {"type": "function", **{k: v for k, v in call.items() if v is not None}}
            | {
                "function": call["function"]
                | {"arguments": as_json(call["function"].get("arguments") or "{}")}
            }
            for call in calls
        ]
    elif "tool_calls" in kept:
        del kept["tool_calls"]
    return kept


def _tools(value: dict[str, Any]) -> list[Any]:
    """The tool definitions; tables and ShareGPT hold them as JSON text."""
    tools = value.get("tools")
    if isinstance(tools, str):
        tools = from_json(tools) if tools else []
    if tools is not None and not (isinstance(tools, list) and all(isinstance(t, dict) for t in tools)):
        raise ExampleError("tools", f"a list of objects is needed, this is {kind_of(value['tools'])}")
    return tools or []


def _turns(asked: str, answered: str) -> list[Message]:
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]


def _without(value: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: item for key, item in value.items() if key not in keys}
