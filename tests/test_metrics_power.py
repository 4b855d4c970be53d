"""Planning: closed formulas, their design effect, and the simulated power of the deciding rule."""

import numpy as np
import pytest

from metrics import (
    compare_paired,
    power_under_rule,
    smallest_detectable_effect,
    smallest_detectable_effect_from_sd,
    smallest_gain_under_rule,
    test_size_for,
)

SKEWED = [1, 1, 2, 2, 3, 4, 5, 8, 13, 21] * 4  # 240 samples, 40 groups


def test_groups_cost_their_design_effect():
    # 100 groups of 5 at 0.1: each sample is worth 1 / 1.4, and t has 99 degrees of freedom.
    plain = smallest_detectable_effect_from_sd(500, 0.5)
    grouped = smallest_detectable_effect_from_sd(500, 0.5, groups=[5] * 100, icc=0.1)
    assert grouped / plain == pytest.approx(1.4**0.5 * (1.9842169 + 0.8416212) / 2.8015852)
    # A sample of the skewed set sits in a group of Σs²/Σs = 12.2 with 11.2 others: effect 2.12, 20 groups' worth.
    effect = smallest_detectable_effect(240, groups=SKEWED) / smallest_detectable_effect(240)
    assert 1.45 < effect < 1.55
    assert smallest_detectable_effect(240, groups=SKEWED, icc=0) < smallest_detectable_effect(
        240, groups=SKEWED
    )


def test_the_formula_agrees_with_the_rule():
    for n in (100, 500):
        assert smallest_gain_under_rule(n) == pytest.approx(smallest_detectable_effect(n), abs=0.005)
    assert smallest_gain_under_rule(500, sd=0.5) == pytest.approx(
        smallest_detectable_effect_from_sd(500, 0.5), abs=3e-4
    )
    groups = [5] * 100
    assert smallest_gain_under_rule(500, groups=groups, worlds=800) == pytest.approx(
        smallest_detectable_effect(500, groups=groups), abs=0.007
    )


def test_power_is_that_of_compare_paired():
    rng = np.random.default_rng(0)
    worlds, n, gain = 250, 120, 0.12
    called = 0
    for _ in range(worlds):
        kind = rng.choice(3, n, p=[0.16, 0.04, 0.8])
        called += compare_paired(kind == 1, kind == 0, margin=0.02).conclusion == "better"
    assert power_under_rule(n, gain, margin=0.02) == pytest.approx(called / worlds, abs=0.08)


def test_known_powers():
    assert power_under_rule(100, 0.05, margin=0.05) < 0.035  # no gain over the margin: the error it may make
    assert power_under_rule(240, 0.0, groups=SKEWED) < 0.035
    # statsmodels 0.14, TTestPower().power(0.5, 34, 0.05) = 0.8078; its lower tail adds nothing.
    assert power_under_rule(34, 0.5, sd=1.0) == pytest.approx(0.8078, abs=2e-4)
    assert power_under_rule(80, 0.1) == pytest.approx(0.54, abs=0.04)
    assert power_under_rule(9, 0.5, sd=0.0) == 1 and power_under_rule(4, 0.5, groups=[4]) == 0


def test_more_alternatives_are_harder_to_beat_but_not_as_if_independent():
    one, three = power_under_rule(300, 0.08), power_under_rule(300, [0.08] * 3)
    assert one**3 < three < one
    assert power_under_rule(300, [0.08, 0.5]) == pytest.approx(one, abs=0.01)


@pytest.mark.parametrize("options", [{}, {"sd": 0.4}, {"groups": SKEWED}])
def test_a_test_size_has_the_power_it_was_chosen_for(options):
    n = test_size_for(0.12, margin=0.02, worlds=600, **options)
    assert (
        smallest_gain_under_rule(
            n, margin=0.02, worlds=600, **{**options, **({"groups": None} if "groups" in options else {})}
        )
        <= 0.125
    )
    if "groups" not in options:
        assert power_under_rule(n, 0.12, margin=0.02, **options) == pytest.approx(0.8, abs=0.04)
    else:
        assert n > 1.5 * test_size_for(0.12, margin=0.02, worlds=600)


def test_at_the_margin_no_size_tells():
    assert test_size_for(0.05, margin=0.05) is None and test_size_for(0.0501, margin=0.05) is None
    assert smallest_gain_under_rule(3, margin=0.9) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0, "gain": 0.1}, "n=0"),
        ({"n": 10, "gain": []}, "gain="),
        ({"n": 10, "gain": 0.1, "groups": [3, 3]}, "hold 6 samples, not n=10"),
        ({"n": 10, "gain": 0.1, "groups": [0, 10]}, "sizes of groups"),
        ({"n": 10, "gain": 0.1, "sd": -1}, "sd=-1"),
        ({"n": 10, "gain": 0.1, "discordant": 2}, "discordant=2"),
    ],
)
def test_wrong_plans_are_told(arguments, message):
    with pytest.raises(ValueError, match=message):
        power_under_rule(**arguments)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: smallest_detectable_effect(100, margin=float("nan")), "margin=nan"),
        (lambda: power_under_rule(100, 0.1, groups=[10] * 10, icc=1.5), "icc=1.5"),
        (lambda: power_under_rule(100, float("nan"), sd=1.0), "gain=nan"),
    ],
)
def test_what_is_no_share_or_number_is_told(ask, message):
    with pytest.raises(ValueError, match=message):
        ask()
