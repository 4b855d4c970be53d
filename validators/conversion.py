"""Move rows between formats and targets: what a form cannot hold is named, and refused unless allowed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from .columns import Columns
from .examples import ExampleError
from .findings import printable, quoted
from .gemini import write_gemini
from .neutral import Neutral, from_json, read_neutral
from .reading import BOM, DataError, container_of, read_rows
from .row_fixes import short_ids
from .row_writers import (
    Written,
    write_alpaca,
    write_chat,
    write_preference,
    write_prompt_completion,
    write_sharegpt,
    write_text,
    write_trl_preference,
    write_trl_prompt_completion,
)
from .rules.subjects import row_format
from .suggest import did_you_mean
from .targets import Target, load_target
from .writing import compression_named, replacing

# What `--to` takes beside the targets: how each is written, and the format its rows then have.
FORMS: dict[str, tuple[Callable[[Neutral], Written], str]] = {
    "chat": (write_chat, "chat"),
    "preference": (write_preference, "preference"),
    "trl-preference": (write_trl_preference, "preference"),
    "prompt-completion": (write_prompt_completion, "prompt-completion"),
    "trl-prompt-completion": (write_trl_prompt_completion, "prompt-completion"),
    "alpaca": (write_alpaca, "alpaca"),
    "sharegpt": (write_sharegpt, "sharegpt"),
    "text": (write_text, "text"),
}
CONVERSION_TARGETS = ("openai", "azure", "together", "fireworks", "mistral", "gemini", "trl")
# Targets that tune on preference pairs in OpenAI's form; the others take the preferred side.
_TAKE_PAIRS = ("openai", "azure", "together", "fireworks")
# Keys that a format reads where they stand.
_MEANT_ELSEWHERE = {
    "alpaca": frozenset({"system", "history"}),
    "sharegpt": frozenset({"system", "tools"}),
}
_LISTS_OF_MESSAGES = frozenset(
    {"messages", "prompt", "completion", "chosen", "rejected", "preferred_output", "non_preferred_output"}
)
_SHOWN = 20


class LossError(DataError):
    """The conversion would lose something, and nobody allowed it."""


TABLE_HINT = "--columns input=NAME,output=NAME (or --template) turns a table's rows into chats."


class Converted(msgspec.Struct, frozen=True):
    """What a conversion did: rows written, and for each loss how many rows and the first one's line."""

    rows: int
    losses: dict[str, tuple[int, int]]


def convert_row(value: dict[str, Any], to: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """One row in another format or for a target, and the names of what is lost.

    Raises ExampleError where the row cannot be read or has not what the form needs, DataError for an
    unknown form.
    """
    row = read_neutral(value)
    if row.format == to and to in ("alpaca", "sharegpt", "text"):
        return value, ()
    if to in FORMS:
        written, losses = _write(row, to)
    else:
        _check_form(to)
        written, losses = _for_target(row, load_target(to))
    return written, tuple(dict.fromkeys((*row.losses, *losses)))


def convert_file(
    source: Path, out: Path, to: str, *, lossy: bool = False, columns: Columns | None = None
) -> Converted:
    """Convert a data file to JSON Lines, written whole or not at all (`.gz` and `.zst` are compressed).

    `columns` turn table rows into chats first.
    Raises LossError with what would be lost unless `lossy`, DataError with every row that cannot be
    converted (the first 20), or where the output would overwrite the input.
    """
    _check_form(to)
    if out.exists() and source.exists() and out.samefile(source):
        raise DataError(f"{printable(str(out))}: this is the input. Name another file for the output.")
    if not out.parent.is_dir():
        raise DataError(f"{printable(str(out.parent))}: there is no such folder. Make it first.")
    losses: dict[str, tuple[int, int]] = {}
    faults: list[str] = []
    rows = broken = 0
    with replacing(out, compression_named(out)) as copy:
        if to in CONVERSION_TARGETS and load_target(to).bom == "required":
            copy.write(BOM)
        for row in read_rows(source, columns=columns):
            try:
                written, lost = convert_row(row.value, to)
                copy.write(_json_line(written))
            except (ExampleError, UnicodeEncodeError) as error:
                broken += 1
                if broken <= _SHOWN:
                    faults.append(f"{printable(str(source))}:{row.line}: {error}")
                continue
            rows += 1
            for name in lost:
                count, first = losses.get(name, (0, row.line))
                losses[name] = (count + 1, first)
        if faults:
            more = [f"… and {broken - _SHOWN:,} more"] if broken > _SHOWN else []
            table = [TABLE_HINT] if columns is None and container_of(source) != "jsonl" else []
            raise DataError("\n".join([*faults, *more, *table]))
        if losses and not lossy:
            raise LossError(
                f"converting {printable(str(source))} to {to} would lose:\n"
                + "".join(f"  {line}\n" for line in loss_lines(losses))
                + "Nothing was written. --lossy converts anyway."
            )
        copy.keep()
    return Converted(rows, losses)


def _check_form(to: str) -> None:
    names = (*FORMS, *CONVERSION_TARGETS)
    if to not in names:
        raise DataError(f"unknown form '{to}': known are {', '.join(names)}.{did_you_mean(to, names)}")


def loss_lines(losses: dict[str, tuple[int, int]]) -> list[str]:
    """Each loss as a line for people."""
    return [
        f"{name} ({count:,} row{'' if count == 1 else 's'}, first at line {first})"
        for name, (count, first) in losses.items()
    ]


def _json_line(value: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(value) + b"\n"
    except OverflowError:  # an integer of more than 64 bits
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _for_target(row: Neutral, target: Target) -> Written:
    """The row as one target takes it: of its formats the one nearest to the row's own."""
    if target.name == "gemini":
        return write_gemini(row)
    kept = target.name == "trl" or row.format in (target.columns or {})
    if row.rejected is not None and (target.name == "trl" or target.name in _TAKE_PAIRS):
        form = "trl-preference" if target.name == "trl" else "preference"
    elif row.format == "prompt-completion" and kept and (row.plain or target.name == "trl"):
        form = "prompt-completion" if row.plain else "trl-prompt-completion"
    elif row.format == "text" and kept:
        form = "text"
    else:
        form = "chat"
    written, losses = _write(row, form)
    if target.columns and (columns := target.columns.get(FORMS[form][1])):
        losses += [f"the key {quoted(key)}" for key in written if key not in columns]
        written = {key: item for key, item in written.items() if key in columns}
    return _fit_messages(written, target, losses), losses


def _fit_messages(written: dict[str, Any], target: Target, losses: list[str]) -> dict[str, Any]:
    """Every list of messages in the row as the target takes it."""
    fitted = {}
    for key, item in written.items():
        if isinstance(item, dict) and isinstance(item.get("messages"), list):
            item = item | {"messages": [_fit(m, target, losses) for m in item["messages"]]}
        elif key in _LISTS_OF_MESSAGES and isinstance(item, list):
            item = [_fit(message, target, losses) for message in item]
        fitted[key] = item
    return short_ids(fitted, target)


def _fit(message: dict[str, Any], target: Target, losses: list[str]) -> dict[str, Any]:
    if message["role"] not in target.roles:
        if message["role"] != "developer":
            raise ExampleError("messages", f"{target.title} does not take the role {quoted(message['role'])}")
        losses.append("the role developer (it becomes system)")
        message = message | {"role": "system"}
    lost = sorted(message.keys() - target.message_keys) if target.message_keys is not None else []
    losses += [f"the key {quoted(key)} of messages" for key in lost]
    message = {key: item for key, item in message.items() if key not in lost}
    if target.name != "trl":
        return message
    if message.get("weight") == 0:
        losses.append("weight 0: the reply would train (trl-prompt-completion trains the last reply only)")
    message = {key: item for key, item in message.items() if key != "weight"}
    if calls := message.get("tool_calls"):
        message |= {"tool_calls": [_object_arguments(call) for call in calls]}
    return message


def _object_arguments(call: dict[str, Any]) -> dict[str, Any]:
    """Chat templates print arguments as they stand, so text would be quoted twice."""
    arguments = from_json(call["function"]["arguments"])
    return (
        call | {"function": call["function"] | {"arguments": arguments}}
        if isinstance(arguments, dict)
        else call
    )


def _write(row: Neutral, form: str) -> Written:
    """The row in one form with its further keys, less those whose names mean something else there."""
    write, wanted = FORMS[form]
    written, losses = write(row)
    taken = written.keys() | _MEANT_ELSEWHERE.get(wanted, frozenset())
    for key, item in row.further.items():
        if wanted == "preference" and key in written.get("input", ()):
            continue
        if key in taken or row_format(written | {key: item}) != wanted:
            losses.append(f"the key {quoted(key)}")
        else:
            written[key] = item
    return written, losses
