"""Tool calls in generated text, as the families of chat templates have models write them. One table.

Text that does not hold whole, well-formed calls stays text: a wrong call is for the metric to judge, a
guessed one for nobody.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from validators.examples import ToolCall

Tools = Sequence[dict[str, Any]]
Found = tuple[str, Any]


class _MalformedError(ValueError):
    """Something that looks like a call and is none."""


def read_calls(written: str, tools: Tools) -> tuple[str, tuple[ToolCall, ...]] | None:
    """The calls in a generated text, control tokens included, and the text around them; None for no call.

    What stands before `</think>` is thought, not called. The first format of FORMATS whose mark is there
    reads it. Arguments become JSON text; where a format writes them bare, the tool's schema says which are
    text. One malformed call makes all of it text.
    """
    thought, end, said = written.rpartition("</think>")
    for mark, read in FORMATS:
        if not mark.search(said):
            continue
        try:
            calls = tuple(
                ToolCall(None, _name(name), json.dumps(_object(arguments), ensure_ascii=False))
                for name, arguments in read(said, tools)
            )
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        before = _CONTROL.sub("", thought + end + said[: _first(mark, said)])
        return (before.strip(), calls) if calls else None
    return None


# What control tokens look like; those of Mistral stand in the table.
_CONTROL = re.compile(r"<[|｜][^<>|｜]*[|｜]>")


def _first(mark: re.Pattern[str], text: str) -> int:
    found = mark.search(text)
    return found.start() if found else len(text)


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or re.search(r"[\s<>{}]", value.strip()):
        raise _MalformedError(f"no name: {value!r:.40}")
    return value.strip()


def _object(value: Any) -> dict[str, Any]:
    """Arguments as an object; some models write them as JSON text."""
    given = json.loads(value) if isinstance(value, str) else value
    if not isinstance(given, dict):
        raise _MalformedError("arguments are no object")
    return given


def _spans(text: str, opening: str, closing: str) -> Iterator[str]:
    """What stands between each pair of marks; an open one is malformed."""
    for part in text.split(opening)[1:]:
        inside, closed, _ = part.partition(closing)
        if not closed:
            raise _MalformedError(f"{opening} without {closing}")
        yield inside.strip()


def _json_call(value: Any) -> Found:
    if not isinstance(value, dict):
        raise _MalformedError("a call is no object")
    return value["name"], value["arguments"] if "arguments" in value else value["parameters"]


def _hermes(text: str, tools: Tools) -> Iterator[Found]:
    """<tool_call>{"name": …, "arguments": …}</tool_call>: Hermes, Qwen 2.5 and 3."""
    for span in _spans(text, "<tool_call>", "</tool_call>"):
        yield _json_call(json.loads(span))


def _elements(text: str, tools: Tools) -> Iterator[Found]:
    """<tool_call><function=name><parameter=key>value</parameter>…: Qwen 3.5, Qwen Coder, Nemotron 3."""
    for span in _spans(text, "<tool_call>", "</tool_call>"):
        whole = re.fullmatch(r"<function=([^>\n]+)>(.*)</function>", span, re.DOTALL)
        if whole is None:
            raise _MalformedError("no <function=…>")
        given = re.findall(r"<parameter=([^>\n]+)>\n?(.*?)\n?</parameter>", whole[2], re.DOTALL)
        if len(given) != whole[2].count("<parameter="):
            raise _MalformedError("an open <parameter=…>")
        yield whole[1], _typed(whole[1], given, tools)


def _pairs(text: str, tools: Tools) -> Iterator[Found]:
    """<tool_call>name <arg_key>key</arg_key> <arg_value>value</arg_value>…: GLM 4.5."""
    for span in _spans(text, "<tool_call>", "</tool_call>"):
        name, keys, rest = span.partition("<arg_key>")
        given = re.findall(r"<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)</arg_value>", keys + rest, re.DOTALL)
        if len(given) != span.count("<arg_key>"):
            raise _MalformedError("a key without a value")
        yield name, _typed(name.strip(), given, tools)


def _mistral(text: str, tools: Tools) -> Iterator[Found]:
    """[TOOL_CALLS] [{"name": …, "arguments": …}, …], and [TOOL_CALLS]name[ARGS]{…} of later models."""
    for part in text.split("[TOOL_CALLS]")[1:]:
        name, named, arguments = part.partition("[ARGS]")
        if named:
            yield name, json.loads(arguments)
        else:
            yield from map(_json_call, json.loads(part))


def _deepseek(text: str, tools: Tools) -> Iterator[Found]:
    """<｜tool▁call▁begin｜>function<｜tool▁sep｜>name, then the arguments as a block of JSON."""
    for span in _spans(text, "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>"):
        whole = re.fullmatch(r"\w+<｜tool▁sep｜>([^\n]+)\n```json\n(.*)\n```", span, re.DOTALL)
        if whole is None:
            raise _MalformedError("no block of JSON")
        yield whole[1], json.loads(whole[2])


def _harmony(text: str, tools: Tools) -> Iterator[Found]:
    """…to=functions.name…<|message|>{…}<|call|>, the recipient before or after the channel: GPT-OSS."""
    for part in re.split(r"to=functions\.", text)[1:]:
        header, sent, body = part.partition("<|message|>")
        if not sent:
            raise _MalformedError("no <|message|>")
        yield re.split(r"[\s<]", header)[0], json.loads(body.partition("<|call|>")[0])


def _gemma(text: str, tools: Tools) -> Iterator[Found]:
    """<|tool_call>call:name{key:value,…}<tool_call|> with <|"|> around texts: Gemma 4."""
    for span in _spans(text, "<|tool_call>", "<tool_call|>"):
        whole = re.fullmatch(r"call:([^{]+)(\{.*\})", span, re.DOTALL)
        if whole is None:
            raise _MalformedError("no call:name{…}")
        outside = whole[2].split('<|"|>')
        if len(outside) % 2 == 0:
            raise _MalformedError("an open text")
        parts = [
            json.dumps(part) if k % 2 else re.sub(r"([{,]\s*)([^\s{}\[\],:\"]+)\s*:", r'\1"\2":', part)
            for k, part in enumerate(outside)
        ]
        yield whole[1], json.loads("".join(parts))


def _llama(text: str, tools: Tools) -> Iterator[Found]:
    """{"name": …, "parameters": …} and nothing else, several after semicolons: Llama 3.1 to 3.3."""
    rest, decoder = text.replace("<|python_tag|>", "").strip(), json.JSONDecoder()
    while rest:
        call, end = decoder.raw_decode(rest)
        yield _json_call(call)
        rest = rest[end:].lstrip("; \n")


def _typed(name: str, given: Sequence[tuple[str, str]], tools: Tools) -> dict[str, Any]:
    """Bare arguments by the tool's schema: texts as they are, all others as JSON where they are JSON."""
    functions = (tool.get("function", tool) for tool in tools)
    found = next((f for f in functions if isinstance(f, dict) and f.get("name") == name), {})
    schema = (found.get("parameters") or {}).get("properties") or {}

    def value(key: str, text: str) -> Any:
        if (schema.get(key) or {}).get("type") == "string":
            return text
        try:
            return json.loads(text)
        except ValueError:
            return {"True": True, "False": False, "None": None}.get(text, text)

    return {key: value(key, text) for key, text in given}


# The mark that tells a format, and what reads it. Those that share a mark are told apart by what follows it.
FORMATS: tuple[tuple[re.Pattern[str], Callable[[str, Tools], Iterator[Found]]], ...] = (
    (re.compile(r"<tool_call>\s*<function="), _elements),
    (re.compile(r"<tool_call>\s*\{"), _hermes),
    (re.compile(r"<tool_call>\s*[\w.-]+\s*(<arg_key>|</tool_call>)"), _pairs),
    (re.compile(r"\[TOOL_CALLS\]"), _mistral),
    (re.compile("(<｜tool▁calls▁begin｜>)?<｜tool▁call▁begin｜>"), _deepseek),
    (re.compile(r"to=functions\."), _harmony),
    (re.compile(r"<\|tool_call>call:"), _gemma),
    (re.compile(r"^\s*(<\|python_tag\|>)?\s*\{(?=.*\"(parameters|arguments)\")", re.DOTALL), _llama),
)
