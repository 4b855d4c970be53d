"""Contenders trained several times: by hand, against the plain comparison, and how often the interval holds."""

import math

import numpy as np
import pytest

from metrics import compare_paired, compare_seeds
from tests.test_metrics_comparison import bleu_rows


def runs(seeds=3, n=120, spread=0.0, seed=0, groups=None):
    rng = np.random.default_rng(seed)
    easy = rng.normal(0, 0.4, n) if groups is None else rng.normal(0, 0.4, groups)[np.arange(n) % groups]
    a = rng.random(n)
    return [a], [a + easy + rng.normal(0, spread) + rng.normal(0, 0.3, n) for _ in range(seeds)]


def test_one_run_each_is_the_plain_comparison():
    a, b = runs(1)
    plain, found = compare_paired(a[0], b[0], margin=0.1), compare_seeds(a, b, margin=0.1)
    assert (found.interval, found.p, found.conclusion) == (plain.interval, plain.p, plain.conclusion)
    assert found.method.endswith("; one run: the spread between training seeds is not in the interval")


def test_two_runs_are_averaged_and_their_spread_is_said_to_be_missing():
    a, b = runs(2, spread=1)
    found = compare_seeds(a, b)
    assert found.interval == compare_paired(a[0], np.mean(b, axis=0)).interval
    assert found.method.endswith("2 runs: the spread between training seeds is not in the interval")


def test_three_runs_take_their_spread_in():
    # Runs that gain 0, 0.3 and 0.6 on every sample: v = 0.09 / 3, t = 4.303; the samples add nothing to it.
    a = np.random.default_rng(0).random(50)
    d = np.random.default_rng(1).normal(0, 0.2, 50)
    d -= d.mean()
    found = compare_seeds([a], [a + d + gain for gain in (0, 0.3, 0.6)])
    plain = compare_paired(a, a + d + 0.3)
    half = 4.302652729911275 * math.sqrt(0.03)
    assert found.difference == pytest.approx(0.3)
    assert found.interval[0] == pytest.approx(0.3 - math.hypot(0.3 - plain.interval[0], half))
    assert found.interval[1] == pytest.approx(0.3 + math.hypot(plain.interval[1] - 0.3, half))
    assert found.method.endswith("3 runs, their spread taken in by t")


def test_runs_that_differ_only_on_samples_are_not_counted_twice():
    a, b = runs(5, 4000)
    plain, found = compare_paired(a[0], np.mean(b, axis=0)), compare_seeds(a, b)
    assert np.diff(found.interval) < 1.35 * np.diff(plain.interval)


def test_p_agrees_with_the_interval():
    for seed in range(6):
        a, b = runs(3, 60, 0.05, seed)
        p = compare_seeds(a, b).p
        low, high = compare_seeds(a, b, alpha=min(0.499, p)).interval
        assert p > 0.499 or min(abs(low), abs(high)) < 1e-4


def test_swapping_the_sides_flips_the_sign():
    a, b = runs(3, spread=0.1)
    _, c = runs(4, spread=0.1, seed=5)
    there, back = compare_seeds(b, c), compare_seeds(c, b)
    assert back.interval == pytest.approx((-there.interval[1], -there.interval[0]))
    assert back.p == pytest.approx(there.p)
    assert compare_seeds(a, b, higher_is_better=False).difference == compare_seeds(a, b).difference


def test_corpus_metrics_average_the_values_of_runs():
    a, b = bleu_rows(1, 0.3), [bleu_rows(seed, 0.15) for seed in (2, 3, 4)]
    found = compare_seeds([a.stats], [rows.stats for rows in b], reduce=a.reduce)
    values = [float(rows.reduce(rows.stats.mean(axis=0))) for rows in b]
    assert found.difference == pytest.approx(np.mean(values) - float(a.reduce(a.stats.mean(axis=0))))
    assert found.conclusion == "better" and found.p < 0.01


def test_constant_runs_have_bounds_or_a_reason():
    same = compare_seeds([np.ones(40)], [np.ones(40)] * 3)
    assert same.interval == pytest.approx((-(1 - 0.05 ** (1 / 40)), 1 - 0.05 ** (1 / 40)))
    one = compare_seeds([[1.0, 2.0]], [[1.0, 3.0]] * 3, groups=["x", "x"])
    assert one.interval is None and one.p is None and "at least two" in one.reason


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([], [[1, 2]], "a holds no run"),
        ("runs", [[1, 2]], "a is a str"),
        ([[1, 2]], [[1, 2], [1]], "differ in shape"),
        ([[1, 2]], [[1, float("nan")]], r"b\[0\]\[1\] is not finite"),
        ([[[1, 2]]], [[[1, 2]]], "reduce="),
    ],
)
def test_wrong_runs_are_named(a, b, message):
    with pytest.raises(ValueError, match=message):
        compare_seeds(a, b)


@pytest.mark.parametrize(("seeds", "spread", "groups"), [(3, 0.1, None), (5, 0.03, None), (3, 0.05, 30)])
def test_the_expected_difference_is_held_as_often_as_is_said(seeds, spread, groups):
    worlds, codes = 200, None if groups is None else np.arange(120) % groups
    found = [compare_seeds(*runs(seeds, 120, spread, w, groups), groups=codes) for w in range(worlds)]
    held = sum(one.interval[0] <= 0 <= one.interval[1] for one in found) / worlds
    assert 0.90 <= held <= 0.995  # 95 % ± 3 standard errors
