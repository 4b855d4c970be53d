"""TOOL: tool definitions, calls and results. Docstrings are the rules' pages, as in `fmt`.

A page's rows are long; the definitions and calls they show are those of the OpenAI form. The deprecated
`functions` and `function_call` are checked as tools and calls without an id.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from typing import Any

from ..findings import Fault, kind_of, quoted
from ..json_scanner import join_path
from ..targets import Target
from ..tool_schemas import parameters_fault, violations
from .calls import Call, calls_of, decoded_text, definitions_of, is_name, named_calls, tool_list
from .subjects import Line

# Of more names the nearest is not looked for: the row has a fault with each of its calls, probably.
FEW = 200


def bad_tool_call(line: Line, target: Target) -> Iterator[Fault]:
    """A tool call lacks what the target needs: a function with a name; id, type and text arguments for most.

    Why: the target refuses the file, or the template writes a call without its name.
    Bad:
        {"messages": [{"role": "user", "content": "Water?"}, {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "name": "level", "arguments": "{}"}]}]}
    Good:
        {"messages": [{"role": "user", "content": "Water?"}, {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "level", "arguments": "{}"}}]}]}
    """
    shape = 'Write {"id": "…", "type": "function", "function": {"name": "…", "arguments": "{…}"}}.'
    for turn, message in line.turns:
        where, calls = join_path(["messages", turn, "tool_calls"]), message.get("tool_calls")
        if calls is not None and not isinstance(calls, list):
            yield Fault(
                f"tool_calls is {kind_of(calls)}, not a list", f"Make it a list. {shape}", where=where
            )
        for i, call in enumerate(calls if isinstance(calls, list) else ()):
            if fault := _call_fault(call, target):
                yield Fault(fault, shape, where=f"{where}[{i}]")
        old = message.get("function_call")
        if old is not None and not (isinstance(old, dict) and is_name(old.get("name"))):
            cure = 'Write {"name": "…", "arguments": "{…}"}, or better tool_calls.'
            yield Fault(
                "the function call has no name", cure, where=join_path(["messages", turn, "function_call"])
            )


def _call_fault(call: Any, target: Target) -> str | None:
    if not isinstance(call, dict):
        return f"the tool call is {kind_of(call)}, not an object"
    function = call.get("function")
    if not isinstance(function, dict):
        return "the tool call has no object 'function'"
    if not is_name(function.get("name")):
        return "the tool call's function has no name"
    needs = target.call_needs
    if "id" in needs and not is_name(call.get("id")):
        return f"the tool call has no id, which {target.title} needs"
    if "type" in needs and call.get("type") != "function":
        return "the tool call's type is not 'function'"
    if "arguments" in needs and not isinstance(function.get("arguments"), str):
        found = kind_of(function["arguments"]) if "arguments" in function else "missing"
        return f"the arguments are {found}; {target.title} takes JSON written as text"
    return None


def arguments_not_json(line: Line, target: Target) -> Iterator[Fault]:
    """The text of a call's arguments is not JSON.

    Why: the model learns to write calls that no program can read.
    Bad:
        {"messages": [{"role": "user", "content": "Water?"}, {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "level", "arguments": "{'device': 'Duo'}"}}]}]}
    Good:
        {"messages": [{"role": "user", "content": "Water?"}, {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "level", "arguments": "{\\"device\\": \\"Duo\\"}"}}]}]}
    """
    for call in named_calls(line):
        decoded = decoded_text(call.arguments)
        if decoded is not None and decoded.faults and decoded.faults[0].kind != "duplicate-key":
            fault = decoded.faults[0]
            message = f"the arguments are not JSON: {fault.message} (byte {fault.offset + 1} of them)"
            yield Fault(message, "Write them with a JSON library, as an object.", where=_arguments(call))


def arguments_not_object(line: Line, target: Target) -> Iterator[Fault]:
    """A call's arguments are JSON, but no object; often they were encoded twice.

    Why: a function takes its arguments by name; a text or a list has none.
    Bad:
        {"messages": [{"role": "user", "content": "Water?"}, {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "level", "arguments": "\\"{}\\""}}]}]}
    Good:
        {"messages": [{"role": "user", "content": "Water?"}, {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "level", "arguments": "{}"}}]}]}
    """
    for call in named_calls(line):
        value = call.arguments
        if isinstance(value, str):
            decoded = decoded_text(value)
            if decoded is None or decoded.faults:
                continue
            value = decoded.value
        elif value is None or "arguments" in target.call_needs:
            continue
        if not isinstance(value, dict):
            inner = decoded_text(value)
            twice = inner is not None and not inner.faults and isinstance(inner.value, dict)
            cure = "They were encoded twice: encode once." if twice else 'Write an object: "{…}".'
            message = f"the arguments are {kind_of(value)}, not an object"
            yield Fault(message, cure, where=_arguments(call), fixable=twice)


def arguments_break_schema(line: Line, target: Target) -> Iterator[Fault]:
    """A call's arguments break the JSON Schema of the tool they are for.

    Why: the model learns calls that its own tools refuse. What cannot be checked in bounded time (large
    schemas, references out of the schema, patterns with lookaround) is not checked.
    Bad:
        {"messages": [{"role": "user", "content": "Water?"}, {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "level", "arguments": "{}"}}]}], "tools": [{"type": "function", "function": {"name": "level", "parameters": {"type": "object", "properties": {"device": {"type": "string"}}, "required": ["device"]}}}]}
    Good:
        {"messages": [{"role": "user", "content": "Water?"}, {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "level", "arguments": "{\\"device\\": \\"Duo\\"}"}}]}], "tools": [{"type": "function", "function": {"name": "level", "parameters": {"type": "object", "properties": {"device": {"type": "string"}}, "required": ["device"]}}}]}
    """
    calls = named_calls(line)
    functions = (d.function for d in definitions_of(line)) if calls else ()
    schemas = {f["name"]: f.get("parameters") for f in functions if f is not None and is_name(f.get("name"))}
    for call in calls:
        schema, value = schemas.get(call.name), call.arguments
        if isinstance(value, str):
            decoded = decoded_text(value)
            value = None if decoded is None or decoded.faults else decoded.value
        elif line.raw is None:
            value = _without_nulls(value)
        if isinstance(schema, dict) and isinstance(value, dict) and (broken := violations(schema, value)):
            cure = f"Make the call as {quoted(call.name)} defines it, or mend the definition."
            yield Fault(f"the arguments break the schema: {'; '.join(broken)}", cure, where=_arguments(call))


def undefined_tool(line: Line, target: Target) -> Iterator[Fault]:
    """The row defines tools, and a call names none of them.

    Why: the model learns to make up tools.
    Bad:
        {"messages": [{"role": "user", "content": "Water?"}, {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "levle", "arguments": "{}"}}]}], "tools": [{"type": "function", "function": {"name": "level", "parameters": {"type": "object", "properties": {}}}}]}
    Good:
        {"messages": [{"role": "user", "content": "Water?"}, {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "level", "arguments": "{}"}}]}], "tools": [{"type": "function", "function": {"name": "level", "parameters": {"type": "object", "properties": {}}}}]}
    """
    calls = named_calls(line)
    given = [(d.function or {}).get("name") for d in definitions_of(line)] if calls else []
    names = [name for name in given if isinstance(name, str) and name]
    if not names or len(names) < len(given):
        return  # no tools, or one without a name that might be meant
    known = frozenset(names)
    for call in calls:
        if call.name not in known:
            hint = line.guess(call.name, names) if len(calls) <= FEW else ""
            cure = f"Define it, or call a tool of the row.{hint}"
            yield Fault(f"the row defines no tool {quoted(call.name)}", cure, where=call.where)


def orphan_tool_result(line: Line, target: Target) -> Iterator[Fault]:
    """A tool's result answers no earlier call.

    Why: targets refuse the row; templates pair the result with nothing, or fail.
    Bad:
        {"messages": [{"role": "user", "content": "Water?"}, {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "level", "arguments": "{}"}}]}, {"role": "tool", "tool_call_id": "c2", "content": "0.5"}, {"role": "assistant", "content": "Half full."}]}
    Good:
        {"messages": [{"role": "user", "content": "Water?"}, {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "level", "arguments": "{}"}}]}, {"role": "tool", "tool_call_id": "c1", "content": "0.5"}, {"role": "assistant", "content": "Half full."}]}
    """
    calls = calls_of(line)
    first = _first_turns(calls)
    for turn, message in line.turns:
        if message.get("role") != "tool":
            continue
        answered, where = message.get("tool_call_id"), join_path(["messages", turn, "tool_call_id"])
        if answered is None and "id" in target.call_needs:
            cure = "Give it the id of the call it answers."
            yield Fault("the tool message has no tool_call_id", cure, where=where)
        elif _is_orphan(answered, turn, first):
            ids = (identity for identity, called in first.items() if identity and called < turn)
            hint = line.guess(answered, ids) if isinstance(answered, str) and len(first) <= FEW else ""
            cure = f"Put the call before it, with the same id.{hint}"
            yield Fault("the tool message answers no earlier call", cure, where=where)


def _first_turns(calls: tuple[Call, ...]) -> dict[str | None, int]:
    """The turn in which each id is first called; None for calls without one."""
    first: dict[str | None, int] = {}
    for call in calls:
        first.setdefault(call.id, call.turn)
    return first


def _is_orphan(answered: Any, turn: int, first: dict[str | None, int]) -> bool:
    """Whether a result answers no earlier call; without ids there need only be one."""
    if next(iter(first.values()), turn) >= turn:
        return True
    if answered is None or first.get(None, turn) < turn:
        return False
    return not isinstance(answered, str) or first.get(answered, turn) >= turn


def unanswered_call(line: Line, target: Target) -> Iterator[Fault]:
    """A call that is not the row's last message gets no result.

    Why: many targets want a result for every call; the model learns to go on without one.
    Bad:
        {"messages": [{"role": "user", "content": "Water?"}, {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "level", "arguments": "{}"}}]}, {"role": "user", "content": "Well?"}, {"role": "assistant", "content": "Half full."}]}
    Good:
        {"messages": [{"role": "user", "content": "Water?"}, {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "level", "arguments": "{}"}}]}, {"role": "tool", "tool_call_id": "c1", "content": "0.5"}, {"role": "assistant", "content": "Half full."}]}
    """
    calls = calls_of(line)
    results = [
        (turn, m.get("tool_call_id")) for turn, m in line.turns if m.get("role") in ("tool", "function")
    ]
    last = line.turns[-1][0] if line.turns else 0
    first = _first_turns(calls)
    if any(_is_orphan(answered, turn, first) for turn, answered in results):
        return  # a result under a wrong id is TOOL006's
    answers = {answered: turn for turn, answered in results if isinstance(answered, str)}
    turns = [turn for turn, _ in results]
    unnamed = [turn for turn, answered in results if answered is None]
    together = Counter(call.turn for call in calls)
    for call in calls:
        if call.turn == last or (call.id is not None and answers.get(call.id, 0) > call.turn):
            continue
        # A call or a result without an id is paired by its place alone.
        given = turns if call.id is None else unnamed
        if len(given) - bisect_right(given, call.turn) < together[call.turn]:
            cure = "Add the tool's result after it, or cut the row at the call."
            yield Fault("the call gets no result", cure, where=call.where)


def bad_tool_definition(line: Line, target: Target) -> Iterator[Fault]:
    """A tool has no name, or its parameters are no valid JSON Schema.

    Why: targets refuse the file; a wrong type such as "dict" or "float" is passed on to the model as it is.
    Bad:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}], "tools": [{"type": "function", "function": {"name": "level", "parameters": {"type": "dict"}}}]}
    Good:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}], "tools": [{"type": "function", "function": {"name": "level", "parameters": {"type": "object"}}}]}
    """
    for key in ("tools", "functions"):
        given = line.value.get(key)
        if given is not None and not isinstance(tool_list(given, target), list):
            yield Fault(f"{key} is {kind_of(given)}, not a list", "Make it a list of objects.", where=key)
    for where, tool, function in definitions_of(line):
        if function is None:
            cure = 'Write {"type": "function", "function": {"name": "…", "parameters": {…}}}.'
            yield Fault("the tool defines no function", cure, where=where)
            continue
        if not is_name(function.get("name")):
            yield Fault("the tool has no name", "Name it as the calls do.", where=where)
        wrapped = tool is not function and tool.get("type") == "function"
        if "type" in target.call_needs and where.startswith("tools") and not wrapped:
            cure = 'Write {"type": "function", "function": {…}}.'
            yield Fault("the tool is not of the type 'function'", cure, where=where)
        parameters = function.get("parameters")
        if parameters is not None and (fault := parameters_fault(parameters)):
            path = _below(where, tool, function) + ".parameters" + (f".{fault[0]}" if fault[0] else "")
            yield Fault(fault[1], "Write the parameters as a JSON Schema of an object.", where=path)


def too_many_tools(line: Line, target: Target) -> Iterator[Fault]:
    """The row defines more tools than the target takes.

    Why: the target refuses the row; and each definition costs tokens in every epoch.
    With: max_tools=1
    Bad:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}], "tools": [{"type": "function", "function": {"name": "level"}}, {"type": "function", "function": {"name": "light"}}]}
    Good:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}], "tools": [{"type": "function", "function": {"name": "level"}}]}
    """
    count = len(definitions_of(line))
    if target.max_tools is not None and count > target.max_tools:
        cure = "Keep those that the conversation may need."
        yield Fault(f"{count} tools, and at most {target.max_tools} are taken", cure, where="tools")


def tool_id_form(line: Line, target: Target) -> Iterator[Fault]:
    """A call's id is not in the form that the target asks for.

    Why: the target refuses the row, whoever made the id.
    With: target=mistral
    Bad:
        {"messages": [{"role": "user", "content": "Water?"}, {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "level", "arguments": "{}"}}]}]}
    Good:
        {"messages": [{"role": "user", "content": "Water?"}, {"role": "assistant", "tool_calls": [{"id": "a1B2c3D4e", "type": "function", "function": {"name": "level", "arguments": "{}"}}]}]}
    """
    length = target.tool_id_length
    if length is None:
        return
    places = {call.id: f"{call.where}.id" for call in reversed(calls_of(line)) if call.id is not None}
    for turn, message in line.turns:
        if isinstance(identity := message.get("tool_call_id"), str):
            places.setdefault(identity, join_path(["messages", turn, "tool_call_id"]))
    for identity, where in places.items():
        if len(identity) != length or not (identity.isascii() and identity.isalnum()):
            cure = f"Use {length} letters and digits, the same in the call and its result."
            yield Fault(f"the id {quoted(identity)} is not of {target.title}'s form", cure, where=where)


def tools_unsupported(line: Line, target: Target) -> Iterator[Fault]:
    """The row uses tools, and the target takes none.

    Why: the target refuses the row, or trains it without the tools.
    With: tools=false
    Bad:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}], "tools": [{"type": "function", "function": {"name": "level"}}]}
    Good:
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    """
    if target.tools is not False:
        return
    calls = calls_of(line)
    if line.value.get("tools") or line.value.get("functions") or calls:
        where = "tools" if line.value.get("tools") else calls[0].where if calls else "functions"
        yield Fault(f"{target.title} takes no tools", "Leave such rows out, or choose a target.", where=where)


def _below(where: str, tool: Any, function: Any) -> str:
    return where if tool is function else f"{where}.function"


def _arguments(call: Call) -> str:
    function = "" if call.where.endswith("function_call") else ".function"
    return f"{call.where}{function}.arguments"


def _without_nulls(value: Any) -> Any:
    """Columnar files fill in null for every key that another row has."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
