"""How often intervals hold the truth, in short; the whole table is `python -m tests.benchmarks.coverage`."""

import numpy as np
import pytest

from metrics import compare_paired
from metrics.bootstrap import Units
from metrics.intervals import grouped_score, skewed_student, student
from metrics.types import row_mean
from tests.benchmarks import coverage, crossfit

WORLDS = 250
# Three standard errors of 95 % in 250 worlds; the full table is narrower.
SLACK = 3 * (0.95 * 0.05 / WORLDS) ** 0.5


def test_binary_intervals_err_above_the_margin_in_at_most_3_5_percent_exactly():
    cells = [cell for cell in coverage.binary(0) if "n 400" not in cell.design]
    assert all(cell.exact for cell in cells) and len(cells) == 48
    assert max(cell.above for cell in cells) <= 0.035
    ordinary = [
        cell for cell in cells if "discordant 2%" not in cell.design and "discordant 5%" not in cell.design
    ]
    assert min(cell.held for cell in cells) >= 0.92
    assert np.mean([cell.held for cell in ordinary]) == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize("kind", ["grouped", "numbers", "grouped-numbers"])
def test_drawn_intervals_hold_the_truth(kind):
    skewed = ("lognormal", "exponential", "n 20", "icc 0.3")  # known to be hard: the table says how much
    for cell in coverage.KINDS[kind](WORLDS):
        hard = any(word in cell.design for word in skewed)
        assert cell.held >= (0.86 if hard else 0.95) - SLACK, cell
        assert cell.above <= 0.025 + 0.01 + SLACK, cell


def test_the_table_is_of_the_shipped_comparison():
    rng = np.random.default_rng(0)
    codes = np.sort(rng.integers(0, 15, 90))
    kind = rng.choice(3, 90, p=[0.3, 0.1, 0.6])
    found = compare_paired(kind == 1, kind == 0, groups=codes)
    parts = (np.bincount(codes, weights=part).astype(float) for part in (kind == 0, kind == 1, kind >= 0))
    assert found.interval == pytest.approx([float(end) for end in grouped_score(*parts, 0.05)])
    gains = rng.exponential(1, 90)
    plain, grouped = compare_paired(np.zeros(90), gains), compare_paired(np.zeros(90), gains, groups=codes)
    assert plain.interval == skewed_student(Units(gains[:, None], np.ones(90)), row_mean)(0.05)
    sums = Units(np.bincount(codes, weights=gains)[:, None], np.bincount(codes).astype(float))
    assert grouped.interval == pytest.approx(student(sums, row_mean)(0.05))


def test_cross_fitting_holds_its_two_truths_and_detects_more_than_one_split():
    tallies = crossfit.drawn(folds=10, spread=0.02, worlds=150)
    share = {name: {k: v / one.worlds for k, v in one.sums.items()} for name, one in tallies.items()}
    assert share["plain"]["models"] >= 0.895 and share["folds="]["procedure"] >= 0.895  # 95 % less 3 errors
    assert share["folds="]["detected"] > share["one split of 80"]["detected"] + 0.25
    assert share["plain"]["width"] < share["folds="]["width"] < 0.6 * share["one split of 80"]["width"]


def test_folds_widen_by_what_their_models_differ():
    rng = np.random.default_rng(3)
    a, fold = rng.random(200), np.arange(200) % 5
    noise = rng.normal(0, 0.2, 200)
    alike, apart = (compare_paired(a, a + noise + 0.5 * (fold - 2) * by, folds=fold) for by in (0, 1))
    plain = compare_paired(a, a + noise)
    assert plain.interval[0] >= alike.interval[0] > apart.interval[0]
    # Folds that gain −1, −½, 0, ½, 1: a standard error of √(0.625 / 5) and t of four degrees, 2.776.
    assert apart.difference - apart.interval[0] == pytest.approx(2.776 * 0.125**0.5, rel=0.06)
    assert alike.method.endswith("; widened by the spread of 5 folds") and apart.p > 0.5
    two = compare_paired(a, a + noise, folds=fold % 2)
    assert two.interval == plain.interval and two.method.endswith(
        "2 folds: their spread is not in the interval"
    )
    with pytest.raises(ValueError, match="3 groups for 200 samples"):
        compare_paired(a, a, folds=[1, 2, 3])
