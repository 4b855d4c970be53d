"""The split: what belongs together stays together, shares and classes come out as wanted."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from validators.examples import Message
from workbench.records import Sample
from workbench.sections import Split
from workbench.splits import classes_of, fold_samples, part_of, split_samples


def sample(number: int, question: str, answer: str = "yes", group: str | None = None) -> Sample:
    messages = (Message("system", "Be brief."), Message("user", question))
    return Sample(id=f"{number:04x}", messages=messages, references=(answer,), group=group)


# -- splitting: properties ---------------------------------------------------------------------------

some_samples = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "C ", "c", "ｃ", "d  e", "D E", "f", "g", ""]),
        st.sampled_from(["yes", "no", "maybe"]),
        st.none() | st.sampled_from(["g1", "g2", "g3", "g4"]),
    ),
    max_size=60,
).map(lambda parts: [sample(i, *part) for i, part in enumerate(parts)])
splits = st.builds(
    Split,
    dev=st.sampled_from([0.0, 0.1, 0.3]),
    test=st.sampled_from([0.1, 0.2, 0.5]),
    seed=st.integers(0, 5),
    stratify=st.booleans(),
)


def where(chosen: dict[str, list[Sample]]) -> dict[str, str]:
    return {s.id: name for name, part in chosen.items() for s in part}


def same_question(text: str) -> str:
    return " ".join(text.replace("ｃ", "c").casefold().split())


@settings(max_examples=200)
@given(some_samples, splits)
def test_every_sample_is_in_exactly_one_split(samples: list[Sample], split: Split) -> None:
    chosen = split_samples(samples, split)
    assert sorted(chosen) == ["dev", "test", "train"]
    assert sorted(s.id for part in chosen.values() for s in part) == [s.id for s in samples]
    assert split.dev > 0 or not chosen["dev"]


@settings(max_examples=200)
@given(some_samples, splits)
def test_groups_and_equal_questions_never_straddle(samples: list[Sample], split: Split) -> None:
    place = where(split_samples(samples, split))
    for a in samples:
        for b in samples:
            if same_question(a.question) == same_question(b.question) or (a.group and a.group == b.group):
                assert place[a.id] == place[b.id]


@settings(max_examples=200)
@given(some_samples, splits, st.randoms(use_true_random=False))
def test_same_split_whatever_the_row_order(
    samples: list[Sample], split: Split, chance: random.Random
) -> None:
    shuffled = samples[:]
    chance.shuffle(shuffled)
    assert where(split_samples(samples, split)) == where(split_samples(shuffled, split))


@settings(max_examples=50)
@given(some_samples, splits)
def test_splits_keep_the_row_order(samples: list[Sample], split: Split) -> None:
    for part in split_samples(samples, split).values():
        assert part == sorted(part, key=lambda s: s.id)


# -- splitting: figures --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("split", "sizes"),
    [
        (Split(), (700, 100, 200)),
        (Split(dev=0.0, test=0.5), (500, 0, 500)),
        (Split(dev=0.25, test=0.25, stratify=False), (500, 250, 250)),
    ],
)
def test_shares_are_near_the_wanted_ones(split: Split, sizes: tuple[int, int, int]) -> None:
    chosen = split_samples([sample(i, f"q {i}", f"class {i % 4}") for i in range(1000)], split)
    for name, size in zip(("train", "dev", "test"), sizes, strict=True):
        assert abs(len(chosen[name]) - size) <= 5


def test_stratification_keeps_class_shares() -> None:
    answers = ["often"] * 800 + ["sometimes"] * 150 + ["rare"] * 50
    chosen = split_samples([sample(i, f"q {i}", a) for i, a in enumerate(answers)], Split(dev=0.1, test=0.2))
    assert Counter(s.references[0] for s in chosen["test"]) == {"often": 160, "sometimes": 30, "rare": 10}
    assert Counter(s.references[0] for s in chosen["dev"]) == {"often": 80, "sometimes": 15, "rare": 5}


def test_groups_of_mixed_classes_still_come_near() -> None:
    samples = [sample(i, f"q {i}", "ab"[i % 3 == 0], group=f"customer {i // 4}") for i in range(800)]
    test = split_samples(samples, Split())["test"]
    assert abs(len(test) - 160) <= 8
    assert abs(sum(s.references[0] == "b" for s in test) / len(test) - 1 / 3) < 0.03


def test_another_seed_is_another_split() -> None:
    samples = [sample(i, f"q {i}") for i in range(100)]
    tests = [where(split_samples(samples, Split(seed=seed))) for seed in (1, 2)]
    assert tests[0] != tests[1]


def test_the_question_may_stand_in_the_system_message() -> None:
    samples = [
        Sample(id=f"{i:02x}", messages=(Message("system", f"document {i}"),), references=("x",))
        for i in range(50)
    ]
    assert len(split_samples(samples, Split())["test"]) == 10


def test_prompts_without_text_are_not_one_question() -> None:
    picture = ({"type": "image_url", "image_url": {"url": "x"}},)
    samples = [
        Sample(id=f"{i:02x}", messages=(Message("user", picture),), references=("x",)) for i in range(50)
    ]
    assert len(split_samples(samples, Split())["test"]) == 10


@pytest.mark.parametrize(
    ("answers", "classes"),
    [
        (["a", "b"] * 20, ["a", "b"]),
        ([" a", "b "] * 20, ["a", "b"]),
        (["a"] * 40, None),
        ([f"{i}" for i in range(40)], None),
        (["a", "one two three four five six"] * 20, None),
        (["a", "b"], ["a", "b"]),
        ([], None),
    ],
)
def test_classes(answers: list[str], classes: list[str] | None) -> None:
    assert classes_of([sample(i, f"q{i}", a) for i, a in enumerate(answers)]) == classes


# -- folds: who is trained on and who is tested --------------------------------------------------------

folded = st.builds(
    Split, dev=st.sampled_from([0.0, 0.1, 0.3]), seed=st.integers(0, 5), stratify=st.booleans()
)


@settings(max_examples=150)
@given(some_samples, folded, st.integers(2, 6))
def test_each_sample_is_tested_once_and_never_with_its_like(samples: Any, split: Split, folds: int) -> None:
    divided = fold_samples(samples, split, folds)
    assert len(divided) == folds
    assert sorted(s.id for fold in divided for s in fold["test"]) == [s.id for s in samples]
    for fold in divided:
        assert sorted(s.id for part in fold.values() for s in part) == [s.id for s in samples]
        for tested in fold["test"]:
            for fitted in (*fold["train"], *fold["dev"]):
                assert same_question(tested.question) != same_question(fitted.question)
                assert tested.group is None or tested.group != fitted.group
        # dev chooses: it shares no cluster with train either.
        groups = [{s.group for s in fold[part]} - {None} for part in ("train", "dev")]
        assert not groups[0] & groups[1]
        assert split.dev > 0 or not fold["dev"]


def test_folds_have_their_shares_of_rows_and_classes() -> None:
    answers = ["often"] * 300 + ["sometimes"] * 75 + ["rare"] * 25
    divided = fold_samples([sample(i, f"q {i}", a) for i, a in enumerate(answers)], Split(dev=0.1), 5)
    for fold in divided:
        assert Counter(s.references[0] for s in fold["test"]) == {"often": 60, "sometimes": 15, "rare": 5}
        assert (len(fold["train"]), len(fold["dev"])) == (288, 32)


def test_folds_do_not_depend_on_the_order_of_rows() -> None:
    samples = [sample(i, f"q {i}", "ab"[i % 2], group=f"g{i // 3}") for i in range(60)]
    one, other = (fold_samples(rows, Split(), 4) for rows in (samples, samples[::-1]))
    assert [{n: {s.id for s in p} for n, p in f.items()} for f in one] == [
        {n: {s.id for s in p} for n, p in f.items()} for f in other
    ]


# -- parts of a training split ---------------------------------------------------------------------------


@settings(max_examples=150)
@given(
    some_samples,
    st.lists(st.sampled_from([0.05, 0.1, 0.25, 0.5, 0.8, 1.0]), min_size=2, unique=True),
    st.integers(0, 5),
)
def test_parts_are_nested_whole_clusters(samples: Any, fractions: list[float], seed: int) -> None:
    parts = [{s.id for s in part_of(samples, f, seed=seed, stratify=True)} for f in sorted(fractions)]
    for smaller, larger in pairwise(parts):
        assert smaller <= larger
    for part in parts:
        assert part or not samples
        for a in samples:
            for b in samples:
                if same_question(a.question) == same_question(b.question) or (a.group and a.group == b.group):
                    assert (a.id in part) == (b.id in part)
    assert len(part_of(samples, 1.0, seed=seed, stratify=True)) == len(samples)


def test_parts_have_their_size_and_shares_of_classes() -> None:
    samples = [sample(i, f"q {i}", "aab"[i % 3]) for i in range(600)]
    for fraction, size in ((0.1, 60), (0.25, 150), (0.5, 300)):
        part = part_of(samples, fraction, seed=7, stratify=True)
        assert len(part) == size
        assert abs(sum(s.references[0] == "b" for s in part) - size / 3) <= 1
    one, other = (part_of(samples, 0.25, seed=seed, stratify=True) for seed in (7, 8))
    assert {s.id for s in one} != {s.id for s in other}


def test_rare_classes_are_not_always_left_out_of_small_parts() -> None:
    samples = [sample(i, f"q {i}", "rare" if i < 4 else "often") for i in range(400)]
    found = [
        sum(s.references[0] == "rare" for s in part_of(samples, 0.1, seed=i, stratify=True))
        for i in range(200)
    ]
    assert 0.25 < sum(found) / 200 < 0.55  # 0.4 of four rows, on average
