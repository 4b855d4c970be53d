"""One chat row, decoded once: after this nobody asks a dictionary for a role again."""

from __future__ import annotations

from typing import Any

import msgspec

from .findings import kind_of
from .personal import without_personal

# Keys that a chat row may have beside its messages without being another format.
OPTIONS = (
    "messages",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "functions",
    "function_call",
    "response_format",
    "metadata",
    "id",
)


class ExampleError(ValueError):
    """A row is no valid chat; `where` is the JSON path of the fault."""

    def __init__(self, where: str, message: str) -> None:
        super().__init__(f"{without_personal(where)}: {message}")
        self.where = where


class ToolCall(msgspec.Struct, frozen=True):
    """One call of a tool; `arguments` is JSON text."""

    id: str | None
    name: str
    arguments: str

    def as_dict(self) -> dict[str, Any]:
        """The call in OpenAI form."""
        function = {"name": self.name, "arguments": self.arguments}
        return ({"id": self.id} if self.id is not None else {}) | {"type": "function", "function": function}


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message. `content` is text, a tuple of content parts, or None beside tool calls."""

    role: str
    content: str | tuple[dict[str, Any], ...] | None
    name: str | None = None
    weight: int | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None

    @property
    def text(self) -> str:
        """The message's text: its text parts joined, "" where there is none."""
        if isinstance(self.content, str):
            return self.content
        return "".join(str(part.get("text", "")) for part in self.content or () if part.get("type") == "text")

    def as_dict(self) -> dict[str, Any]:
        """The message in OpenAI form, as chat templates take it; keys that are unset are left out."""
        content = list(self.content) if isinstance(self.content, tuple) else self.content
        message: dict[str, Any] = {"role": self.role, "content": content}
        if self.name is not None:
            message["name"] = self.name
        if self.weight is not None:
            message["weight"] = self.weight
        if self.tool_calls:
            message["tool_calls"] = [call.as_dict() for call in self.tool_calls]
        if self.tool_call_id is not None:
            message["tool_call_id"] = self.tool_call_id
        return message


class Example(msgspec.Struct, frozen=True):
    """One row: messages, tool definitions, whatever else the row says, and its 1-based line."""

    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] = ()
    metadata: dict[str, Any] = {}
    line: int = 0


def parse_example(value: dict[str, Any], line: int = 0) -> Example:
    """Parse one decoded chat row.

    Deprecated `functions` and `function_call` become tools and tool calls. Keys that are no chat
    option go to `metadata`, beside the row's own. Raises ExampleError with the JSON path of the fault.
    """
    if not isinstance(value, dict):
        raise ExampleError("$", f"the row is no JSON object but {kind_of(value)}")
    messages = value.get("messages")
    if not isinstance(messages, list) or not messages:
        found = "empty" if messages == [] else "missing" if messages is None else kind_of(messages)
        raise ExampleError("messages", f"a list of messages is needed, this is {found}")
    parsed = tuple(_message(message, f"messages[{i}]") for i, message in enumerate(messages))
    return Example(parsed, _tools(value), _metadata(value), line)


def _message(value: Any, where: str) -> Message:
    if not isinstance(value, dict):
        raise ExampleError(where, f"a message is an object, this is {kind_of(value)}")
    role = value.get("role")
    if not isinstance(role, str) or not role:
        raise ExampleError(f"{where}.role", "a role is needed")
    calls = _calls(value, where)
    weight = value.get("weight")
    if weight is not None and (isinstance(weight, bool) or weight not in (0, 1) or isinstance(weight, float)):
        raise ExampleError(f"{where}.weight", "a weight is the integer 0 or 1")
    return Message(
        role=role,
        content=_content(value, where, bool(calls)),
        name=_optional_text(value, "name", where),
        weight=weight,
        tool_calls=calls,
        tool_call_id=_optional_text(value, "tool_call_id", where),
    )


def _content(value: dict[str, Any], where: str, has_calls: bool) -> str | tuple[dict[str, Any], ...] | None:
    content = value.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        for i, part in enumerate(content):
            if not isinstance(part, dict) or not isinstance(part.get("type"), str):
                raise ExampleError(f"{where}.content[{i}]", "a content part is an object with a type")
            if part["type"] == "text" and not isinstance(part.get("text"), str):
                raise ExampleError(f"{where}.content[{i}].text", "a text part needs its text")
        return tuple(content)
    if content is None and has_calls:
        return None
    found = "missing" if content is None else kind_of(content)
    raise ExampleError(
        f"{where}.content", f"text, a list of parts, or tool calls beside it are needed, this is {found}"
    )


def _calls(value: dict[str, Any], where: str) -> tuple[ToolCall, ...]:
    calls = value.get("tool_calls")
    if calls is None:
        calls = []
    if not isinstance(calls, list):
        raise ExampleError(f"{where}.tool_calls", f"tool calls are a list, this is {kind_of(calls)}")
    parsed = [
        _call(call.get("function") if isinstance(call, dict) else None, call, f"{where}.tool_calls[{i}]")
        for i, call in enumerate(calls)
    ]
    if value.get("function_call") is not None:
        parsed.append(_call(value["function_call"], {}, f"{where}.function_call"))
    return tuple(parsed)


def _call(function: Any, call: Any, where: str) -> ToolCall:
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise ExampleError(where, "a tool call needs function.name")
    arguments = function.get("arguments", "{}")
    if not isinstance(arguments, str):
        try:
            arguments = msgspec.json.encode(arguments).decode()
        except ValueError as error:
            raise ExampleError(f"{where}.function.arguments", str(error)) from error
    identity = call.get("id")
    return ToolCall(identity if isinstance(identity, str) else None, function["name"], arguments)


def _tools(value: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    tools: list[dict[str, Any]] = []
    for key in ("tools", "functions"):
        given = value.get(key)
        if given is None:
            continue
        if not isinstance(given, list) or not all(isinstance(tool, dict) for tool in given):
            raise ExampleError(key, "a list of objects is needed")
        tools += given if key == "tools" else [{"type": "function", "function": f} for f in given]
    return tuple(tools)


def _metadata(value: dict[str, Any]) -> dict[str, Any]:
    own = value.get("metadata")
    if own is not None and not isinstance(own, dict):
        raise ExampleError("metadata", f"metadata is an object, this is {kind_of(own)}")
    beside = {key: v for key, v in value.items() if key not in OPTIONS or key == "id"}
    return {**(own or {}), **beside}


def _optional_text(value: dict[str, Any], key: str, where: str) -> str | None:
    text = value.get(key)
    if text is not None and not isinstance(text, str):
        raise ExampleError(f"{where}.{key}", f"text is needed, this is {kind_of(text)}")
    return text
