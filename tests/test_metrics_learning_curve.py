"""Learning curves: exact power laws, honest width, what is not identifiable, forecasts of withheld points."""

import json

import numpy as np
import pytest

from metrics import fit_curve
from tests.benchmarks import learning_curves

SIZES = [100, 250, 500, 1000]


def rows(values, n=2000, seed=0, spread=0.0):
    """One run a size, each with this mean over samples of the same difficulty: hardly any noise."""
    noise = np.random.default_rng(seed).normal(0, 0.05, n)
    noise -= noise.mean()
    rng = np.random.default_rng(seed + 1)
    return [[noise + value + spread * rng.standard_normal()] for value in values]


def power_law(size, limit=0.9, scale=-2.0, exponent=0.5):
    return limit + scale * size**-exponent


def test_a_clean_power_law_is_found_again():
    sizes = [50, 100, 200, 400, 800, 1600, 3200]
    curve = fit_curve(sizes, rows([power_law(size) for size in sizes]))
    assert curve.identifiable and curve.reason is None
    assert curve.exponent == pytest.approx(0.5, abs=0.11)
    assert curve.limit == pytest.approx(0.9, abs=0.02)
    assert curve.slope == pytest.approx(power_law(6400) - power_law(3200), abs=0.003)
    found = curve.forecast(6400)
    assert found.value == pytest.approx(power_law(6400), abs=0.004)
    assert found.interval[0] < power_law(6400) < found.interval[1] and np.diff(found.interval) < 0.03
    assert curve.values == pytest.approx([power_law(size) for size in sizes])


def test_a_fall_is_a_gain_where_less_is_better():
    up = fit_curve(SIZES, rows([power_law(size) for size in SIZES]))
    down = fit_curve(
        SIZES,
        [[-run for run in runs] for runs in rows([power_law(s) for s in SIZES])],
        higher_is_better=False,
    )
    assert down.slope == pytest.approx(up.slope) and down.slope > 0
    assert down.slope_interval == pytest.approx(up.slope_interval)
    assert down.forecast(2000).value == pytest.approx(-up.forecast(2000).value)
    here, there = up.forecast(2000, margin=0.85), down.forecast(2000, margin=0.85)
    assert here.probability == pytest.approx(there.probability, abs=1e-6) and 0 < here.probability < 1


def test_four_sizes_do_not_tell_a_limit_from_growth_without_end():
    curve = fit_curve(SIZES, rows([0.5, 0.6, 0.676, 0.752]))
    assert not curve.identifiable and curve.reason.startswith(
        "not identifiable: the exponent's interval holds 0"
    )
    assert curve.exponent_interval[0] == 0
    assert curve.slope_interval[0] > 0  # yet that more data helps is certain
    assert 0.75 < curve.forecast(2000).value < 0.85


def test_differences_to_an_alternative_and_their_margin():
    runs = rows([0.60, 0.68, 0.73, 0.77])
    curve = fit_curve(SIZES, runs, against=np.full(2000, 0.7))
    assert curve.values == pytest.approx([-0.10, -0.02, 0.03, 0.07])
    odds = [curve.forecast(2000, margin=margin).probability for margin in (0.0, 0.05, 0.1, 0.15, 0.3)]
    assert odds == sorted(odds, reverse=True) and odds[0] > 0.95 and odds[-1] < 0.05
    assert curve.forecast(2000).probability is None


def test_noise_between_trainings_widens_the_forecast():
    calm, noisy = [0.60, 0.66, 0.70, 0.72], [0.60, 0.70, 0.66, 0.72]
    widths = [np.diff(fit_curve(SIZES, rows(values)).forecast(2000).interval) for values in (calm, noisy)]
    assert widths[1] > 2 * widths[0]
    seeds = [[run[0], run[0] + 0.04, run[0] - 0.04] for run in rows(calm)]
    one, three = fit_curve(SIZES, rows(calm)), fit_curve(SIZES, seeds)
    assert three.spread == pytest.approx(0.04, rel=0.4) and three.spread > 3 * one.spread


def test_a_plateau_promises_nothing():
    curve = fit_curve(SIZES, rows([0.8, 0.805, 0.795, 0.8]))
    assert curve.slope_interval[0] < 0 < curve.slope_interval[1]
    assert curve.forecast(2000, margin=0.9).probability < 0.05


def test_order_of_sizes_and_uneven_seeds_do_not_matter():
    runs = rows([0.60, 0.66, 0.70, 0.72])
    runs[1].append(runs[1][0] + 0.01)
    there = fit_curve(SIZES, runs)
    back = fit_curve(SIZES[::-1], runs[::-1])
    assert (back.sizes, back.values) == (there.sizes, pytest.approx(there.values))
    assert back.forecast(2000).interval == pytest.approx(there.forecast(2000).interval)


def test_groups_and_corpus_metrics():
    rng = np.random.default_rng(0)
    effect = np.repeat(rng.normal(0, 0.5, 20), 10)
    runs = [[effect * size / 1000 + 0.1 * rng.standard_normal(200)] for size in SIZES]
    grouped = fit_curve(SIZES, runs, groups=np.repeat(range(20), 10))
    assert np.diff(grouped.forecast(2000).interval) > 1.5 * np.diff(
        fit_curve(SIZES, runs).forecast(2000).interval
    )
    pairs = [[np.column_stack([run + 2, np.ones(200)]) for run in seeds] for seeds in runs]
    ratio = fit_curve(SIZES, pairs, reduce=lambda means: means[..., 0] / means[..., 1] - 2)
    assert ratio.values == pytest.approx(fit_curve(SIZES, runs).values)


@pytest.mark.parametrize(
    ("sizes", "runs", "options", "message"),
    [
        ([1, 2], [[[1, 2]], [[1, 2]]], {}, "2 training sizes tell no curve"),
        ([1, 2, 2], [[[1, 2]]] * 3, {}, "2 training sizes"),
        ([1, 2, 3], [[[1, 2]]] * 2, {}, "3 sizes for 2 lists"),
        ([0, 2, 3], [[[1, 2]]] * 3, {}, "positive size"),
        ([1, 2, 3], [[[1, 2]], [[1, 2]], [[1]]], {}, "differ in shape"),
        ([1, 2, 3], [[[1, 2]], [[1, 2]], [[1, None]]], {}, r"runs\[2\]\[0\]\[1\] is not finite"),
        ([1, 2, 3], [[[1]]] * 3, {}, "one test sample"),
        ([1, 2, 3], [[[1, 2]]] * 3, {"against": [1]}, "differ in shape"),
        ([1, 2, 3], [[[1, 2]], [[1, 2]], []], {}, "no run"),
    ],
)
def test_wrong_curves_are_told(sizes, runs, options, message):
    with pytest.raises(ValueError, match=message):
        fit_curve(sizes, runs, **options)


def test_a_forecast_is_for_a_number_of_examples():
    with pytest.raises(ValueError, match="at=0"):
        fit_curve(SIZES, rows([0.6, 0.7, 0.7, 0.8])).forecast(0)


def test_constant_and_perfect_runs_stay_finite():
    for value in (0.0, 1.0):
        curve = fit_curve(SIZES, [[np.full(50, value)]] * 4)
        assert np.isfinite([*curve.forecast(2000).interval, *curve.slope_interval, curve.spread]).all()


def test_the_last_point_is_forecast_as_often_as_the_table_says():
    worlds, true, shown = 12, 0, 0
    kinds = [kind for kind in learning_curves.KINDS if "late" not in kind.name]
    for place, kind in enumerate(kinds):
        shares, seeds, n, groups = learning_curves.DESIGNS[place % len(learning_curves.DESIGNS)]
        for world in range(worlds):
            rng = np.random.default_rng([world, place])
            runs, codes = learning_curves.drawn(kind, shares, seeds, n, groups, rng)
            _, found = learning_curves.withheld(list(shares), runs, codes)
            true += found.interval[0] <= kind.value(1.0) <= found.interval[1]
            shown += found.interval[0] <= float(runs[-1][0].mean()) <= found.interval[1]
    assert true / (worlds * len(kinds)) >= 0.88 and shown / (worlds * len(kinds)) >= 0.88


def test_a_recorded_curve_is_read(tmp_path):
    path = tmp_path / "curve.json"
    runs = [[run.tolist() for run in seeds] for seeds in rows([0.60, 0.66, 0.70, 0.72], n=40)]
    path.write_text(json.dumps({"name": "mine", "sizes": SIZES, "scores": runs}), encoding="utf-8")
    line = learning_curves.recorded(path)
    assert line.startswith("mine") and "seen 0.720  held 1 of 1" in line


@pytest.mark.parametrize(
    ("alpha", "margin", "message"), [(2, 0.1, "alpha=2"), (0.05, float("nan"), "margin=nan")]
)
def test_questions_without_an_answer_are_told(alpha, margin, message):
    with pytest.raises(ValueError, match=message):
        fit_curve(SIZES, rows([0.6, 0.7, 0.7, 0.8]), alpha=alpha).forecast(2000, margin=margin)
