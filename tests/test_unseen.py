"""No contender ever sees a test reference: canaries in everything that a question does not say, through whole runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.judged_run import NOW, TODAY, Silent, jsonl
from workbench.backends.hf import HfBackend
from workbench.experiment import Experiment
from workbench.retrieval import open_index
from workbench.runner import Session, run
from workbench.runs import Run
from workbench.training import encode_rows

ROUTES = ("bench", "water", "till")
HIDDEN = ("reference", "wording", "group", "tag", "later")
UNTUNED: list[dict[str, Any]] = [
    {"kind": "prompting"},
    {"kind": "prompting", "systems": ["Be brief.", None]},
    {"kind": "prompting", "constrain": "labels"},
    {"kind": "few-shot", "examples": [2, 3], "choose": ["random", "stratified"]},
    {"kind": "few-shot", "examples": 2, "choose": "similar"},
    {"kind": "rag", "top_k": [1, 2], "retriever": ["bm25", "dense"], "examples": [0, 2]},
    {"kind": "rag", "retriever": "hybrid", "citations": True, "no_answer": "unknown", "examples": 2},
    {"kind": "rag", "context": "oracle", "retriever": "bm25"},
    {"kind": "rag", "context": "none", "retriever": "bm25", "examples": 2},
]
TUNED: list[dict[str, Any]] = [
    {"kind": "fine-tuned", "constrain": "labels"},
    {"kind": "fine-tuned", "with": "rag", "top_k": 2, "citations": True, "no_answer": "unknown"},
]


def row(part: str, number: int) -> dict[str, Any]:
    """A row of which only the question may be seen; of training rows the answer too."""
    hidden = {key: f"{part}-{key}-{number}" for key in HIDDEN}
    answer = ROUTES[number % 3] if part == "train" else hidden["reference"]
    said = [
        f"{part} question {number}: what of case {number * 7919 % 1009}?",
        answer,
        f"Thanks, {hidden['later']}",
        "Bye.",
    ]
    roles = ("user", "assistant", "user", "assistant")
    metadata = {key: hidden[key] for key in ("wording", "group", "tag")} | {"page": f"page{number % 3}.md"}
    messages = [{"role": r, "content": c} for r, c in zip(roles, said, strict=True)]
    return {"messages": messages, "metadata": metadata}


def experiment(folder: Path, backend: dict[str, Any], contenders: list[dict[str, Any]]) -> Path:
    for part, rows in (("train", 9), ("dev", 4), ("test", 5)):
        jsonl(folder / f"{part}.jsonl", [row(part, n) for n in range(rows)])
    (folder / "pages").mkdir()
    for n in range(3):
        (folder / "pages" / f"page{n}.md").write_text(
            f"# Page {n}\n\nWhat is known of every case {n}: a question."
        )
    tree = {
        "name": "unseen",
        "task": "qa",
        "data": {
            **{part: f"{part}.jsonl" for part in ("train", "dev", "test")},
            "answer": 0,
            "references": "metadata.wording",
            "slices": ["metadata.tag"],
            "corpus": "pages",
            "sources": "metadata.page",
            "split": {"group_by": "metadata.group"},
        },
        "backends": {"it": backend},
        "contenders": [{"name": f"c{n}", **c} for n, c in enumerate(contenders)],
        "metrics": {"primary": "token_f1"},
    }
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


def play(path: Path) -> Run:
    made = Experiment.load(path)
    return run(Session(made, path, path.read_text(), path.parent / "runs", Silent(), lambda: NOW, TODAY))[0]


def canaries(part: str) -> set[str]:
    return {f"{part}-{key}-" for key in HIDDEN}


def leaked(texts: Iterator[str] | list[str], *parts: str) -> set[str]:
    everything = "\n".join(texts)
    return {canary for part in parts for canary in canaries(part) if canary in everything}


@pytest.fixture
def indexed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that was put into an index."""
    seen: list[str] = []
    real = open_index

    def opened(chunks: Any, *arguments: Any, **options: Any) -> Any:
        seen.extend(c.text for c in chunks)
        return real(chunks, *arguments, **options)

    monkeypatch.setattr("workbench.contenders.passages.open_index", opened)
    return seen


def test_no_server_is_told_an_answer(
    tmp_path: Path, serve: Any, indexed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")

    def behave(body: dict[str, Any], _: int) -> tuple[int, dict[str, str], dict[str, Any]]:
        text = "till" if "response_format" in body else "till [1]"
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
        about = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
        return 200, {}, {**about, "choices": [choice], "usage": usage}

    address, asked = serve(behave)
    backend = {"kind": "openai", "base_url": address, "model": "m"}
    made = play(experiment(tmp_path, backend, UNTUNED))
    sent = [json.dumps(body) for body in asked]
    for part, number in (("test", 5), ("dev", 4)):
        assert all(any(f"{part} question {n}:" in text for text in sent) for n in range(number)), (
            "all were asked"
        )
    assert any("train question" in text for text in sent) and any("Page 1" in text for text in sent)
    assert leaked(sent, "test", "dev") == set()
    assert indexed and leaked(indexed, "train", "dev", "test") == set()
    prompts = [p.read_text() for p in made.folder.rglob("prompts.jsonl")]
    assert len(prompts) == len(UNTUNED) and leaked(prompts, "test", "dev") == set()
    assert {p.prediction for p in made.predictions("c6")} == {"till"}, "citations are no part of the answer"
    verdict = made.verdict()
    assert verdict is not None
    assert sorted(c.name for c in verdict.contenders) == [f"c{n}" for n in range(7)], (
        "oracle and none do not compete"
    )
    explained = (made.comparison() or {})["diagnostics"]
    pairs = {(d["arm"], d["context"], d["against"]) for d in explained}
    assert pairs == {
        ("c7", "oracle", "c5"),
        ("c7", "oracle", "c6"),
        ("c8", "none", "c5"),
        ("c8", "none", "c6"),
    }
    assert all(d["n"] == 5 and d["difference"]["interval"] for d in explained)
    report = made.report_path("md").read_text()
    scores, diagnostics = report.split("## Retrieval or generation?")
    assert (
        "c7" not in scores.split("## Scores")[1].split("##")[0]
        and "| c7 | the documents that answer |" in diagnostics
    )
    for name in ("c5", "c6"):
        found = (made.scores(name) or {})["metrics"]
        assert {"recall_at_k", "mrr", "ndcg"} <= set(found) and found["mrr"]["value"] is not None


def test_no_model_is_trained_on_or_asked_with_a_test_answer(
    tmp_path: Path, tiny_model: Path, indexed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []
    sent: list[str] = []
    real_rows, real_answer = encode_rows, HfBackend.answer

    def encoded(examples: Any, *arguments: Any) -> Any:
        trained.extend(repr(example.messages) for example in examples.values())
        return real_rows(examples, *arguments)

    def answer(self: Any, requests: Any, **options: Any) -> Any:
        sent.extend(repr((r.prompt, r.choices)) for r in requests)
        return real_answer(self, requests, **options)

    monkeypatch.setattr("workbench.training.trainer.encode_rows", encoded)
    monkeypatch.setattr(HfBackend, "answer", answer)
    backend = {
        "kind": "hf",
        "model": str(tiny_model),
        "device": "cpu",
        "dtype": "float32",
        "max_new_tokens": 4,
    }
    made = play(experiment(tmp_path, backend, [*({"epochs": 1, **c} for c in TUNED), UNTUNED[2]]))
    assert all(any(f"test question {n}:" in text for text in sent) for n in range(5))
    assert any("train question" in text for text in trained) and any(
        "Use these passages" in t for t in trained
    )
    assert leaked(sent, "test", "dev") == set() and leaked(trained, "test") == set()
    assert leaked(indexed, "train", "dev", "test") == set()
    # What stays in the folder for the next to use holds none of it either.
    used = ("prompts.jsonl", "adapter_config.json", "train.jsonl")
    assert leaked([p.read_text() for name in used for p in made.folder.rglob(name)], "test", "dev") == set()
    assert {p.prediction for p in made.predictions("c2")} <= set(ROUTES), "held to the labels of train"
