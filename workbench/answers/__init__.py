"""Answers made elsewhere, whatever wrote them, as one type: a table of formats, one module each.

What a file is, its content tells; names and extensions only say how CSV and Parquet are to be read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from validators.findings import printable
from validators.reading import DataError
from validators.suggest import did_you_mean

from . import inspect_log, lm_eval, promptfoo, rows, run_folder
from .source import Source, look_at
from .types import Answer, Answers, AnswersError

__all__ = [
    "FORMATS",
    "Answer",
    "Answers",
    "AnswersError",
    "Format",
    "fingerprint",
    "read_all",
    "read_answers",
]

# How deep a folder of logs is searched: the harness puts a model's files into a folder of their own.
DEPTH = 2
MOST_FILES = 1000


@dataclass(frozen=True, slots=True)
class Format:
    """One format: what it is, whether a source is of it, and its contenders."""

    name: str
    what: str
    matches: Callable[[Source], bool]
    read: Callable[[Source], tuple[Answers, ...]]


FORMATS: tuple[Format, ...] = (
    Format("run", "a run folder, or RUN/contenders/NAME", run_folder.matches, run_folder.read),
    Format("inspect", "a log of Inspect (.eval or .json)", inspect_log.matches, inspect_log.read),
    Format("promptfoo", "results of promptfoo (JSON or JSONL)", promptfoo.matches, promptfoo.read),
    Format("lm-eval", "samples of lm-evaluation-harness (--log_samples)", lm_eval.matches, lm_eval.read),
    Format("rows", "rows with prediction and id or input (JSONL, JSON, CSV)", rows.matches, rows.read),
)


def read_answers(source: str | Path) -> Answers:
    """Read the answers of one contender: a path, or PATH#NAME where the path holds several.

    Raises AnswersError (unknown shape, several contenders, no such name), DataError and RunError; each
    says what was found and what is read.
    """
    path, asked = split_name(source)
    found = read_all(path)
    names = [answers.name for answers in found]
    if asked is None:
        if len(found) == 1:
            return found[0]
        raise AnswersError(
            f"{printable(str(path))} holds {len(found)} contenders: {', '.join(map(printable, names))}. "
            f"Name one: {printable(f'{path}#{names[0]}')}"
        )
    chosen = [a for a in found if a.name == asked] or [a for a in found if a.name.endswith(f"/{asked}")]
    if len(chosen) == 1:
        return chosen[0]
    known = [*names, *(name.rpartition("/")[2] for name in names)]
    raise AnswersError(
        f"{printable(str(path))}: {'several contenders are' if chosen else 'no contender is'} called "
        f"{printable(asked)!r}.{did_you_mean(asked, known)} There are: {', '.join(map(printable, names))}"
    )


def split_name(source: str | Path) -> tuple[Path, str | None]:
    """PATH#NAME as a path and a name; a # that belongs to the path stays there."""
    text = str(source)
    if Path(text).exists() or "#" not in text:
        return Path(text), None
    for at, char in enumerate(text):
        if char == "#" and at and Path(text[:at]).exists():
            return Path(text[:at]), text[at + 1 :]
    path, _, name = text.partition("#")
    return Path(path), name


def read_all(path: str | Path) -> tuple[Answers, ...]:
    """Read every contender that a file or folder holds, names distinct. Raises as `read_answers` does."""
    source = look_at(Path(path))
    if source.kind == "folder":
        return _folder(source)
    format = format_of(source)
    if format is None:
        raise AnswersError(_unknown(source))
    found = format.read(source)
    if not any(answers.rows for answers in found):
        raise AnswersError(f"{source.name}: there are no answers in it.")
    return found


def fingerprint(source: str | Path) -> str:
    """sha256 (hex) of the file behind a path or PATH#NAME; of a folder, of its files' names and contents."""
    path, _ = split_name(source)
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    inside = [(str(p.relative_to(path)), fingerprint(p)) for p in _files(path)]
    return hashlib.sha256(repr(inside).encode()).hexdigest()


def format_of(source: Source) -> Format | None:
    """The format of a source, None where it is none of ours."""
    return next((format for format in FORMATS if format.matches(source)), None)


def _folder(folder: Source) -> tuple[Answers, ...]:
    """The contenders of every log under a folder; files of other shapes are passed over."""
    found: dict[str, tuple[Answers, Path]] = {}
    passed: list[str] = []
    for path in _files(folder.path):
        try:
            source = look_at(path)
        except (DataError, AnswersError):
            passed.append(path.name)
            continue
        format = format_of(source)
        if format is None:
            passed.append(path.name)
            continue
        for answers in format.read(source):
            if answers.name in found:
                raise AnswersError(
                    f"{folder.name}: {printable(found[answers.name][1].name)} and {printable(path.name)} both hold "
                    f"{printable(answers.name)}. Name one of the files."
                )
            found[answers.name] = (answers, path)
    if not found:
        there = (
            f"It holds: {', '.join(map(printable, passed[:5]))}{' …' if len(passed) > 5 else ''}. "
            * bool(passed)
        )
        raise AnswersError(f"{folder.name}: a folder without answers. {there}{_READ}")
    return tuple(answers for answers, _ in found.values())


def _files(folder: Path, depth: int = DEPTH) -> Iterator[Path]:
    entries = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    if len(entries) > MOST_FILES:
        raise AnswersError(f"{printable(str(folder))}: {len(entries)} entries. Name the file.")
    yield from (p for p in entries if p.is_file())
    if depth:
        for inner in entries:
            if inner.is_dir() and not inner.is_symlink():
                yield from _files(inner, depth - 1)


_READ = "Read are: " + "; ".join(format.what for format in FORMATS) + "."


def _unknown(source: Source) -> str:
    if source.kind in ("rows", "object"):
        return f"{source.name}:1: {rows.explain(source)} {_READ}"
    return f"{source.name}: found {source}. {_READ}"
