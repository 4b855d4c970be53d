"""Families of comparisons: Holm's textbook numbers, one contrast as alone, levels that hold together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics import Contrast, compare_paired, holm, simultaneous
from tests.test_metrics_comparison import bleu_rows


@pytest.mark.parametrize(
    ("raw", "adjusted"),
    [
        # Four hypotheses in order of p: × 4, × 3, × 2, × 1, never less than the one before.
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        # statsmodels 0.14, multipletests(method="holm")
        ([0.0001, 0.4, 0.021, 0.021, 0.9], [0.0005, 0.8, 0.084, 0.084, 0.9]),
        ([0.6, 0.7], [1.0, 1.0]),
        ([0.02, None, 0.03], [0.04, None, 0.04]),
        ([None], [None]),
        ([], []),
    ],
)
def test_holm(raw, adjusted):
    assert holm(raw) == [one if one is None else pytest.approx(one) for one in adjusted]


def test_holm_takes_probabilities():
    with pytest.raises(ValueError, match=r"p_values\[1\] is 1.5"):
        holm([0.2, 1.5])


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_lies_between_the_raw_values_and_bonferroni(raw):
    for before, after in zip(raw, holm(raw), strict=True):
        assert before <= after <= min(1, before * len(raw)) + 1e-12
    assert sorted(holm(raw)) == holm(sorted(raw))


def sides(n=120, seed=0, contenders=3):
    rng = np.random.default_rng(seed)
    a = (rng.random(n) < 0.6).astype(float)
    return a, [np.where(rng.random(n) < 0.7, a, rng.random(n) < 0.7).astype(float) for _ in range(contenders)]


def test_one_contrast_is_the_ordinary_comparison():
    a, (b, *_) = sides()
    groups = [row // 4 for row in range(120)]
    assert simultaneous([Contrast("b", a, b)], groups=groups, margin=0.05) == (
        compare_paired(a, b, groups=groups, margin=0.05),
    )


def test_several_are_wider_than_one_and_narrower_than_bonferroni():
    a, others = sides()
    found = simultaneous([Contrast(str(place), a, b) for place, b in enumerate(others)])
    for together, b in zip(found, others, strict=True):
        alone, bonferroni = compare_paired(a, b), compare_paired(a, b, alpha=0.05 / 3)
        assert bonferroni.interval[0] <= together.interval[0] < alone.interval[0] < alone.difference
        assert alone.p <= together.p <= min(1, 3 * alone.p) + 0.01
        assert together.method == "score interval; McNemar mid-p; simultaneous over 3"


def test_the_same_contrast_twice_costs_nothing():
    a, (b, *_) = sides()
    first, second = simultaneous([Contrast("x", a, b), Contrast("y", a, b)])
    assert first == second
    assert first.interval == pytest.approx(compare_paired(a, b).interval, abs=2e-3)


def test_slices_are_compared_on_their_members():
    a, (b, *_) = sides()
    half = np.arange(120) < 60
    groups = [row // 3 for row in range(120)]
    early, late = simultaneous([Contrast("early", a, b, half), Contrast("late", a, b, ~half)], groups=groups)
    assert (early.n, early.groups, late.n) == (60, 20, 60)
    assert early.difference == pytest.approx((b - a)[:60].mean())
    # Slices without a common sample are independent: the level is Šidák's.
    alone = compare_paired(a[:60], b[:60], groups=groups[:60], alpha=1 - 0.95**0.5)
    assert early.interval == pytest.approx(alone.interval, abs=3e-3)


def test_corpus_metrics_and_constant_slices():
    a, b = bleu_rows(1, 0.3), bleu_rows(2, 0.15)
    found = simultaneous(
        [
            Contrast("all", a.stats, b.stats, reduce=a.reduce),
            Contrast("same", a.stats, a.stats, reduce=a.reduce),
        ]
    )
    assert found[0].interval[0] > 0 and found[1].interval is None and "same" in found[1].reason
    ties = np.ones(40)
    some = np.r_[np.zeros(5), np.ones(35)]
    _, tied = simultaneous([Contrast("some", some, ties), Contrast("none", ties, ties)])
    assert tied.interval[1] == pytest.approx(1 - (1 - 0.95**0.5) ** (1 / 40), abs=2e-3)


@pytest.mark.parametrize(
    ("contrasts", "message"),
    [
        ([Contrast("x", [1, 2], [1])], "x: a has shape"),
        ([Contrast("x", [1, 2], [1, 2], [False, False])], "x: members .* True of one at least"),
        ([Contrast("x", [1, 2], [1, 2], [0, 1])], "x: members .int64"),
        ([Contrast("x", [1, 2], [1, 2], ["no", "yes"])], "x: members .<U3"),
        ([Contrast("x", [1, 2], [1, 2]), Contrast("y", [1], [2])], r"\[1, 2\] samples"),
        ([Contrast("x", [[1, 2]] * 2, [[1, 2]] * 2)], "x: .*reduce="),
    ],
)
def test_wrong_contrasts_are_named(contrasts, message):
    with pytest.raises(ValueError, match=message):
        simultaneous(contrasts)
    assert simultaneous([]) == ()


def test_families_hold_together():
    rng = np.random.default_rng(0)
    held, worlds = 0, 60
    for _ in range(worlds):
        a, others = sides(150, rng.integers(1 << 30), 4)
        # Every other one redraws 30 % of the answers with 0.7 for 0.6: a gain of 0.03 in truth.
        found = simultaneous([Contrast(str(place), a, b) for place, b in enumerate(others)])
        held += all(one.interval[0] <= 0.03 <= one.interval[1] for one in found)
    assert held / worlds >= 0.87  # 95 % less 2.8 standard errors; benchmarks/coverage has the figure


@pytest.mark.parametrize("alpha", [0, 0.7, 2])
def test_the_level_of_a_family_is_checked_as_one(alpha):
    with pytest.raises(ValueError, match=f"alpha={alpha} lies between"):
        simultaneous([Contrast("x", [1, 2, 3], [1, 3, 5])] * 2, alpha=alpha)
