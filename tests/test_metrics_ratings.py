"""Judge and human ratings, and how far raters can be trusted."""

import json
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics import agreement, judge_correction, position_bias, score, self_agreement


@pytest.mark.parametrize("name", ["judge", "human"])
def test_ratings_are_averaged_within_and_over_answers(name):
    found = score(name, [1, 0.5, [1, 0], [0.25, None], None, []])
    assert (found.value, found.n, found.unscored) == (pytest.approx((1 + 0.5 + 0.5 + 0.25) / 4), 4, 2)
    assert "by:unstated" in found.signature
    assert "by:model x" in score(name, [1], by="model x").signature


def test_ratings_come_as_arrays_and_columns():
    plain = score("judge", [0.2, 0.4, 0.9])
    assert score("judge", np.array([0.2, 0.4, 0.9])) == plain == score("judge", pl.Series([0.2, 0.4, 0.9]))
    repeated = [[0.1, 0.3], [0.4, 0.4]]
    assert (
        score("judge", np.array(repeated)) == score("judge", pl.Series(repeated)) == score("judge", repeated)
    )
    assert score("judge", [True, False]).value == 0.5


@pytest.mark.parametrize("value", [4, -0.1, math.nan, math.inf, "1", [0.5, 2], {"a": 1}])
def test_ratings_outside_the_scale_are_named(value):
    with pytest.raises(ValueError, match=r"predictions\[1\] is .*from 0 to 1"):
        score("judge", [0.5, value])


def test_a_noisy_judge_has_a_wider_interval():
    rng = np.random.default_rng(0)
    quality = np.full(200, 0.5)
    once = np.clip(quality + rng.normal(0, 0.2, 200), 0, 1)
    often = np.clip(quality[:, None] + rng.normal(0, 0.2, (200, 5)), 0, 1)
    one, five = (np.ptp(score("judge", ratings).interval) for ratings in (once, often))
    assert one > 1.8 * five


def test_kappa_of_labels_is_cohens():
    # Cohen 1960's kind of table: 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: po 0.7, pe 0.5.
    a = ["yes"] * 25 + ["no"] * 25
    b = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    found = agreement(a, b)
    assert (found.exact, found.kappa, found.weights, found.rho) == (0.7, pytest.approx(0.4), "none", None)
    assert found.interval[0] < 0.4 < found.interval[1] and found.exact_interval[0] < 0.7


@pytest.mark.parametrize("scale", [2, 3, 5])
def test_kappa_and_rho_equal_the_references(scale):
    from scipy.stats import spearmanr
    from sklearn.metrics import cohen_kappa_score

    rng = np.random.default_rng(scale)
    a = rng.integers(1, scale + 1, 80)
    b = np.where(rng.random(80) < 0.6, a, rng.integers(1, scale + 1, 80))
    found = agreement(a, b)
    assert found.kappa == pytest.approx(cohen_kappa_score(a, b, weights="quadratic"))
    assert found.rho == pytest.approx(spearmanr(a, b).statistic)
    assert found.interval[0] < found.kappa < found.interval[1]
    labels = agreement([f"l{one}" for one in a], [f"l{one}" for one in b])
    assert labels.kappa == pytest.approx(cohen_kappa_score(a, b))


def test_agreement_of_items_both_rated():
    found = agreement([1, None, 3, 4], [1, 2, None, 4])
    assert (found.n, found.skipped, found.exact) == (2, 2, 1)
    assert found.interval is None and "rate more" in found.reason
    nothing = agreement([None], [1])
    assert nothing.kappa is None and nothing.exact is None and "no item" in nothing.reason
    constant = agreement([3] * 9, [3] * 9)
    assert constant.exact == 1 and constant.kappa is None and "not defined" in constant.reason
    assert constant.rho is None
    assert json.loads(json.dumps(agreement([1, 2, 3], [1, 2, 2]).as_dict(), allow_nan=False))["n"] == 3
    assert "kappa" in found._repr_html_() and "<script" not in found._repr_html_()


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([1], [1, 2], "a has 1 ratings and b 2"),
        ([1, "x"], [1, 2], "numbers and some are labels"),
        ([1, math.nan], [1, 2], "finite"),
        ("ab", "ab", "a is a str"),
    ],
)
def test_ratings_that_do_not_compare(a, b, message):
    with pytest.raises(ValueError, match=message):
        agreement(a, b)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12))
def test_agreement_is_the_same_both_ways(pairs):
    a, b = map(list, zip(*pairs, strict=True))
    here, there, own = agreement(a, b), agreement(b, a), agreement(a, a)
    assert here.exact == there.exact and here.kappa == pytest.approx(there.kappa)
    assert own.kappa in (None, pytest.approx(1)) and own.exact == 1
    assert here.kappa is None or -1 - 1e-9 <= here.kappa <= 1 + 1e-9


def test_position_bias():
    # Pairs: a stays, a flips to b, b flips to a, a then tie, both ties, one not judged.
    found = position_bias(["a", "a", "b", "a", "tie", None], ["a", "b", "a", "tie", "tie", "a"])
    assert (found.n, found.flipped, found.tied) == (5, 2 / 5, 3)
    assert (
        found.first == 4 / 7
    )  # a, a, b, a in the first order and a, b, a in the second: first, first, –, first; –, first, –
    low, high = found.first_interval
    assert 0 < low < 4 / 7 < high < 1
    assert position_bias(["a"] * 40, ["b"] * 40).first == 1
    assert position_bias(["tie"], ["tie"]).first is None and position_bias([], []).flipped is None
    assert json.dumps(found.as_dict(), allow_nan=False) and "flipped" in found._repr_html_()
    with pytest.raises(ValueError, match=r"second_order\[0\] is 'A'"):
        position_bias(["a"], ["A"])


def test_self_agreement():
    found = self_agreement([["a", "a", "b"], ["a", "a"], ["b"], ["b", None]])
    assert (found.n, found.share, found.sd) == (2, pytest.approx((1 / 3 + 1) / 2), None)
    numbers = self_agreement([[1, 0], [1, 1], [0.5, 0.5]])
    assert numbers.share == pytest.approx(2 / 3) and numbers.sd == pytest.approx(math.sqrt(0.5 / 3))
    assert numbers.interval[0] < 2 / 3 < numbers.interval[1]
    once = self_agreement([[1], []])
    assert once.share is None and "rated twice" in once.reason


def test_judged_differences_that_do_not_vary_have_no_interval_but_a_reason():
    found = judge_correction([0.5] * 40, [0.7] * 40)
    assert found.estimate == pytest.approx(0.7) and found.interval is None and "varies" in found.reason
    with pytest.raises(ValueError, match="alpha=2"):
        judge_correction([0.5] * 40, [0.7] * 40, alpha=2)
