"""Retrieval: documents in, passages out. Corpus → chunks → one Qdrant Edge index, dense and BM25."""

from __future__ import annotations

from .corpus import Chunk, CorpusError, Document, chunk, load_corpus
from .embedder import Embedder
from .index import Index, open_index

__all__ = ["Chunk", "CorpusError", "Document", "Embedder", "Index", "chunk", "load_corpus", "open_index"]
