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
        edge = _edge()
        vectors = self._embedder.embed(queries) if retriever != "bm25" else [None] * len(queries)
        results = []
        for query, vector in zip(queries, vectors, strict=True):
            limit = top_k if retriever != "hybrid" else max(PREFETCH, top_k)
            sources = []
            if vector is not None:
                nearest = edge.Query.Nearest(vector.tolist(), using=DENSE)
                sources.append(edge.Prefetch(limit, query=nearest, params=edge.SearchParams(exact=True)))
            if retriever != "dense":
                words = self._bm25.embed_query(query)
                sources.append(edge.Prefetch(limit, query=edge.Query.Nearest(words, using=SPARSE)))
            fusion = {"prefetches": sources, "query": edge.Fusion.Rrf(k=RRF_K + 1)}
            alone = {"query": sources[0].query, "params": sources[0].params}
            asked = fusion if len(sources) > 1 else alone
            request = edge.QueryRequest(limit=top_k, with_payload=True, **asked)
            found = self._shard.query(request)
            # Equal scores come in no fixed order from the engine; the id settles it.
            found.sort(key=lambda point: (-point.score, point.id))
            results.append(
                [Passage(p.payload["document"], p.payload["text"], round(p.score, 6)) for p in found]
            )
        return results

    def close(self) -> None:
        """Release the folder."""
        self._shard.close()


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
