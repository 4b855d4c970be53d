"""Table rows turned into chats: by columns, or by a template over them."""

from __future__ import annotations

import string
from typing import Any

import msgspec

from .findings import quoted
from .rows import DataError
from .suggest import did_you_mean


class Columns(msgspec.Struct, frozen=True):
    """How a table's row becomes a chat: a column or a template for the prompt, a column for the reply."""

    input: str | None = None
    output: str | None = None
    template: str | None = None
    system: str | None = None

    def chat(self, value: dict[str, Any]) -> dict[str, Any]:
        """One row as a chat. Raises DataError."""
        return to_chat(
            value, input=self.input, output=self.output, template=self.template, system=self.system
        )


def to_chat(
    value: dict[str, Any],
    *,
    input: str | None,
    output: str | None,
    template: str | None,
    system: str | None = None,
) -> dict[str, Any]:
    """Turn a table row into a chat row.

    The user's message is the column `input`, or `template` with its `{column}` fields filled in; the
    reply is the column `output`. Where that holds a list of texts, the first is the reply and the whole
    list goes to `metadata["references"]`. Every column not used goes to `metadata`. Raises DataError
    naming a missing column and those there are.
    """
    if (input is None) == (template is None):
        raise DataError("name either an input column or a template, not both and not neither.")
    used = {output} if output is not None else set()
    if template is not None:
        prompt, fields = _fill(template, value)
        used |= fields
    else:
        assert input is not None
        prompt = _text(_column(value, input), input)
        used.add(input)
    metadata = {key: item for key, item in value.items() if key not in used}
    messages = [{"role": "system", "content": system}] if system is not None else []
    messages.append({"role": "user", "content": prompt})
    if output is not None:
        reply = _column(value, output)
        if isinstance(reply, list):
            if not reply or not all(isinstance(item, str) for item in reply):
                raise DataError(
                    f"the column {quoted(output)} holds a list; it must hold texts, one at least."
                )
            metadata["references"] = list(reply)
            reply = reply[0]
        messages.append({"role": "assistant", "content": _text(reply, output)})
    return {"messages": messages} | ({"metadata": metadata} if metadata else {})


def _fill(template: str, value: dict[str, Any]) -> tuple[str, set[str]]:
    """The template filled in by plain column names: no attributes, indexes, formats or conversions."""
    text, fields = "", set()
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise DataError(
            f"the template is broken: {error}. A literal brace is written {{{{ or }}}}."
        ) from error
    for literal, field, spec, conversion in parts:
        text += literal
        if field is None:
            continue
        if spec or conversion or not field:
            raise DataError(f"the template's field {quoted(field)} must be a column's name and nothing else.")
        text += _text(_column(value, field), field)
        fields.add(field)
    return text, fields


def _column(value: dict[str, Any], name: str) -> Any:
    if name not in value:
        there = ", ".join(quoted(key) for key in value) or "none"
        raise DataError(f"there is no column {quoted(name)}; there are {there}.{did_you_mean(name, value)}")
    return value[name]


def _text(item: Any, column: str) -> str:
    if item is None or isinstance(item, (dict, list)):
        kind = "empty" if item is None else "no text"
        raise DataError(f"the column {quoted(column)} is {kind} in this row. Fill it, or drop the row.")
    return item if isinstance(item, str) else str(item)
