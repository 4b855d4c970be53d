"""What differs between two texts, word by word, as Markdown that holds the texts only as text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rapidfuzz.distance import Indel

from apps.words import literal
from metrics.text import UNSPACED

Kind = Literal["same", "added", "gone"]

# Longer texts are shown without marks: nobody reads that many differences.
MOST_WORDS = 4_000

# A code such as bench/water, a number or an address is one word.
_WORDS = re.compile(r"\n|[^\S\n]+|\w+(?:[/_.:@'-]\w+)*|[^\w\s]")
_SIGNS: dict[Kind, tuple[str, str]] = {
    "same": ("", ""),
    "added": (":green-background[**", "**]"),
    "gone": (":red-background[~~", "~~]"),
}


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of words that both texts have, or only the one that is shown, or only the other."""

    text: str
    kind: Kind


def word_diff(text: str, against: str) -> list[Piece] | None:
    """How `text` differs from `against`, in the fewest words taken out and put in; None for long texts."""
    a, b = _words(against), _words(text)
    if max(len(a), len(b)) > MOST_WORDS:
        return None
    pieces: list[Piece] = []
    for step in Indel.opcodes(a, b):
        gone, here = a[step.src_start : step.src_end], b[step.dest_start : step.dest_end]
        if step.tag == "equal":
            pieces.append(Piece("".join(here), "same"))
        elif step.tag == "insert":
            pieces.append(Piece("".join(here), "added"))
        elif pieces and pieces[-1].kind == "added":
            pieces.insert(-1, Piece("".join(gone), "gone"))  # what was there reads before what came
        else:
            pieces.append(Piece("".join(gone), "gone"))
    return pieces


def nearest(text: str, references: Sequence[str]) -> str | None:
    """The reference that shares most with a text."""
    return min(references, key=lambda r: Indel.distance(_words(r), _words(text)), default=None)


def marked(pieces: Sequence[Piece]) -> str:
    """Pieces as Markdown: what is added bold on green, what is gone struck through on red."""
    return "".join(_marked(piece) for piece in pieces) or literal("(empty)")


def _words(text: str) -> list[str]:
    return [part for word in _WORDS.findall(text) for part in _parted(word)]


def _parted(word: str) -> Iterator[str]:
    """Scripts without spaces are compared by character."""
    at = 0
    for found in UNSPACED.finditer(word):
        if found.start() > at:
            yield word[at : found.start()]
        yield found.group()
        at = found.end()
    if at < len(word):
        yield word[at:]


def _marked(piece: Piece) -> str:
    return "  \n".join(_line(line, piece.kind) for line in piece.text.split("\n"))


def _line(line: str, kind: Kind) -> str:
    words = line.strip()
    if not words:
        return _spaces(line)
    before, _, after = line.partition(words)
    opening, closing = _SIGNS[kind]
    return f"{_spaces(before)}{opening}{_spaces(literal(words))}{closing}{_spaces(after)}"


def _spaces(text: str) -> str:
    """Spaces that neither vanish nor make a block of code."""
    return re.sub(r"[^\S\n]{2,}", lambda run: "\u00a0" * len(run.group()), text)
