"""MSG: the turns of a chat row, whose they are and in which order. Docstrings are the rules' pages, as in `fmt`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..findings import Fault
from ..json_scanner import join_path
from ..targets import Target
from .subjects import Line

SYSTEM = ("system", "developer")


def no_assistant(line: Line, target: Target) -> Iterator[Fault]:
    """No message is the assistant's.

    Why: only assistant messages train; this row has nothing to learn.
    Bad:
        {"messages": [{"role": "user", "content": "Hi"}]}
    Good:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    """
    if line.roles is not None and "assistant" not in line.roles:
        cure = "Add the reply, or delete the row; rows for reinforcement: --input-format reinforcement."
        yield Fault("no message is the assistant's", cure, where="messages")


def no_user(line: Line, target: Target) -> Iterator[Fault]:
    """No message is the user's.

    Why: at inference a user speaks first; a reply to nobody is seldom what should be learnt.
    Bad:
        {"messages": [{"role": "system", "content": "Be brief."}, {"role": "assistant", "content": "Hello!"}]}
    Good:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    """
    if line.roles is not None and "user" not in line.roles:
        yield Fault("no message is the user's", "Put the request into a user message.", where="messages")


def last_not_assistant(line: Line, target: Target) -> Iterator[Fault]:
    """A supervised row does not end with the assistant.

    Why: what follows the last reply is never trained, and several targets refuse the row.
    Bad:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}, {"role": "user", "content": "Bye"}]}
    Good:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    """
    if line.roles is not None and "assistant" in line.roles and line.roles[-1] != "assistant":
        cure = "Add the assistant's reply, or cut what follows the last one."
        message = f"the row ends with the {line.roles[-1]}, not the assistant"
        yield Fault(message, cure, where=message_path(len(line.roles) - 1))


def consecutive_roles(line: Line, target: Target) -> Iterator[Fault]:
    """Two user or two assistant messages stand in a row.

    Why: many chat templates refuse it, others merge the two or mask one. A picture in a user message of its
    own beside the question is the documented way for some targets, and passes where the rule only warns.
    Bad:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "user", "content": "Anyone?"}, {"role": "assistant", "content": "Hello!"}]}
    Good:
        {"messages": [{"role": "user", "content": "Hi. Anyone?"}, {"role": "assistant", "content": "Hello!"}]}
    """
    roles = line.roles or ()
    for i in range(1, len(roles)):
        if roles[i] == roles[i - 1] and roles[i] in ("user", "assistant"):
            pictured = any(_has_image(message) for _, message in line.turns[i - 1 : i + 1])
            if roles[i] == "user" and pictured and "MSG013" not in target.severity:
                continue
            yield Fault(
                f"two {roles[i]} messages in a row",
                "Join them, or add the turn between.",
                where=message_path(i),
            )


def system_not_first(line: Line, target: Target) -> Iterator[Fault]:
    """A system message stands after the conversation has begun.

    Why: many templates move it, drop it or fail on it.
    Bad:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "system", "content": "Be brief."}, {"role": "assistant", "content": "Hello!"}]}
    Good:
        {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    """
    begun = False
    for i, role in enumerate(line.roles or ()):
        if begun and role in SYSTEM:
            yield Fault("the system message is not the first", "Move it to the front.", where=message_path(i))
        begun = begun or role not in SYSTEM


def several_systems(line: Line, target: Target) -> Iterator[Fault]:
    """A row has more than one system message.

    Why: templates keep the first, or the last, or fail; which instructions were trained is then anyone's guess.
    Bad:
        {"messages": [{"role": "system", "content": "Be brief."}, {"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    Good:
        {"messages": [{"role": "system", "content": "Be brief. Be kind."}, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    """
    places = [i for i, role in enumerate(line.roles or ()) if role in SYSTEM]
    if len(places) > 1:
        yield Fault(f"{len(places)} system messages", "Join them into one.", where=message_path(places[1]))


def nothing_trains(line: Line, target: Target) -> Iterator[Fault]:
    """Every assistant message has weight 0.

    Why: the row costs tokens and teaches nothing.
    Bad:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!", "weight": 0}]}
    Good:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!", "weight": 1}]}
    """
    weights = [m.get("weight") for _, m in line.turns if m.get("role") == "assistant"]
    if line.roles is not None and weights and all(w == 0 and w is not None for w in weights):
        cure = "Give the reply to learn weight 1, or delete the row."
        yield Fault("every assistant message has weight 0", cure, where="messages")


def no_system(line: Line, target: Target) -> Iterator[Fault]:
    """The row has no system message.

    Why: nothing is wrong; but rows with and without one teach two behaviours. Shown only when selected.
    With: select=MSG020
    Bad:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    Good:
        {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    """
    if line.roles is not None and not any(role in SYSTEM for role in line.roles):
        yield Fault(
            "there is no system message",
            "Add the one you use at inference, if you use one.",
            where="messages",
        )


def message_path(index: int, key: str | None = None) -> str:
    """The JSON path of a message of a chat, or of one of its keys."""
    return join_path(["messages", index] if key is None else ["messages", index, key])


def _has_image(message: dict[str, Any]) -> bool:
    content = message.get("content")
    parts = content if isinstance(content, list) else ()
    return any(isinstance(part, dict) and part.get("type") in ("image_url", "image") for part in parts)
