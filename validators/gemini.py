"""Gemini's tuning rows (`contents`, `systemInstruction`) read and written.

Field names: https://cloud.google.com/vertex-ai/generative-ai/docs/models/gemini-supervised-tuning.
"""

from __future__ import annotations

import mimetypes
import re
from typing import Any

from .examples import ExampleError
from .findings import quoted
from .neutral import Message, Neutral, as_json, from_json

_DATA_URI = re.compile(r"data:([^;,]+);base64,(.*)\Z", re.DOTALL)
_KNOWN = ("contents", "systemInstruction", "tools")


def read_gemini(value: dict[str, Any]) -> Neutral:
    """Read one row. Raises ExampleError with the place of what is wrong."""
    contents = value.get("contents")
    if not isinstance(contents, list) or not contents:
        raise ExampleError("contents", "a list of contents is needed")
    instruction = value.get("systemInstruction")
    messages: list[Message] = []
    if instruction is not None:
        for part in _parts(instruction, "systemInstruction"):
            messages.append({"role": "system", "content": _text(part, "systemInstruction")})
    open_calls: list[tuple[str, str]] = []
    lost: set[str] = set()
    number = 0
    for i, content in enumerate(contents):
        where = f"contents[{i}]"
        parts = _parts(content, where)
        lost |= {key for part in parts for key in _unread(part)}
        answers = [part["functionResponse"] for part in parts if "functionResponse" in part]
        messages += [_result(answer, open_calls, where) for answer in answers]
        if parts := [part for part in parts if "functionResponse" not in part]:
            message = _turn(content, parts, where)
            for call in message.get("tool_calls", ()):
                number += 1
                call["id"] = f"call{number:05}"
                open_calls.append((call["id"], call["function"]["name"]))
            messages.append(message)
    tools = [{"type": "function", "function": declared} for declared in _declared(value.get("tools"))]
    further = {key: item for key, item in value.items() if key not in _KNOWN}
    losses = tuple(f"the key {quoted(key)} of parts" for key in sorted(lost))
    return Neutral("gemini", messages, tools, further, losses=losses)


def _declared(tools: Any) -> list[Any]:
    if tools is None:
        return []
    if not isinstance(tools, list) or not all(
        isinstance(t, dict) and t.keys() == {"functionDeclarations"} for t in tools
    ):
        raise ExampleError("tools", "a list of objects with functionDeclarations is needed")
    listed = [tool["functionDeclarations"] for tool in tools]
    if not all(isinstance(each, list) and all(isinstance(f, dict) for f in each) for each in listed):
        raise ExampleError("tools", "functionDeclarations are a list of objects")
    return [declared for each in listed for declared in each]


def write_gemini(row: Neutral) -> tuple[dict[str, Any], list[str]]:
    """Write one conversation, and name what is lost. Raises ExampleError where no reply is there."""
    losses = [f"the key {quoted(key)}" for key in row.further]
    if row.rejected is not None:
        losses.append("the non-preferred side")
    systems: list[dict[str, Any]] = []
    contents: list[dict[str, Any]] = []
    open_calls: list[tuple[str, str]] = []
    for message in row.conversation:
        role = message["role"]
        losses += _lost_keys(message)
        if role in ("system", "developer"):
            if contents:
                losses.append("the place of a later system message")
            if role == "developer":
                losses.append("the role developer (it becomes system)")
            if isinstance(message["content"], list) and len(message["content"]) > 1:
                losses.append("borders of text parts in system messages")
            systems.append({"text": _joined(message["content"])})
        elif role == "tool":
            part = {"functionResponse": _answer(message, open_calls, losses)}
            if contents and "functionResponse" in contents[-1]["parts"][-1]:
                contents[-1]["parts"].append(part)
            else:
                contents.append({"role": "user", "parts": [part]})
        else:
            parts = _written(message, losses)
            for call in message.get("tool_calls") or ():
                open_calls.append((call.get("id", ""), call["function"]["name"]))
            contents.append({"role": "model" if role == "assistant" else "user", "parts": parts})
    if not contents:
        raise ExampleError(
            "messages", "nothing but system messages; Gemini needs a user's and a model's turn"
        )
    written: dict[str, Any] = {"contents": contents}
    if systems:
        written = {"systemInstruction": {"role": "system", "parts": systems}, **written}
    if row.tools:
        if not all(isinstance(tool.get("function"), dict) for tool in row.tools):
            raise ExampleError("tools", "a tool needs its function, an object")
        if any(tool.keys() - {"type", "function"} for tool in row.tools):
            losses.append("what a tool says beside its function")
        written["tools"] = [{"functionDeclarations": [tool["function"] for tool in row.tools]}]
    return written, losses


def _lost_keys(message: Message) -> list[str]:
    lost = message.keys() - {"role", "content", "tool_calls", "tool_call_id", "weight"}
    losses = [f"the key {quoted(key)} of messages" for key in sorted(lost)]
    return losses + (["weight 0: the reply would train"] if message.get("weight") == 0 else [])


def _written(message: Message, losses: list[str]) -> list[dict[str, Any]]:
    content = message["content"]
    given = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    parts: list[dict[str, Any]] = []
    for part in given:
        if part["type"] == "text":
            parts.append({"text": part["text"]})
        elif part["type"] == "image_url" and (image := _image(part.get("image_url"), losses)):
            parts.append(image)
        else:
            losses.append(f"content parts of type {quoted(part['type'])}")
    for call in message.get("tool_calls") or ():
        arguments = from_json(call["function"]["arguments"])
        if not isinstance(arguments, dict):
            raise ExampleError("tool_calls", "the arguments are no (strict) JSON object")
        parts.append({"functionCall": {"name": call["function"]["name"], "args": arguments}})
    return parts or [{"text": ""}]


def _image(image: Any, losses: list[str]) -> dict[str, Any] | None:
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str):
        return None
    if isinstance(image, dict) and image.keys() - {"url"}:
        losses.append("an image's detail")
    if match := _DATA_URI.match(url):
        return {"inlineData": {"mimeType": match[1], "data": match[2]}}
    kind = mimetypes.guess_type(url)[0]
    return {"fileData": {"mimeType": kind, "fileUri": url}} if kind else None


def _answer(message: Message, open_calls: list[tuple[str, str]], losses: list[str]) -> dict[str, Any]:
    identity = message.get("tool_call_id")
    place = next((i for i, (known, _) in enumerate(open_calls) if known == identity), None)
    if place is None:
        raise ExampleError("messages", f"the tool result {quoted(identity)} answers no call before it")
    if place:
        losses.append("which call a tool result answers")
    name = open_calls.pop(place)[1]
    if isinstance(message["content"], list):
        losses.append("borders of text parts in tool results")
    text = _joined(message["content"])
    response = from_json(text)
    if not isinstance(response, dict) or response.keys() == {"output"}:
        response = {"output": text}
    return {"name": name, "response": response}


def _turn(content: dict[str, Any], parts: list[dict[str, Any]], where: str) -> Message:
    role = "assistant" if content.get("role") == "model" else "user"
    calls = [part["functionCall"] for part in parts if "functionCall" in part]
    if not all(isinstance(call, dict) and isinstance(call.get("name"), str) for call in calls):
        raise ExampleError(where, "a functionCall needs the function's name")
    said = [_part(part, where) for part in parts if "functionCall" not in part]
    plain = len(said) == 1 and said[0]["type"] == "text"
    message: Message = {"role": role, "content": said[0]["text"] if plain else said or None}
    if calls:
        message["tool_calls"] = [
            {
                "type": "function",
                "function": {"name": c["name"], "arguments": as_json(c.get("args") or {})},
            }
            for c in calls
        ]
    return message


def _part(part: dict[str, Any], where: str) -> dict[str, Any]:
    held: Any = next((part[key] for key in ("inlineData", "fileData") if key in part), {})
    if not isinstance(held, dict):
        raise ExampleError(where, "an object is needed as a part's data")
    if "inlineData" in part:
        data = held
        uri = f"data:{data.get('mimeType')};base64,{data.get('data')}"
        return {"type": "image_url", "image_url": {"url": uri}}
    if "fileData" in part:
        return {"type": "image_url", "image_url": {"url": held.get("fileUri")}}
    return {"type": "text", "text": _text(part, where)}


def _parts(content: Any, where: str) -> list[dict[str, Any]]:
    parts = content.get("parts") if isinstance(content, dict) else None
    if not isinstance(parts, list) or not parts or not all(isinstance(part, dict) for part in parts):
        raise ExampleError(where, "a list of parts is needed")
    return parts


def _text(part: dict[str, Any], where: str) -> str:
    if not isinstance(part.get("text"), str):
        raise ExampleError(where, f"a part of {quoted(', '.join(part))} is none that is known")
    return str(part["text"])


def _result(answer: Any, open_calls: list[tuple[str, str]], where: str) -> Message:
    """A tool's message; it answers the first open call of its name, or else the first."""
    response = answer.get("response") if isinstance(answer, dict) else None
    if not isinstance(response, dict):
        raise ExampleError(where, "a functionResponse needs its response, an object")
    if not open_calls:
        raise ExampleError(where, "a functionResponse answers no functionCall before it")
    named = (i for i, (_, name) in enumerate(open_calls) if name == answer.get("name"))
    identity = open_calls.pop(next(named, 0))[0]
    plain = response.keys() == {"output"} and isinstance(response["output"], str)
    text = response["output"] if plain else as_json(response)
    return {"role": "tool", "tool_call_id": identity, "content": text}


def _unread(part: dict[str, Any]) -> list[str]:
    """The keys of a part that have no place in a message."""
    lost = part.keys() - {"text", "functionCall", "functionResponse", "inlineData", "fileData"}
    inner = {"functionCall": {"name", "args"}, "functionResponse": {"name", "response"}}
    for key, known in inner.items():
        lost |= part[key].keys() - known if isinstance(part.get(key), dict) else set()
    file = part.get("fileData")
    if isinstance(file, dict) and file.get("mimeType") != mimetypes.guess_type(str(file.get("fileUri")))[0]:
        lost |= {"mimeType"}
    return sorted(lost)


def _joined(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text", "")) for part in content or ())
