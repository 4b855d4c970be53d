"""Statistics of a data set: quantiles against numpy's, and profiles joined from ranges."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from validators.statistics import (
    MOST_CLASSES,
    Profile,
    histogram,
    language_step,
    summary,
    system_prompts,
)

ROLES = ("system", "user", "assistant")
chats = st.lists(
    st.tuples(
        st.sampled_from([ROLES, ROLES[1:], ROLES[::2], ("user", "assistant") * 2]),
        st.sampled_from(["yes", "no", "a reply that is longer than any label would be"]),
        st.integers(0, 2**64 - 1),
    ),
    max_size=60,
)


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=300))
def test_quantiles_are_those_of_all_values(values: list[int]) -> None:
    found = summary(values)
    assert [found[k] for k in ("p5", "p50", "p95")] == pytest.approx(np.quantile(values, [0.05, 0.5, 0.95]))
    assert (found["min"], found["max"], found["mean"]) == (
        min(values),
        max(values),
        pytest.approx(np.mean(values)),
    )


def test_nothing_has_no_quantiles() -> None:
    assert set(summary([]).values()) == {None}


@given(st.lists(st.integers(0, 10**6), max_size=300))
def test_a_histogram_holds_every_value_once(values: list[int]) -> None:
    bins = histogram(values)
    assert sum(count for _, _, count in bins) == len(values)
    for low, high, count in bins:
        assert count == sum(low <= value <= high for value in values)
    assert all(before[1] + 1 == after[0] for before, after in pairwise(bins))


def profile(rows: list[tuple[tuple[str, ...], str, int]]) -> Profile:
    found = Profile(step=2)
    for roles, reply, digest in rows:
        found.add(roles)
        found.read([(role, reply if role == "assistant" else "What is the time?") for role in roles], digest)
    return found


@given(chats, st.integers(0, 60))
def test_joined_ranges_say_what_the_whole_says(
    rows: list[tuple[tuple[str, ...], str, int]], cut: int
) -> None:
    joined = profile(rows[:cut])
    joined.join(profile(rows[cut:]))
    assert joined.as_dict() == profile(rows).as_dict()


def test_too_many_classes_are_none_even_if_no_range_has_them() -> None:
    first = profile([(ROLES, f"label {n}", n) for n in range(MOST_CLASSES)] * 20)
    assert first.as_dict()["classes"] is not None
    first.join(profile([(ROLES, f"other {n}", n) for n in range(MOST_CLASSES)] * 20))
    assert first.as_dict()["classes"] is None


def test_labels_cannot_drive_a_terminal() -> None:
    found = profile([(ROLES, label, 0) for label in ("\x9b31m\u202e", "\ud800")] * 20).as_dict()
    assert found["classes"] == {"\\u009b31m\\u202e": 20, "\\ud800": 20}


def test_missing_messages_are_counted() -> None:
    found = profile([(ROLES, "yes", 0), (ROLES[1:], "yes", 1), (("system", "assistant"), "no", 2)]).as_dict()
    assert (found["no_system"], found["no_user"], found["turns"]["max"]) == (1, 1, 3)


def test_only_large_files_are_sampled() -> None:
    assert (language_step(None), language_step(500_000), language_step(10**9)) == (1, 1, 1000)


def test_system_prompts_are_named_by_their_first_line() -> None:
    assert system_prompts([7, 0, 9, 7], [1, 2, 3, 4]) == {
        "distinct": 2,
        "commonest": [{"line": 1, "examples": 2}, {"line": 3, "examples": 1}],
    }
