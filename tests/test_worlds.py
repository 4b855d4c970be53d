"""The decision's self-test, short: worlds of known truth on disk, through the shipped `decide`.

The full one, 2,000 draws a world, is `python -m tests.benchmarks.worlds`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from scipy.stats import binom

from tests.worlds import NULLS, Side, World, Worlds

DRAWS = 60
HEADLINES = {"tune", "dont-tune", "cant-tell"}


@pytest.mark.parametrize(
    "name", ["plain", "groups", "three equal alternatives", "three tuned, chosen on dev"]
)
def test_a_gain_no_larger_than_the_margin_is_not_called_worth_it(name: str, tmp_path: Path) -> None:
    worlds = Worlds(NULLS[name], tmp_path / "run")
    verdicts = [worlds.draw(seed) for seed in range(DRAWS)]
    assert {v.headline for v in verdicts} <= HEADLINES
    wrong = sum(v.reason == "quality" for v in verdicts)
    # Were it wrong in 3.5 % of draws, more than this would be seen once in a thousand tests.
    assert wrong <= binom.ppf(0.999, DRAWS, 0.035)
    covered = sum(
        d.interval is not None and d.interval[0] <= NULLS[name].truth <= d.interval[1]
        for v in verdicts
        for d in v.differences[:1]
    )
    assert covered >= binom.ppf(0.001, DRAWS, 0.93)


@pytest.mark.parametrize(
    ("sides", "n", "expected"),
    [
        # Truth far from the margin on either side: the right headline nearly always.
        ({"base": Side(0.50), "lora": Side(0.80, tuned=True)}, 200, "tune"),
        ({"base": Side(0.80), "lora": Side(0.50, tuned=True)}, 200, "dont-tune"),
        ({"base": Side(0.70), "shots": Side(0.50), "lora": Side(0.70, tuned=True)}, 2000, "dont-tune"),
    ],
)
def test_a_clear_truth_is_found(sides: dict[str, Side], n: int, expected: str, tmp_path: Path) -> None:
    worlds = Worlds(World(sides, n=n), tmp_path / "run")
    found = [worlds.draw(seed).headline for seed in range(20)]
    assert found.count(expected) >= 18
