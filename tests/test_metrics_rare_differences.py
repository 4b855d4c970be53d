"""Contenders that say the same on nearly every sample: the few that differ are often alike by chance."""

import math

import numpy as np
import pytest

from metrics import compare_paired


@pytest.mark.parametrize(
    ("gained", "lost", "conclusion"),
    [
        (1, 0, "inconclusive"),
        (2, 0, "inconclusive"),
        (3, 0, "inconclusive"),
        (9, 0, "better"),
        (0, 9, "worse"),
    ],
)
def test_few_differing_samples_do_not_decide(gained, lost, conclusion):
    a = np.full(200, 0.2)
    b = a + 0.7 * np.repeat([1, -1, 0], [gained, lost, 200 - gained - lost])
    found = compare_paired(a, b)
    assert found.conclusion == conclusion and (found.p < 0.05) == (conclusion != "inconclusive")
    rows = [np.column_stack([one, np.ones(200)]) for one in (a, b)]
    ratio = compare_paired(*rows, reduce=lambda means: means[..., 0] / means[..., 1])
    assert ratio.interval == pytest.approx(found.interval) and ratio.conclusion == conclusion


def test_one_gain_and_one_loss_more_are_counted_where_hardly_a_sample_differs():
    # Ten groups of one size, two of which gain 1: mean 0.2, Σ squares 1.6 + 2 · 0.8 · 0.64 (0.8 off the mean).
    b = np.repeat([1.0, 1.0, *[0.0] * 8], 3) * 3
    found = compare_paired(np.zeros(30), b, groups=np.repeat(range(10), 3))
    half = 2.2621571628 * 3 * math.sqrt((1.6 + 2 * 0.8 * 0.64) / 90)
    assert found.interval == pytest.approx((0.6 - half, 0.6 + half))


@pytest.mark.parametrize("share", [0.5, 0.75, 1.0])
def test_rarely_differing_contenders_are_told_apart_by_chance_as_rarely_as_said(share):
    rng, worlds, truth = np.random.default_rng(0), 600, 3 / 60 * 0.75 * (2 * share - 1)
    above = below = 0
    for _ in range(worlds):
        sign = np.where(rng.random(60) < share, 1, -1)
        moved = sign * rng.uniform(0.5, 1, 60) * (rng.random(60) < 3 / 60)
        low, high = compare_paired(np.maximum(0, -moved), np.maximum(0, moved)).interval
        above, below = above + (low > truth), below + (high < truth)
    assert max(above, below) / worlds <= 0.04  # without the pair more: 0.10
