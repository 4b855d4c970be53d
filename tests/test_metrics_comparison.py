"""Paired comparisons: published numbers, the table of methods, edge cases, properties."""

import json
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics import (
    bootstrap_values,
    compare_paired,
    measure,
    paired_bootstrap,
    smallest_detectable_effect,
    smallest_detectable_effect_from_sd,
)
from metrics.intervals import paired_score
from metrics.permutation import mcnemar_mid_p


def binary(both, gained, lost, neither):
    a = [1] * both + [0] * gained + [1] * lost + [0] * neither
    b = [1] * both + [1] * gained + [0] * lost + [0] * neither
    return a, b


def normal(n, shift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=n)
    return a, a + rng.normal(shift, 1, n)


def test_score_interval_and_mid_p_of_the_airway_data():
    # Fagerland, Lydersen & Laake 2014: 21 children, 7 against 1 discordant; plain Tango: −0.517 to −0.026.
    found = compare_paired(*binary(1, 1, 7, 12))
    assert found.difference == pytest.approx(-6 / 21)
    assert found.interval == pytest.approx((-0.517, -0.026), abs=0.012)
    assert found.p == pytest.approx(0.0391, abs=5e-5)
    assert found.method == "score interval; McNemar mid-p"


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [(0, 0, 1.0), (5, 5, 1.0), (0, 5, 0.03125), (1, 7, 0.0390625), (9, 1, 0.01171875)],
)
def test_mid_p(gained, lost, p):
    assert mcnemar_mid_p(gained, lost) == pytest.approx(p)
    assert mcnemar_mid_p(lost, gained) == pytest.approx(p)


@pytest.mark.parametrize(("n", "gained", "lost"), [(80, 11, 4), (21, 1, 7), (400, 30, 0), (100, 3, 2)])
def test_the_score_interval_solves_its_equation(n, gained, lost):
    """Tango's statistic at the ends of the interval is z, less the skewness of gains and losses under them."""
    z = 1.959963984540054
    for delta, side in zip(paired_score(gained, lost, n, 0.05), (1, -1), strict=True):
        b = (2 * n - gained + lost) * delta - gained - lost
        losing = (math.sqrt(b * b + 8 * n * lost * delta * (1 - delta)) - b) / (4 * n)
        shares = {1: losing + delta, -1: losing, 0: 1 - 2 * losing - delta}
        second, third = (sum(p * (x - delta) ** k for x, p in shares.items()) for k in (2, 3))
        tango = (gained - lost - n * delta) / math.sqrt(n * second)
        assert tango - third / second**1.5 / math.sqrt(n) * (z**2 - 1) / 6 == pytest.approx(
            side * z, abs=1e-6
        )


def test_a_single_gain_does_not_beat_nothing():
    for n in (5, 40, 400):
        low, high = compare_paired([0] * n, [1] + [0] * (n - 1)).interval
        assert low < 0 < 1 / n < high < 1


@pytest.mark.parametrize("n", [1, 10, 100, 1000])
def test_no_discordant_pair_gives_the_rule_of_three(n):
    found = compare_paired([1] * n, [1] * n)
    bound = 1 - 0.05 ** (1 / n)
    assert found.interval == pytest.approx((-bound, bound)) and found.p == 1
    assert n < 100 or bound == pytest.approx(3 / n, rel=0.02)


def test_symmetric_samples_give_students_interval():
    from scipy import stats

    gains = np.array([-3, -2, -2, -1, -0.5, 0, 0.5, 1, 2, 2, 3]) + 0.7
    expected = stats.ttest_1samp(gains, 0).confidence_interval(0.95)
    found = compare_paired(np.zeros(11), gains)
    assert found.interval == pytest.approx((expected.low, expected.high))
    assert found.method == "skewed t over 11 samples; sign flips of samples"


def test_skewed_samples_have_halls_interval():
    gains = np.array([0.1, 0.2, 1, 0.1, 2, 7.0])
    n, centre, error = 6, gains.mean(), gains.std(ddof=1) / math.sqrt(6)
    skew = ((gains - centre) ** 3).mean() / gains.std() ** 3 / math.sqrt(n)
    low, high = compare_paired(np.zeros(n), gains).interval
    for end, t in ((low, 2.5705818366), (high, -2.5705818366)):  # Hall 1992: T + γT²/3 + γ²T³/27 + γ/6
        studentised = (centre - end) / error
        cubic = studentised + skew * studentised**2 / 3 + skew**2 * studentised**3 / 27 + skew / 6
        assert cubic == pytest.approx(t)
    assert high - centre > 2 * (centre - low)


def test_skewed_intervals_lie_near_scipys_bca():
    from scipy import stats

    rng = np.random.default_rng(1)
    a, b = rng.random(60), rng.random(60) + rng.exponential(0.3, 60)
    expected = stats.bootstrap((b - a,), np.mean, n_resamples=9999, method="BCa", rng=5).confidence_interval
    found = compare_paired(a, b)
    assert found.interval == pytest.approx((expected.low, expected.high), abs=0.02)


def test_exact_sign_flips_equal_scipy():
    from scipy import stats

    a, b = normal(9, 0.5, seed=4)
    expected = stats.permutation_test(
        (b - a,), np.mean, permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert compare_paired(a, b).p == pytest.approx(expected)


def test_groups_use_a_jackknife_t_over_effective_groups():
    b = np.array([2, 2, 2, 0, 2, 1.0])
    groups = ["x", "x", "x", "y", "y", "z"]
    # Sums 6, 2, 1 over sizes 3, 2, 1. Without each: 3/3, 7/4, 8/5; variance 2/3 · Σ(…)²; (36 / 14) − 1 df.
    left_out = np.array([1, 7 / 4, 8 / 5])
    error = math.sqrt(2 / 3 * ((left_out - left_out.mean()) ** 2).sum())
    half = 5.6481908 * error  # Student's 97.5 % point at 11/7 degrees
    found = compare_paired(np.zeros(6), b, groups=groups)
    assert found.interval == pytest.approx((3 / 2 - half, 3 / 2 + half), rel=1e-4)
    assert found.method == "jackknife t over 3 groups; sign flips of group sums"
    assert found.p == pytest.approx(0.25)  # 6, 2, 1: two of eight signings reach ±9
    assert (found.groups, found.n) == (3, 6)


def test_groups_that_say_no_more_than_their_samples_give_nearly_the_ungrouped_interval():
    rng = np.random.default_rng(4)
    a, b = rng.random(2000) < 0.6, rng.random(2000) < 0.7
    plain = compare_paired(a, b).interval
    grouped = compare_paired(a, b, groups=np.repeat(range(400), 5))
    assert grouped.interval == pytest.approx(plain, abs=0.006)
    assert grouped.method == "score interval over 400 groups; sign flips of group sums"


def test_many_groups_are_bootstrapped_and_widen_the_interval():
    rng = np.random.default_rng(2)
    effect = np.repeat(rng.normal(0, 1, 40), 10)
    a = np.zeros(400)
    b = effect + rng.normal(0, 0.1, 400)
    grouped, plain = compare_paired(a, b, groups=np.repeat(range(40), 10)), compare_paired(a, b)
    assert "over 40 groups" in grouped.method
    assert np.diff(grouped.interval) > 2 * np.diff(plain.interval)


def test_groups_of_one_and_missing_groups():
    a, b = binary(40, 12, 3, 5)
    plain = compare_paired(a, b)
    alone = compare_paired(a, b, groups=range(60))
    assert (alone.interval, alone.p, alone.groups) == (plain.interval, plain.p, 60)
    assert compare_paired(a, b, groups=[None] * 60) == plain
    assert compare_paired(a, b, groups=["x"] * 10 + [None] * 50).groups == 51


@pytest.mark.parametrize("reduce", [None, lambda means: means[..., 0] ** 2])
def test_one_group_has_no_interval_but_a_reason(reduce):
    found = compare_paired([0.0, 1, 0.5], [1.0, 1, 1], groups=["x"] * 3, reduce=reduce)
    assert found.interval is None and found.p is None and "at least two" in found.reason
    assert found.conclusion == "inconclusive" and found.difference > 0


def test_all_ties_and_constant_gains_never_collapse_to_a_point():
    same = compare_paired([0.5] * 40, [0.5] * 40)
    assert same.interval == pytest.approx((-(1 - 0.05 ** (1 / 40)), 1 - 0.05 ** (1 / 40)))
    gain = compare_paired([0.25] * 40, [0.75] * 40)
    assert gain.interval[0] < 0.5 < gain.interval[1] and gain.conclusion == "better"
    unbounded = compare_paired([5.0] * 40, [5.0] * 40)
    assert unbounded.interval is None and "cannot tell them apart" in unbounded.reason and unbounded.p == 1
    grouped = compare_paired([1] * 40, [1] * 40, groups=[row // 4 for row in range(40)])
    assert grouped.interval == pytest.approx((-(1 - 0.05**0.1), 1 - 0.05**0.1))
    assert compare_paired([2.5], [2.0]).interval is None


@pytest.mark.parametrize(
    ("a", "b", "options", "message"),
    [
        ([], [], {}, "a is empty"),
        ([1, 2], [1], {}, "pair the same samples"),
        ([1, float("nan")], [1, 2], {}, r"a\[1\] is not finite"),
        ([1, 2], [1, float("inf")], {}, r"b\[1\] is not finite"),
        ([1, None], [1, 2], {}, r"a\[1\] is not finite"),
        ([1, 2], [1, 2], {"groups": ["x"]}, "1 groups for 2 samples"),
        ([[1, 2]], [[1, 2]], {}, "reduce="),
        ([1, 2], [1, 2], {"margin": -1}, "margin=-1"),
        (["x"], ["y"], {}, "not a list of numbers"),
    ],
)
def test_wrong_input_says_where(a, b, options, message):
    with pytest.raises(ValueError, match=message):
        compare_paired(a, b, **options)


CONCLUSIONS = [  # gained, lost of 400, margin, higher is better, conclusion
    (60, 10, 0.0, True, "better"),
    (60, 10, 0.0, False, "worse"),
    (60, 10, 0.05, True, "better"),
    (60, 10, 0.10, True, "inconclusive"),
    (10, 60, 0.05, True, "worse"),
    (10, 60, 0.05, False, "better"),
    (5, 5, 0.05, True, "equivalent"),
    (5, 5, 0.0, True, "inconclusive"),
    (40, 40, 0.02, True, "inconclusive"),
    (12, 2, 0.10, True, "equivalent"),  # above 0, yet inside the margin
]


@pytest.mark.parametrize(("gained", "lost", "margin", "higher", "conclusion"), CONCLUSIONS)
def test_conclusions(gained, lost, margin, higher, conclusion):
    a, b = binary(200, gained, lost, 200 - gained - lost)
    found = compare_paired(a, b, margin=margin, higher_is_better=higher)
    assert found.conclusion == conclusion
    low, high = found.equivalence_interval
    assert found.interval[0] < low < high < found.interval[1]


def bleu_rows(seed, noise, n=60):
    rng = np.random.default_rng(seed)
    true = np.random.default_rng(99).choice(list("abcdefgh"), (n, 12))
    said = np.where(rng.random(true.shape) < noise, "x", true)
    return measure("bleu", [" ".join(row) for row in said], [" ".join(row) for row in true])


def test_corpus_metrics_compare_by_their_rows():
    a, b = bleu_rows(1, 0.3), bleu_rows(2, 0.15)
    found = compare_paired(a.stats, b.stats, reduce=a.reduce)
    assert found.difference == pytest.approx(b.reduce(b.stats.mean(axis=0)) - a.reduce(a.stats.mean(axis=0)))
    assert found.conclusion == "better" and found.p == pytest.approx(1 / 2001)
    assert found.method == "skewed t over 60 samples; approximate randomisation"
    few = compare_paired(a.stats, b.stats, reduce=a.reduce, groups=[row % 6 for row in range(60)])
    assert few.method == "jackknife t over 6 groups; approximate randomisation"
    assert few.p == pytest.approx(2 / 64)  # 2 of 64 exchanges are as extreme


def test_averaged_rows_compare_as_scores():
    a = measure("exact_match", ["x", "y", "z"] * 20, ["x", "y", "q"] * 20)
    b = measure("exact_match", ["x", "w", "q"] * 20, ["x", "y", "q"] * 20)
    assert compare_paired(a.stats, b.stats, reduce=a.reduce) == compare_paired(a.stats[:, 0], b.stats[:, 0])
    assert "McNemar" in compare_paired(a.stats, b.stats, reduce=a.reduce).method


def test_resamples_equal_the_plain_loop():
    a, b = normal(25, 0.3)
    drawn = np.random.default_rng(3).integers(0, 25, (2000, 25))
    expected = [(b[rows]).mean() - (a[rows]).mean() for rows in drawn]
    assert paired_bootstrap(a, b, seed=3) == pytest.approx(expected)


def test_contenders_share_resamples():
    rows = [bleu_rows(1, 0.3), bleu_rows(2, 0.15), bleu_rows(1, 0.3)]
    values = bootstrap_values(rows, seed=5, resamples=200)
    assert values.shape == (200, 3)
    assert (values[:, 0] == values[:, 2]).all()
    differences = paired_bootstrap(rows[0].stats, rows[1].stats, reduce=rows[0].reduce, seed=5, resamples=200)
    assert values[:, 1] - values[:, 0] == pytest.approx(differences)


def test_contenders_count_samples_all_were_scored_on():
    a = measure("exact_match", ["x", None, "z"], ["x", "y", "z"])
    b = measure("exact_match", ["x", "y", "q"], ["x", "y", "z"])
    values = bootstrap_values([a, b], groups=["g", "h", "i"], resamples=50)
    assert (values[:, 0] == 1).all() and set(values[:, 1]) <= {0.0, 0.5, 1.0}
    none = measure("exact_match", [None] * 3, ["x", "y", "z"])
    with pytest.raises(ValueError, match="no sample was scored for every"):
        bootstrap_values([a, none])


numbers = st.lists(
    st.tuples(*[st.one_of(st.sampled_from([0.0, 1.0, 0.5]), st.floats(-3, 3))] * 2, st.integers(0, 4)),
    min_size=2,
    max_size=45,
)


@settings(max_examples=60)
@given(numbers, st.booleans())
def test_swapping_the_sides_flips_the_sign_and_keeps_p(rows, grouped):
    a, b, groups = map(list, zip(*rows, strict=True))
    there = compare_paired(a, b, groups=groups if grouped else None, margin=0.1)
    back = compare_paired(b, a, groups=groups if grouped else None, margin=0.1)
    assert back.difference == pytest.approx(-there.difference, abs=1e-9)
    assert back.p == there.p
    assert (back.interval is None) == (there.interval is None)
    if there.interval is not None:
        assert back.interval == pytest.approx((-there.interval[1], -there.interval[0]), abs=1e-6)
        assert there.interval[0] < there.interval[1]


@settings(max_examples=60)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 60))
def test_the_score_interval_mirrors_and_holds_the_estimate(gained, lost, same):
    n = gained + lost + same
    if n == 0:
        return
    low, high = paired_score(gained, lost, n, 0.05)
    assert -1 <= low < high <= 1 and low <= (gained - lost) / n <= high
    assert paired_score(lost, gained, n, 0.05) == pytest.approx((-high, -low))


def test_gains_and_losses_that_cancel_in_every_group_are_bounded():
    found = compare_paired([0, 1] * 6, [1, 0] * 6, groups=[row // 2 for row in range(12)])
    assert found.interval == pytest.approx((-(1 - 0.05 ** (1 / 6)), 1 - 0.05 ** (1 / 6)))


def test_columns_and_bools_come_in():
    a, b = binary(4, 3, 1, 2)
    assert compare_paired(pl.Series(a), pl.Series(b)) == compare_paired(np.array(a, bool), np.array(b, bool))


def test_comparisons_print_and_travel():
    found = compare_paired(*binary(40, 12, 3, 5), groups=[row // 2 for row in range(60)])
    row = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert row["interval"] == list(found.interval) and row["groups"] == 30
    assert str(found).startswith("+0.15 [")


DETECTABLE = {100: (8.5, 12.1, 14.8, 19.1), 500: (3.9, 5.6, 6.8, 8.8), 1000: (2.8, 3.9, 4.8, 6.2)}


@pytest.mark.parametrize("n", DETECTABLE)
def test_smallest_detectable_effect(n):
    found = [100 * smallest_detectable_effect(n, discordant=share) for share in (0.1, 0.2, 0.3, 0.5)]
    assert [round(points, 1) for points in found] == list(DETECTABLE[n])


def test_detectable_effects_grow_with_the_margin_and_never_pass_the_discordance():
    assert 0.05 + 0.09 < smallest_detectable_effect(100, margin=0.05) < 0.05 + 0.13
    assert 0.1 < smallest_detectable_effect(10, discordant=0.1) <= 1
    assert smallest_detectable_effect(1, discordant=0.1) <= 1
    assert smallest_detectable_effect_from_sd(100, 0.5) == pytest.approx(2.801585 * 0.05)
    with pytest.raises(ValueError, match="n=0"):
        smallest_detectable_effect(0)
