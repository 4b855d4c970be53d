"""The tool calls and tool definitions of a chat row, for the rules about them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from ..json_scanner import join_path
from ..strict_json import Decoded, decode
from ..targets import Target
from .subjects import Line


class Call(NamedTuple):
    """One call: message index, JSON path, id (None: it has none), name ("" where misshapen), arguments."""

    turn: int
    where: str
    id: str | None
    name: str
    arguments: Any


class Definition(NamedTuple):
    """One tool as the row defines it; `function` is None where nothing says what it is."""

    where: str
    tool: Any
    function: dict[str, Any] | None


# Eleven rules ask for the same row's calls and tools one after the other.
@lru_cache(maxsize=1)
def calls_of(line: Line) -> tuple[Call, ...]:
    """All calls in order, also misshapen ones: results may answer them."""
    calls = []
    for turn, message in line.turns:
        given = message.get("tool_calls")
        for i, call in enumerate(given if isinstance(given, list) else [given] * (given is not None)):
            entry = call if isinstance(call, dict) else {}
            where = join_path(["messages", turn, "tool_calls", i])
            calls.append(_call(turn, where, entry.get("id"), entry.get("function")))
        if message.get("function_call") is not None:
            where = join_path(["messages", turn, "function_call"])
            calls.append(_call(turn, where, None, message["function_call"]))
    return tuple(calls)


def _call(turn: int, where: str, identity: Any, function: Any) -> Call:
    given = function if isinstance(function, dict) else {}
    name = given["name"] if is_name(given.get("name")) else ""
    return Call(turn, where, identity if is_name(identity) else None, name, given.get("arguments"))


def named_calls(line: Line) -> list[Call]:
    """The calls that name their function."""
    return [call for call in calls_of(line) if call.name]


@lru_cache(maxsize=1)
def definitions_of(line: Line) -> tuple[Definition, ...]:
    """The tools of a row, `functions` behind `tools`. A tool may stand without its `function` around it."""
    found = []
    for key in ("tools", "functions"):
        given = tool_list(line.value.get(key))
        for i, tool in enumerate(given if isinstance(given, list) else ()):
            inner = tool.get("function") if isinstance(tool, dict) else None
            bare = tool if isinstance(tool, dict) and "name" in tool and inner is None else None
            found.append(Definition(f"{key}[{i}]", tool, inner if isinstance(inner, dict) else bare))
    return tuple(found)


def tool_list(given: Any, target: Target | None = None) -> Any:
    """The list of tools; a table may hold it as JSON text, which hosted targets refuse."""
    if isinstance(given, str) and not (target and target.call_needs):
        decoded = decoded_text(given)
        return given if decoded is None or decoded.faults else decoded.value
    return given


def is_name(value: Any) -> bool:
    """Whether a value can name something: text that is not empty."""
    return isinstance(value, str) and bool(value)


def decoded_text(text: Any) -> Decoded | None:
    """A text as strict JSON; None for what is no text, or one with half a surrogate pair."""
    return _decode(text) if isinstance(text, str) else None


@lru_cache(maxsize=32)
def _decode(text: str) -> Decoded | None:
    """The text as strict JSON; None for half a surrogate pair, which is FMT011's."""
    try:
        return decode(text.encode())
    except UnicodeEncodeError:
        return None
