"""What a data set holds: turns, languages, classes, and how its tokens spread.

`Profile` is gathered range by range and joined; it stays small whatever the file's size. Quantiles are those
of all values (linear interpolation, as numpy's default), not of a sample.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from .block_prints import Block
from .findings import printable
from .language import language_of
from .personal import without_personal

# Replies form classes when they are few, short and come again.
MOST_CLASSES = 50
MOST_CLASS_SHARE = 0.1
MOST_CLASS_WORDS = 5
_LONGEST_LABEL = 100

# About so many rows of a file are asked for their language.
LANGUAGE_SAMPLE = 2_000
# A rough row, for telling how many rows a file of some size has.
_ROW_BYTES = 500

# Characters of a prompt and of a reply that their language is told by.
_HEAD = 300

# How many system prompts a report names.
SHOWN = 5

SYSTEM_ROLES = ("system", "developer")


class Profile:
    """What the chats of one byte range look like. Add rows, join later ranges, then read `as_dict`.

    `step` spares all but about one row in so many the question for its language; which ones hangs on their
    digest alone, so that ranges may be cut anywhere.
    """

    __slots__ = ("classes", "languages", "no_system", "no_user", "rows", "sampled", "seen", "step", "turns")

    def __init__(self, step: int = 1) -> None:
        self.step = step
        self.rows = self.no_system = self.no_user = self.seen = self.sampled = 0
        self.turns: Counter[int] = Counter()
        self.languages: Counter[str] = Counter()
        # None once the replies are known to be no classes.
        self.classes: Counter[str] | None = Counter()

    def add(self, roles: Sequence[str], rows: int = 1) -> None:
        """Take down chats by the order of their roles."""
        self.rows += rows
        self.turns[len(roles)] += rows
        self.no_system += 0 if any(role in SYSTEM_ROLES for role in roles) else rows
        self.no_user += 0 if "user" in roles else rows

    def read(self, turns: Sequence[tuple[str, str]], digest: int) -> None:
        """Take down the texts of one chat: (role, text) of each message, and the example's digest."""
        self.seen += 1
        if self.classes is not None:
            self._classify(_last_reply(turns))
        if digest % self.step == 0:
            self.sampled += 1
            asked = next((text for role, text in turns if role == "user"), "")
            self.languages[language_of(f"{asked[:_HEAD]} {_last_reply(turns)[:_HEAD]}")] += 1

    def read_block(self, block: Block) -> None:
        """The same of many chats; only those that are asked for something are looked at."""
        import numpy as np

        rows = range(len(block.orders))
        done = 0
        while self.classes is not None and done < len(rows):
            self.read(block.turns(done), block.prints.example[done])
            done += 1
        digests = np.frombuffer(block.prints.example, np.uint64)
        for row in np.flatnonzero(digests[done:] % np.uint64(self.step) == 0).tolist():
            self.read(block.turns(done + row), block.prints.example[done + row])
            self.seen -= 1
        self.seen += len(rows) - done

    def _classify(self, reply: str) -> None:
        assert self.classes is not None
        label = reply.strip()
        if len(label) > _LONGEST_LABEL or len(label.split()) > MOST_CLASS_WORDS:
            self.classes = None
            return
        self.classes[label] += 1
        if len(self.classes) > MOST_CLASSES:
            self.classes = None

    def join(self, later: Profile, lines: int = 0) -> None:
        """Add the profile of a later range."""
        self.rows += later.rows
        self.no_system += later.no_system
        self.no_user += later.no_user
        self.seen += later.seen
        self.sampled += later.sampled
        self.turns.update(later.turns)
        self.languages.update(later.languages)
        if self.classes is not None and later.classes is not None:
            self.classes.update(later.classes)
        if later.classes is None or (self.classes is not None and len(self.classes) > MOST_CLASSES):
            self.classes = None

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values; `languages` is None where no texts were read, `classes` where there are none."""
        return {
            "no_system": self.no_system,
            "no_user": self.no_user,
            "turns": summary_of_counts(self.turns),
            "languages": _shares(self.languages) if self.seen else None,
            "language_sample": self.sampled,
            "classes": self._classes(),
        }

    def _classes(self) -> dict[str, int] | None:
        found = self.classes
        if not found or len(found) < 2 or len(found) > self.seen * MOST_CLASS_SHARE:
            return None
        # Labels are text of the data: nothing in them may drive a terminal or break an encoder.
        shown: Counter[str] = Counter()
        for label, count in found.items():
            shown[printable(without_personal(label))] += count
        return dict(sorted(shown.items(), key=lambda item: (-item[1], item[0])))


def language_step(size: int | None) -> int:
    """The step of a `Profile` for a file of so many bytes; small files are asked row by row."""
    return max(1, (size or 0) // (_ROW_BYTES * LANGUAGE_SAMPLE))


def system_prompts(digests: Sequence[int], lines: Sequence[int]) -> dict[str, Any]:
    """How many system prompts there are and which are commonest, by the line that first has them.

    `digests` are those of each row's system text, 0 where there is none. The text itself is not told: it may
    hold what a report should not.
    """
    import numpy as np

    known, first, counts = np.unique(np.asarray(digests, np.uint64), return_index=True, return_counts=True)
    order = np.lexsort((first, -counts))
    order = order[known[order] != 0]
    most = [{"line": int(lines[first[i]]), "examples": int(counts[i])} for i in order[:SHOWN]]
    return {"distinct": len(order), "commonest": most}


def summary(values: Iterable[int]) -> dict[str, float | int | None]:
    """Least, mean, p5, p50, p95 and most of whole numbers; None where there are none."""
    return summary_of_counts(Counter(values))


def summary_of_counts(counts: Counter[int]) -> dict[str, float | int | None]:
    """The same, of values that are counted already."""
    number = counts.total()
    if not number:
        return dict.fromkeys(("min", "mean", "p5", "p50", "p95", "max"))
    ordered = sorted(counts.items())
    return {
        "min": ordered[0][0],
        "mean": sum(value * count for value, count in ordered) / number,
        "p5": _quantile(ordered, number, 0.05),
        "p50": _quantile(ordered, number, 0.5),
        "p95": _quantile(ordered, number, 0.95),
        "max": ordered[-1][0],
    }


def _quantile(ordered: Sequence[tuple[int, int]], number: int, q: float) -> float:
    """The value at rank q · (number − 1), between two values in proportion."""
    rank = q * (number - 1)
    low, high = _at(ordered, int(rank)), _at(ordered, min(int(rank) + 1, number - 1))
    return low + (high - low) * (rank - int(rank))


def _at(ordered: Sequence[tuple[int, int]], rank: int) -> int:
    passed = 0
    for value, count in ordered:
        passed += count
        if rank < passed:
            return value
    return ordered[-1][0]


def histogram(values: Iterable[int]) -> list[list[int]]:
    """Bins [from, to, count] that double in width, from the least value's to the greatest's."""
    counts: Counter[int] = Counter(value.bit_length() for value in values)
    if not counts:
        return []
    return [
        [1 << bits >> 1, (1 << bits) - 1 if bits else 0, counts[bits]]
        for bits in range(min(counts), max(counts) + 1)
    ]


def _last_reply(turns: Sequence[tuple[str, str]]) -> str:
    return next((text for role, text in reversed(turns) if role == "assistant"), "")


def _shares(counts: Counter[str]) -> dict[str, float]:
    total = counts.total()
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {name: count / total for name, count in ordered}
