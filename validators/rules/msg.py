"""MSG: the messages of a chat row, each by itself. Docstrings are the rules' pages, as in `fmt`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..findings import Fault, kind_of, quoted
from ..json_scanner import join_path
from ..row_fixes import can_become_tool_call, tools_for_functions
from ..targets import Target
from .subjects import Line
from .turns import SYSTEM, message_path

# Roles of other formats that people leave in when they convert.
FOREIGN_ROLES = {
    "human": "user",
    "bot": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "ai": "assistant",
}


def messages_missing(line: Line, target: Target) -> Iterator[Fault]:
    """`messages` is no list, or is missing where chat rows were asked for.

    Why: without a list of messages there is nothing to train on.
    Bad:
        {"messages": "Hi"}
    Good:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    """
    if "messages" not in line.value:
        yield Fault("there are no messages", "Give the row a list under 'messages'.", where="messages")
    elif not isinstance(line.value["messages"], list):
        cure = 'Write [{"role": …, "content": …}, …]; a list that was turned into text must be parsed first.'
        yield Fault(f"messages is {kind_of(line.value['messages'])}, not a list", cure, where="messages")


def messages_empty(line: Line, target: Target) -> Iterator[Fault]:
    """`messages` is an empty list.

    Why: an empty conversation teaches nothing, and targets refuse it.
    Bad:
        {"messages": []}
    Good:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    """
    if line.value.get("messages") == []:
        yield Fault("messages is empty", "Fill it, or delete the row.", where="messages")


def message_not_object(line: Line, target: Target) -> Iterator[Fault]:
    """An entry of `messages` is not an object.

    Why: a message needs a role and content; bare text says neither who speaks nor what is trained.
    Bad:
        {"messages": ["Hi", {"role": "assistant", "content": "Hello!"}]}
    Good:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    """
    messages = line.value.get("messages")
    for i, message in enumerate(messages if isinstance(messages, list) else ()):
        if not isinstance(message, dict):
            cure = 'Write {"role": "user", "content": "…"}.'
            yield Fault(f"the message is {kind_of(message)}, not an object", cure, where=message_path(i))


def role_missing(line: Line, target: Target) -> Iterator[Fault]:
    """A message has no role.

    Why: the role decides what is prompt and what is trained.
    Bad:
        {"messages": [{"content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    Good:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    """
    for i, message in line.turns:
        if message.get("role") is None:
            sharegpt = " (this one has 'from' and 'value': ShareGPT's names)" if "from" in message else ""
            yield Fault(
                "the message has no role", f"Add one of {_roles(target)}{sharegpt}.", where=message_path(i)
            )


def unknown_role(line: Line, target: Target) -> Iterator[Fault]:
    """A message's role is none that the target takes.

    Why: the target refuses the file, or a trainer's template drops the message without a word.
    Bad:
        {"messages": [{"role": "human", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    Good:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    """
    for i, message in line.turns:
        role = message.get("role")
        if role is None or (isinstance(role, str) and role in target.roles):
            continue
        known = FOREIGN_ROLES.get(role.casefold()) if isinstance(role, str) else None
        hint = f" Did you mean '{known}'?" if known else line.guess(str(role), target.roles)
        yield Fault(
            f"unknown role {quoted(role)}",
            f"Use one of {_roles(target)}.{hint}",
            where=message_path(i, "role"),
        )


def content_missing(line: Line, target: Target) -> Iterator[Fault]:
    """A message has no content, and no tool call to excuse it.

    Why: templates write nothing, or the word None, where the content should be.
    Bad:
        {"messages": [{"role": "user", "text": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    Good:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    """
    for i, message in line.turns:
        if "content" not in message and not _calls(message):
            yield Fault(
                "the message has no content", "Add 'content' (null beside tool calls).", where=message_path(i)
            )


def content_wrong_type(line: Line, target: Target) -> Iterator[Fault]:
    """Content is neither text nor a list of parts; null is right beside tool calls only.

    Why: targets refuse it, and templates print the Python form of whatever stands there.
    Bad:
        {"messages": [{"role": "user", "content": "How many pods?"}, {"role": "assistant", "content": 6}]}
    Good:
        {"messages": [{"role": "user", "content": "How many pods?"}, {"role": "assistant", "content": "6"}]}
    """
    for i, message in line.turns:
        if "content" not in message:
            continue
        content = message["content"]
        if isinstance(content, (str, list)) or (content is None and _calls(message)):
            continue
        yield Fault(
            f"content is {kind_of(content)}, not text",
            "Write it as text in quotes.",
            where=message_path(i, "content"),
        )


def empty_content(line: Line, target: Target) -> Iterator[Fault]:
    """A system or user message holds no text.

    Why: the model learns to answer nothing in particular; usually a column was empty or misnamed.
    Bad:
        {"messages": [{"role": "user", "content": " "}, {"role": "assistant", "content": "Hello!"}]}
    Good:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    """
    for i, message in line.turns:
        if message.get("role") in ("user", *SYSTEM) and _is_blank(message.get("content")):
            cure = "Fill it, or delete the message (or the row)."
            yield Fault(f"the {message['role']} message is empty", cure, where=message_path(i, "content"))


def empty_reply(line: Line, target: Target) -> Iterator[Fault]:
    """An assistant's reply is empty and calls no tool.

    Why: it trains the model to say nothing.
    Bad:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": ""}]}
    Good:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    """
    places = [
        message_path(i, "content")
        for i, message in line.turns
        if message.get("role") == "assistant" and _is_blank(message.get("content")) and not _calls(message)
    ]
    for where in (*places, *_empty_replies(line)):
        yield Fault("the assistant's reply is empty", "Write the reply, or delete the row.", where=where)


def _empty_replies(line: Line) -> Iterator[str]:
    """Where a row that is no chat has a reply without text."""
    for name, key in (("alpaca", "output"), ("prompt-completion", "completion")):
        if (
            line.format == name
            and key in line.value
            and (line.value[key] is None or _is_blank(line.value[key]))
        ):
            yield key
    turns = line.value.get("conversations") if line.format == "sharegpt" else None
    for i, turn in enumerate(turns if isinstance(turns, list) else ()):
        if isinstance(turn, dict) and turn.get("from") == "gpt" and _is_blank(turn.get("value")):
            yield join_path(["conversations", i, "value"])


def bad_weight(line: Line, target: Target) -> Iterator[Fault]:
    """A weight is not the integer 0 or 1, or stands on another role than the assistant.

    Why: targets refuse other values, and a weight elsewhere does nothing.
    Bad:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!", "weight": 0.5}]}
    Good:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!", "weight": 1}]}
    """
    for i, message in line.turns:
        if "weight" not in message:
            continue
        weight, where = message["weight"], message_path(i, "weight")
        number = isinstance(weight, (bool, int, float)) and weight in (0, 1)
        if not number or type(weight) is not int:
            shown = quoted(weight) if isinstance(weight, str) else quoted(weight)[1:-1]
            cure = f"Write {int(weight)}." if number else "Use 0 (not trained) or 1 (trained)."
            yield Fault(
                f"weight {shown} is not the integer 0 or 1",
                cure,
                where=where,
                # Elsewhere it would still be wrong as an integer.
                fixable=number and message.get("role") == "assistant",
            )
        elif isinstance(role := message.get("role"), str) and role in target.roles and role != "assistant":
            cure = "Leave it out: only assistant messages train."
            yield Fault(f"a weight on the {role} message", cure, where=where, fixable=False)


def unknown_key(line: Line, target: Target) -> Iterator[Fault]:
    """A message has a key that the target does not know.

    Why: strict targets refuse the file for it.
    With: target=together
    Bad:
        {"messages": [{"role": "user", "content": "Hi", "lang": "en"}, {"role": "assistant", "content": "Hello!"}]}
    Good:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    """
    if target.message_keys is None:
        return
    for i, message in line.turns:
        for key in message:
            if key not in target.message_keys:
                cure = f"Leave it out.{line.guess(key, target.message_keys - message.keys())}"
                yield Fault(
                    f"{target.title} does not know the key {quoted(key)}", cure, where=message_path(i, key)
                )


def deprecated_functions(line: Line, target: Target) -> Iterator[Fault]:
    """`functions` or `function_call` is used where `tools` and `tool_calls` are today's names.

    Why: newer models and most trainers' templates read only tools and tool_calls: the call is lost.
    Bad:
        {"messages": [{"role": "user", "content": "Water?"}, {"role": "assistant", "function_call": {"name": "level", "arguments": "{}"}}]}
    Good:
        {"messages": [{"role": "user", "content": "Water?"}, {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "level", "arguments": "{}"}}]}]}
    """
    for key in ("functions", "function_call"):
        if line.value.get(key) is not None:
            new = "tools" if key == "functions" else "tool_choice"
            fixable = key not in tools_for_functions(line.value, target)
            yield Fault(f"{key} is deprecated", f"Use {new}.", where=key, fixable=fixable)
    for i, message in line.turns:
        if message.get("function_call") is not None:
            where = message_path(i, "function_call")
            fixable = can_become_tool_call(message)
            yield Fault("function_call is deprecated", "Use tool_calls.", where=where, fixable=fixable)


def _calls(message: dict[str, Any]) -> bool:
    """Whether something else than content says what the message does."""
    return any(message.get(key) for key in ("tool_calls", "function_call", "refusal", "audio"))


def _is_blank(content: Any) -> bool:
    if isinstance(content, str):
        return not content.strip()
    if not isinstance(content, list):
        return False
    return all(
        isinstance(part, dict)
        and part.get("type") == "text"
        and isinstance(part.get("text"), str)
        and not part["text"].strip()
        for part in content
    )


def _roles(target: Target) -> str:
    order = ("system", "developer", "user", "assistant", "tool")
    return ", ".join(role for role in order if role in target.roles)
