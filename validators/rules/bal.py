"""BAL: balance of the set. Docstrings are the rules' pages, as in `fmt`."""

from __future__ import annotations

from collections.abc import Iterator

from ..findings import Fault, quoted
from ..shift import share_shift, shifts
from ..targets import Target
from .classes import classes_of, counts_of, split_of
from .subjects import Collection, FileFacts

IMBALANCE = 10
DRIFT_SHARE = 0.8
# One row in five with another prompt is drift only where there are rows enough to speak of shares.
FEWEST_ROWS = 10
# A file shares the classes of another if half its rows have one of them.
SHARED = 0.5


def class_imbalance(data: Collection, target: Target) -> Iterator[Fault]:
    """The replies are classes, and the largest is over ten times the smallest.

    Why: the tuned model seldom gives the rare class, and accuracy hardly shows it.
    Bad:
        22 × {"prompt": "Plant <n> droops", "completion": "water"}
        6 × {"prompt": "Plant <n> yellows", "completion": "light"}
        2 × {"prompt": "Plant <n> smokes", "completion": "safety"}
    Good:
        16 × {"prompt": "Plant <n> droops", "completion": "water"}
        8 × {"prompt": "Plant <n> yellows", "completion": "light"}
        6 × {"prompt": "Plant <n> smokes", "completion": "safety"}
    """
    for file in data.files:
        classes = classes_of(file)
        if classes is None:
            continue
        ranked = sorted(classes, key=lambda digest: (-classes[digest], digest))
        most, least = ranked[0], ranked[-1]
        if classes[most] > IMBALANCE * classes[least]:
            sizes = f"{_name(file, most)} has {classes[most]} rows and {_name(file, least)} {classes[least]}"
            cure = "Add rows of the rare classes, and read macro F1 beside accuracy."
            yield Fault(f"{len(classes)} classes: {sizes}", cure, path=file.path)


def system_prompt_drift(data: Collection, target: Target) -> Iterator[Fault]:
    """One system prompt has over 80 % of the rows, and the rest have others.

    Why: the odd ones are usually old versions or slips; a request with the main one then behaves as a mixture.
    Bad:
        9 × {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Pod <n>?"}, {"role": "assistant", "content": "Dill <n>."}]}
        {"messages": [{"role": "system", "content": "Be brief!!"}, {"role": "user", "content": "Pod X?"}, {"role": "assistant", "content": "Mint."}]}
    Good:
        10 × {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Pod <n>?"}, {"role": "assistant", "content": "Dill <n>."}]}
    """
    import numpy as np

    for file in data.files:
        prints = file.fingerprints
        system = np.frombuffer(prints.system, np.uint64)
        if len(system) < FEWEST_ROWS:
            continue
        values, first, counts = np.unique(system, return_index=True, return_counts=True)
        top = int(counts.argmax())
        others = [i for i, value in enumerate(values) if value and i != top]
        if values[top] and others and counts[top] > DRIFT_SHARE * len(system):
            odd = min(int(first[i]) for i in others)
            rows = sum(int(counts[i]) for i in others)
            share = f"one system prompt has {int(counts[top])} of {len(system)} rows"
            message = f"{share}, and {rows} have {_many(len(others))}, first in this line"
            cure = "Give all rows the prompt that requests will have, or say apart what differs."
            yield Fault(message, cure, path=file.path, line=prints.line[odd])


def class_missing_in_split(data: Collection, target: Target) -> Iterator[Fault]:
    """A class of the test split is not in the training split.

    Why: what was never seen cannot be given; those rows count as wrong whatever the method.
    Which is which is told by the files' names; failing that, the first file is the training split.
    Bad:
        12 × {"prompt": "Plant <n> droops", "completion": "water"}
        8 × {"prompt": "Plant <n> yellows", "completion": "light"}
        == test.jsonl
        2 × {"prompt": "Pod <n> droops", "completion": "water"}
        {"prompt": "Pod smokes", "completion": "safety"}
    Good:
        12 × {"prompt": "Plant <n> droops", "completion": "water"}
        8 × {"prompt": "Plant <n> yellows", "completion": "light"}
        == test.jsonl
        2 × {"prompt": "Pod <n> droops", "completion": "water"}
        {"prompt": "Pod yellows", "completion": "light"}
    """
    training, tests = _splits(data)
    known = [classes for file in training if (classes := classes_of(file)) is not None]
    if not known or len(known) < len(training):
        return
    trained = set().union(*known)
    own = {file.path for file in data.files}
    for file in tests:
        counts = counts_of(file) or {}
        missing = sorted(counts.keys() - trained, key=lambda digest: (-counts[digest], digest))
        shared = sum(count for digest, count in counts.items() if digest in trained)
        if missing and shared >= SHARED * len(file.fingerprints):
            names = ", ".join(f"{_name(file, digest)} ({counts[digest]} rows)" for digest in missing[:5])
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            place = "" if file.path in own else f" of {file.path}"
            message = f"classes{place} that the training split lacks: {names}{more}"
            cure = "Split again by class (stratified), or add training rows of them."
            yield Fault(message, cure, path=file.path if not place else training[0].path)


def shift(data: Collection, target: Target) -> Iterator[Fault]:
    """The rows differ from the sample of production they are held against (`--against`).

    Why: a model tuned and tested on other requests than it will get is measured on the wrong question.
    Compared are the prompts' lengths, languages and words, and the classes, on a sample of both; small
    differences and such as chance explains are not told.
    Bad (against=production.jsonl):
        60 × {"prompt": "How tall is plant <n> and what is it called?", "completion": "Dill <n>, <n> cm."}
        == production.jsonl
        60 × {"prompt": "Wie hoch ist die Pflanze <n> und was ist das für eine? Ich habe sie nicht gekauft, sie war ein Geschenk von <n> Freunden.", "completion": "Dill <n>, <n> cm."}
    Good (against=production.jsonl):
        60 × {"prompt": "How tall is plant <n> and what is it called?", "completion": "Dill <n>, <n> cm."}
        == production.jsonl
        60 × {"prompt": "How tall is shrub <n> and what is it called?", "completion": "Mint <n>, <n> cm."}
    """
    cure = "Take training and test rows as requests come, or weigh the result by what production has."
    for other in data.against:
        here = [row for file in data.files for row in file.texts.sample.values()]
        there = list(other.texts.sample.values())
        for told in shifts(here, there):
            yield Fault(f"{told} (against {other.path})", cure, path=data.files[0].path)
        classes = _class_shift(data.files, other)
        if classes is not None:
            yield Fault(f"{classes} (against {other.path})", cure, path=data.files[0].path)


def _class_shift(files: tuple[FileFacts, ...], other: FileFacts) -> str | None:
    """Which class's share differs most, where both sides have classes and it is more than chance."""
    ours: dict[int, int] = {}
    theirs = classes_of(other)
    names = dict(other.texts.labels)
    for file in files:
        counts = classes_of(file)
        if counts is None or theirs is None:
            return None
        names |= file.texts.labels
        for digest, count in counts.items():
            ours[digest] = ours.get(digest, 0) + count
    named = [{names.get(d, "?"): n for d, n in counts.items()} for counts in (ours, theirs or {})]
    return share_shift("class", named[0], named[1])


def _splits(data: Collection) -> tuple[list[FileFacts], list[FileFacts]]:
    """Training files and test files: by name, else the first is for training."""
    files = [*data.files, *data.against]
    named = [split_of(file) for file in files]
    training = [file for file, split in zip(files, named, strict=True) if split == "train"] or files[:1]
    taken = {id(file) for file in training}
    rest = [(file, split) for file, split in zip(files, named, strict=True) if id(file) not in taken]
    if any(split == "test" for _, split in rest):
        rest = [(file, split) for file, split in rest if split == "test"]
    return training, [file for file, _ in rest]


def _name(file: FileFacts, digest: int) -> str:
    return quoted(file.texts.labels.get(digest, "?"))


def _many(count: int) -> str:
    return "another" if count == 1 else f"{count} others"
