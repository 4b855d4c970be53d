"""A Qdrant server by its address, through qdrant-client.

A collection is named by a hash of all that it holds, and filled by numbered points: filling it again changes
nothing, so a killed or a second process does no harm. It stays on the server for the next run.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

from validators.assets import require

from ..sections import Retrieval
from .embedder import RetrievalError
from .stores import FEATURE, Point, Side, Sparse, Wanted, batches

TIMEOUT_SECONDS = 60
ASKED = 64


class ServerStore:
    """A collection on a server; it is filled where it is not there or not whole."""

    def __init__(
        self, client: Any, key: str, points: Callable[[], Iterable[Point]], count: int, where: str
    ) -> None:
        self._client = client
        self._name = f"workbench-{key}"
        self._where = where
        try:
            self._fill(points, count)
        except _refusals() as error:
            raise _refused(self._where, error) from None

    def _fill(self, points: Callable[[], Iterable[Point]], count: int) -> None:
        models = require("qdrant_client.models", FEATURE, "rag")
        if not self._client.collection_exists(self._name):
            first = next(iter(points()), None)
            size = None if first is None or first.dense is None else len(first.dense)
            dense = {"dense": models.VectorParams(size=size, distance=models.Distance.DOT)} if size else {}
            sparse = {"bm25": models.SparseVectorParams()}
            try:
                self._client.create_collection(self._name, vectors_config=dense, sparse_vectors_config=sparse)
            except _refusals():
                # Another process may have made it in the meantime: it is as good.
                if not self._client.collection_exists(self._name):
                    raise
        if self._client.count(self._name, exact=True).count == count:
            return
        for part in batches(points()):
            some = [
                models.PointStruct(
                    id=p.number,
                    vector={"bm25": _sparse(p.sparse)} | ({} if p.dense is None else {"dense": p.dense}),
                    payload=dict(p.payload),
                )
                for p in part
            ]
            self._client.upsert(self._name, some, wait=True)

    def nearest(self, queries: Sequence[Wanted], side: Side, limit: int) -> list[dict[int, float]]:
        """See Store. Raises RetrievalError."""
        models = require("qdrant_client.models", FEATURE, "rag")
        requests = [
            models.QueryRequest(
                query=_sparse(query) if isinstance(query, Sparse) else query,
                using=side,
                limit=limit,
                params=models.SearchParams(exact=True),
                with_payload=False,
            )
            for query in queries
        ]
        found: list[dict[int, float]] = []
        try:
            for begin in range(0, len(requests), ASKED):
                answers = self._client.query_batch_points(self._name, requests[begin : begin + ASKED])
                found += [{point.id: point.score for point in answer.points} for answer in answers]
        except _refusals() as error:
            raise _refused(self._where, error) from None
        return found


def _refusals() -> tuple[type[Exception], ...]:
    """What the client raises where the server does not do what it is asked."""
    exceptions = require("qdrant_client.http.exceptions", FEATURE, "rag")
    return exceptions.ApiException, require("httpx", FEATURE, "rag").HTTPError, ValueError


def _refused(where: str, error: Exception) -> RetrievalError:
    told = " ".join(str(error).split())[:300] or type(error).__name__
    return RetrievalError(
        f"the Qdrant server {where}: {told}. Check `retrieval.qdrant`, the key's variable "
        "(`qdrant_api_key_env`), and that the server is up; or leave `qdrant` out to search in this process."
    )


def _sparse(vector: Sparse) -> Any:
    models = require("qdrant_client.models", FEATURE, "rag")
    return models.SparseVector(indices=vector.indices, values=vector.values)


def open_client(url: str, api_key_env: str) -> Any:
    """A client of the server at `url`, with the key in that variable where it is set."""
    qdrant = require("qdrant_client", "a Qdrant server", "rag")
    with warnings.catch_warnings():
        if urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1"):
            # A key without TLS is only a risk where it leaves the machine.
            warnings.filterwarnings("ignore", "Api key is used with an insecure connection")
        return qdrant.QdrantClient(
            url=url,
            api_key=os.environ.get(api_key_env),
            timeout=TIMEOUT_SECONDS,
            # It would ask the server for its version, and print what it thinks of it.
            check_compatibility=False,
        )


def check_server(settings: Retrieval, *, offline: bool = False) -> None:
    """Raise RetrievalError where the settings name a server that cannot be asked now."""
    if settings.qdrant is None:
        return
    if offline:
        raise RetrievalError(
            f"retrieval.qdrant names the server {settings.qdrant}, and --offline opens no connection. "
            "Leave it out to search in this process."
        )
    try:
        open_client(settings.qdrant, settings.qdrant_api_key_env).collection_exists("workbench")
    except _refusals() as error:
        raise _refused(settings.qdrant, error) from None
