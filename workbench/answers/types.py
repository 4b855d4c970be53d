"""The nouns of answers made elsewhere: `Answer`, `Answers`, and what turns foreign values into them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from validators.examples import Message

CORRECTNESS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0, "yes": 1.0, "no": 0.0, "true": 1.0, "false": 0.0}


class AnswersError(ValueError):
    """A file of answers cannot be read; the message says where, what was found and what to do."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of one contender.

    `input` is the question's text, `aliases` are other texts it may be known by (the whole prompt, the
    fields of the foreign row). `content` stands for the question where the foreign tool gives a hash. An
    answer with `error` failed; one without `prediction` and `error` came from a task without text
    (likelihoods). `reference_nats` is the negative log-likelihood of the first reference.
    """

    id: str | None
    input: str | None = None
    messages: tuple[Message, ...] = ()
    aliases: tuple[str, ...] = ()
    content: str | None = None
    prediction: str | None = None
    references: tuple[str, ...] = ()
    group: str | None = None
    tags: dict[str, str] = {}
    tool_calls: tuple[dict[str, Any], ...] = ()
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    seconds: float | None = None
    usd: float | None = None
    finish_reason: str | None = None
    reference_nats: float | None = None
    reference_tokens: int | None = None
    reference_bytes: int | None = None
    error: str | None = None
    line: int | None = None


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """All answers of one contender.

    `scores` holds what the foreign tool itself gave: metric → one number a row, None where it gave none;
    `signatures` say how it was measured, where that is known.
    `notes` say what of the file was not taken over. `model` names what answered, where that is known.
    """

    name: str
    rows: tuple[Answer, ...]
    format: str
    scores: dict[str, tuple[float | None, ...]] = {}
    signatures: dict[str, str] = {}
    model: str | None = None
    notes: tuple[str, ...] = ()


def number(value: object) -> float | None:
    """A finite number, None for anything else (true and false are no numbers)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def whole(value: object) -> int | None:
    """A whole number from 0 up, None for anything else."""
    found = number(value)
    return int(found) if found is not None and found >= 0 and found == int(found) else None


def grade(value: object) -> float | None:
    """A foreign score as a number: booleans, words for right and wrong, numbers in text; None for the rest."""
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        known = CORRECTNESS.get(value, CORRECTNESS.get(value.lower()) if len(value) > 1 else None)
        if known is not None:
            return known
        try:
            value = float(value)
        except ValueError:
            return None
    return number(value)


def as_object(value: object) -> dict[str, Any]:
    """A JSON object as it is, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def as_text(value: object) -> str:
    """Text as it is, any other value as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def as_texts(value: object) -> tuple[str, ...]:
    """References as texts: one, or a list of them; none for None."""
    listed = value if isinstance(value, list | tuple) else [] if value is None else [value]
    return tuple(dict.fromkeys(as_text(one) for one in listed if one is not None))


def score_columns(
    rows: Sequence[Mapping[str, object]], failed: Iterable[bool]
) -> tuple[dict[str, tuple[float | None, ...]], tuple[str, ...]]:
    """The foreign scores of each row as columns, and notes about what is no number.

    A column that never holds a number is left out with a note. NaN and infinity are no score, and a
    failed row has none.
    """
    columns: dict[str, tuple[float | None, ...]] = {}
    notes: list[str] = []
    lost = tuple(failed)
    for name in dict.fromkeys(name for row in rows for name in row):
        given = [row.get(name) for row in rows]
        column = tuple(None if bad else grade(v) for v, bad in zip(given, lost, strict=True))
        if all(value is None for value in column):
            if any(value is not None for value in given):
                notes.append(f"{name}: not one finite number a row, so it is not read as a score")
            continue
        odd = sum(
            v is not None and c is None and not bad for v, c, bad in zip(given, column, lost, strict=True)
        )
        if odd:
            notes.append(f"{name}: {odd} of {len(column)} rows hold no finite number; they count as unscored")
        columns[name] = column
    return columns, tuple(notes)


def numbered(rows: Sequence[Answer]) -> tuple[Answer, ...]:
    """Rows whose repeats (epochs, repetitions) get ids `id#1`, `id#2`, … and the id as their group.

    Repeats of one question are no independent samples: the group keeps them together in every test.
    """
    counts: dict[str | None, int] = {}
    for row in rows:
        counts[row.id] = counts.get(row.id, 0) + 1
    if all(n == 1 for n in counts.values()):
        return tuple(rows)
    seen: dict[str | None, int] = {}
    made = []
    for row in rows:
        seen[row.id] = seen.get(row.id, 0) + 1
        made.append(msgspec.structs.replace(row, id=f"{row.id}#{seen[row.id]}", group=row.group or row.id))
    return tuple(made)
