"""Retrieval: how documents are cut, the order of what is found, the files of the index."""

from __future__ import annotations

import hashlib
import itertools
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from workbench.experiment import Experiment, ExperimentError
from workbench.retrieval import Chunk, Document, chunk, open_index
from workbench.retrieval.index import RRF_K, Index, build_index


class WordEmbedder:
    """Counts words into 64 hashed places; remembers how many texts it was given."""

    def __init__(self, name: str = "words") -> None:
        self.name = name
        self.calls: list[int] = []

    @property
    def key(self) -> str:
        return self.name

    def check(self) -> None:
        pass

    def embed(self, texts: Sequence[str], role: str = "query", progress: Any = None) -> NDArray[np.float32]:
        self.calls.append(len(texts))
        vectors = np.zeros((len(texts), 64), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                vectors[row, int(hashlib.sha256(word.encode()).hexdigest(), 16) % 64] += 1
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


CHUNKS = [
    Chunk("pump", "the pump is silent and cold"),
    Chunk("tank", "the tank leaks water water water"),
    Chunk("till", "a till charges the card twice"),
    Chunk("both", "pump water into the tank with the pump"),
    Chunk("card", "card"),
]
RETRIEVERS: tuple[Any, ...] = ("bm25", "dense", "hybrid")

# -- chunks --------------------------------------------------------------------------------------

PARAGRAPH = st.lists(st.sampled_from(["a", "bb", "ccc", "#", "## Heading"]), min_size=1, max_size=40).map(
    " ".join
)


def size(pieces: Sequence[str]) -> int:
    return sum(len(p.split()) for p in pieces)


@settings(max_examples=200)
@given(paragraphs=st.lists(PARAGRAPH, max_size=12), titled=st.booleans(), words=st.integers(1, 60))
def test_chunks_hold_every_word_once_and_in_order(paragraphs: list[str], titled: bool, words: int) -> None:
    body = "\n\n".join(f"p{i} {p}" for i, p in enumerate(paragraphs))
    text = f"# The title\n\n{body}" if titled else body
    pieces = [c.text.split("\n\n") for c in chunk(Document("d", text), words)]
    if titled:
        assert all(p[0] == "# The title" for p in pieces)
        assert all(len(p) > 1 for p in pieces) or not paragraphs
        pieces = [p[1:] for p in pieces]
    assert [w for piece in pieces for p in piece for w in p.split()] == body.split()
    whole = {p for piece in pieces for p in piece}
    assert all(p in whole or size([p]) > words for p in body.split("\n\n") if p)  # torn only where too long
    # A paragraph that was torn may end in a line that looks like a heading, which goes with what follows.
    assert all(size(piece) <= words or piece[0].startswith("#") for piece in pieces)


@settings(max_examples=100)
@given(parts=st.lists(st.sampled_from(["## Head", "one two three", "four five six seven"]), max_size=15))
def test_headings_stay_with_what_follows(parts: list[str]) -> None:
    pieces = [c.text.split("\n\n") for c in chunk(Document("d", "\n\n".join(parts)), 8) if c.text]
    assert [p for piece in pieces for p in piece] == parts
    for piece in pieces[:-1]:
        assert not piece[-1].startswith("#")


def test_a_document_is_cut_at_paragraphs_under_its_title() -> None:
    text = "# Pumps\nintro\n\none two three\n\n## Cold\n\nfour five\n\nsix seven eight nine"
    assert [c.text for c in chunk(Document("d", text), 6)] == [
        "# Pumps\n\nintro\n\none two three",
        "# Pumps\n\n## Cold\n\nfour five",
        "# Pumps\n\nsix seven eight nine",
    ]
    assert chunk(Document("d", "# Only a title"), 6) == [Chunk("d", "# Only a title")]
    assert chunk(Document("d", "a\r\n\r\nb"), 1) == [Chunk("d", "a"), Chunk("d", "b")]


@pytest.mark.parametrize(
    ("text", "words", "overlap", "expected"),
    [
        ("a b c. d e. f g h", 4, 0, ["a b c.", "d e.", "f g h"]),  # after sentences
        ("a b c\nd e\nf", 3, 0, ["a b c", "d e\nf"]),  # after lines
        ("a b c d e f g", 3, 0, ["a b c", "d e f", "g"]),  # no end of a sentence: by words
        ("x" * 100, 1, 0, ["x" * 40, "x" * 40, "x" * 20]),  # no word is so long
        ("水泵是冷的。水箱漏水了。", 4, 0, ["水泵是冷的。", "水箱漏水了。"]),  # two characters a word
        ("a b c\n\nd e f", 4, 2, ["a b", "a b\n\nc", "c\n\nd e", "d e\n\nf"]),
        ("a\n\nb\n\nc\n\nd", 3, 1, ["a\n\nb", "b\n\nc\n\nd"]),
    ],
)
def test_long_paragraphs_and_overlap(text: str, words: int, overlap: int, expected: list[str]) -> None:
    assert [c.text for c in chunk(Document("d", text), words, overlap)] == expected


# -- what is found -------------------------------------------------------------------------------


def opened(folder: Path, chunks: Sequence[Chunk] = CHUNKS) -> Index:
    return build_index(chunks, WordEmbedder(), folder)


def names(found: Index, query: str, retriever: Any, top_k: int = 5) -> list[str]:
    return [p.document for p in found.search([query], top_k, retriever)[0]]


@pytest.mark.parametrize(
    ("retriever", "query", "expected"),
    [
        ("bm25", "silent pump", ["pump", "both"]),
        ("bm25", "card", ["card", "till"]),  # the shorter text first
        ("bm25", "pumps", ["both", "pump"]),  # by the word's stem; twice before once
        ("bm25", "elephant", []),
        ("bm25", "", []),
        ("bm25", "the of ?", []),
        ("dense", "card", ["card", "till"]),
        ("dense", "water water water", ["tank", "both"]),
        ("dense", " \n", []),
        ("hybrid", "card", ["card", "till"]),
        ("hybrid", "silent pump", ["pump", "both"]),
        ("hybrid", "", []),
    ],
)
def test_the_order_of_what_is_found(tmp_path: Path, retriever: str, query: str, expected: list[str]) -> None:
    order = names(opened(tmp_path), query, retriever)
    # Dense search ranks everything; what shares no word with the query comes in no order.
    assert (order if retriever == "bm25" or not expected else order[: len(expected)]) == expected


@pytest.mark.parametrize("retriever", RETRIEVERS)
def test_top_k_cuts_the_order_and_each_query_gets_its_own(tmp_path: Path, retriever: Any) -> None:
    found = opened(tmp_path)
    whole = names(found, "pump water tank", retriever)
    assert names(found, "pump water tank", retriever, 2) == whole[:2]
    queries = ["card", "", "pump", "card"]
    assert found.search(queries, 3, retriever) == [found.search([q], 3, retriever)[0] for q in queries]
    assert found.search([], 3, retriever) == []


def test_hybrid_is_reciprocal_rank_fusion(tmp_path: Path) -> None:
    texts = [
        "pump red",
        "pump pump tank blue",
        "tank green violet",
        "pump tank one two three",
        "tank tank tank four five six",
    ]
    chunks = [Chunk(f"d{n}", text) for n, text in enumerate([*texts, "pump seven eight nine"])]
    found = opened(tmp_path, chunks)
    query = "pump tank tank"
    by_hand: dict[str, float] = {}
    for retriever in RETRIEVERS[:2]:
        (passages,) = found.search([query], 50, retriever)
        scores = [p.score for p in passages]
        assert scores == sorted(scores, reverse=True)
        assert len(set(scores)) == len(scores)  # no ties: the order is certain
        for rank, passage in enumerate(passages, 1):
            by_hand[passage.document] = by_hand.get(passage.document, 0.0) + 1 / (RRF_K + rank)
    (hybrid,) = found.search([query], 50, "hybrid")
    assert {p.document: p.score for p in hybrid} == pytest.approx(by_hand, abs=1e-6)
    assert all(a.score >= b.score for a, b in itertools.pairwise(hybrid))


@pytest.mark.parametrize("retriever", RETRIEVERS)
def test_ties_go_by_place_however_many_there_are(tmp_path: Path, retriever: Any) -> None:
    chunks = [Chunk(f"d{n}", "pump" if n % 2 else "tank") for n in range(700)]
    assert names(opened(tmp_path, chunks), "pump", retriever) == ["d1", "d3", "d5", "d7", "d9"]


def test_words_alone_need_no_vectors(tmp_path: Path) -> None:
    found = open_index(CHUNKS, None, tmp_path)
    assert names(found, "silent", "bm25") == ["pump"]
    with pytest.raises(ValueError, match="without dense vectors"):
        found.search(["silent"], 5, "hybrid")


def test_the_index_opened_last_is_shared(tmp_path: Path) -> None:
    embedder = WordEmbedder()
    first = open_index(CHUNKS, embedder, tmp_path)
    assert open_index(list(CHUNKS), embedder, tmp_path) is first and embedder.calls == [5]
    assert open_index([*CHUNKS, Chunk("zoo", "an elephant")], embedder, tmp_path) is not first
    assert names(
        open_index([Chunk("zoo", c.text) for c in CHUNKS], embedder, tmp_path), "silent", "bm25"
    ) == ["zoo"]


# -- files ---------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
import qdrant_edge
from workbench.retrieval import Chunk, open_index
class Dying:
    def __getattr__(self, name):
        os.kill(os.getpid(), signal.SIGKILL)
qdrant_edge.UpdateOperation = Dying()
open_index([Chunk("d", "a pump")], None, Path(sys.argv[1]))
"""


def test_what_a_killed_build_left_is_cleaned_up(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], cwd=Path(__file__).parent.parent, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [p.name[:10] for p in tmp_path.iterdir() if p.is_dir()] == [".building-"]
    assert names(opened(tmp_path), "silent", "bm25") == ["pump"]
    assert [p.name for p in tmp_path.iterdir()] == [".lock"]


def test_a_build_under_way_elsewhere_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at once: the second one builds while the files of the first are there."""
    import qdrant_edge

    class Slow:
        @staticmethod
        def upsert_points(points: Any) -> Any:
            monkeypatch.undo()
            assert names(opened(tmp_path, CHUNKS[:2]), "silent", "bm25") == ["pump"]
            return qdrant_edge.UpdateOperation.upsert_points(points)

    monkeypatch.setattr(qdrant_edge, "UpdateOperation", Slow)
    assert names(opened(tmp_path), "card", "bm25") == ["card", "till"]


def test_a_failed_build_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        @staticmethod
        def upsert_points(points: Any) -> Any:
            raise OSError("no space left")

    monkeypatch.setattr("qdrant_edge.UpdateOperation", Full)
    with pytest.raises(OSError, match="no space"):
        opened(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [".lock"]


# -- settings and sameness ------------------------------------------------------------------------


def random_chunks(count: int, seed: int) -> list[Chunk]:
    """Texts of few words, so that many tie."""
    rng = np.random.default_rng(seed)
    vocabulary = [c.text.split() for c in CHUNKS]
    words = sorted({w for text in vocabulary for w in text})
    return [Chunk(f"d{n}", " ".join(rng.choice(words, rng.integers(1, 9)))) for n in range(count)]


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"qdrant": "localhost:6333"}, "is no address"),
        ({"qdrant": "http://me:secret@host:6333"}, "holds a name or key"),
        ({"embedder": {"base_url": "https://host/v1?key=secret", "model": "m"}}, "holds a name or key"),
        ({"chunk_words": 100, "chunk_overlap": 60}, "at most half"),
        ({"embeder": "x"}, "embeder"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path: Path, section: dict[str, Any], words: str) -> None:
    tree = {
        "name": "e",
        "data": {"path": "rows.jsonl"},
        "retrieval": section,
        "contenders": [{"name": "c", "kind": "prompting"}],
    }
    with pytest.raises(ExperimentError, match=words):
        Experiment.parse(json.dumps(tree), path=tmp_path / "experiment.yaml")


def test_the_same_inputs_give_the_same_results(tmp_path: Path) -> None:
    queries = [c.text for c in random_chunks(20, 4)]
    first, again = (opened(tmp_path, random_chunks(200, 3)) for _ in range(2))
    for retriever in RETRIEVERS:
        assert first.search(queries, 10, retriever) == again.search(queries, 10, retriever)
        assert again.search(queries[::-1], 10, retriever)[::-1] == again.search(queries, 10, retriever)
