"""The documents RAG draws on: a folder of Markdown or text, or a JSONL file; and how they are cut."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

from validators.reading import DataError, read_rows

SUFFIXES = (".md", ".markdown", ".txt")
CHUNK_WORDS = 120


class CorpusError(ValueError):
    """The corpus cannot be read; the message names the file and what to do."""


@dataclass(frozen=True, slots=True)
class Document:
    """One document. `name` is its path inside the corpus, or its id."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document, headed by the document's title so that it can stand alone."""

    document: str
    text: str


def load_corpus(path: Path) -> list[Document]:
    """Read all documents, sorted by name. Raises CorpusError."""
    if not path.exists():
        raise CorpusError(f"{path}: no such corpus. data.corpus names a folder of documents or a JSONL file.")
    if path.is_dir():
        documents = _from_folder(path)
    else:
        documents = [_read(path, path.name)] if path.suffix.lower() in SUFFIXES else _from_jsonl(path)
    documents = [d for d in documents if d.text.strip()]
    if not documents:
        raise CorpusError(f"{path}: no document with text in it ({', '.join(SUFFIXES)} files are read).")
    return documents


def _from_folder(folder: Path) -> list[Document]:
    documents = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        place = path.relative_to(folder)
        if any(part.startswith(".") for part in place.parts):
            continue
        if path.suffix.lower() not in SUFFIXES:
            raise CorpusError(
                f"{path}: only {', '.join(SUFFIXES)} files are read. Convert it to text, or move it out of the corpus."
            )
        documents.append(_read(path, place.as_posix()))
    return documents


def _read(path: Path, name: str) -> Document:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{path}: not UTF-8 text (byte {error.start}). Convert it or move it out."
        ) from None
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read: {error.strerror}.") from None
    if "\0" in text:
        raise CorpusError(f"{path}: binary data (it holds NUL bytes). Convert it to text or move it out.")
    return Document(name, text)


def _from_jsonl(path: Path) -> list[Document]:
    try:
        rows = list(read_rows(path))
    except DataError as error:
        raise CorpusError(str(error)) from None
    documents = []
    for row in rows:
        text = row.value.get("text")
        if not isinstance(text, str):
            raise CorpusError(
                f"{path}:{row.line}: a document row needs the key text (a string), and may have id."
            )
        documents.append(Document(str(row.value.get("id", f"line {row.line}")), text))
    return documents


def chunk(document: Document, words: int = CHUNK_WORDS) -> list[Chunk]:
    """Cut a document at blank lines into pieces of about `words` words, each headed by its title.

    A Markdown heading begins a new piece once the running one is half full; a paragraph is never torn.
    """
    paragraphs = [p.strip() for p in document.text.replace("\r\n", "\n").split("\n\n") if p.strip()]
    title = ""
    if paragraphs and paragraphs[0].startswith("# "):
        title, _, rest = paragraphs.pop(0).partition("\n")
        paragraphs[:0] = [rest.strip()] if rest.strip() else []
    pieces: list[list[str]] = [[]]
    for paragraph in paragraphs:
        size = sum(len(p.split()) for p in pieces[-1])
        full = size + len(paragraph.split()) > words
        if size and (full or (paragraph.startswith("#") and size > words / 2)):
            pieces.append([])
        pieces[-1].append(paragraph)
    _move_dangling_headings(pieces)
    return [
        Chunk(document.name, "\n\n".join([title, *piece] if title else piece))
        for piece in pieces
        if piece or (title and len(pieces) == 1)
    ]


def _move_dangling_headings(pieces: list[list[str]]) -> None:
    """A heading at the end of a piece belongs to the next."""
    for before, after in itertools.pairwise(pieces):
        while before and before[-1].startswith("#") and "\n" not in before[-1]:
            after.insert(0, before.pop())
