"""Tool calls in generated text: what published templates write for a call is read back as that call."""

from __future__ import annotations

import json
from typing import Any

import pytest

from metrics.structure import tool_call_match
from tests.example_tokenizers import family
from validators.examples import Message, ToolCall
from workbench.backends.tool_calls import read_calls

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "A tool.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "Where."},
                    "days": {"type": "integer", "description": "How long."},
                    "exact": {"type": "boolean", "description": "How."},
                },
                "required": ["city"],
            },
        },
    }
    for name in ("get_weather", "get_tide")
]
ARGUMENTS: list[dict[str, Any]] = [
    {"city": "Łódź, \"PL\" {a: [1]} 'x'", "days": 3, "exact": True},
    {"city": "12"},
    {},
]
# Families whose templates write calls in a form that is read; `one`: their models make one call a turn.
READ = {
    "qwen2_5": "",
    "qwen3": "",
    "qwen3_instruct_2507": "",
    "qwen3_vl": "",
    "qwen3_5_think": "",
    "qwen3_5_nothink": "",
    "qwen3_6": "",
    "nemotron_3_nano": "",
    "nemotron_3_super": "",
    "glm4moe": "",
    "deepseekv3": "text",
    "gemma4": "",
    "gemma4_v5": "",
    "llama3_1": "one",
    "llama3_2": "one",
    "gptoss": "one",
}


def written(stem: str, calls: list[ToolCall]) -> str:
    """What the template writes for a turn of calls, after its generation prompt."""
    tokenizer = family(stem)
    asked = [Message("user", "How is it?")]
    turns = [*asked, Message("assistant", None if stem != "qwen3_6" else "", tool_calls=tuple(calls))]
    whole = tokenizer.render(turns, tools=TOOLS)
    prompt = tokenizer.render(asked, tools=TOOLS, generation_prompt=True)
    begin = next((k for k, (a, b) in enumerate(zip(whole, prompt, strict=False)) if a != b), len(prompt))
    return whole[begin:].removesuffix("<|eot_id|>")  # a model stops there, and it is cut off


@pytest.mark.parametrize("stem", READ)
@pytest.mark.parametrize("arguments", ARGUMENTS)
def test_what_a_template_writes_is_read_back(stem: str, arguments: dict[str, Any]) -> None:
    names = ["get_weather"] if READ[stem] == "one" else ["get_weather", "get_tide"]
    calls = [ToolCall(f"c{n}", name, json.dumps(arguments)) for n, name in enumerate(names)]
    text = written(stem, calls)
    found = read_calls(text, TOOLS)
    assert found is not None, text
    assert [(c.name, json.loads(c.arguments)) for c in found[1]] == [(n, arguments) for n in names], text
    match = tool_call_match(
        [[c.as_dict() for c in found[1]]], [[{"name": n, "arguments": arguments} for n in names]]
    )
    assert match.stats.tolist() == [[1.0]]


MISTRAL = '[TOOL_CALLS] [{"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": {}}]'


@pytest.mark.parametrize(
    ("text", "calls", "left"),
    [
        (MISTRAL, [("f", {"a": 1}), ("g", {})], ""),
        ('One moment.[TOOL_CALLS]f[ARGS]{"a": 1}[TOOL_CALLS]g[ARGS]{}', [("f", {"a": 1}), ("g", {})], "One moment."),
        ('<|python_tag|>{"name": "f", "parameters": {"a": "b"}}', [("f", {"a": "b"})], ""),
        ('{"name": "f", "parameters": {}}; {"name": "g", "parameters": {}}', [("f", {}), ("g", {})], ""),
        ('I look.\n<tool_call>\n{"name": "f", "arguments": "{\\"a\\": 1}"}\n</tool_call>', [("f", {"a": 1})], "I look."),
        ('<think>\n<tool_call> maybe\n</think>\n<tool_call>{"name": "f", "arguments": {}}</tool_call>', [("f", {})], None),
        (
            "<|channel|>analysis<|message|>I look.<|end|><|start|>assistant<|channel|>commentary "
            'to=functions.f <|constrain|>json<|message|>{"a": 1}',
            [("f", {"a": 1})],
            None,
        ),
    ],
)  # fmt: skip
def test_other_forms(text: str, calls: list[tuple[str, Any]], left: str | None) -> None:
    found = read_calls(text, ())
    assert found is not None
    assert [(c.name, json.loads(c.arguments)) for c in found[1]] == calls
    assert left is None or found[0] == left


@pytest.mark.parametrize(
    "text",
    [
        "",
        "It is sunny.",
        '{"answer": 1}',
        '{"name": "f"}',
        '{"name": "f", "parameters": {"a": 1}} and more',
        '<tool_call>{"name": "f", "arguments": {"a": 1}',  # cut by the token limit
        '<tool_call>{"name": "f", "arguments": {"a": }}</tool_call>',
        '<tool_call>{"name": "f", "arguments": [1]}</tool_call>',
        '<tool_call>{"name": 7, "arguments": {}}</tool_call>',
        '<tool_call>["f"]</tool_call>',
        '<tool_call>{"name": "f", "arguments": {}}</tool_call><tool_call>{"name": </tool_call>',
        "<tool_call><function=f><parameter=a>1</function></tool_call>",
        "<tool_call>f<arg_key>a</arg_key></tool_call>",
        "[TOOL_CALLS]",
        '[TOOL_CALLS] [{"name": "f"}]',
        "<｜tool▁call▁begin｜>function<｜tool▁sep｜>f<｜tool▁call▁end｜>",
        "to=functions.f {}",
        "<|tool_call>call:f{a:<|\"|>open}<tool_call|>",
        '<think>{"name": "f", "parameters": {}}</think>No.',
        "[" * 100_000,
        '{"name": "f", "parameters": ' + "[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_whole_call_stays_text(text: str) -> None:
    assert read_calls(text, ()) is None
