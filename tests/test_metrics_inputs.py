"""What may stand for scores, groups and folds, and what is refused by name."""

import numpy as np
import polars as pl
import pytest

from metrics import compare_paired

GROUPS = [  # what groups may be, and how many they are
    (pl.Series(["x", "x", "y", None]), 3),
    (pl.Series([1.0, 1.0, 2.0, float("nan")]), 3),
    (np.array([1.0, np.nan, np.nan, 2.0]), 4),
    ([float("nan")] * 4, None),
    (("x", "y", "x", "y"), 2),
]


@pytest.mark.parametrize(("groups", "number"), GROUPS)
def test_no_label_is_a_group_of_its_own(groups, number):
    assert compare_paired([1, 2, 3, 4], [1, 3, 5, 9], groups=groups).groups == number


@pytest.mark.parametrize(
    ("a", "options", "message"),
    [
        ([1, 2, 3], {"groups": "xyz"}, "groups is a str"),
        ([1, 2, 3], {"groups": 5}, "groups is a int"),
        ([1, 2, 3], {"groups": [["x"], ["y"], ["x"]]}, "groups hold what is no label"),
        ([1, 2, 3], {"folds": [0, None, 1]}, r"folds\[1\] is None"),
        ("123", {}, "a is a str"),
        ({1, 2, 3}, {}, "a is a set"),
        ({"x": 1, "y": 2, "z": 3}, {}, "a is a dict"),
    ],
)
def test_what_is_no_column_is_told(a, options, message):
    with pytest.raises(ValueError, match=message):
        compare_paired(a, [1, 3, 5], **options)


def ratio(means):
    return np.divide(
        means[..., 0], means[..., 1], out=np.full(means.shape[:-1], np.nan), where=means[..., 1] > 0
    )


def test_folds_without_a_spread_are_said_to_have_none():
    rng = np.random.default_rng(0)
    a, b = rng.random((40, 2)), rng.random((40, 2))
    a[:10, 1] = b[:10, 1] = 0  # the first fold has no value
    found = compare_paired(a, b, reduce=ratio, folds=np.repeat(range(4), 10))
    assert found.method.endswith("4 folds: their spread is not in the interval")
    alone = compare_paired([1.0, 2, 3], [1.0, 3, 5], groups=["x"] * 3, folds=[0, 1, 2])
    assert alone.interval is None and "at least two" in alone.reason
