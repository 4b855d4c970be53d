"""Where points lie and are searched: in Qdrant Edge inside this process, or on a Qdrant server.

Both are given the same dense and sparse vectors, search exactly, and hand back point numbers; scores, ties and
fusion are settled above them, so that both give the same results.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from validators.assets import require

Side = Literal["dense", "bm25"]
FEATURE = "retrieval"
UPSERTED = 256


class Sparse(msgspec.Struct, frozen=True):
    """A vector by its places that are not zero."""

    indices: list[int]
    values: list[float]


class Point(msgspec.Struct, frozen=True):
    """One passage: what it is found by, and what a server shows of it."""

    number: int
    dense: list[float] | None
    sparse: Sparse
    payload: Mapping[str, str]


Wanted = list[float] | Sparse


def batches(points: Iterable[Point]) -> Iterator[list[Point]]:
    """Points in lists that are sent at once."""
    rest = iter(points)
    while part := list(islice(rest, UPSERTED)):
        yield part


class Store(Protocol):
    """Searches points exactly."""

    def nearest(self, queries: Sequence[Wanted], side: Side, limit: int) -> list[dict[int, float]]:
        """The scores of each query's best points by their number, at most `limit`, in no fixed order of ties.

        Scores are dot products in single precision; on the side of words, a point that shares none with the
        query is not among them.
        """
        ...


class EdgeStore:
    """Qdrant Edge: the engine in this process, over files that go with it."""

    def __init__(self, points: Iterable[Point], folder: Path) -> None:
        edge = require("qdrant_edge", FEATURE, "rag")
        parts = batches(points)
        first = next(parts, [])
        size = len(first[0].dense) if first and first[0].dense is not None else None
        config = edge.EdgeConfig(
            vectors={"dense": edge.EdgeVectorParams(size=size, distance=edge.Distance.Dot)} if size else {},
            sparse_vectors={"bm25": edge.EdgeSparseVectorParams()},
            # The files are built whole and never changed, so a write-ahead log would only cost disk.
            wal_enabled=False,
        )
        with _building(folder) as place:
            self._shard = edge.EdgeShard.create(str(place), config)
            for part in chain([first], parts):
                made = [edge.Point(p.number, self._vectors(p), None) for p in part]
                self._shard.update(edge.UpdateOperation.upsert_points(made))
            self._shard.flush()

    @staticmethod
    def _vectors(point: Point) -> dict[str, Any]:
        sparse = require("qdrant_edge", FEATURE, "rag").SparseVector(
            point.sparse.indices, point.sparse.values
        )
        return {"bm25": sparse} | ({} if point.dense is None else {"dense": point.dense})

    def nearest(self, queries: Sequence[Wanted], side: Side, limit: int) -> list[dict[int, float]]:
        """See Store."""
        edge = require("qdrant_edge", FEATURE, "rag")
        found = []
        for query in queries:
            vector = edge.SparseVector(query.indices, query.values) if isinstance(query, Sparse) else query
            request = edge.QueryRequest(
                limit=limit,
                query=edge.Query.Nearest(vector, using=side),
                params=edge.SearchParams(exact=True),
            )
            found.append({point.id: point.score for point in self._shard.query(request)})
        return found


@contextlib.contextmanager
def _building(folder: Path) -> Iterator[Path]:
    """Give a new folder for the engine's files, which are unlinked once it has opened them.

    It goes on reading them, they vanish with the process, and no other one can come by them: opening a shard
    writes into it. What a process that was killed here left behind is removed by the next.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as lock:
        with contextlib.suppress(BlockingIOError):  # somebody is building: leave what lies there
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for stale in folder.glob(".building-*"):
                shutil.rmtree(stale, ignore_errors=True)
        fcntl.flock(lock, fcntl.LOCK_SH)
        place = Path(tempfile.mkdtemp(dir=folder, prefix=".building-"))
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)
