"""The texts of a row in any format: who says what, where, and which of it is asked and answered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from .images import is_embedded

Parts = tuple[str | int, ...]
Speaker = Literal["system", "user", "assistant", "other"]

_SPEAKERS: dict[str, Speaker] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
}
# The plain columns of other formats, and who speaks in them; for a pair the preferred side is the reply.
_COLUMNS: dict[str, tuple[tuple[str, Speaker], ...]] = {
    "prompt-completion": (("prompt", "user"), ("completion", "assistant")),
    "alpaca": (("system", "system"), ("instruction", "user"), ("input", "user"), ("output", "assistant")),
    "text": (("text", "assistant"),),
    "preference": (
        ("prompt", "user"),
        ("input", "user"),
        ("preferred_output", "assistant"),
        ("chosen", "assistant"),
        ("non_preferred_output", "other"),
        ("rejected", "other"),
    ),
}
_DEEPEST = 64
_LISTS = {"sharegpt": ("conversations", "from", "value"), "gemini": ("contents", "role", "parts")}


class Passage(NamedTuple):
    """One text of a row."""

    where: str
    speaker: Speaker
    text: str


class Exchange(NamedTuple):
    """A row as one question and its answer: all user texts, and the last reply ("" where there is none)."""

    system: str
    prompt: str
    reply: str


def passages(value: Any, row_format: str | None) -> Iterator[Passage]:
    """The texts that people or models speak in a row, in order; odd shapes are passed over."""
    if not isinstance(value, dict):
        return
    if row_format in ("chat", "reinforcement"):
        yield from _messages(value.get("messages"), "messages")
    elif row_format in _LISTS:
        key, role, content = _LISTS[row_format]
        yield from _messages(value.get(key), key, role, content)
    for key, speaker in _COLUMNS.get(row_format or "", ()):
        item = value.get(key)
        if isinstance(item, str):
            yield Passage(key, speaker, item)
        elif isinstance(item, dict):
            yield from _side(item.get("messages"), f"{key}.messages", speaker)
        elif isinstance(item, list):
            yield from _side(item, key, speaker)


def spoken(value: Any, row_format: str | None) -> list[tuple[str, str]]:
    """Who says what, without the places."""
    return [(passage.speaker, passage.text) for passage in passages(value, row_format)]


def exchange(value: Any, row_format: str | None) -> Exchange:
    """The row's system text, its user texts joined, and its last reply."""
    if row_format == "chat":
        return _chat(value.get("messages"))
    said: dict[Speaker, list[str]] = {"system": [], "user": [], "assistant": [], "other": []}
    for passage in passages(value, row_format):
        said[passage.speaker].append(passage.text)
    return Exchange("\n".join(said["system"]), "\n".join(said["user"]), (said["assistant"] or [""])[-1])


def strings(value: Any, parts: Parts = ()) -> Iterator[tuple[Parts, str]]:
    """Every text value of a row with the parts of its JSON path; embedded files (`data:`) are no text."""
    if isinstance(value, str):
        if not (value.startswith("data:") and is_embedded(value)):
            yield parts, value
    elif len(parts) < _DEEPEST and isinstance(value, (dict, list)):
        items: Any = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            if item.__class__ in (str, dict, list):
                yield from strings(item, (*parts, key))


def _chat(messages: Any) -> Exchange:
    """The same as by passages, without their paths: this runs on every row."""
    system = prompt = reply = ""
    for message in messages if isinstance(messages, list) else ():
        if not isinstance(message, dict):
            continue
        role, text = message.get("role"), message.get("content")
        if text.__class__ is not str:
            text = "".join(passage.text for passage in _content(text, "", "other"))
        if role == "user":
            prompt = f"{prompt}\n{text}" if prompt else text
        elif role == "assistant":
            reply = text
        elif role in ("system", "developer"):
            system = f"{system}\n{text}" if system else text
    return Exchange(system, prompt, reply)


def _messages(messages: Any, where: str, role: str = "role", content: str = "content") -> Iterator[Passage]:
    for i, message in enumerate(messages if isinstance(messages, list) else ()):
        if isinstance(message, dict):
            name = message.get(role)
            speaker = _SPEAKERS.get(name, "other") if isinstance(name, str) else "other"
            yield from _content(message.get(content), f"{where}[{i}].{content}", speaker)


def _side(messages: Any, where: str, speaker: Speaker) -> Iterator[Passage]:
    """One side of a pair as messages; in the prompt each speaks for itself."""
    for passage in _messages(messages, where):
        yield passage if speaker == "user" else passage._replace(speaker=speaker)


def _content(content: Any, where: str, speaker: Speaker) -> Iterator[Passage]:
    if isinstance(content, str):
        yield Passage(where, speaker, content)
    elif isinstance(content, list):
        for i, part in enumerate(content):
            if isinstance(part, dict) and isinstance(part.get("text"), str):
                yield Passage(f"{where}[{i}].text", speaker, part["text"])
