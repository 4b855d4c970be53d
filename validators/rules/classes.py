"""Whether a file's replies are classes, and which part of the data a file is."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Literal

from ..text_facts import LABEL_WORDS, MOST_LABELS
from .subjects import FileFacts

MOST_SHARE = 0.1

Split = Literal["train", "test"]

_TRAIN = re.compile(r"(?<![a-z])(?:train|training)(?![a-z])")
_TEST = re.compile(r"(?<![a-z])(?:test|testing|dev|val|valid|validation|eval|evaluation|holdout)(?![a-z])")


def counts_of(file: FileFacts) -> dict[int, int] | None:
    """How many rows each short reply has, by its digest, if all replies are short and few."""
    import numpy as np

    prints = file.fingerprints
    if not len(prints):
        return None
    words = np.frombuffer(prints.reply_words, np.uint8)
    if not words.all() or int(words.max()) > LABEL_WORDS:
        return None
    digests, counts = np.unique(np.frombuffer(prints.reply, np.uint64), return_counts=True)
    if len(digests) > MOST_LABELS:
        return None
    return {int(digest): int(count) for digest, count in zip(digests, counts, strict=True)}


def classes_of(file: FileFacts) -> dict[int, int] | None:
    """The same where they are classes: two at least, and no more than a tenth of the rows."""
    counts = counts_of(file)
    if counts is None or not 2 <= len(counts) <= MOST_SHARE * len(file.fingerprints):
        return None
    return counts


def label_names(file: FileFacts, classes: dict[int, int]) -> dict[int, str]:
    """What the classes are called."""
    return {digest: file.texts.labels.get(digest, "") for digest in classes}


def split_of(file: FileFacts) -> Split | None:
    """Which split a file is by its name, or None."""
    name = PurePath(file.path).name.casefold()
    return "train" if _TRAIN.search(name) else "test" if _TEST.search(name) else None
