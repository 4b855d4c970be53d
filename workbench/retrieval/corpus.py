"""The documents RAG draws on: a folder of Markdown, text, HTML and PDF, or a JSONL file.

A file of these kinds that cannot be read stops with its name and a cure. Anything else in the folder is
left out and named: nothing is left out silently.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from validators.assets import require
from validators.findings import printable
from validators.reading import DataError, read_rows

from ..experiment import Experiment
from .html_text import html_text

MAX_BYTES = 64 * 2**20
TOLD = 20


class CorpusError(ValueError):
    """The corpus cannot be read; the message names the file and what to do."""


@dataclass(frozen=True, slots=True)
class Document:
    """One document. `name` is its path inside the corpus, or its id."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """The documents that hold text, sorted by name, and what was left out: its name, and why."""

    documents: list[Document]
    skipped: dict[str, str] = field(default_factory=dict)


def load_corpus(path: Path) -> list[Document]:
    """Read all documents, sorted by name. Raises CorpusError."""
    return read_corpus(path).documents


def read_corpus(path: Path) -> Corpus:
    """Read all documents, and name what is left out. Raises CorpusError with every file at fault."""
    if not path.exists():
        raise CorpusError(f"{path}: no such corpus. data.corpus names a folder of documents or a JSONL file.")
    if path.is_dir():
        corpus = _from_folder(path)
    elif path.suffix.lower() in READERS:
        corpus = Corpus([Document(*_document(path, path.name))])
    else:
        corpus = Corpus(list(_from_rows(path)))
    documents = [d for d in corpus.documents if d.text.strip()]
    skipped = corpus.skipped | {d.name: "no text in it" for d in corpus.documents if not d.text.strip()}
    if not documents:
        left_out = "; ".join(f"{name}: {why}" for name, why in list(skipped.items())[:TOLD])
        raise CorpusError(
            f"{path}: no document with text in it ({', '.join(READERS)} files are read, or a JSONL file)."
            + (f" Left out: {left_out}." if left_out else "")
        )
    return Corpus(documents, dict(sorted(skipped.items())))


def _from_folder(folder: Path) -> Corpus:
    documents, skipped, faults = [], {}, []
    for path in _files(folder):
        name = _clean(path.relative_to(folder).as_posix())
        if why := _why_not(path):
            skipped[name] = why
            continue
        try:
            documents.append(Document(*_document(path, name)))
        except CorpusError as error:
            faults.append(str(error))
    if faults:
        more = [f"… and {len(faults) - TOLD} more"] if len(faults) > TOLD else []
        raise CorpusError("\n".join([*faults[:TOLD], *more]))
    return Corpus(sorted(documents, key=lambda d: d.name), skipped)


def _files(folder: Path) -> Iterator[Path]:
    """Everything in the folder that is no folder or is a link; hidden places are no part of it."""
    for root, folders, names in os.walk(folder):
        links = [name for name in folders if (Path(root) / name).is_symlink()]
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root) / name for name in sorted([*names, *links]) if not name.startswith("."))


def _why_not(path: Path) -> str | None:
    if path.is_symlink():
        return "a link, and links are not followed: copy what it names into the folder"
    if not path.is_file():
        return "no regular file"
    if path.suffix.lower() not in READERS:
        return f"only {', '.join(READERS)} files are read"
    return None


def _document(path: Path, name: str) -> tuple[str, str]:
    """(name, text) of one file. Raises CorpusError."""
    place = printable(str(path))
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise CorpusError(
                f"{place}: {size >> 20} MB, over {MAX_BYTES >> 20}. Split it, or move it out of the corpus."
            )
        text = READERS[path.suffix.lower()](path.read_bytes(), place) if size else ""
    except OSError as error:
        raise CorpusError(f"{place}: cannot be read: {error.strerror}.") from None
    return name, _clean(text)


def _clean(text: str) -> str:
    """Without half surrogate pairs (odd file names, JSON escapes), which no index and no JSON file can hold."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


# -- one file ------------------------------------------------------------------------------------------


def _plain(blob: bytes, place: str) -> str:
    return _decoded(blob, place, "utf-8-sig")


def _html(blob: bytes, place: str) -> str:
    """HTML in UTF-8, or else in the encoding that it declares."""
    declared = re.search(rb"""charset\s*=\s*["']?\s*([\w.:-]{1,40})""", blob[:4096], re.IGNORECASE)
    encoding = "utf-8-sig"
    try:
        blob.decode(encoding)
    except UnicodeDecodeError:
        encoding = declared[1].decode("ascii", "replace") if declared else encoding
    try:
        return html_text(_decoded(blob, place, encoding))
    except SyntaxError as error:  # what the parser raises where nothing at all can be read
        raise CorpusError(
            f"{place}: no HTML that can be read ({error}). Move it out of the corpus."
        ) from None


def _decoded(blob: bytes, place: str, encoding: str) -> str:
    try:
        text = blob.decode(encoding)
    except LookupError:
        raise CorpusError(
            f"{place}: declares the encoding {encoding!r}, which is unknown here. Convert it to UTF-8."
        ) from None
    except UnicodeDecodeError as error:
        wanted = "UTF-8" if encoding == "utf-8-sig" else encoding
        raise CorpusError(
            f"{place}: not {wanted} text (byte {error.start}). Convert it (iconv -f latin1 -t utf-8) or move it out."
        ) from None
    if "\0" in text:
        raise CorpusError(f"{place}: binary data (it holds NUL bytes). Convert it to text or move it out.")
    return text


def _pdf(blob: bytes, place: str) -> str:
    import io

    pypdf = require("pypdf", "a corpus of PDF files", "rag")
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it tells of every flaw that it reads over
    try:
        reader = pypdf.PdfReader(io.BytesIO(blob))
        if reader.is_encrypted and not reader.decrypt(""):
            raise CorpusError(f"{place}: the PDF asks for a password. Save it without one, or move it out.")
        pages = [page.extract_text().replace("\0", " ") for page in reader.pages]
    except CorpusError:
        raise
    except Exception as error:  # a broken file breaks the reader in any way
        told = printable(f"{type(error).__name__}: {error}")
        raise CorpusError(
            f"{place}: a PDF that cannot be read ({told}). Save it again, or move it out."
        ) from None
    if pages and not any(page.strip() for page in pages):
        raise CorpusError(
            f"{place}: none of its {len(pages)} pages holds text: it is scanned. Run it through OCR "
            "(ocrmypdf IN.pdf OUT.pdf), or move it out of the corpus."
        )
    return "\n\n".join(pages)


READERS: dict[str, Callable[[bytes, str], str]] = {
    ".md": _plain,
    ".markdown": _plain,
    ".txt": _plain,
    ".html": _html,
    ".htm": _html,
    ".pdf": _pdf,
}


# -- rows ----------------------------------------------------------------------------------------------


def _from_rows(path: Path) -> Iterator[Document]:
    """A row of `text`, and of `id` and `title` where it has them, is a document."""
    lines: dict[str, int] = {}
    try:
        for row in read_rows(path):
            text, name, title = (row.value.get(key) for key in ("text", "id", "title"))
            if not isinstance(text, str):
                raise CorpusError(
                    f"{path}:{row.line}: a document row needs the key text (a string), and may have id and title."
                )
            headed = f"# {' '.join(title.split())}\n\n{text}" if isinstance(title, str) and title else text
            called = _clean(f"line {row.line}" if name is None else str(name))
            if (first := lines.setdefault(called, row.line)) != row.line:
                raise CorpusError(
                    f"{path}:{row.line}: the id {printable(called)!r} is that of line {first} too, so nobody could tell "
                    "which document was found. Join the rows, or give each an id of its own."
                )
            yield Document(called, _clean(headed))
    except DataError as error:
        raise CorpusError(str(error)) from None


def corpus_of(experiment: Experiment) -> Corpus:
    """An experiment's corpus, with placeholders where its personal data is redacted. Raises CorpusError."""
    found = read_corpus(experiment.resolve(experiment.data.corpus or ""))
    if experiment.personal_data != "redact":
        return found
    mask = experiment.placeholders.redact
    return Corpus([Document(d.name, mask(d.text)) for d in found.documents], found.skipped)
