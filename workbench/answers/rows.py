"""Plain rows: JSON Lines, a JSON array, CSV or Parquet with `prediction`, and `id` or `input`.

Columns that are not ours and hold only numbers are taken for scores a sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from validators.examples import Message
from validators.findings import printable
from validators.reading import read_rows
from validators.suggest import did_you_mean

from .source import Source
from .types import Answer, Answers, AnswersError, as_object, as_text, as_texts, grade, score_columns

_COUNTS = ("prompt_tokens", "completion_tokens", "cached_tokens", "reference_tokens", "reference_bytes")
_AMOUNTS = ("seconds", "usd", "reference_nats")
_TEXTS = ("id", "input", "prediction", "reference", "references", "group", "error", "finish_reason")
_OURS = frozenset(
    (*_TEXTS, *_COUNTS, *_AMOUNTS, "messages", "tags", "tool_calls", "line", "scores", "schema")
)


def matches(source: Source) -> bool:
    """Whether the rows (of one row, too) can be answers: something names the sample, something answers it."""
    if source.kind not in ("rows", "object") or not source.keys & {"id", "input"}:
        return False
    numbers = any(grade(v) is not None for k, v in (source.first or {}).items() if k not in _OURS)
    return bool(source.keys & {"prediction", "error", "scores"}) or numbers


def explain(source: Source) -> str:
    """Why rows are no answers, and what columns they have."""
    wanted = [name for name in ("prediction", "id", "input") if name not in source.keys]
    near = next((hint for key in source.first if (hint := did_you_mean(key, wanted))), "")
    return f"{_MISSING}; it has: {', '.join(map(printable, source.first))}.{near}"


def read(source: Source) -> tuple[Answers, ...]:
    """Read the rows. Raises DataError and AnswersError with the line."""
    rows, scores = [], []
    for row in read_rows(source.path, "auto" if source.table else "jsonl"):
        place = f"{source.name}:{row.line}"
        rows.append(_answer(row.value, row.line, place, csv=source.table))
        given = row.value.get("scores")
        extra = {k: v for k, v in row.value.items() if k not in _OURS and not isinstance(v, dict | list)}
        scores.append({**extra, **(given if isinstance(given, dict) else {})})
    numbers = [
        name
        for name in dict.fromkeys(name for row in scores for name in row)
        if all((v := row.get(name)) in (None, "") or grade(v) is not None for row in scores)
    ]
    columns, notes = score_columns(
        [{k: row[k] for k in numbers if row.get(k) not in (None, "")} for row in scores],
        [r.error is not None for r in rows],
    )
    return (Answers(name=source.path.stem, rows=tuple(rows), format="rows", scores=columns, notes=notes),)


def _answer(row: Mapping[str, Any], line: int, place: str, *, csv: bool) -> Answer:
    # An empty cell is how CSV says null, but an empty prediction is an answer.
    value = {k: None if csv and v == "" and k != "prediction" else v for k, v in row.items()}
    if value.get("id") is None and value.get("input") is None:
        raise AnswersError(f"{place}: {_MISSING}; it has: {', '.join(map(printable, row))}")
    error = value.get("error")
    if (
        not error
        and "prediction" not in value
        and not any(grade(v) is not None for k, v in value.items() if k not in _OURS or k == "scores")
        and not value.get("scores")
    ):
        raise AnswersError(f"{place}: {_MISSING}; it has: {', '.join(map(printable, row))}")
    said, calls = value.get("prediction"), value.get("tool_calls")
    if not error and "prediction" in value and said is None:
        error = "the file gives null"
    return Answer(
        id=None if value.get("id") is None else str(value["id"]),
        input=None if value.get("input") is None else str(value["input"]),
        messages=_messages(value.get("messages"), place),
        prediction=None if error or said is None else as_text(said),
        references=as_texts(value.get("references") or value.get("reference")),
        group=None if value.get("group") is None else as_text(value["group"]),
        tags={k: as_text(v) for k, v in as_object(value.get("tags")).items()},
        tool_calls=tuple(c for c in calls if isinstance(c, dict)) if isinstance(calls, list) else (),
        finish_reason=as_text(value["finish_reason"]) if value.get("finish_reason") else None,
        error=as_text(error) if error else None,
        line=line,
        **{field: _number(field, value.get(field), place, csv) for field in (*_COUNTS, *_AMOUNTS)},
    )


_MISSING = "a row needs `prediction`, and `id` or `input` to match it with a test sample"


def _number(field: str, value: Any, place: str, csv: bool) -> Any:
    if value is None:
        return None
    if csv and isinstance(value, str):
        found = grade(value)
        value = value if found is None else int(found) if found == int(found) else found
    right = isinstance(value, int if field in _COUNTS else int | float) and not isinstance(value, bool)
    if not right or value < 0:
        raise AnswersError(f"{place}: {field} is {value!r}, not a number from 0 up")
    return value


def _messages(given: object, place: str) -> tuple[Message, ...]:
    if given is None:
        return ()
    if not isinstance(given, list) or not all(
        isinstance(m, dict) and isinstance(m.get("role"), str) for m in given
    ):
        raise AnswersError(f"{place}: messages is no list of messages with a role")
    return tuple(Message(m["role"], m.get("content")) for m in given)
