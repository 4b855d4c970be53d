"""DUP: duplicates within a file and leakage between files. Docstrings are the rules' pages, as in `fmt`."""

from __future__ import annotations

from collections.abc import Iterator

from ..findings import Fault, Severity
from ..targets import Target
from .subjects import Collection, FileFacts

# A shorter prompt ("hello", "thanks!") may stand in two splits by chance.
TELLING_WORDS = 8

Place = tuple[str, int]


def exact_duplicate(data: Collection, target: Target) -> Iterator[Fault]:
    """The same example stands in the file again (case, width and white space aside).

    Why: repeated rows weigh more than the rest, and across a later split they leak.
    Bad:
        {"messages": [{"role": "user", "content": "Is mint thirsty?"}, {"role": "assistant", "content": "Very."}]}
        {"messages": [{"role": "user", "content": "is mint  THIRSTY?"}, {"role": "assistant", "content": "Very."}]}
    Good:
        {"messages": [{"role": "user", "content": "Is mint thirsty?"}, {"role": "assistant", "content": "Very."}]}
        {"messages": [{"role": "user", "content": "Is dill thirsty?"}, {"role": "assistant", "content": "Less so."}]}
    """
    for file in data.files:
        first: dict[bytes, int] = {}
        for row in file.fingerprints:
            line = first.setdefault(row.example, row.line)
            if line != row.line:
                cure = "Keep one; if it matters more than others, say so with more varied rows."
                yield Fault(f"the same example as line {line}", cure, path=file.path, line=row.line)


def split_leak(data: Collection, target: Target) -> Iterator[Fault]:
    """An example, or its prompt, stands in two splits.

    Why: a test row that was trained on measures memory; every score of that split is then too good.
    Bad:
        {"messages": [{"role": "user", "content": "How often should the tank be cleaned in summer?"}, {"role": "assistant", "content": "Every two weeks."}]}
        == test.jsonl
        {"messages": [{"role": "user", "content": "How often should the tank be cleaned in summer?"}, {"role": "assistant", "content": "Twice a month."}]}
    Good:
        {"messages": [{"role": "user", "content": "How often should the tank be cleaned in summer?"}, {"role": "assistant", "content": "Every two weeks."}]}
        == test.jsonl
        {"messages": [{"role": "user", "content": "Does the pump have to run at night as well?"}, {"role": "assistant", "content": "Yes."}]}
    """
    examples: dict[bytes, Place] = {}
    prompts: dict[bytes, Place] = {}
    for file in data.against:
        _remember(file, examples, prompts)
    for file in data.files:
        yield from _leaks(file, examples, prompts)
        _remember(file, examples, prompts)


def _leaks(file: FileFacts, examples: dict[bytes, Place], prompts: dict[bytes, Place]) -> Iterator[Fault]:
    cure = "Keep it in one split only; split by group, with duplicates together."
    for row in file.fingerprints:
        if row.example in examples:
            place = _name(examples[row.example])
            yield Fault(
                f"the same example stands in another split ({place})", cure, path=file.path, line=row.line
            )
        elif row.prompt is not None and row.prompt in prompts:
            message = f"the same prompt stands in another split ({_name(prompts[row.prompt])})"
            severity: Severity = "error" if row.words >= TELLING_WORDS else "warning"
            yield Fault(message, cure, path=file.path, line=row.line, severity=severity)


def _remember(file: FileFacts, examples: dict[bytes, Place], prompts: dict[bytes, Place]) -> None:
    for row in file.fingerprints:
        examples.setdefault(row.example, (file.path, row.line))
        if row.prompt is not None:
            prompts.setdefault(row.prompt, (file.path, row.line))


def _name(place: Place) -> str:
    return f"{place[0]}:{place[1]}"
