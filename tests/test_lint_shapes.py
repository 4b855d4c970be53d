"""Clean rows of many shapes give no error and no warning, whatever the target."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from validators import lint
from validators.targets import TARGETS

Row = dict[str, Any]
PNG = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
JPEG = "data:image/jpeg;base64,/9j/4AAQSkZJRgABAQEAYABgAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8UHRof"
WEBP = "data:image/webp;base64,UklGRiQAAABXRUJQVlA4IBgAAAAwAQCdASoBAAEAAwA0JaQAA3AA/vuUAAA="
LEVEL = {
    "type": "function",
    "function": {
        "name": "tank_level",
        "description": "How full the tank of a device is.",
        "parameters": {
            "type": "object",
            "properties": {
                "device": {"type": "string", "enum": ["Duo", "Tower"], "description": "Its name."},
                "unit": {"type": ["string", "null"], "pattern": "^(share|litre)s?$"},
                "pods": {"type": "array", "items": {"$ref": "#/$defs/pod"}},
            },
            "required": ["device"],
            "additionalProperties": False,
            "$defs": {"pod": {"type": "integer", "minimum": 1, "maximum": 24}},
        },
    },
}
NOW = {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}
# Hosted targets that take other things than TRL and its like.
HOSTED = tuple(name for name in TARGETS if name not in ("generic", "trl"))
FETCHING = tuple(name for name in TARGETS if name not in ("together", "fireworks"))
DATA_URIS = tuple(TARGETS)
OPEN = ("generic", "trl", "gemini")


def user(text: object, **more: object) -> Row:
    return {"role": "user", "content": text, **more}


def reply(text: object, **more: object) -> Row:
    return {"role": "assistant", "content": text, **more}


def call(n: int, name: str = "tank_level", arguments: object = None, **more: object) -> Row:
    """A tool call with an id that every target takes."""
    given = {"device": "Duo", "pods": [1, n % 24 + 1]} if arguments is None else arguments
    text = given if isinstance(given, str) else json.dumps(given)
    return {"id": f"c{n:08}", "type": "function", "function": {"name": name, "arguments": text}, **more}


def result(n: int, text: object = "0.5", **more: object) -> Row:
    return {"role": "tool", "tool_call_id": f"c{n:08}", "content": text, **more}


def chat(*messages: Row, **more: object) -> Row:
    return {"messages": list(messages), **more}


def text_part(text: str) -> Row:
    return {"type": "text", "text": text}


def image(url: str, **more: object) -> Row:
    return {"type": "image_url", "image_url": {"url": url, **more}}


def words(n: int) -> str:
    """A question of its own for each row."""
    plant = ("mint", "dill", "thyme", "sage", "basil", "cress", "chive", "lettuce", "parsley", "chilli")[
        n % 10
    ]
    return f"Which light does {plant} in pod {n} like?"


ANSWERS = (
    "Bright, but out of the noon sun.",
    "Half shade, then it grows soft leaves.",
    "As much as the panel gives.",
    "Six hours are enough.",
    "Start with eight and look at the stems.",
    "Cool white until it flowers.",
    "It does not mind a dark week.",
    "The upper row.",
    "Fourteen hours, less in winter.",
    "Warm light while the fruit sets.",
)


def answer(n: int) -> str:
    return f"{ANSWERS[n % 10]} See page {n}."


def openai_pair(n: int, better: str, worse: str) -> Row:
    return {
        "input": {"messages": [user(words(n))]},
        "preferred_output": [reply(better)],
        "non_preferred_output": [reply(worse)],
    }


def uneven(n: int) -> tuple[str, str]:
    """Two replies, now the first longer, now the second."""
    return (answer(n), "No.") if n % 2 else ("Yes, it does.", f"Nobody knows. {answer(n)}")


# name → (row from a number, targets it is clean for; none: all)
SHAPES: dict[str, tuple[Callable[[int], Row], tuple[str, ...]]] = {
    "plain": (lambda n: chat(user(words(n)), reply(answer(n))), ()),
    "system": (
        lambda n: chat({"role": "system", "content": "Be kind."}, user(words(n)), reply(answer(n))),
        (),
    ),
    "turns": (
        lambda n: chat(user(words(n)), reply("Which device?"), user("The Duo."), reply(answer(n))),
        (),
    ),
    "weights": (
        lambda n: chat(user(words(n)), reply("Hm.", weight=0), user("So?"), reply(answer(n), weight=1)),
        tuple(name for name in TARGETS if name != "gemini"),
    ),
    "names": (
        lambda n: chat(user(words(n), name="ida"), reply(answer(n), name="gardener")),
        (),
    ),
    "emoji, right to left, composed": (
        lambda n: chat(
            user(f"{words(n)} 🌱👩‍🌾 מה שלום הריחן? كم لتراً؟"), reply(f"{answer(n)} שמש! e\u0301té 👍🏽")
        ),
        (),
    ),
    "line separators and tabs in text": (
        lambda n: chat(user(f"{words(n)}\u2028And\tthen?\n"), reply(f"{answer(n)}\r\nDone.")),
        (),
    ),
    "code and braces": (
        lambda n: chat(user(f"{words(n)} `{{x}}`"), reply(f"{answer(n)}\n```py\nprint({{'a': 1}})\n```")),
        (),
    ),
    "text parts": (
        lambda n: chat(user([text_part(words(n)), text_part("Be exact.")]), reply([text_part(answer(n))])),
        (),
    ),
    "image by address": (
        lambda n: chat(user([text_part(words(n)), image(f"https://example.com/{n}.jpg")]), reply(answer(n))),
        FETCHING,
    ),
    "image in a message of its own": (
        lambda n: chat(user(words(n)), user([image(f"https://example.com/{n}.jpg")]), reply(answer(n))),
        FETCHING,
    ),
    "PNG and JPEG inside": (
        lambda n: chat(user([text_part(words(n)), image(PNG), image(JPEG, detail="low")]), reply(answer(n))),
        (),
    ),
    "WebP inside": (
        lambda n: chat(user([text_part(words(n)), image(WEBP)]), reply(answer(n))),
        tuple(name for name in TARGETS if name != "fireworks"),
    ),
    "image of TRL, kept elsewhere": (
        lambda n: chat(user([{"type": "image"}, text_part(words(n))]), reply([text_part(answer(n))])),
        OPEN,
    ),
    "sound": (
        lambda n: chat(
            user(
                [
                    text_part(words(n)),
                    {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
                ]
            ),
            reply(answer(n)),
        ),
        ("generic", "openai", "azure"),
    ),
    "refusal": (
        lambda n: chat(user(words(n)), {"role": "assistant", "content": None, "refusal": answer(n)}),
        ("generic", "openai", "azure"),
    ),
    "call and result": (
        lambda n: chat(
            user(words(n)),
            reply(None, tool_calls=[call(n)]),
            result(n, f"0.{n}"),
            reply(answer(n)),
            tools=[LEVEL],
        ),
        (),
    ),
    "content left out beside calls": (
        lambda n: chat(
            user(words(n)),
            {"role": "assistant", "tool_calls": [call(n)]},
            result(n),
            reply(answer(n)),
            tools=[LEVEL],
        ),
        (),
    ),
    "text beside calls": (
        lambda n: chat(
            user(words(n)),
            reply("Let me look.", tool_calls=[call(n)]),
            result(n),
            reply(answer(n)),
            tools=[LEVEL],
        ),
        (),
    ),
    "empty text beside calls": (
        lambda n: chat(
            user(words(n)), reply("", tool_calls=[call(n)]), result(n), reply(answer(n)), tools=[LEVEL]
        ),
        (),
    ),
    "last call unanswered": (
        lambda n: chat(user(words(n)), reply(None, tool_calls=[call(n)]), tools=[LEVEL]),
        (),
    ),
    "parallel calls, results in another order": (
        lambda n: chat(
            user(words(n)),
            reply(None, tool_calls=[call(n), call(n + 5000, "now", {})]),
            result(n + 5000, "08:17"),
            result(n),
            reply(answer(n)),
            tools=[LEVEL, NOW],
        ),
        (),
    ),
    "parallel calls at the end": (
        lambda n: chat(
            user(words(n)), reply(None, tool_calls=[call(n), call(n + 5000, "now", {})]), tools=[LEVEL, NOW]
        ),
        (),
    ),
    "the same id again in a later turn": (
        lambda n: chat(
            user(words(n)),
            reply(None, tool_calls=[call(1)]),
            result(1),
            reply("Half full."),
            user("And now?"),
            reply(None, tool_calls=[call(1)]),
            result(1, f"0.{n}"),
            reply(answer(n)),
            tools=[LEVEL],
        ),
        (),
    ),
    "calls without definitions": (
        lambda n: chat(
            user(words(n)), reply(None, tool_calls=[call(n, "undeclared")]), result(n), reply(answer(n))
        ),
        (),
    ),
    "tools that are not called": (lambda n: chat(user(words(n)), reply(answer(n)), tools=[LEVEL, NOW]), ()),
    "a tool's result in parts": (
        lambda n: chat(
            user(words(n)),
            reply(None, tool_calls=[call(n)]),
            result(n, [text_part("0.5")]),
            reply(answer(n)),
            tools=[LEVEL],
        ),
        (),
    ),
    "an empty result": (
        lambda n: chat(
            user(words(n)),
            reply(None, tool_calls=[call(n, "now", "{}")]),
            result(n, ""),
            reply(answer(n)),
            tools=[NOW],
        ),
        (),
    ),
    "a tool without parameters": (
        lambda n: chat(
            user(words(n)), reply(answer(n)), tools=[{"type": "function", "function": {"name": "now"}}]
        ),
        (),
    ),
    "tool choice beside tools": (
        lambda n: chat(
            user(words(n)), reply(answer(n)), tools=[NOW], tool_choice="auto", parallel_tool_calls=False
        ),
        tuple(name for name in TARGETS if name != "together"),
    ),
    "TRL: object arguments, no ids": (
        lambda n: chat(
            user(words(n)),
            reply(
                "",
                tool_calls=[
                    {"type": "function", "function": {"name": "tank_level", "arguments": {"device": "Duo"}}}
                ],
            ),
            {"role": "tool", "name": "tank_level", "content": "0.5"},
            reply(answer(n)),
            tools=[LEVEL],
        ),
        OPEN,
    ),
    "TRL: tools as text, bare functions": (
        lambda n: chat(user(words(n)), reply(answer(n)), tools=json.dumps([NOW["function"]])),
        OPEN,
    ),
    "thinking apart": (
        lambda n: chat(user(words(n)), reply(answer(n), reasoning_content="Light, so watts.")),
        ("generic", "trl", "fireworks", "gemini"),
    ),
    "metadata and id": (
        lambda n: chat(user(words(n)), reply(answer(n)), metadata={"desk": "advice"}, id=f"r{n}"),
        tuple(name for name in TARGETS if name != "together"),
    ),
    "a further column": (
        lambda n: chat(user(words(n)), reply(answer(n)), source="mail"),
        tuple(name for name in TARGETS if name != "together"),
    ),
    "developer": (
        lambda n: chat({"role": "developer", "content": "Be kind."}, user(words(n)), reply(answer(n))),
        ("generic", "openai", "azure", "trl"),
    ),
    "pair": (
        lambda n: openai_pair(n, *uneven(n)),
        tuple(name for name in TARGETS if name not in ("mistral",)),
    ),
    "pair with a call": (
        lambda n: {
            "input": {"messages": [user(words(n))], "tools": [LEVEL], "parallel_tool_calls": True},
            "preferred_output": [reply(None, tool_calls=[call(n)])],
            "non_preferred_output": [reply(answer(n))],
        },
        ("generic", "openai", "azure", "trl"),
    ),
    "pair of TRL, text": (
        lambda n: {"prompt": words(n), "chosen": uneven(n)[0], "rejected": uneven(n)[1]},
        OPEN,
    ),
    "pair of LLaMA-Factory": (
        lambda n: {
            "conversations": [{"from": "human", "value": words(n)}],
            "chosen": {"from": "gpt", "value": uneven(n)[0]},
            "rejected": {"from": "gpt", "value": uneven(n)[1]},
        },
        OPEN,
    ),
    "pair beside an instruction": (
        lambda n: {"instruction": words(n), "input": "", "chosen": uneven(n)[0], "rejected": uneven(n)[1]},
        OPEN,
    ),
    "pair of TRL, messages": (
        lambda n: {
            "prompt": [user(words(n))],
            "chosen": [reply(uneven(n)[0])],
            "rejected": [reply(uneven(n)[1])],
        },
        OPEN,
    ),
    "pair of TRL, the prompt in both sides": (
        lambda n: {
            side: [user(words(n)), reply(uneven(n)[i])] for i, side in enumerate(("chosen", "rejected"))
        },
        OPEN,
    ),
    "pair of TRL beside the conversation": (
        lambda n: {
            "prompt": words(n),
            "messages": [user(words(n)), reply(uneven(n)[0])],
            "chosen": [user(words(n)), reply(uneven(n)[0])],
            "rejected": [user(words(n)), reply(uneven(n)[1])],
            "score": n,
        },
        OPEN,
    ),
    "reinforcement": (
        lambda n: chat(user(words(n)), answer=answer(n)),
        ("generic", "openai", "azure", "trl"),
    ),
    "prompt and completion": (lambda n: {"prompt": words(n), "completion": answer(n)}, ()),
    "prompt and completion as messages": (
        lambda n: {"prompt": [user(words(n))], "completion": [reply(answer(n))]},
        OPEN,
    ),
    "text": (lambda n: {"text": f"{words(n)} {answer(n)}"}, ()),
    "alpaca": (lambda n: {"instruction": words(n), "input": "", "output": answer(n)}, ()),
    "sharegpt": (
        lambda n: {
            "conversations": [{"from": "human", "value": words(n)}, {"from": "gpt", "value": answer(n)}]
        },
        (),
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_clean_rows_give_no_error_and_no_warning(name: str, tmp_path: Path) -> None:
    row, targets = SHAPES[name]
    for target in targets or TARGETS:
        bom = "\ufeff" if target == "azure" else ""
        lines = (json.dumps(row(n), ensure_ascii=n % 2 == 0) for n in range(12))
        path = tmp_path / f"{target}.jsonl"
        path.write_bytes((bom + "\n".join(lines) + "\n").encode())
        found = lint(path, target=target).findings
        assert [f"{target}: {f.code} {f.where}: {f.message}" for f in found if f.severity != "info"] == []


def test_line_ends_of_windows_are_clean(tmp_path: Path) -> None:
    row, _ = SHAPES["call and result"]
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"".join(json.dumps(row(n)).encode() + b"\r\n" for n in range(12)))
    assert lint(path).findings == ()
