"""A judge on a loopback server, and what it reads out of the question that it is asked."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tests.conftest import Reply

# What the judge is asked is parted by marks: <<mark name>> … <<mark end of name>>.
PART = re.compile(r"<<(\w{12}) (?!end of )([^>]+)>>\n(.*?)\n<<\1 end of \2>>", re.DOTALL)


def parts(text: str) -> dict[str, str]:
    """The fenced parts of a question to the judge, by name."""
    return {name: inside for _, name, inside in PART.findall(text)}


def outside(text: str) -> str:
    """What stands outside of all marks: the only instructions there are."""
    return PART.sub("", text)


def reply(text: str, *, tokens: tuple[int, int] = (100, 20)) -> Reply:
    """A chat completion of this text."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
    about = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
    return 200, {}, {**about, "choices": [choice], "usage": usage}


def by(judge: Callable[[dict[str, str]], str]) -> Callable[[dict[str, Any], int], Reply]:
    """A server's behaviour from a function of the fenced parts to the judge's last line."""
    return lambda body, _: reply(f"It was weighed.\n{judge(parts(body['messages'][0]['content']))}")


def fair(asked: dict[str, str]) -> str:
    """5 for the reference answer and 2 for any other; the better of two, else a tie."""
    right = asked["reference answer"]
    if "answer" in asked:
        return f"Rating: {5 if asked['answer'] == right else 2}"
    a, b = asked["answer A"] == right, asked["answer B"] == right
    return f"Verdict: {'tie' if a == b else 'A' if a else 'B'}"


def first_shown(asked: dict[str, str]) -> str:
    """Always the answer shown first."""
    return "Verdict: A"
