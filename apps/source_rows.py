"""A finding → the row it is about, as it lies in the data file, with the place that is meant. No Streamlit in here."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from apps.reading import Identity, identity
from validators.reading import DataError, row_at, to_chat
from workbench.experiment import Experiment, ExperimentError
from workbench.runs import Run
from workbench.sections import Columns

_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")
# What is shown of a row before and after the place, in characters; rows can be megabytes.
AROUND = 4000
_LONGEST_LINE = 1 << 24


@dataclass(frozen=True, slots=True)
class Marked:
    """A row as text in three parts: what stands before the place, the place, what stands after."""

    before: str
    place: str
    after: str


@dataclass(frozen=True, slots=True)
class Source:
    """A data file that still holds what a run linted, and how its rows become chats."""

    path: Path
    columns: Columns | None


def source_of(run: Run, name: str) -> Source | None:
    """The data file that the experiment calls `name`; None where it has gone, has changed, or was redacted.

    Only a file with the very bytes that the run has on record is opened: whoever wrote the run knew them.
    """
    origin, recorded = run.origin(), run.meta().get("dataset", {}).get("files", {}).get(name)
    if origin is None or recorded is None:
        return None
    try:
        experiment = Experiment.parse(run.experiment_text() or "", path=origin)
    except ExperimentError:
        return None
    if name not in experiment.data.files.values() or experiment.personal_data == "redact":
        return None
    path = experiment.resolve(name)
    known = identity(path)
    if known is None or not path.is_file() or _sha256(path, known) != recorded:
        return None
    return Source(path, experiment.data.columns)


def marked(source: Source, line: int, column: int | None, where: str | None) -> Marked | None:
    """The row that begins in a line; a row that is no JSON as its raw text. None where none begins there."""
    return _marked(source, identity(source.path), line, column, where)


@lru_cache(maxsize=64)
def _marked(
    source: Source, known: Identity, line: int, column: int | None, where: str | None
) -> Marked | None:
    """Finding a line of a large file takes long: once, as long as the file is known by the same."""
    try:
        row = row_at(source.path, line)
        if row is not None:
            columns = source.columns
            value = row.value if columns is None else to_chat(row.value, **columns.model_dump())
            return _cut(mark_value(value, where))
    except DataError:
        pass
    raw = _line(source.path, line)
    return None if raw is None else _cut(mark_bytes(raw, column))


def mark_value(value: Any, where: str | None) -> Marked:
    """A row as indented JSON, split at the place that a JSON path names (the whole row where it names none)."""
    steps = _steps(value, where or "")
    if not steps:
        return Marked("", _json(value), "")
    token = secrets.token_hex(16)
    before, after = _json(_with(value, steps, token)).split(json.dumps(token))
    place = value
    for step in steps:
        place = place[step]
    return Marked(before, _json(place).replace("\n", "\n" + " " * len(steps)), after)


def mark_bytes(raw: bytes, column: int | None) -> Marked:
    """A raw line, split at a column (1-based, in bytes)."""
    at = max(0, (column or 1) - 1)
    before, rest = raw[:at].decode(errors="replace"), raw[at:].decode(errors="replace")
    return Marked(before, rest[:1], rest[1:])


def _steps(value: Any, where: str) -> list[str | int]:
    """The path as far as the row has it."""
    steps: list[str | int] = []
    for found in _STEP.finditer(where.removeprefix("$")):
        step: str | int = int(found[2]) if found[2] else found[1]
        inside = isinstance(value, dict) if isinstance(step, str) else isinstance(value, list)
        if not inside or not (step in value if isinstance(step, str) else step < len(value)):
            break
        steps.append(step)
        value = value[step]
    return steps


def _with(value: Any, steps: Sequence[str | int], token: str) -> Any:
    """A copy of the value whose named place holds the token."""
    if not steps:
        return token
    step, *rest = steps
    if isinstance(value, dict):
        return {key: _with(inner, rest, token) if key == step else inner for key, inner in value.items()}
    return [_with(inner, rest, token) if i == step else inner for i, inner in enumerate(value)]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1, default=str)


def _cut(row: Marked) -> Marked:
    before = row.before if len(row.before) <= AROUND else "… " + row.before[-AROUND:]
    after = row.after if len(row.after) <= AROUND else row.after[:AROUND] + " …"
    place = row.place if len(row.place) <= AROUND else row.place[:AROUND] + " …"
    return Marked(before, place, after)


def _line(path: Path, line: int) -> bytes | None:
    with path.open("rb") as file:
        for _ in itertools.repeat(None, line - 1):
            while (part := file.readline(_LONGEST_LINE)) and not part.endswith(b"\n"):
                pass
        return file.readline(_LONGEST_LINE).rstrip(b"\r\n") or None


@lru_cache(maxsize=64)
def _sha256(path: Path, known: Identity) -> str:
    """The hash of a file as long as it is known by the same time, size and inode."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
