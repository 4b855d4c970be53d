"""Rows of each format written from a neutral conversation, with what each cannot hold named as a loss."""

from __future__ import annotations

import json
from typing import Any

from .examples import ExampleError
from .findings import quoted
from .neutral import Message, Neutral, from_json

Written = tuple[dict[str, Any], list[str]]

_PLAIN_KEYS = frozenset({"role", "content", "tool_calls", "tool_call_id", "weight"})


def write_chat(row: Neutral) -> Written:
    """OpenAI messages; a preference keeps its preferred side."""
    written: dict[str, Any] = {"messages": row.conversation}
    if row.tools:
        written["tools"] = row.tools
    return written, _other_side(row)


def write_preference(row: Neutral) -> Written:
    """OpenAI's preference pair."""
    chosen, rejected = _pair(row)
    asked: dict[str, Any] = {"messages": row.messages}
    if row.tools:
        asked["tools"] = row.tools
    inner = {k: row.further[k] for k in ("parallel_tool_calls", "tool_choice") if k in row.further}
    sides = {"preferred_output": chosen, "non_preferred_output": rejected}
    return {"input": asked | inner, **sides}, []


def write_trl_preference(row: Neutral) -> Written:
    """TRL's preference with an explicit prompt; bare texts stay such."""
    chosen, rejected = _pair(row)
    written: dict[str, Any] = {"prompt": row.messages, "chosen": chosen, "rejected": rejected}
    if row.plain:
        texts = {key: "".join(map(plain_text, side)) for key, side in written.items()}
        return texts, []
    if row.tools:
        written["tools"] = row.tools
    return written, []


def write_prompt_completion(row: Neutral) -> Written:
    """Prompt and completion as plain text."""
    asked, reply = _last_reply(row)
    losses = [*_other_side(row), *_untrained(asked, reply), *_beside_text([*asked, reply], row)]
    if asked and not (len(asked) == 1 and asked[0]["role"] == "user" and asked[0]["content"]):
        losses.append("roles and borders of the prompt's messages")
    prompt = "\n\n".join(text for m in asked if (text := plain_text(m)))
    return {"prompt": prompt, "completion": plain_text(reply)}, losses


def write_trl_prompt_completion(row: Neutral) -> Written:
    """TRL's conversational prompt and completion; only the completion trains."""
    asked, reply = _last_reply(row)
    losses = [*_other_side(row), *_untrained(asked, reply)]
    sides = [[{k: v for k, v in m.items() if k != "weight"} for m in side] for side in (asked, [reply])]
    written: dict[str, Any] = {"prompt": sides[0], "completion": sides[1]}
    if row.tools:
        written["tools"] = row.tools
    return written, losses


def write_alpaca(row: Neutral) -> Written:
    """Instruction and output, with `system` and `history` for what came before; all replies train."""
    messages = row.conversation
    losses = [*_other_side(row), *_beside_text(messages, row), *_weights(messages)]
    system = ""
    if messages and messages[0]["role"] in ("system", "developer"):
        system = plain_text(messages[0])
        messages = messages[1:]
        losses += [] if system else ["an empty system message"]
    pairs: list[list[str]] = []
    for message in messages:
        text, role = plain_text(message), message["role"]
        if role == "user" and (not pairs or len(pairs[-1]) == 2):
            pairs.append([text])
        elif role == "assistant" and pairs and len(pairs[-1]) == 1:
            pairs[-1].append(text)
        else:
            losses.append("roles and borders of messages that do not take turns")
            if role == "assistant" and not pairs:
                pairs.append(["", text])
            elif pairs:
                pairs[-1][-1] = "\n\n".join(t for t in (pairs[-1][-1], text) if t)
            else:
                pairs.append([text])
    if not pairs or len(pairs[-1]) != 2:
        raise ExampleError("messages", "the conversation does not end with a reply")
    instruction, output = pairs.pop()
    written: dict[str, Any] = {"instruction": instruction, "input": "", "output": output}
    written |= {"system": system} if system else {}
    written |= {"history": pairs} if pairs else {}
    return written, losses


def write_sharegpt(row: Neutral) -> Written:
    """ShareGPT's turns; calls and results stand in the order in which they answer each other."""
    names = {"user": "human", "assistant": "gpt", "system": "system", "tool": "observation"}
    names["developer"] = "system"
    losses = [*_other_side(row), *_weights(row.conversation)]
    turns: list[dict[str, str]] = []
    open_ids: list[str] = []
    for i, message in enumerate(row.conversation):
        losses += _keys(message)
        if message["role"] not in names:
            raise ExampleError(f"messages[{i}].role", f"ShareGPT has no role {quoted(message['role'])}")
        losses += _parts(message)
        losses += ["the role developer (it becomes system)"] if message["role"] == "developer" else []
        if calls := message.get("tool_calls"):
            losses += ["text beside tool calls"] if message["content"] is not None else []
            open_ids += [call["id"] for call in calls]
            losses += (
                ["other keys of tool calls"]
                if any(c.keys() - {"id", "type", "function"} for c in calls)
                else []
            )
            said = [_call(call) for call in calls]
            value = json.dumps(said if len(said) > 1 else said[0], ensure_ascii=False)
            turns.append({"from": "function_call", "value": value})
            continue
        if message["role"] == "tool":
            answered = message.get("tool_call_id")
            if not open_ids or open_ids[0] != answered:
                losses.append("which call a tool result answers")
            if answered in open_ids:
                open_ids.remove(answered)
        turns.append({"from": names[message["role"]], "value": plain_text(message)})
    written: dict[str, Any] = {"conversations": turns}
    if row.tools:
        bare = all(isinstance(t, dict) and t.keys() == {"type", "function"} for t in row.tools)
        tools = [tool["function"] for tool in row.tools] if bare else row.tools
        written["tools"] = json.dumps(tools, ensure_ascii=False)
    return written, losses


def write_text(row: Neutral) -> Written:
    """One text, all of it trained."""
    messages = row.conversation
    losses = [*_other_side(row), *_beside_text(messages, row), *_weights(messages)]
    if not (len(messages) == 1 and messages[0]["role"] == "assistant"):
        losses.append("roles and borders of messages")
    text = "\n\n".join(text for message in messages if (text := plain_text(message)))
    return {"text": text}, losses


def plain_text(message: Message) -> str:
    """A message's text: its text parts joined, "" where it has none."""
    content = message["content"]
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text", "")) for part in content or () if part.get("type") == "text")


def _call(call: dict[str, Any]) -> dict[str, Any]:
    arguments: Any = call["function"]["arguments"]
    decoded = from_json(arguments)
    return {
        "name": call["function"]["name"],
        "arguments": decoded if isinstance(decoded, dict) else arguments,
    }


def _pair(row: Neutral) -> tuple[list[Message], list[Message]]:
    if row.chosen is None or row.rejected is None:
        raise ExampleError("$", "the row has one answer; a preference needs a second, worse one")
    return row.chosen, row.rejected


def _last_reply(row: Neutral) -> tuple[list[Message], Message]:
    messages = row.conversation
    if not messages or messages[-1]["role"] != "assistant":
        raise ExampleError("messages", "the conversation does not end with a reply")
    return messages[:-1], messages[-1]


def _other_side(row: Neutral) -> list[str]:
    return ["the non-preferred side"] if row.rejected is not None else []


def _untrained(asked: list[Message], reply: Message) -> list[str]:
    """What changes where only the last reply trains."""
    earlier = any(m["role"] == "assistant" and m.get("weight") != 0 for m in asked)
    losses = ["training of earlier replies"] if earlier else []
    return losses + (["weight 0: the reply would train"] if reply.get("weight") == 0 else [])


def _weights(messages: list[Message]) -> list[str]:
    return ["weight 0: the reply would train"] if any(m.get("weight") == 0 for m in messages) else []


def _beside_text(messages: list[Message], row: Neutral) -> list[str]:
    """What a format of plain texts cannot hold."""
    losses = [loss for message in messages for loss in (*_keys(message), *_parts(message))]
    losses += ["tool definitions"] if row.tools else []
    losses += ["tool calls"] if any(m.get("tool_calls") for m in messages) else []
    losses += ["which messages are tool results"] if any(m["role"] == "tool" for m in messages) else []
    losses += [f"the role {m['role']}" for m in messages if m["role"] in ("developer", "function")]
    return losses


def _keys(message: Message) -> list[str]:
    return [f"the key {quoted(key)} of messages" for key in sorted(message.keys() - _PLAIN_KEYS)]


def _parts(message: Message) -> list[str]:
    content = message.get("content")
    if not isinstance(content, list):
        return []
    other = sorted({str(part.get("type")) for part in content} - {"text"})
    losses = [f"content parts of type {quoted(kind)}" for kind in other]
    return losses or ["borders of text parts"]
