"""Which epoch is kept where the primary metric says so: `stop_on: primary`, answered by the model in training."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.commands import workbench
from tests.judged_run import chat, jsonl, label, question
from tests.test_training import PAIRS, dev_losses, other, told, train, weights, widened
from validators.examples import Message
from workbench.backends import Request
from workbench.backends.hf import HfBackend
from workbench.experiment import Experiment, ExperimentError
from workbench.records import Prediction, Prompt
from workbench.runs import Run
from workbench.settings import HfBackend as HfSettings
from workbench.training import DevScore
from workbench.training.supervised import SupervisedTrainer

# Eight rows, two a step.
STEPS = 4


def scripted(values: Sequence[float | None], *, higher: bool = True) -> DevScore:
    rest = iter(values)
    return DevScore("exact_match", higher, lambda _: next(rest))


def scores(run: Path) -> list[float | None]:
    """None for one without a value: the log leaves it out."""
    return [row.get("dev_score") for row in Run(run).training("lora") if "loss" not in row]


# -- which epoch is the best -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "higher", "best"),
    [
        ([0.2, 0.5, 0.4], True, 2),
        ([3.0, 1.0, 2.0], False, 2),
        ([None, 0.1, None], True, 2),  # what has no value is never the best
        ([None, 0.0, -1.0], True, 2),
        ([None, None, None], True, None),
    ],
)
def test_the_best_epoch_is_the_score_s_not_the_loss_s(
    tiny_model: Path, tmp_path: Path, values: list[float | None], higher: bool, best: int | None
) -> None:
    score = scripted(values, higher=higher)
    summary = train(tiny_model, tmp_path, dev=other(), epochs=3, stop_on="primary", score=score)
    assert scores(tmp_path) == values
    assert summary.best_step == (STEPS * best if best else None)
    assert summary.dev_score == (values[best - 1] if best else None)
    assert summary.dev_loss == (dev_losses(tmp_path)[best - 1] if best else None)


@pytest.mark.parametrize("losses", [[3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [2.0, 1.0, 1.0], [math.nan, 2.0, 3.0]])
def test_of_equal_scores_the_lower_loss_is_the_best(
    tiny_model: Path, tmp_path: Path, losses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that gives no right answer yet still learns: patience bears with it."""
    real, rest = SupervisedTrainer.evaluation_loop, iter(losses)

    def evaluated(self: Any, *given: Any, **named: Any) -> Any:
        out = real(self, *given, **named)
        out.metrics["eval_loss"] = next(rest)
        return out

    monkeypatch.setattr(SupervisedTrainer, "evaluation_loop", evaluated)
    score = scripted([0.0, 0.0, 0.0])
    summary = train(tiny_model, tmp_path, dev=other(), epochs=3, patience=2, stop_on="primary", score=score)
    best = losses.index(min(loss for loss in losses if loss == loss))
    assert (summary.steps, summary.best_step) == (3 * STEPS, (best + 1) * STEPS)


def test_the_weights_that_are_kept_are_the_best_epoch_s(tiny_model: Path, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"dev": other(), "epochs": 2, "stop_on": "primary"}
    train(tiny_model, tmp_path / "first", score=scripted([0.9, 0.1]), **asked)
    train(tiny_model, tmp_path / "last", score=scripted([0.1, 0.9]), **asked)
    train(tiny_model, tmp_path / "loss", dev={}, epochs=2)
    assert weights(tmp_path / "last") == weights(tmp_path / "loss") != weights(tmp_path / "first")


def test_patience_counts_epochs_without_a_better_score(tiny_model: Path, tmp_path: Path) -> None:
    score = scripted([0.1, 0.5, 0.4, None, 0.9])
    summary = train(tiny_model, tmp_path, dev=other(), epochs=9, patience=2, stop_on="primary", score=score)
    assert (summary.steps, summary.best_step, summary.dev_score) == (4 * STEPS, 2 * STEPS, 0.5)


def test_a_killed_training_remembers_its_scores(tiny_model: Path, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"dev": other(), "epochs": 3, "stop_on": "primary"}
    train(tiny_model, tmp_path / "whole", score=scripted([0.5, 0.1, 0.2]), **asked)

    def stop(step: int, *_: Any) -> None:
        if step == 2 * STEPS + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tiny_model, tmp_path / "cut", score=scripted([0.5, 0.1]), progress=stop, **asked)
    summary = train(tiny_model, tmp_path / "cut", score=scripted([0.2]), **asked)
    assert (summary.best_step, summary.dev_score) == (STEPS, 0.5)
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert (told(tmp_path / "cut"), scores(tmp_path / "cut")) == (told(tmp_path / "whole"), [0.5, 0.1, 0.2])


# -- answers of a model in training ------------------------------------------------------------------


def requests() -> list[Request]:
    return [Request(prompt=Prompt(id=q, messages=(Message("user", q),)), references=(a,)) for q, a in PAIRS]


def answers(given: Sequence[Prediction]) -> dict[str, tuple[str, float | None]]:
    return {p.id: (p.prediction or "", p.reference_nats) for p in given}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("packing", ["on", "off"])
def test_a_model_in_training_answers_as_its_adapter_will(tmp_path: Path, packing: str, dtype: Any) -> None:
    """To the likelihood of its references, and the training goes on as if nobody had asked."""
    folder = widened(tmp_path / "wide", 10)
    asked: dict[str, Any] = {
        "dev": other(),
        "epochs": 2,
        "learning_rate": 1e-2,
        "dropout": 0.2,
        "dtype": dtype,
        "packing": packing,
    }
    backend = HfBackend(
        HfSettings(kind="hf", model=str(folder), device="cpu", dtype=dtype, max_new_tokens=8), tmp_path
    )
    seen: list[dict[str, Any]] = []

    def of(model: Any) -> float:
        with backend.lent(model):
            seen.append(answers(list(backend.answer(requests()))))
        return float(len(seen))

    train(folder, tmp_path / "run", stop_on="primary", score=DevScore("exact_match", True, of), **asked)
    adapter = Run(tmp_path / "run").adapter_folder("lora")
    after = answers(list(backend.answer(requests(), adapter=adapter)))
    assert len(seen) == 2 and seen[0] != seen[1]
    assert seen[1] == after
    train(folder, tmp_path / "unasked", **asked)
    assert told(tmp_path / "run") == told(tmp_path / "unasked")


# -- whole commands ----------------------------------------------------------------------------------

TREE: dict[str, Any] = {
    "name": "stop",
    "task": "classification",
    "data": {"path": "data.jsonl", "split": {"dev": 0.2, "test": 0.3}},
    "backends": {
        "local": {"kind": "hf", "model": "tiny", "device": "cpu", "dtype": "float32", "max_new_tokens": 4}
    },
    "contenders": [
        {"name": "lora", "kind": "fine-tuned", "epochs": 2, "rank": 2, "stop_on": "primary"},
        {
            "name": "labels",
            "kind": "fine-tuned",
            "epochs": 2,
            "rank": 2,
            "stop_on": "primary",
            "constrain": "labels",
        },
    ],
    "metrics": {"primary": "exact_match", "also": []},
}


def test_a_run_keeps_the_epoch_with_the_best_primary_score(tiny_model: Path, tmp_path: Path) -> None:
    jsonl(tmp_path / "data.jsonl", [chat(question(i), label(i)) for i in range(20)])
    shutil.copytree(tiny_model, tmp_path / "tiny")
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(TREE))
    done = workbench(tmp_path, "run", "experiment.yaml", "--offline")
    (run,) = Run.all(tmp_path / "runs")
    for name in ("lora", "labels"):
        info = run.contender(name) or {}
        assert info["status"] == "success", done.stderr
        found = [row["dev_score"] for row in run.training(name) if "dev_score" in row]
        assert len(found) == 2 and all(0 <= value <= 1 for value in found)
        assert info["training"]["dev_score"] == max(found)
        assert info["training"]["dev_loss"] is not None and info["settings"]["stop_on"] == "primary"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"data": {"path": "data.jsonl", "split": {"dev": 0, "test": 0.3}}},
            "there is none: set data.split.dev",
        ),
        ({"metrics": {"primary": "human"}}, "human is not a measure of one answer"),
    ],
)
def test_what_cannot_be_measured_in_training_is_refused(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ExperimentError, match=words):
        Experiment.parse(yaml.safe_dump(TREE | changes), path=tmp_path / "experiment.yaml")
