"""How documents are cut: at blank lines, under their title, nothing longer than asked for."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from .corpus import Document

CHUNK_WORDS = 120
# Chinese, Japanese and Thai are written without spaces: two of their characters count as a word.
_UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
# What runs on for longer than any word (an image as text, a key) counts as several.
_WORD = re.compile(rf"[{_UNSPACED}]{{1,2}}|[^\s{_UNSPACED}]{{1,40}}")
# Where a long paragraph is cut: after a sentence or a line.
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document, headed by the document's title so that it can stand alone."""

    document: str
    text: str


def chunk(document: Document, words: int = CHUNK_WORDS, overlap: int = 0) -> list[Chunk]:
    """Cut a document at blank lines into pieces of at most `words` words, each headed by its title.

    A Markdown heading begins a new piece once the running one is half full. Only a paragraph longer than a
    piece is torn, after a sentence where one ends. With `overlap`, a piece begins with the last words of the
    one before it.
    """
    room = words - overlap
    paragraphs = [p.strip() for p in document.text.replace("\r\n", "\n").split("\n\n") if p.strip()]
    title = ""
    if paragraphs and paragraphs[0].startswith("# "):
        title, _, rest = paragraphs.pop(0).partition("\n")
        paragraphs[:0] = [rest.strip()] if rest.strip() else []
    pieces: list[list[str]] = [[]]
    size = 0
    for paragraph in itertools.chain.from_iterable(_torn(p, room) for p in paragraphs):
        length = _count(paragraph)
        if size and (size + length > room or (paragraph.startswith("#") and size > room / 2)):
            pieces.append([])
            size = 0
        pieces[-1].append(paragraph)
        size += length
    _move_dangling_headings(pieces)
    pieces = _overlapping([p for p in pieces if p], overlap) or ([[]] if title else [])
    return [Chunk(document.name, "\n\n".join([title, *piece] if title else piece)) for piece in pieces]


def _count(text: str) -> int:
    return sum(1 for _ in _WORD.finditer(text))


def _torn(paragraph: str, room: int) -> Iterator[str]:
    """The paragraph, or parts of it that fit: whole sentences or lines where they do."""
    if _count(paragraph) <= room:
        yield paragraph
        return
    begin = end = size = 0
    for part in _parts(paragraph, room):
        length = _count(paragraph[part])
        if size and size + length > room:
            yield paragraph[begin:end].strip()
            begin, size = part.start, 0
        size, end = size + length, part.stop
    yield paragraph[begin:end].strip()


def _parts(paragraph: str, room: int) -> Iterator[slice]:
    """Where the sentences and lines of a paragraph stand; one that is too long goes by words."""
    ends = [m.end() for m in _SENTENCE_END.finditer(paragraph)]
    for begin, end in itertools.pairwise([0, *ends, len(paragraph)]):
        words = [begin + m.start() for m in _WORD.finditer(paragraph[begin:end])]
        cuts = [begin, *words[room::room], end]
        yield from (slice(a, b) for a, b in itertools.pairwise(cuts) if b > a)


def _overlapping(pieces: list[list[str]], overlap: int) -> list[list[str]]:
    """Each piece after the last `overlap` words of the one before it."""
    if not overlap:
        return pieces
    return [
        [*([_tail("\n\n".join(before), overlap)] if before else []), *piece]
        for before, piece in zip([[], *pieces], pieces, strict=False)
    ]


def _tail(text: str, words: int) -> str:
    starts = [m.start() for m in _WORD.finditer(text)]
    return text[starts[-words] :] if len(starts) > words else text


def _move_dangling_headings(pieces: list[list[str]]) -> None:
    """A heading at the end of a piece belongs to the next."""
    for before, after in itertools.pairwise(pieces):
        while before and before[-1].startswith("#") and "\n" not in before[-1]:
            after.insert(0, before.pop())
