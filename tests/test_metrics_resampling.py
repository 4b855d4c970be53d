"""Equal units are drawn together: the same bootstrap and jackknife as one by one."""

import numpy as np
import pytest

from metrics.bootstrap import Units, pooled
from metrics.permutation import randomisation_p, sign_flip_p
from metrics.types import row_mean

RNG = np.random.default_rng(0)
COLUMNS = {
    "all different": RNG.random(300),
    "two kinds": (np.arange(300) < 90) * 1.0,
    "common and rare": np.concatenate([np.zeros(150), np.ones(90), RNG.integers(2, 20, 60) / 7]),
    "rare kinds only": RNG.integers(0, 40, 300) / 7,
    "one kind": np.full(300, 0.25),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_resamples_of_equal_units_spread_as_those_of_single_ones(name):
    column = COLUMNS[name]
    values = pooled(column[:, None], None).resampled(row_mean, seed=1, resamples=8000)
    assert values.shape == (8000,)
    spread = column.std() / np.sqrt(300)
    assert values.mean() == pytest.approx(column.mean(), abs=5 * spread / np.sqrt(8000) + 1e-12)
    assert values.std() == pytest.approx(spread, rel=0.04, abs=1e-12)
    assert np.quantile(values, 0.05) == pytest.approx(
        column.mean() - 1.645 * spread, abs=0.2 * spread + 1e-12
    )


@pytest.mark.parametrize("name", COLUMNS)
def test_the_jackknife_leaves_out_each_unit_once(name):
    column = COLUMNS[name]
    expected = sorted((column.sum() - column) / 299)
    assert sorted(pooled(column[:, None], None).without_each(row_mean)) == pytest.approx(expected)


def test_equal_groups_of_unequal_sizes_stay_apart():
    units = Units(np.tile([[2.0], [2.0], [4.0]], (40, 1)), np.tile([2.0, 4.0, 4.0], 40))
    plain = np.random.default_rng(5).integers(0, 120, (8000, 120))
    expected = units.sums[plain, 0].sum(axis=1) / units.counts[plain].sum(axis=1)
    values = units.resampled(row_mean, seed=2, resamples=8000)
    assert values.mean() == pytest.approx(expected.mean(), abs=2e-3)
    assert values.std() == pytest.approx(expected.std(), rel=0.04)


def test_sparse_and_dense_rows_reduce_alike():
    wide = np.zeros((60, 80))
    wide[np.arange(60), RNG.integers(0, 80, 60)] = RNG.random(60)
    sparse = Units(wide, np.ones(60)).resampled(lambda means: means.sum(axis=-1), seed=3, resamples=50)
    dense = Units(wide.sum(axis=1)[:, None], np.ones(60)).resampled(row_mean, seed=3, resamples=50)
    assert sparse == pytest.approx(dense)


def test_units_that_do_not_differ_change_no_p():
    differences = np.array([1.0, -0.5, 2, 0.75])
    padded = np.concatenate([differences, np.zeros(500)])
    assert sign_flip_p(padded, seed=0) == sign_flip_p(differences, seed=0) == 4 / 16
    a, b = Units(np.zeros((504, 1)), np.ones(504)), Units(padded[:, None], np.ones(504))
    assert randomisation_p(a, b, row_mean, seed=0) == 4 / 16


@pytest.mark.parametrize("name", COLUMNS)
def test_the_jackknife_keeps_the_order_of_units(name):
    column = COLUMNS[name]
    assert pooled(column[:, None], None).without_each(row_mean) == pytest.approx(
        (column.sum() - column) / 299
    )


def test_random_signs_are_fair_and_an_exchange_without_a_value_counts_as_extreme():
    spread = [sign_flip_p(np.r_[np.ones(100), np.full(size, 1e-12)], seed=0) for size in (0, 1, 9)]
    assert spread == pytest.approx([1 / 2001] * 3)
    even = np.tile([1.0, -1.0], 50)
    # ±9.9 and a sum of 100 signs: as extreme when that sum is ≥ 0 or ≤ −20 (or turned), 0.540 + 0.028.
    assert sign_flip_p(np.r_[even, 9.9], seed=1) == pytest.approx(0.568, abs=0.03)
    a, b = Units(np.array([[0.0], [1.0]]), np.ones(2)), Units(np.array([[1.0], [2.0]]), np.ones(2))
    assert (
        randomisation_p(a, b, lambda means: np.where(means[..., 0] == 1, np.nan, means[..., 0]), seed=0) == 1
    )
