"""Worlds of known truth as run folders on disk, decided by the shipped `decide`.

A sample's answer by a contender is right where a Gaussian falls below the quantile of the contender's accuracy,
so accuracies are exact; the Gaussian is shared in part by all contenders (some questions are hard for everyone)
and in part by a contender's answers within one group (customers differ in what goes wrong).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from statistics import NormalDist

import numpy as np
import yaml

from validators.examples import Message
from workbench.experiment import Experiment
from workbench.records import Prediction, Sample, Verdict
from workbench.runs import Run
from workbench.scoring import score_contender
from workbench.verdict import decide

TODAY = date(2026, 11, 20)
# Answers to a question whose reference is "till", and what the half right one scores under token F1.
TEXTS = ("post", "till desk", "till")
HALF = 2 / 3
SKEWED = (1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 6, 8, 12, 17)


@dataclass(frozen=True)
class Side:
    """One contender: how often it is right, and on dev where it is one of several tuned ones."""

    accuracy: float
    tuned: bool = False


@dataclass(frozen=True)
class World:
    """A truth. `groups` are sizes that repeat until all samples have one; empty: independent samples.

    `together` is the share of a question's difficulty that all contenders meet, `customer` the share that a
    contender's answers within one group have in common. `partial` of the wrong answers are half right: under
    token F1 they score HALF.
    """

    sides: dict[str, Side]
    n: int = 200
    groups: tuple[int, ...] = ()
    together: float = 0.5
    customer: float = 0.15
    partial: float = 0.0
    metric: str = "exact_match"
    worth_it: float = 0.05
    decision: dict[str, object] = field(default_factory=dict)
    dev: int = 60

    @property
    def truth(self) -> float:
        """The tuned contender's gain over the best alternative (of the best tuned one)."""
        tuned = [s.accuracy for s in self.sides.values() if s.tuned]
        gap = max(tuned) - max(s.accuracy for s in self.sides.values() if not s.tuned)
        return gap * (1 - HALF * self.partial) if self.metric == "token_f1" else gap


class Worlds:
    """Draws of one world, each written into one run folder and decided."""

    def __init__(self, world: World, folder: Path) -> None:
        self._world = world
        self._run = Run(folder)
        self._labels = _labels(world)
        self._ids = [f"{i:06d}" for i in range(world.n)]
        text = yaml.safe_dump(_experiment(world), sort_keys=False)
        self._experiment = Experiment.parse(text, path=folder / "experiment.yaml")
        self._run.write_experiment_text(text)
        self._run.write_meta(
            {
                "status": "success",
                "decision": self._experiment.deciding,
                "decision_history": [],
                "contenders": list(world.sides),
            }
        )
        question = (Message("user", "Which desk?"),)
        self._run.write_splits(
            {"train": [], "dev": [], "test": self._ids},
            [
                Sample(id=i, messages=question, references=("till",), group=g)
                for i, g in zip(self._ids, self._labels, strict=True)
            ],
        )

    def draw(self, seed: int) -> Verdict:
        """One verdict of this world."""
        rng = np.random.default_rng(seed)
        world = self._world
        answers = _answers(world, self._labels, world.n, rng)
        on_dev = _answers(world, [None] * world.dev, world.dev, rng)
        several = sum(s.tuned for s in world.sides.values()) > 1
        for index, (name, side) in enumerate(world.sides.items()):
            dev = {"metric": world.metric, "value": float((on_dev[index] == 2).mean())}
            self._run.write_contender(name, _info(name, side.tuned, dev if several and side.tuned else None))
            predictions = [
                Prediction(
                    id=i,
                    prediction=TEXTS[answers[index][row]],
                    references=("till",),
                    group=group,
                    finish_reason="stop",
                )
                for row, (i, group) in enumerate(zip(self._ids, self._labels, strict=True))
            ]
            self._run.write_predictions(name, predictions)
            scores = score_contender(name, predictions, self._experiment, [world.metric], tokenizer="none")
            self._run.write_scores(name, scores)
        return decide(self._run, today=TODAY)


def _labels(world: World) -> list[str | None]:
    if not world.groups:
        return [None] * world.n
    labels: list[str | None] = []
    number = 0
    while len(labels) < world.n:
        size = world.groups[number % len(world.groups)]
        labels += [f"customer {number}"] * size
        number += 1
    return labels[: world.n]


def _answers(world: World, labels: Sequence[str | None], n: int, rng: np.random.Generator) -> np.ndarray:
    """Each contender's answers as places in TEXTS, `[contenders, n]`: 2 right, 1 half right, 0 wrong."""
    grouped = any(label is not None for label in labels)
    customer = world.customer if grouped else 0.0
    codes = np.unique([str(label) for label in labels], return_inverse=True)[1]
    shared = rng.standard_normal(n) * np.sqrt(world.together)
    latent = np.stack(
        [
            shared
            + rng.standard_normal(codes.max() + 1)[codes] * np.sqrt(customer)
            + rng.standard_normal(n) * np.sqrt(1 - world.together - customer)
            for _ in world.sides
        ]
    )
    bars = np.array([NormalDist().inv_cdf(s.accuracy) for s in world.sides.values()])[:, None]
    half = rng.random(latent.shape) < world.partial
    return np.where(latent < bars, 2, half.astype(int))


def _info(name: str, tuned: bool, dev: dict[str, object] | None) -> dict[str, object]:
    return {
        "name": name,
        "kind": "predictions",
        "tuned": tuned,
        "backend": {},
        "settings": {"path": f"{name}.jsonl", "tuned": tuned, "usd_per_1000": None, "kind": "predictions"},
        "status": "success",
        "hardware": {},
        "training": None,
        "dev": dev,
    }


def _experiment(world: World) -> dict[str, object]:
    return {
        "name": "world",
        "task": "classification",
        "data": {"test": "test.jsonl"},
        "backends": {"none": {"kind": "echo"}},
        "contenders": [
            {"name": name, "kind": "predictions", "path": f"{name}.jsonl", "tuned": side.tuned}
            for name, side in world.sides.items()
        ],
        "metrics": {"primary": world.metric, "also": []},
        "decision": {"worth_it": world.worth_it, **world.decision},
    }


# Worlds whose truth lies exactly at the margin: `tune / quality` is wrong in each.
NULLS: dict[str, World] = {
    "plain": World({"base": Side(0.60), "lora": Side(0.65, tuned=True)}),
    "plain, n = 80": World({"base": Side(0.60), "lora": Side(0.65, tuned=True)}, n=80),
    "plain, few disagree": World({"base": Side(0.90), "lora": Side(0.95, tuned=True)}, together=0.8),
    "margin 0": World({"base": Side(0.60), "lora": Side(0.60, tuned=True)}, worth_it=0.0),
    "groups": World({"base": Side(0.60), "lora": Side(0.65, tuned=True)}, groups=SKEWED),
    "twelve groups": World(
        {"base": Side(0.60), "lora": Side(0.65, tuned=True)}, n=120, groups=(4, 6, 8, 10, 12, 20)
    ),
    "one hard alternative": World(
        {"base": Side(0.20), "shots": Side(0.30), "rag": Side(0.60), "lora": Side(0.65, tuned=True)}
    ),
    "three equal alternatives": World(
        {"base": Side(0.60), "shots": Side(0.60), "rag": Side(0.60), "lora": Side(0.65, tuned=True)}
    ),
    "three tuned, chosen on dev": World(
        {
            "base": Side(0.60),
            "lora": Side(0.65, tuned=True),
            "lora-2": Side(0.65, tuned=True),
            "lora-3": Side(0.65, tuned=True),
        }
    ),
    "token F1": World({"base": Side(0.60), "lora": Side(0.675, tuned=True)}, metric="token_f1", partial=0.5),
    "token F1 in groups": World(
        {"base": Side(0.60), "lora": Side(0.675, tuned=True)}, metric="token_f1", partial=0.5, groups=SKEWED
    ),
}
