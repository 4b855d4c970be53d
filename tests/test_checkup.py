"""The training doctor: what it names, what it keeps quiet about, from tables of logs and from real trainings."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.trainings import BROKEN, HEALTHY, Case, make_base, train
from workbench.checkup import examine

FALLING = [2.0, 1.6, 1.3, 1.0, 0.8, 0.7, 0.6, 0.5, 0.45, 0.4, 0.38, 0.36]
FLAT = [2.0, 2.01, 1.99, 2.0, 2.01, 2.0, 1.99, 2.0, 2.0, 2.01, 1.99, 2.0]
USUAL = {"method": "lora", "learning_rate": 2e-4, "rank": 16, "batch_size": 8, "max_length": 512}


def log(losses: list[float], dev: list[float] = (), **more: Any) -> list[dict[str, Any]]:  # type: ignore[assignment]
    """A row a step, and dev losses evenly spread, as the trainer writes them."""
    rows = []
    for step, loss in enumerate(losses, 1):
        rows.append({"step": step, "loss": loss, "gradient_norm": 1.0, **more})
        done = [i for i in range(len(dev)) if round((i + 1) * len(losses) / len(dev)) == step]
        rows += [{"step": step, "dev_loss": dev[i]} for i in done]
    return rows


def facts(*, settings: dict[str, Any] | None = None, **rows: Any) -> dict[str, Any]:
    return {"settings": USUAL | (settings or {}), "training": {"rows": rows}}


@pytest.mark.parametrize(
    ("rows", "about", "name", "step", "cure"),
    [
        ([*log(FALLING), {"step": 12, "broke": "memory"}], facts(), "out of memory", 12, "batch_size"),
        (
            [*log(FALLING), {"step": 12, "broke": "memory"}],
            facts(settings={"gradient_checkpointing": "off"}),
            *("out of memory", 12, "gradient_checkpointing: auto"),
        ),
        ([*log(FALLING), {"step": 13, "broke": "loss"}], facts(), "divergence", 13, "from 0.0002 to 2e-05"),
        (log([*FALLING, 0.9, 1.8, 2.6, 3.1, 3.3]), facts(), "divergence", 13, "Lower learning_rate"),
        (log([2.0, 9.0, 7.0, 5.0, 4.0, 3.5, 3.3, 3.2]), facts(), "divergence", 2, "Lower learning_rate"),
        (log(FALLING), facts(begin_trained=1.0), "learning nothing", None, "marks"),
        (log(FALLING), facts(end_trained=0.1), "learning nothing", None, "max_length"),
        (log(FALLING), facts(prompts=1, answers=9), "learning nothing", None, "columns"),
        (log(FLAT, gradient_norm=0.0), facts(), "learning nothing", None, "target_modules"),
        (log(FALLING, [0.7, 0.66, 0.65]), facts(guess_loss=0.64), "learning nothing", None, "shuffled"),
        # Twice a guess and more at 500 times the usual rate: that it still falls does not help.
        (
            log(FALLING, [2.0, 1.8, 1.7]),
            facts(guess_loss=0.7, settings={"learning_rate": 0.1}),
            *("learning nothing", None, "Lower learning_rate"),
        ),
        (log(FLAT), facts(), "learning nothing", None, "ten times"),
        (log(FLAT), facts(settings={"learning_rate": 1e-7}), "learning nothing", None, "Raise learning_rate"),
        (log(FALLING, [0.9, 0.7, 0.8, 1.1]), facts(), "overfitting", 6, "patience: 1"),
        (log([2.0, *[1.5] * 11], [1.5, 1.49, 1.49, 1.48]), facts(), "plateau", 3, "rank (now 16)"),
        (log(FALLING), facts(padding=0.7), "too slow", None, "packing: auto"),
        (log(FALLING, gpu_percent=12), facts(), "too slow", None, "batch_size (now 8)"),
    ],
)
def test_every_fault_has_its_name_its_place_and_its_cure(
    rows: list[dict[str, Any]], about: dict[str, Any], name: str, step: int | None, cure: str
) -> None:
    (found,) = examine(rows, about)
    assert (found.name, found.step) == (name, step)
    assert cure in found.cure
    assert found.evidence[-1] == "." and found.cure[-1] in ".?"


@pytest.mark.parametrize(
    ("rows", "about"),
    [
        ([], None),
        (log([2.0]), facts()),
        (log(FALLING, [0.9, 0.6, 0.5]), facts(guess_loss=0.9, prompts=12, answers=4, begin_trained=0.0, end_trained=1.0)),
        # Still on its way to what guessing reaches: no verdict yet.
        (log(FALLING, [1.8, 1.4, 1.0]), facts(guess_loss=0.9)),
        (log(FALLING, [2.0, 1.8, 1.7]), facts(guess_loss=0.7)),
        (log(FALLING, [2.0, 1.6, 1.2]), facts(guess_loss=0.7, settings={"learning_rate": 0.1})),
        # A rise within noise, and one that costs nothing.
        (log(FALLING, [0.50, 0.44, 0.46]), facts()),
        (log(FALLING, [0.010, 0.008, 0.012]), facts()),
        # Room was found, or another start was made: only the last word counts.
        ([*log(FALLING[:6]), {"step": 6, "broke": "memory"}, *log(FALLING)], facts()),
        # The end of learning is no plateau.
        (log(FALLING, [0.2, 0.1, 0.1, 0.1, 0.1]), facts()),
        # A loss of one's own is not in nats.
        (log(FALLING, [0.9, 0.9]), facts(settings={"loss": "mine:loss"}, guess_loss=0.5)),
    ],
)  # fmt: skip
def test_what_is_no_fault_is_not_called_one(rows: list[dict[str, Any]], about: dict[str, Any] | None) -> None:
    assert examine(rows, about) == ()


def test_noise_is_no_trend() -> None:
    for seed in range(200):
        chance = random.Random(seed)
        noisy = [2.0 * 0.93**step * chance.uniform(0.6, 1.4) for step in range(30)]
        assert examine(log(noisy), facts()) == (), seed


def test_what_follows_from_a_fault_is_not_told_as_well() -> None:
    broken = [*log(FLAT, [1.0, 2.0]), {"step": 13, "broke": "loss"}]
    assert [s.name for s in examine(broken, facts(padding=0.9))] == ["divergence"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize(
    "case",
    [
        case
        for case in (*BROKEN, *HEALTHY)
        if case.name in ("no number", "mask inverted", "labels shuffled", "adapter of zeros", "lora")
    ],
    ids=lambda case: case.name.replace(" ", "-"),
)
def test_real_trainings(case: Case, base: Path, tmp_path: Path) -> None:
    done = train(case, base, tmp_path)
    found = examine(done.log, done.facts)
    if case.expected is None:
        assert found == () and done.error is None
        return
    name, word = case.expected
    assert found[0].name == name and word in found[0].cure
    assert all({"cpu_percent", "memory_mb", "process_mb"} <= row.keys() for row in done.log if "loss" in row)
