"""One data file divided into files by the split a run makes; every row is copied byte for byte."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from validators.examples import ExampleError
from validators.findings import printable
from validators.neutral import read_neutral
from validators.reading import BOM, DataError, Row, container_of, read_rows
from validators.rules.subjects import row_format
from validators.writing import open_lines

from .data import samples_of
from .records import Sample
from .sections import Data, Split
from .splits import SPLITS, fold_samples, split_samples

Parts = dict[str, dict[str, int]]
"""Rows by file name, by folder ("" for the one split, fold-1 and so on for folds)."""

# Stands where a row has no reply, so that a row is a sample all the same; no class is told by it.
NO_REPLY = {"role": "assistant", "content": "-"}


@dataclass(frozen=True, slots=True)
class Divided:
    """What was written: rows of each part, and how many lines were blank and left out."""

    parts: Parts
    blank: int


def split_file(path: Path, out: Path, split: Split) -> Divided:
    """Write train, dev and test files of JSON Lines into the folder `out`, which must be new or empty.

    With `split.folds` there is a folder for each fold. Groups, conversations and duplicates stay together,
    classes are spread evenly, the same rows and seed give the same split in any order of rows: what
    `workbench run` does with this file. The folder appears whole or not at all. Raises DataError.
    """
    if container_of(path) != "jsonl":
        raise DataError(
            f"{printable(str(path))}: rows are copied as they are, so the file must be JSON Lines. "
            "Convert it first: workbench convert IN OUT.jsonl --to chat (a table also needs --columns)."
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{printable(str(out))}: the folder is there and not empty. Name a new one.")
    samples = _samples(path, split)
    if split.folds is None:
        divided = {"": split_samples(samples, split)}
    else:
        folds = fold_samples(samples, split, split.folds)
        divided = {f"fold-{number}": fold for number, fold in enumerate(folds, 1)}
    _check(path, divided, split)
    return _write(path, out, divided)


def _samples(path: Path, split: Split) -> list[Sample]:
    """A sample for each row: for chats the one of a run, for other rows their prompt and their reply."""
    rows = [Row(row.line, _as_chat(path, row)) for row in read_rows(path)]
    try:
        return samples_of(path, rows, Data(path=str(path), split=split))
    except DataError as error:
        raise DataError(str(error).replace("data.split.group_by", "--group-by")) from None


def _as_chat(path: Path, row: Row) -> dict[str, Any]:
    if row_format(row.value) == "chat" and any(_replies(m) for m in row.value["messages"] or ()):
        return row.value
    try:
        read = read_neutral(row.value)
    except ExampleError as error:
        raise DataError(f"{printable(str(path))}:{row.line}: {error}") from None
    messages = read.conversation
    if read.format == "text":
        # Equal texts must meet, and it is by the prompt that samples do.
        messages = [{"role": "user", "content": messages[0]["content"]}]
    if not any(map(_replies, messages)):
        messages = [*messages, NO_REPLY]
    return {"messages": messages, **read.further} | ({"tools": read.tools} if read.tools else {})


def _replies(message: Any) -> bool:
    said = isinstance(message, dict) and message.get("role") == "assistant"
    return said and bool(message.get("content") or message.get("tool_calls") or message.get("function_call"))


def _check(path: Path, divided: Mapping[str, Mapping[str, Sequence[Sample]]], split: Split) -> None:
    """Raise DataError where a part that was asked for has no row."""
    for parts in divided.values():
        wanted = ["train", "test"] + (["dev"] if split.dev > 0 else [])
        if empty := [name for name in wanted if not parts[name]]:
            told = ", ".join(f"{name} {len(parts[name])}" for name in SPLITS)
            raise DataError(
                f"{printable(str(path))}: too few rows that can be parted ({told}): {empty[0]} would be empty. "
                "Add rows, change the shares, or check that --group-by does not join everything into one group."
            )


def _write(path: Path, out: Path, divided: Mapping[str, Mapping[str, Sequence[Sample]]]) -> Divided:
    places: dict[int, list[tuple[str, str]]] = defaultdict(list)
    counts: Parts = {folder: {} for folder in divided}
    for folder, parts in divided.items():
        for name in SPLITS:
            if parts[name]:
                counts[folder][name] = len(parts[name])
            for sample in parts[name]:
                places[sample.line].append((folder, name))
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        left_out = _copy_rows(path, temporary, counts, places)
        temporary.chmod(0o755)
        temporary.rename(out)  # onto an empty folder too
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return Divided(counts, left_out)


def _copy_rows(path: Path, folder: Path, counts: Parts, places: Mapping[int, list[tuple[str, str]]]) -> int:
    left_out = 0
    with contextlib.ExitStack() as stack:
        files = {}
        for inner, parts in counts.items():
            (folder / inner).mkdir(exist_ok=True)
            for name in parts:
                files[inner, name] = stack.enter_context((folder / inner / f"{name}.jsonl").open("wb"))
        lines = stack.enter_context(open_lines(path))
        for number, raw in enumerate(lines, 1):
            if number == 1 and raw.startswith(BOM):
                raw = raw.removeprefix(BOM)
                for file in files.values():
                    file.write(BOM)
            left_out += number not in places
            for place in places.get(number, ()):
                files[place].write(raw if raw.endswith(b"\n") else raw + b"\n")
        for file in files.values():
            file.flush()
            os.fsync(file.fileno())
    return left_out
