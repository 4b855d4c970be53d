"""Retrieval: documents in, passages out. Corpus → chunks → one Qdrant index, dense and BM25."""

from __future__ import annotations

from pathlib import Path

from ..sections import EmbeddingEndpoint, Retrieval
from .chunks import Chunk, chunk
from .corpus import Corpus, CorpusError, Document, corpus_of, load_corpus, read_corpus
from .embedder import Embedder, LocalEmbedder, RetrievalError
from .endpoint import EndpointEmbedder
from .index import Index, open_index
from .server import check_server
from .vectors import KeptEmbedder

__all__ = [
    "Chunk",
    "Corpus",
    "CorpusError",
    "Document",
    "Embedder",
    "Index",
    "LocalEmbedder",
    "RetrievalError",
    "check_server",
    "chunk",
    "corpus_of",
    "load_corpus",
    "open_embedder",
    "open_index",
    "read_corpus",
]


def open_embedder(
    settings: Retrieval, folder: Path, *, base: Path, offline: bool = False, ledger: Path | None = None
) -> Embedder:
    """The embedder that the settings name; what it embeds is kept under `folder`. Raises AssetError, RetrievalError.

    Relative model folders start at `base`; what an endpoint was paid is written to `ledger`.
    """
    embedder: Embedder = (
        EndpointEmbedder(settings.embedder, offline=offline, ledger=ledger)
        if isinstance(settings.embedder, EmbeddingEndpoint)
        else LocalEmbedder(settings.embedder, base=base, offline=offline)
    )
    return KeptEmbedder(embedder, folder)
