"""Embedders: the embedded MiniLM, sentence-transformers folders, an endpoint, and vectors kept on disk."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.test_retrieval import WordEmbedder
from validators.assets import AssetError, cached
from workbench.files import read_rows
from workbench.records import Payment
from workbench.retrieval import LocalEmbedder, RetrievalError, open_embedder
from workbench.retrieval.embedder import Recipe, read_recipe, unit
from workbench.retrieval.endpoint import EndpointEmbedder
from workbench.retrieval.vectors import KeptEmbedder
from workbench.sections import EmbeddingEndpoint, Retrieval

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
class TestEmbedded:
    def test_vectors_have_length_one(self) -> None:
        vectors = LocalEmbedder(offline=True).embed(SENTENCES)
        assert vectors.shape == (6, 384) and vectors.dtype == np.float32
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)

    def test_neighbours_and_order_do_not_matter(self) -> None:
        embedder = LocalEmbedder(offline=True)
        whole = embedder.embed(SENTENCES)
        assert np.abs(embedder.embed(SENTENCES[::-1])[::-1] - whole).max() < 1e-5
        alone = np.concatenate([embedder.embed([s]) for s in SENTENCES])
        assert np.abs(alone - whole).max() < 1e-5

    def test_likeness_of_meaning_is_nearness(self) -> None:
        vectors = LocalEmbedder(offline=True).embed(SENTENCES)
        near = vectors @ vectors.T
        assert near[0, 1] > 0.5 > near[0, 2]
        assert near[2, 3] > near[1, 3]

    def test_the_end_of_a_long_text_counts(self) -> None:
        embedder = LocalEmbedder(offline=True)
        filler = "The weather was mild and nothing happened. " * 60  # over 256 tokens
        plain, pump, asked = embedder.embed([filler, filler + "The pump is cold. " * 60, "The pump is cold."])
        assert pump @ asked > plain @ asked + 0.2

    def test_nothing_gives_nothing_and_blanks_give_numbers(self) -> None:
        embedder = LocalEmbedder(offline=True)
        assert len(embedder.embed([])) == 0
        assert np.isfinite(embedder.embed(["", " \n"])).all()


# -- sentence-transformers folders ---------------------------------------------------------------


def describe(folder: Path, pooling: dict[str, Any], *, more: str | None = None, **sentence: Any) -> Path:
    """Write what a sentence-transformers model says of itself."""
    kinds = ["models.Transformer", "models.Pooling", *([f"models.{more}"] if more else [])]
    paths = ["", "1_Pooling", f"2_{more}"]
    modules = [
        {"idx": i, "name": str(i), "path": p, "type": f"sentence_transformers.{k}"}
        for i, (k, p) in enumerate(zip(kinds, paths, strict=False))
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    prompts = sentence.pop("prompts", {})
    about = {"prompts": prompts, "similarity_fn_name": sentence.pop("similarity", "cosine")}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(about))
    (folder / "sentence_bert_config.json").write_text(json.dumps(sentence))
    return folder


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_lasttoken": True, "word_embedding_dimension": 4}, "lasttoken"),
        ({"pooling_mode": "cls", "embedding_dimension": 4, "include_prompt": True}, "cls"),
    ],
)
def test_a_folder_says_how_it_pools(tmp_path: Path, pooling: dict[str, Any], expected: str) -> None:
    assert read_recipe(describe(tmp_path, pooling, max_seq_length=99)).pooling == expected


def test_a_folder_says_the_rest(tmp_path: Path) -> None:
    prompts = {"query": "query: ", "passage": "passage: "}
    mean = {"pooling_mode": "mean"}
    assert read_recipe(tmp_path) == Recipe()
    found = read_recipe(describe(tmp_path, mean, prompts=prompts, max_seq_length=99, do_lower_case=True))
    assert found == Recipe("mean", True, 99, True, "query: ", "passage: ")
    assert not read_recipe(describe(tmp_path, mean, similarity="dot")).normalize
    assert read_recipe(describe(tmp_path, mean, similarity="dot", more="Normalize")).normalize


@pytest.mark.parametrize(
    ("pooling", "more", "words"),
    [
        ({"pooling_mode_max_tokens": True}, None, "pools by max_tokens"),
        ({"pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": True}, None, "and"),
        ({"pooling_mode": "mean"}, "Dense", "has a part 'Dense'"),
    ],
)
def test_what_cannot_be_honoured_is_refused(
    tmp_path: Path, pooling: Any, more: str | None, words: str
) -> None:
    with pytest.raises(AssetError, match=words):
        read_recipe(describe(tmp_path, pooling, more=more))


def test_a_damaged_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("[")
    with pytest.raises(AssetError, match=r"modules.json: damaged"):
        read_recipe(tmp_path)


@pytest.mark.parametrize("pooling", ["mean", "cls", "lasttoken"])
def test_windows_are_averaged_by_their_tokens(tmp_path: Path, tiny_model: Path, pooling: str) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    shutil.copytree(tiny_model, tmp_path / "m")
    describe(tmp_path / "m", {"pooling_mode": pooling}, max_seq_length=16, prompts={"query": "system "})
    embedder = LocalEmbedder("m", base=tmp_path, offline=True)
    texts = ["the pump is silent and the tank leaks user assistant system", "x", "the pump " * 30]
    ids = AutoTokenizer.from_pretrained(tmp_path / "m")(["system " + t for t in texts])["input_ids"]
    assert max(map(len, ids)) > 32 > 16 > min(map(len, ids))
    model = AutoModel.from_pretrained(tmp_path / "m").eval()
    expected = []
    for row in ids:
        parts = []
        for begin in range(0, len(row), 16):
            window = row[begin : begin + 16]
            with torch.inference_mode():
                hidden = model(torch.tensor([window])).last_hidden_state[0].numpy()
            pooled = {"mean": hidden.mean(0), "cls": hidden[0], "lasttoken": hidden[-1]}[pooling]
            parts.append(len(window) * pooled / np.linalg.norm(pooled))
        expected.append(sum(parts) / len(row))
    assert np.abs(embedder.embed(texts) - unit(np.array(expected, np.float32))).max() < 1e-5
    assert np.abs(embedder.embed(texts, "document") - embedder.embed(texts)).max() > 1e-3


def test_the_key_follows_what_makes_the_vectors(tmp_path: Path, tiny_model: Path) -> None:
    keys = []
    for number, pooling in enumerate(("mean", "mean", "cls")):
        folder = tmp_path / str(number)
        shutil.copytree(tiny_model, folder)
        describe(folder, {"pooling_mode": pooling}, max_seq_length=16)
        keys.append(LocalEmbedder(str(folder), offline=True).key)
    assert keys[0] == keys[1] != keys[2]
    weights = tmp_path / "1" / "model.safetensors"
    blob = bytearray(weights.read_bytes())
    blob[-1] ^= 1
    weights.write_bytes(blob)
    assert LocalEmbedder(str(tmp_path / "1"), offline=True).key != keys[0]


# -- an endpoint ---------------------------------------------------------------------------------

MODEL = "embed-1"


def reply(body: dict[str, Any], size: int = 8) -> dict[str, Any]:
    """Vectors of a text's length, given in another order than asked."""
    rows = [
        {"object": "embedding", "index": i, "embedding": [float(len(t))] + [1.0] * (size - 1)}
        for i, t in enumerate(body["input"])
    ]
    return {
        "object": "list",
        "model": MODEL,
        "data": rows[::-1],
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    }


def endpoint(address: str, monkeypatch: pytest.MonkeyPatch) -> EndpointEmbedder:
    monkeypatch.setenv("EMBED_KEY", "canary-77aa")
    return EndpointEmbedder(EmbeddingEndpoint(base_url=address, model=MODEL, api_key_env="EMBED_KEY"))


def test_an_endpoint_is_asked_in_batches_and_again(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    faults: dict[int, Any] = {
        0: (429, {"retry-after-ms": "1"}, {"error": {"message": "slow down"}}),
        1: (500, {"retry-after-ms": "1"}, b"oops"),
        3: (200, {}, b'{"object": "list", "da'),
        4: (200, {}, {"object": "list", "model": MODEL, "data": []}),
    }
    address, asked = serve(lambda body, n: faults.get(n, (200, {}, reply(body))))
    texts = ["a" * (n + 1) for n in range(40)]
    vectors = endpoint(address, monkeypatch).embed(texts)
    expected = unit(np.array([[len(t)] + [1.0] * 7 for t in texts], np.float32))
    assert np.abs(vectors - expected).max() < 1e-6
    assert [len(body["input"]) for body in asked] == [32, 32, 32, 8, 8, 8]
    assert {body["authorization"] for body in asked} == {"Bearer canary-77aa"}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((401, {}, {"error": {"message": "bad key canary-77aa"}}), r"bad key \*\*\*.*EMBED_KEY"),
        ((400, {}, {"error": {"message": "input too long"}}), "input too long.*chunk_words"),
        ((200, {}, b"<html>no</html>"), "embed-1"),
        ((200, {}, {"data": [{"index": 0, "embedding": [1.0, None]}]}), "embed-1"),
        ((200, {}, {"data": [{"index": 7, "embedding": [1.0]}]}), "not one for each text"),
        ((200, {}, {"data": [{"index": 0, "embedding": []}]}), "finite numbers"),
    ],
)
def test_an_endpoint_that_gives_no_vectors(
    serve: Any, monkeypatch: pytest.MonkeyPatch, answer: Any, words: str
) -> None:
    address, _ = serve(lambda *_: answer)
    with pytest.raises(RetrievalError, match=words) as failed:
        endpoint(address, monkeypatch).embed(["a"])
    assert "canary" not in str(failed.value)


@pytest.mark.parametrize(
    ("price", "usage", "usd"),
    [(0.5, {"prompt_tokens": 4000}, 0.002), (None, {"prompt_tokens": 4000}, None), (0.5, None, None)],
)
def test_what_an_endpoint_is_paid_stands_in_the_ledger(
    serve: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, price: float, usage: Any, usd: float
) -> None:
    address, _ = serve(lambda body, n: (200, {}, reply(body) | {"usage": usage}))
    monkeypatch.setenv("EMBED_KEY", "canary-77aa")
    how = EmbeddingEndpoint(base_url=address, model=MODEL, api_key_env="EMBED_KEY", price=price)
    ledger = tmp_path / "spending.jsonl"
    EndpointEmbedder(how, ledger=ledger).embed(["a"] * 40)
    paid = list(read_rows(ledger, Payment))
    tokens = usage["prompt_tokens"] if usage else 0
    assert [(p.model, p.prompt_tokens, p.usd) for p in paid] == [(MODEL, tokens, usd)] * 2
    assert "canary" not in ledger.read_text()


def test_vectors_of_two_sizes_are_refused(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    address, _ = serve(lambda body, n: (200, {}, reply(body, 8 + n)))
    with pytest.raises(RetrievalError, match="vectors of 8 numbers before and now of 9"):
        endpoint(address, monkeypatch).embed(["a"] * 40)


def test_an_endpoint_offline_or_without_its_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    how = Retrieval(embedder=EmbeddingEndpoint(model=MODEL))
    with pytest.raises(RetrievalError, match="OPENAI_API_KEY"):
        open_embedder(how, tmp_path, base=tmp_path)
    with pytest.raises(RetrievalError, match="--offline opens no connection"):
        open_embedder(how, tmp_path, base=tmp_path, offline=True)


# -- kept vectors --------------------------------------------------------------------------------


def test_nothing_is_embedded_twice(tmp_path: Path) -> None:
    embedder, told = WordEmbedder(), []
    texts = ["a pump", "a tank", "a pump"]
    kept = KeptEmbedder(embedder, tmp_path)
    vectors = kept.embed(texts, progress=lambda *step: told.append(step))
    assert embedder.calls == [2] and told == [(2, 2, "embedding")]
    assert (vectors == WordEmbedder().embed(texts)).all()
    again = WordEmbedder()
    assert (KeptEmbedder(again, tmp_path).embed(["a tank", "a pump"]) == vectors[[1, 0]]).all()
    assert again.calls == []
    kept.embed(["a pump"], "document")  # a query's vector is no document's
    assert embedder.calls == [2, 1]
    other = WordEmbedder("other")
    KeptEmbedder(other, tmp_path).embed(texts)
    assert other.calls == [2]
    assert not any(b"pump" in p.read_bytes() for p in tmp_path.iterdir())


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from workbench.retrieval import vectors
class Dying:
    key, count = "words", 0
    def embed(self, texts, role="query", progress=None):
        self.count += 1
        if self.count == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return np.ones((len(texts), 64), np.float32)
vectors.SLICE = 10
vectors.KeptEmbedder(Dying(), Path(sys.argv[1])).embed([f"text {n}" for n in range(40)])
"""


def test_what_was_embedded_before_a_kill_is_kept(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], cwd=Path(__file__).parent.parent, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    embedder = WordEmbedder()
    KeptEmbedder(embedder, tmp_path).embed([f"text {n}" for n in range(40)])
    assert embedder.calls == [20]


def test_two_at_once_are_safe(tmp_path: Path) -> None:
    class Overtaken(WordEmbedder):
        def embed(self, texts: Sequence[str], role: str = "query", progress: Any = None) -> Any:
            KeptEmbedder(WordEmbedder(), tmp_path).embed(texts, "query")
            return super().embed(texts)

    texts = ["a", "b"]
    assert (KeptEmbedder(Overtaken(), tmp_path).embed(texts) == WordEmbedder().embed(texts)).all()


def test_a_damaged_file_and_a_changed_model_are_named(tmp_path: Path) -> None:
    kept = KeptEmbedder(WordEmbedder(), tmp_path)
    kept.embed(["a"])
    path = tmp_path / "vectors-words.sqlite"
    with sqlite3.connect(path) as file:
        file.execute("UPDATE vectors SET vector = x'0000803f'")
    file.close()
    with pytest.raises(RetrievalError, match=r"vectors of 1 and 64 numbers.*Remove the file"):
        kept.embed(["a", "b"])
    path.write_bytes(b"junk" * 1000)
    for left in tmp_path.glob("*-wal"):
        left.unlink()
    with pytest.raises(RetrievalError, match="Remove the file"):
        KeptEmbedder(WordEmbedder(), tmp_path).embed(["a"])
