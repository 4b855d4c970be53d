"""The fixes of rows: for each rule's code a pure function from a decoded row to a mended one.

None changes the row it is given: what stays the same is the same object, so that only what differs is
written anew.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable
from typing import Any

from .characters import mend_garbled, without_invisible
from .images import is_embedded
from .strict_json import decode
from .targets import Target

Row = dict[str, Any]
# What tells where a row comes from is no text of it.
NOT_TEXT = frozenset({"id", "metadata"})

RowFix = Callable[[Row, Target | None], Row]


def integer_weights(row: Row, target: Target | None) -> Row:
    """MSG016: a reply's weight of 0.0, 1.0, false or true as the integer it means."""

    def mend(message: Row) -> Row:
        weight = message.get("weight")
        if type(weight) in (bool, float) and weight in (0, 1) and message.get("role") == "assistant":
            return {**message, "weight": int(weight)}
        return message

    return _messages(row, mend)


def tools_for_functions(row: Row, target: Target | None) -> Row:
    """MSG019: today's names, with an id that ties each call to its result.

    `functions` become tools, `function_call` beside them becomes the tool choice, in a message a tool call;
    the function message that answers it becomes a tool message. Where both names stand and disagree,
    the old one stays.
    """
    row = _named_tools(row)
    messages = row.get("messages")
    if not isinstance(messages, list):
        return row
    taken = set(_ids(messages))
    numbers = itertools.count(1)
    open_calls: list[tuple[str, str]] = []
    mended: list[Any] = []
    for message in messages:
        if isinstance(message, dict) and can_become_tool_call(message):
            call = message["function_call"]
            identity = next(i for n in numbers if (i := f"call{n:05}") not in taken)
            open_calls.append((call["name"], identity))
            calls = [
                *(message.get("tool_calls") or ()),
                {"id": identity, "type": "function", "function": call},
            ]
            message = _renamed(message, "function_call", "tool_calls", calls)
        elif isinstance(message, dict) and message.get("role") == "function":
            found = next((c for c in open_calls if c[0] == message.get("name")), None)
            if found is not None and "tool_call_id" not in message:
                open_calls.remove(found)
                message = {**message, "role": "tool", "tool_call_id": found[1]}
        mended.append(message)
    return _with(row, "messages", mended)


def object_arguments(row: Row, target: Target | None) -> Row:
    """TOOL003: arguments that were encoded twice, decoded once."""

    def mend(message: Row) -> Row:
        calls = message.get("tool_calls")
        if isinstance(calls, list):
            message = _with(message, "tool_calls", [_with_function(call, _decoded_once) for call in calls])
        if "function_call" in message:
            message = _with(message, "function_call", _decoded_once(message["function_call"]))
        return message

    return _messages(row, mend)


def short_ids(row: Row, target: Target | None) -> Row:
    """TOOL010: ids of as many letters and digits as the target wants, the same for a call and its result."""
    messages = row.get("messages")
    length = target.tool_id_length if target else None
    if not isinstance(messages, list) or length is None:
        return row
    texts = _ids(messages)
    names = {i: i for i in texts if len(i) == length and i.isascii() and i.isalnum()}
    taken = set(names.values())
    for identity in texts:
        if identity not in names:
            names[identity] = _short(identity, length, taken)
            taken.add(names[identity])

    def mend(message: Row) -> Row:
        calls = message.get("tool_calls")
        if isinstance(calls, list):
            renamed = [
                _with(c, "id", names.get(c["id"], c["id"]))
                if isinstance(c, dict) and isinstance(c.get("id"), str)
                else c
                for c in calls
            ]
            message = _with(message, "tool_calls", renamed)
        if isinstance(message.get("tool_call_id"), str):
            message = _with(message, "tool_call_id", names[message["tool_call_id"]])
        return message

    return _messages(row, mend)


def known_keys(row: Row, target: Target | None) -> Row:
    """MSG018: messages without the keys that the target does not know."""
    known = target.message_keys if target else None
    if known is None:
        return row
    return _messages(row, lambda m: m if m.keys() <= known else {k: v for k, v in m.items() if k in known})


def known_columns(row: Row, target: Target | None) -> Row:
    """FMT014: the row without the keys that the target rejects."""
    from .rules.subjects import row_format

    columns = ((target and target.columns) or {}).get(row_format(row) or "")
    if columns is None or row.keys() <= set(columns):
        return row
    return {key: value for key, value in row.items() if key in columns}


def mended_characters(row: Row, target: Target | None) -> Row:
    """TEXT001: UTF-8 that was read as Windows-1252, read as UTF-8."""
    return _texts(row, mend_garbled)


def seen_characters(row: Row, target: Target | None) -> Row:
    """TEXT003: texts without characters that are not seen and not meant."""
    return _texts(row, without_invisible)


# In the order in which they run: texts first, since they may hold JSON; a call gets its new name before unknown keys go.
ROW_FIXES: dict[str, RowFix] = {
    "TEXT001": mended_characters,
    "TEXT003": seen_characters,
    "MSG016": integer_weights,
    "MSG019": tools_for_functions,
    "TOOL003": object_arguments,
    "TOOL010": short_ids,
    "FMT014": known_columns,
    "MSG018": known_keys,
}


def _texts(row: Row, mend: Callable[[str], str]) -> Row:
    """The row with its texts mended, but those that tell where it comes from and embedded files."""

    def walk(value: Any) -> Any:
        if isinstance(value, str):
            mended = value if is_embedded(value) else mend(value)
            return value if mended == value else mended
        if isinstance(value, list):
            items = [walk(item) for item in value]
            return value if all(a is b for a, b in zip(items, value, strict=True)) else items
        if isinstance(value, dict):
            members = {key: walk(item) for key, item in value.items()}
            return value if all(members[key] is value[key] for key in value) else members
        return value

    members = {key: item if key in NOT_TEXT else walk(item) for key, item in row.items()}
    return row if all(members[key] is row[key] for key in row) else members


def _named_tools(row: Row) -> Row:
    functions = row.get("functions")
    if isinstance(functions, list) and all(isinstance(f, dict) for f in functions):
        tools = [] if row.get("tools") is None else row["tools"]
        if isinstance(tools, list):
            named = [{"type": "function", "function": function} for function in functions]
            row = _renamed(row, "functions", "tools", [*tools, *(t for t in named if t not in tools)])
    if "function_call" in row:
        choice = row["function_call"]
        if isinstance(choice, dict) and isinstance(choice.get("name"), str):
            choice = {"type": "function", "function": choice}
        if row.get("tool_choice", choice) == choice:
            row = _renamed(row, "function_call", "tool_choice", choice)
    return row


def _renamed(row: Row, old: str, new: str, value: Any) -> Row:
    """The row with `value` under `new`, standing where `new` or else `old` stood."""
    place = new if new in row else old
    return {
        (new if key == place else key): (value if key == place else item)
        for key, item in row.items()
        if key != old or key == place
    }


def can_become_tool_call(message: Row) -> bool:
    """Whether a message's `function_call` names a function and nothing stands in its new place."""
    call, calls = message.get("function_call"), message.get("tool_calls")
    return (
        isinstance(call, dict)
        and isinstance(call.get("name"), str)
        and (calls is None or isinstance(calls, list))
    )


def _calls(message: Any) -> list[Row]:
    calls = message.get("tool_calls") if isinstance(message, dict) else None
    return [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []


def _ids(messages: list[Any]) -> list[str]:
    """The ids of all calls, then those of results, each once."""
    ids = [call.get("id") for m in messages for call in _calls(m)]
    ids += [m.get("tool_call_id") for m in messages if isinstance(m, dict)]
    return list(dict.fromkeys(i for i in ids if isinstance(i, str)))


def _with_function(call: Any, mend: Callable[[Any], Any]) -> Any:
    return (
        _with(call, "function", mend(call["function"]))
        if isinstance(call, dict) and "function" in call
        else call
    )


def _decoded_once(function: Any) -> Any:
    """A function's call whose arguments are a JSON text of a JSON object, with that object's text."""
    arguments = function.get("arguments") if isinstance(function, dict) else None
    outer = _decoded(arguments)
    return {**function, "arguments": outer} if isinstance(_decoded(outer), dict) else function


def _decoded(text: Any) -> Any:
    """The value of strict JSON text; None where it is none."""
    if not isinstance(text, str):
        return None
    decoded = decode(text.encode("utf-8", "surrogatepass"))
    return None if decoded.faults else decoded.value


def _short(identity: str, length: int, taken: set[str]) -> str:
    """The first hexadecimal digits of the id's hash, or of what follows where they are taken."""
    salt = 0
    while True:
        digest = hashlib.sha256(json.dumps([identity, salt]).encode()).hexdigest()[:length]
        if digest not in taken:
            return digest
        salt += 1


def _messages(row: Row, mend: Callable[[Row], Row]) -> Row:
    messages = row.get("messages")
    if not isinstance(messages, list):
        return row
    return _with(row, "messages", [mend(m) if isinstance(m, dict) else m for m in messages])


def _with(row: Row, key: str, value: Any) -> Row:
    """The row with this value; the very row where nothing differs."""
    old = row[key]
    same = value is old or (
        isinstance(value, list)
        and isinstance(old, list)
        and len(value) == len(old)
        and all(a is b for a, b in zip(value, old, strict=True))
    )
    return row if same else {**row, key: value}
