"""Retrieval: reading and cutting a corpus, the index on disk, the order of what is found."""

from __future__ import annotations

import hashlib
import itertools
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from validators.assets import cached
from workbench.retrieval import Chunk, CorpusError, Document, Embedder, chunk, load_corpus, open_index
from workbench.retrieval.index import RRF_K


class WordEmbedder(Embedder):
    """Counts words into 64 hashed places; remembers how many texts it was given."""

    def __init__(self, name: str = "words") -> None:
        self.name = name
        self.calls: list[int] = []

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
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

# -- corpus --------------------------------------------------------------------------------------


def test_a_folder_is_read_sorted_with_hidden_files_left_out(tmp_path: Path) -> None:
    for name, text in {
        "b.md": "B",
        "a/z.txt": "\ufeffZ",
        ".git/config": "no",
        "a/.DS_Store": "no",
        "c.md": " \n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert load_corpus(tmp_path) == [Document("a/z.txt", "Z"), Document("b.md", "B")]


def test_a_single_document_is_a_corpus(tmp_path: Path) -> None:
    (tmp_path / "all.md").write_text("# Title\n\ntext")
    assert load_corpus(tmp_path / "all.md") == [Document("all.md", "# Title\n\ntext")]


def test_rows_are_documents(tmp_path: Path) -> None:
    (tmp_path / "docs.jsonl").write_text('{"id": 7, "text": "x"}\n{"text": "y"}\n{"text": "  "}\n')
    assert load_corpus(tmp_path / "docs.jsonl") == [Document("7", "x"), Document("line 2", "y")]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (None, b"", "no such corpus"),
        ("docs/", b"", "no document with text"),
        ("docs/blank.md", b" \n\n", "no document with text"),
        ("docs/image.md", b"\xff\xfe\x00", "image.md: not UTF-8 text"),
        ("docs/nul.txt", b"a\x00b", "nul.txt: binary data"),
        ("docs/sheet.xlsx", b"x", r"sheet.xlsx: only \.md"),
        ("docs.jsonl", b"", "no rows"),
        ("docs.jsonl", b'{"text": "a"}\n{"text": }\n', "docs.jsonl:2"),
        ("docs.jsonl", b'{"text": "a"}\n{"body": "b"}\n', "docs.jsonl:2: .* needs the key text"),
        ("docs.jsonl", b'{"text": 5}\n', "docs.jsonl:1: .* needs the key text"),
        ("docs.jsonl", b'["a"]\n', "docs.jsonl:1"),
    ],
)
def test_a_corpus_that_cannot_be_read_is_refused_by_place(
    tmp_path: Path, name: str | None, content: bytes, words: str
) -> None:
    place = tmp_path / (name or "nothing")
    if name and name.endswith("/"):
        place.mkdir()
    elif name:
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(content)
    with pytest.raises(CorpusError, match=words):
        load_corpus(tmp_path / (name or "nothing").split("/")[0])


# -- chunks --------------------------------------------------------------------------------------

PARAGRAPH = st.lists(st.sampled_from(["a", "bb", "ccc", "#", "## Heading"]), min_size=1, max_size=40).map(
    " ".join
)


@settings(max_examples=200, deadline=None)
@given(paragraphs=st.lists(PARAGRAPH, max_size=12), titled=st.booleans(), words=st.integers(1, 60))
def test_chunks_hold_every_paragraph_once_and_in_order(
    paragraphs: list[str], titled: bool, words: int
) -> None:
    body = "\n\n".join(f"p{i} {p}" for i, p in enumerate(paragraphs))
    text = f"# The title\n\n{body}" if titled else body
    pieces = [c.text.split("\n\n") for c in chunk(Document("d", text), words)]
    if titled:
        assert all(p[0] == "# The title" for p in pieces)
        assert all(len(p) > 1 for p in pieces) or not paragraphs
        pieces = [p[1:] for p in pieces]
    assert [p for piece in pieces for p in piece] == [p for p in body.split("\n\n") if p]
    for piece in pieces:
        assert len(piece) <= 1 or sum(len(p.split()) for p in piece) <= words


@settings(max_examples=100, deadline=None)
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


# -- index ---------------------------------------------------------------------------------------


def found(chunks: list[Chunk], folder: Path, query: str, retriever: str, top_k: int = 5) -> list[str]:
    index = open_index(chunks, WordEmbedder(), folder)
    (passages,) = index.search([query], top_k, retriever)  # type: ignore[arg-type]
    index.close()
    return [p.document for p in passages]


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
        ("hybrid", "card", ["card", "till"]),
        ("hybrid", "silent pump", ["pump", "both"]),
    ],
)
def test_the_order_of_what_is_found(tmp_path: Path, retriever: str, query: str, expected: list[str]) -> None:
    order = found(CHUNKS, tmp_path, query, retriever)
    # Dense search ranks everything; what shares no word with the query comes in no order.
    assert (order if retriever == "bm25" else order[: len(expected)]) == expected


def test_top_k_cuts_the_order(tmp_path: Path) -> None:
    for retriever in ("bm25", "dense", "hybrid"):
        whole = found(CHUNKS, tmp_path, "pump water tank", retriever)
        assert found(CHUNKS, tmp_path, "pump water tank", retriever, 2) == whole[:2]


def test_hybrid_is_reciprocal_rank_fusion(tmp_path: Path) -> None:
    texts = [
        "pump red",
        "pump pump tank blue",
        "tank green violet",
        "pump tank one two three",
        "tank tank tank four five six",
    ]
    chunks = [Chunk(f"d{n}", text) for n, text in enumerate([*texts, "pump seven eight nine"])]
    index = open_index(chunks, WordEmbedder(), tmp_path)
    query = "pump tank tank"
    by_hand: dict[str, float] = {}
    for retriever in ("bm25", "dense"):
        (passages,) = index.search([query], 50, retriever)  # type: ignore[arg-type]
        scores = [p.score for p in passages]
        assert scores == sorted(scores, reverse=True)
        assert len(set(scores)) == len(scores)  # no ties: the order is certain
        for rank, passage in enumerate(passages, 1):
            by_hand[passage.document] = by_hand.get(passage.document, 0.0) + 1 / (RRF_K + rank)
    (hybrid,) = index.search([query], 50, "hybrid")
    assert {p.document: p.score for p in hybrid} == pytest.approx(by_hand, abs=1e-6)
    assert all(a.score >= b.score for a, b in itertools.pairwise(hybrid))


def test_an_index_is_built_once(tmp_path: Path) -> None:
    embedder = WordEmbedder()
    first = open_index(CHUNKS, embedder, tmp_path)
    assert embedder.calls == [5]
    before = first.search(["pump"], 5, "hybrid")
    assert embedder.calls == [5, 1]
    again = WordEmbedder()
    assert open_index(CHUNKS, again, tmp_path).search(["pump"], 5, "hybrid") == before
    assert again.calls == [1]  # the query alone
    open_index(CHUNKS, again, tmp_path).search(["pump"], 5, "bm25")
    assert again.calls == [1]  # words need no vectors


def test_a_changed_corpus_or_embedder_is_indexed_anew(tmp_path: Path) -> None:
    assert found(CHUNKS, tmp_path, "elephant", "bm25") == []
    assert found([*CHUNKS, Chunk("zoo", "an elephant")], tmp_path, "elephant", "bm25") == ["zoo"]
    renamed = [Chunk("zoo", c.text) for c in CHUNKS]
    assert found(renamed, tmp_path, "silent", "bm25") == ["zoo"]
    embedder = WordEmbedder("other")
    open_index(CHUNKS, embedder, tmp_path)
    assert embedder.calls == [5]
    assert len(list(tmp_path.iterdir())) == 4


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.test_retrieval import CHUNKS, WordEmbedder
from workbench.retrieval import index
class Dying(WordEmbedder):
    def embed(self, texts):
        if sys.argv[2] == "embedding":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().embed(texts)
if sys.argv[2] == "renaming":
    Path.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
index.open_index(CHUNKS, Dying(), Path(sys.argv[1]))
"""


@pytest.mark.parametrize("moment", ["embedding", "renaming"])
def test_a_killed_build_is_not_taken_for_whole(tmp_path: Path, moment: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), moment],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert all(p.name.startswith(".building-") for p in tmp_path.iterdir())
    embedder = WordEmbedder()
    index = open_index(CHUNKS, embedder, tmp_path)
    assert embedder.calls == [5]
    assert [p.document for p in index.search(["silent"], 5, "bm25")[0]] == ["pump"]


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    class Broken(WordEmbedder):
        def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
            return super().embed(texts)[:-1]

    with pytest.raises(ValueError, match="zip"):
        open_index(CHUNKS, Broken(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_another_process_may_build_the_same_index_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Overtaken(WordEmbedder):
        def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
            if not self.calls:
                open_index(CHUNKS, WordEmbedder(), tmp_path).close()
            return super().embed(texts)

    index = open_index(CHUNKS, Overtaken(), tmp_path)
    assert [p.document for p in index.search(["silent"], 5, "bm25")[0]] == ["pump"]
    assert len(list(tmp_path.iterdir())) == 1


# -- the embedded embedder -----------------------------------------------------------------------

SENTENCES = [
    "A man is eating food.",
    "Someone eats a meal.",
    "The stock market fell sharply today.",
    "Shares dropped on Wall Street. " * 20,
    "Die Pumpe ist kalt.",
    "x",
]


@pytest.mark.assets
@pytest.mark.skipif(cached("minilm-l6-v2") is None, reason="the embedder minilm-l6-v2 is not cached")
class TestEmbedder:
    def test_vectors_have_length_one(self) -> None:
        vectors = Embedder(offline=True).embed(SENTENCES)
        assert vectors.shape == (6, 384) and vectors.dtype == np.float32
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)

    def test_neighbours_and_order_do_not_matter(self) -> None:
        embedder = Embedder(offline=True)
        whole = embedder.embed(SENTENCES)
        assert np.abs(embedder.embed(SENTENCES[::-1])[::-1] - whole).max() < 1e-5
        alone = np.concatenate([embedder.embed([s]) for s in SENTENCES])
        assert np.abs(alone - whole).max() < 1e-5
        many = embedder.embed(SENTENCES * 12)
        assert np.abs(many - np.concatenate([whole] * 12)).max() < 1e-5

    def test_likeness_of_meaning_is_nearness(self) -> None:
        vectors = Embedder(offline=True).embed(SENTENCES)
        near = vectors @ vectors.T
        assert near[0, 1] > 0.5 > near[0, 2]
        assert near[2, 3] > near[1, 3]

    def test_no_texts_give_no_vectors(self) -> None:
        assert len(Embedder(offline=True).embed([])) == 0
