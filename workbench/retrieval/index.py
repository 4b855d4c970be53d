"""Dense and BM25 search over one corpus, fused by reciprocal rank.

A store finds candidates by exact search: at corpus sizes that fit one machine a scan is fast, and an approximate
graph would lose recall. Engines add up in an order of their own, which differs from run to run; so the candidates
are scored once more here, ties go by the place in the corpus, and enough is asked for that none is missing.
Equal inputs give equal results, in this process and on a server.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from validators.assets import require

from ..records import Passage
from ..sections import Retrieval
from .chunks import Chunk
from .embedder import Embedder, Progress, Vectors
from .server import ServerStore, open_client
from .stores import FEATURE, EdgeStore, Point, Side, Sparse, Store, Wanted

Retriever = Literal["bm25", "dense", "hybrid"]
# Each retriever hands its best to the fusion; 60 is the constant of the reciprocal-rank-fusion paper, which
# counts ranks from 1 (the engine counts from 0).
FUSED = 100
RRF_K = 60
# Two sums of the same numbers, in single precision, are never further apart than this.
TIE = 1e-4


class Passages:
    """The chunks and what they are found by: dense vectors, or none; words weighted by BM25."""

    def __init__(self, chunks: Sequence[Chunk], vectors: Vectors | None) -> None:
        edge = require("qdrant_edge", FEATURE, "rag")
        average = sum(len(c.text.split()) for c in chunks) / max(1, len(chunks))
        self.chunks, self.vectors = chunks, vectors
        self._bm25 = edge.Bm25(edge.Bm25Config(avg_len=max(1.0, average)))
        # Each chunk's words, by BM25's hash of them, and what each counts there; as arrays, since lists are large.
        found = (self._bm25.embed_document(c.text) for c in chunks)
        self._words = [(np.array(v.indices, np.uint32), np.array(v.values, np.float32)) for v in found]
        self._rows_with = Counter(word for indices, _ in self._words for word in indices.tolist())

    def asked(self, query: str) -> Sparse:
        """A query's words with their inverse document frequency, counted here: engines count in ways of their own."""
        rows = len(self.chunks)
        found = sorted(self._bm25.embed_query(query).indices)
        frequencies = [self._rows_with[word] for word in found]
        return Sparse(found, [math.log(1 + (rows - n + 0.5) / (n + 0.5)) for n in frequencies])

    def points(self) -> Iterator[Point]:
        """Everything as a store takes it, one at a time: lists of floats are many times the size of an array."""
        for number, c in enumerate(self.chunks):
            dense = None if self.vectors is None else self.vectors[number].tolist()
            indices, values = self._words[number]
            sparse = Sparse(indices.tolist(), values.tolist())
            yield Point(number, dense, sparse, {"document": c.document, "text": c.text})

    def best(self, query: Wanted, numbers: Iterable[int]) -> list[tuple[int, float]]:
        """These chunks with their scores in double precision, the best first, equal ones by their place."""
        chosen = sorted(numbers)
        if isinstance(query, Sparse):
            weights = dict(zip(query.indices, query.values, strict=True))
            scores = [
                math.fsum(
                    weights.get(i, 0) * value for i, value in zip(*(a.tolist() for a in words), strict=True)
                )
                for words in (self._words[number] for number in chosen)
            ]
        else:
            assert self.vectors is not None
            scores = (self.vectors[chosen].astype(np.float64) @ np.array(query)).tolist()
        rounded = ((number, round(score, 6)) for number, score in zip(chosen, scores, strict=True))
        return sorted(rounded, key=lambda pair: (-pair[1], pair[0]))


class Index:
    """A searchable corpus."""

    def __init__(self, passages: Passages, store: Store, embedder: Embedder | None) -> None:
        self._passages = passages
        self._store = store
        self._embedder = embedder

    def search(self, queries: Sequence[str], top_k: int, retriever: Retriever) -> list[list[Passage]]:
        """The best passages of each query, the best first; fewer than `top_k` where fewer match.

        A query without words finds nothing. Raises RetrievalError.
        """
        asked = [query for query in dict.fromkeys(queries) if query.strip()]
        depth = max(top_k, FUSED) if retriever == "hybrid" else top_k
        sides: list[Side] = ["dense", "bm25"] if retriever == "hybrid" else [retriever]
        rankings = [self._ranked(asked, side, depth) for side in sides]
        chunks = self._passages.chunks
        found_by = {}
        for query, *found in zip(asked, *rankings, strict=True):
            best = _fused(found) if len(found) > 1 else found[0]
            found_by[query] = [Passage(chunks[n].document, chunks[n].text, s) for n, s in best[:top_k]]
        return [found_by.get(query, []) for query in queries]

    def _ranked(self, queries: Sequence[str], side: Side, depth: int) -> list[list[tuple[int, float]]]:
        """Of each query the best (chunk, score) on one side, at most `depth`, ties settled."""
        wanted: list[Wanted]
        if side == "bm25":
            wanted = [self._passages.asked(query) for query in queries]
        elif self._embedder is None:
            raise ValueError("this index was built without dense vectors")
        else:
            wanted = [row.tolist() for row in self._embedder.embed(queries, "query")]
        ranked: list[list[tuple[int, float]]] = [[] for _ in wanted]
        # A query of stop words alone has nothing to find.
        waiting = [i for i, query in enumerate(wanted) if not isinstance(query, Sparse) or query.indices]
        limit = depth + 1
        while waiting:
            torn = []
            found = self._store.nearest([wanted[i] for i in waiting], side, limit)
            for i, scores in zip(waiting, found, strict=True):
                best = self._passages.best(wanted[i], scores)
                # The last of a full answer may have equals that did not come with it.
                if len(scores) == limit and min(scores.values()) > best[depth - 1][1] - TIE:
                    torn.append(i)
                ranked[i] = best[:depth]
            waiting, limit = torn, limit * 4
        return ranked


def _fused(rankings: Sequence[Sequence[tuple[int, float]]]) -> list[tuple[int, float]]:
    """Reciprocal rank fusion (Cormack et al. 2009): a passage scores the sum of 1 / (60 + its rank) over rankings."""
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, (number, _) in enumerate(ranking, 1):
            scores[number] = scores.get(number, 0.0) + 1 / (RRF_K + rank)
    rounded = ((number, round(score, 6)) for number, score in scores.items())
    return sorted(rounded, key=lambda pair: (-pair[1], pair[0]))


def open_index(
    chunks: Sequence[Chunk],
    embedder: Embedder | None,
    folder: Path,
    *,
    settings: Retrieval | None = None,
    progress: Progress | None = None,
) -> Index:
    """An index of these chunks, in this process or on the server that the settings name.

    `folder` is where the engine makes its files. Without an embedder only BM25 searches. The indexes opened last
    are kept open: contenders and folds share it. Raises RetrievalError, AssetError.
    """
    where = (
        None
        if settings is None or settings.qdrant is None
        else (settings.qdrant, settings.qdrant_api_key_env)
    )
    return _opened(tuple(chunks), embedder, folder, where, progress)


@lru_cache(maxsize=2)
def _opened(
    chunks: tuple[Chunk, ...],
    embedder: Embedder | None,
    folder: Path,
    where: tuple[str, str] | None,
    progress: Progress | None,
) -> Index:
    client = open_client(*where) if where else None
    return build_index(
        chunks, embedder, folder, client=client, where=where[0] if where else "", progress=progress
    )


def build_index(
    chunks: Sequence[Chunk],
    embedder: Embedder | None,
    folder: Path,
    *,
    client: Any = None,
    where: str = "",
    progress: Progress | None = None,
) -> Index:
    """The index in this process, or by a qdrant-client on its server. Raises RetrievalError, AssetError."""
    texts = [c.text for c in chunks]
    vectors = None if embedder is None else embedder.embed(texts, "document", progress)
    passages = Passages(chunks, vectors)
    store: Store = (
        EdgeStore(passages.points(), folder)
        if client is None
        else ServerStore(client, _key(chunks, embedder), passages.points, len(chunks), where)
    )
    return Index(passages, store, embedder)


def _key(chunks: Sequence[Chunk], embedder: Embedder | None) -> str:
    """A hash of all that a collection holds."""
    made_by = None if embedder is None else embedder.key
    content = json.dumps([made_by, [[c.document, c.text] for c in chunks]], ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()[:16]
