"""Run folders made by the runner itself from answers whose truth is known; no model anywhere."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from workbench.experiment import Experiment
from workbench.records import Verdict
from workbench.runner import Session, run
from workbench.runs import Run

TODAY = date(2026, 11, 20)
NOW = "2026-11-20T09:00:00+00:00"
LABELS = ("till", "post", "bench")


class Silent:
    """A reporter that says nothing."""

    def stage(self, name: str, detail: str = "") -> None: ...

    def step(self, done: int, total: int, detail: str = "") -> None: ...


@dataclass(frozen=True)
class Answers:
    """What one contender said, a mark a test sample: + right, - wrong, ? nearly, ~ cut by the limit, ! failed."""

    marks: str
    tuned: bool = False
    usd_per_1000: float | None = None
    backend: str | None = None


def marks(right: int, wrong: int = 0, failed: int = 0) -> str:
    """So many right answers first, then wrong ones, then failures."""
    return "+" * right + "-" * wrong + "!" * failed


def jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as JSON Lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8")


def question(index: int) -> str:
    """The text of test question `index`."""
    return f"Ticket number {index:04d}: where does a matter of kind {index * 7919 % 10007} go, please?"


def label(index: int) -> str:
    """The right answer to it."""
    return LABELS[index % len(LABELS)]


def chat(text: str, answer: str, **more: Any) -> dict[str, Any]:
    """A training row."""
    return {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": answer}], **more}


def write_experiment(
    folder: Path,
    contenders: Mapping[str, Answers],
    *,
    groups: Sequence[str] | None = None,
    decision: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Data with separate train, dev and test files, one predictions file a contender, the experiment."""
    n = len(next(iter(contenders.values())).marks)
    tests = [
        chat(question(i), label(i), metadata={"customer": groups[i]} if groups else {}) for i in range(n)
    ]
    away = [
        chat(f"An older matter, entry {i}: {i * i} parcels.", label(i), metadata={"customer": f"old {i}"})
        for i in range(12)
    ]
    jsonl(folder / "test.jsonl", tests)
    jsonl(folder / "train.jsonl", away[:8])
    jsonl(folder / "dev.jsonl", away[8:])
    for name, answers in contenders.items():
        jsonl(folder / f"{name}.jsonl", [_row(i, mark) for i, mark in enumerate(answers.marks)])
    data: dict[str, Any] = {"train": "train.jsonl", "dev": "dev.jsonl", "test": "test.jsonl"}
    if groups:
        data["split"] = {"group_by": "metadata.customer"}
    tree = {
        "name": "judged",
        "task": "classification",
        "data": data,
        "backends": {"none": {"kind": "echo"}},
        "contenders": [
            {
                "name": name,
                "kind": "predictions",
                "path": f"{name}.jsonl",
                "tuned": a.tuned,
                "usd_per_1000": a.usd_per_1000,
                "backend": a.backend,
            }
            for name, a in contenders.items()
        ],
        "metrics": dict(metrics or {"primary": "exact_match", "also": []}),
        "decision": dict(decision or {}),
        **(extra or {}),
    }
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    return path


def _row(index: int, mark: str) -> dict[str, Any]:
    said = {
        "+": label(index),
        "-": "somewhere",
        "?": f"{label(index)} desk",
        "~": label(index)[:1],
        "!": None,
    }[mark]
    row = {"input": question(index), "prediction": said, "finish_reason": "length" if mark == "~" else "stop"}
    return row | ({"error": "HTTP 500"} if mark == "!" else {})


def run_it(path: Path, runs: Path, *, offline: bool = True, **options: Any) -> tuple[Run, Verdict]:
    """Run an experiment file as the command would."""
    text = path.read_text(encoding="utf-8")
    session = Session(
        experiment=Experiment.parse(text, path=path),
        path=path,
        text=text,
        runs=runs,
        report=Silent(),
        now=lambda: NOW,
        today=TODAY,
        offline=offline,
    )
    return run(session, **options)


def judged(folder: Path, contenders: Mapping[str, Answers], **settings: Any) -> tuple[Run, Verdict]:
    """A whole run of known answers."""
    return run_it(write_experiment(folder, contenders, **settings), folder / "runs")
