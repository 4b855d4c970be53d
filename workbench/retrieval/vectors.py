"""Vectors kept on disk, by text: what was embedded once is never computed, or paid for, again.

One SQLite file an embedder, so that another model, pooling or prompt never reads its vectors. It holds no
text, only hashes of texts, and numbers; several processes may use it at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from .embedder import Embedder, Progress, RetrievalError, Role, Vectors, by_length

# So many are embedded between two writes: what a kill may cost.
SLICE = 256
_WAIT_SECONDS = 60.0


class KeptEmbedder:
    """An embedder that asks another one only for what it has not got."""

    def __init__(self, embedder: Embedder, folder: Path) -> None:
        self._embedder = embedder
        self._folder = folder
        self._known_key: str | None = None

    @property
    def key(self) -> str:
        """The other embedder's."""
        # Hashing the weights of a large model takes seconds: once is enough.
        self._known_key = self._known_key or self._embedder.key
        return self._known_key

    def check(self) -> None:
        """The other embedder's."""
        self._embedder.check()

    def embed(self, texts: Sequence[str], role: Role = "query", progress: Progress | None = None) -> Vectors:
        """Embed texts; equal ones get the very same vector. Raises RetrievalError, AssetError."""
        if not texts:
            return np.zeros((0, 0), np.float32)
        wanted = {_mark(text, role): text for text in texts}
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._open() as file:
            found = _kept(file, list(wanted))
            missing = [mark for mark in wanted if mark not in found]
            order = [missing[i] for i in by_length([wanted[mark] for mark in missing])]
            for begin in range(0, len(order), SLICE):
                marks = order[begin : begin + SLICE]
                vectors = self._embedder.embed([wanted[mark] for mark in marks], role)
                rows = list(zip(marks, vectors, strict=True))
                found |= rows
                with file:
                    file.executemany(
                        "INSERT OR REPLACE INTO vectors VALUES (?, ?)",
                        [(mark, row.astype("<f4").tobytes()) for mark, row in rows],
                    )
                if progress:
                    progress(min(begin + SLICE, len(order)), len(order), "embedding")
        sizes = {len(row) for row in found.values()}
        if len(sizes) > 1:
            raise RetrievalError(
                f"{self._path}: vectors of {' and '.join(map(str, sorted(sizes)))} numbers, so the embedder's model "
                "has changed under its name. Remove the file and run again."
            )
        return np.stack([found[_mark(text, role)] for text in texts])

    @property
    def _path(self) -> Path:
        return self._folder / f"vectors-{self.key}.sqlite"

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with contextlib.closing(sqlite3.connect(self._path, timeout=_WAIT_SECONDS)) as file:
                file.execute("PRAGMA journal_mode=WAL")
                file.execute("CREATE TABLE IF NOT EXISTS vectors (mark BLOB PRIMARY KEY, vector BLOB)")
                yield file
        except sqlite3.Error as error:
            raise RetrievalError(
                f"{self._path}: the kept vectors cannot be used ({error}). Remove the file, or free the disk, "
                "and run again."
            ) from None


def _mark(text: str, role: Role) -> bytes:
    return hashlib.sha256(f"{role}\n{text}".encode()).digest()


def _kept(file: sqlite3.Connection, marks: Sequence[bytes]) -> dict[bytes, Vectors]:
    """The vectors that are there; one that is no row of numbers counts as missing."""
    found: dict[bytes, Vectors] = {}
    for begin in range(0, len(marks), 500):  # SQLite takes so many places in one question
        some = marks[begin : begin + 500]
        places = ",".join("?" * len(some))
        for mark, blob in file.execute(f"SELECT mark, vector FROM vectors WHERE mark IN ({places})", some):
            if isinstance(blob, bytes) and blob and len(blob) % 4 == 0:
                found[mark] = np.frombuffer(blob, "<f4").astype(np.float32)
    return found
