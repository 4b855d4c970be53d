"""Dense and BM25 search in one Qdrant Edge shard, fused by reciprocal rank.

The shard is a folder (no server, nothing pickled). Search is exact: at corpus sizes that fit one
machine a scan is fast, and an approximate graph would lose recall.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from validators.assets import require

from ..records import Passage
from .corpus import Chunk
from .embedder import Embedder

Retriever = Literal["bm25", "dense", "hybrid"]
DENSE, SPARSE = "dense", "bm25"
# Each retriever hands its best to the fusion; 60 is the constant of the reciprocal-rank-fusion paper, which
# counts ranks from 1 (the engine counts from 0).
PREFETCH = 50
RRF_K = 60


class Index:
    """A searchable corpus."""

    def __init__(self, shard: Any, embedder: Embedder, bm25: Any) -> None:
        self._shard = shard
        self._embedder = embedder
        self._bm25 = bm25

    def search(self, queries: Sequence[str], top_k: int, retriever: Retriever) -> list[list[Passage]]:
        """The best passages of each query, the best first; fewer than `top_k` where fewer match."""
        query_of = _edge().Query.Nearest
        vectors = self._embedder.embed(queries) if retriever != "bm25" else [None] * len(queries)
        results = []
        for query, vector in zip(queries, vectors, strict=True):
            asked = [] if vector is None else [query_of(vector.tolist(), using=DENSE)]
            if retriever != "dense":
                asked.append(query_of(self._bm25.embed_query(query), using=SPARSE))
            found = [self._nearest(q, top_k + PREFETCH) for q in asked]
            results.append((_fused(found) if len(found) > 1 else found[0])[:top_k])
        return results

    def _nearest(self, query: Any, limit: int) -> list[Passage]:
        """The best passages by one retriever. Equal scores come in no fixed order from the engine: the id settles it,
        and more are asked for than needed, so that a tie at the end is settled too."""
        edge = _edge()
        request = edge.QueryRequest(
            limit=limit, query=query, params=edge.SearchParams(exact=True), with_payload=True
        )
        points = sorted(self._shard.query(request), key=lambda point: (-point.score, point.id))
        return [Passage(p.payload["document"], p.payload["text"], round(p.score, 6)) for p in points]

    def close(self) -> None:
        """Release the folder."""
        self._shard.close()


def _fused(rankings: Sequence[Sequence[Passage]]) -> list[Passage]:
    """Reciprocal rank fusion (Cormack et al. 2009): a passage scores the sum of 1 / (60 + its rank) over rankings."""
    scores: dict[tuple[str, str], float] = {}
    for ranking in rankings:
        for rank, passage in enumerate(ranking, 1):
            key = (passage.document, passage.text)
            scores[key] = scores.get(key, 0.0) + 1 / (RRF_K + rank)
    order = sorted(scores, key=lambda key: (-scores[key], key))
    return [Passage(document, text, round(scores[document, text], 6)) for document, text in order]


def open_index(chunks: Sequence[Chunk], embedder: Embedder, folder: Path) -> Index:
    """Open the index of these chunks under `folder`, building it when chunks or embedder are new.

    The folder's name is a hash of both, and it appears only when whole.
    """
    edge = _edge()
    average = sum(len(c.text.split()) for c in chunks) / max(1, len(chunks))
    bm25 = edge.Bm25(edge.Bm25Config(avg_len=average))
    place = folder / _key(chunks, embedder)
    if not place.exists():
        _build(chunks, embedder, bm25, place)
    return Index(edge.EdgeShard.load(str(place)), embedder, bm25)


def _key(chunks: Sequence[Chunk], embedder: Embedder) -> str:
    content = json.dumps([embedder.name, [[c.document, c.text] for c in chunks]], ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _build(chunks: Sequence[Chunk], embedder: Embedder, bm25: Any, place: Path) -> None:
    edge = _edge()
    vectors = embedder.embed([c.text for c in chunks])
    place.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=place.parent, prefix=".building-"))
    try:
        config = edge.EdgeConfig(
            vectors={DENSE: edge.EdgeVectorParams(size=vectors.shape[1], distance=edge.Distance.Cosine)},
            sparse_vectors={SPARSE: edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)},
            # The folder is built whole or not at all, so a write-ahead log would only cost disk.
            wal_enabled=False,
        )
        shard = edge.EdgeShard.create(str(work), config)
        points = [
            edge.Point(
                number,
                {DENSE: vector.tolist(), SPARSE: bm25.embed_document(c.text)},
                {"document": c.document, "text": c.text},
            )
            for number, (c, vector) in enumerate(zip(chunks, vectors, strict=True))
        ]
        shard.update(edge.UpdateOperation.upsert_points(points))
        shard.flush()
        shard.close()
        try:
            work.rename(place)
        except OSError:
            # Another process built the same index in the meantime: it is as good.
            if not place.exists():
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _edge() -> Any:
    return require("qdrant_edge", "retrieval", "rag")
