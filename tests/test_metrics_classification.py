"""Label mapping, the confusion matrix and the cost of errors."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics import confusion, score

LABELS = ["card", "lost card", "refund", "É té"]
MAPPED = [  # answer, mapping, label or None
    ("refund", "equal", "refund"),
    (" refund\n", "equal", "refund"),
    ("Refund", "equal", None),
    ("Refund", "folded", "refund"),
    ('"REFUND".', "folded", "refund"),
    ("**lost   Card**", "folded", "lost card"),
    ("e\u0301 TE\u0301!", "folded", "É té"),
    ("it is refund", "folded", None),
    ("It is a refund.", "contained", "refund"),
    ("refund, I mean: refund", "contained", "refund"),
    ("refunds", "contained", None),
    ("a lost card", "contained", "lost card"),
    ("Lost card", "contained", "lost card"),
    ("a lost card, so refund it", "contained", None),
    ("card or refund", "contained", None),
    ("neither", "contained", None),
    ("", "contained", None),
    ("...", "folded", None),
]


@pytest.mark.parametrize(("answer", "mapping", "label"), MAPPED)
def test_answers_are_mapped_by_a_stated_rule(answer, mapping, label):
    found = confusion([answer], ["refund"], labels=LABELS, mapping=mapping)
    place = len(LABELS) if label is None else found.labels.index(label)
    assert found.counts[found.labels.index("refund"), place] == 1
    assert score("accuracy", [answer], ["refund"], labels=LABELS, mapping=mapping).value == (
        label == "refund"
    )


def test_labels_of_scripts_without_spaces_are_found_inside():
    for answer, value in (("我觉得是退款。", 1), ("退款或查询", 0)):
        assert (
            score("accuracy", [answer, "查询"], ["退款", "查询"], mapping="contained").value
            == (value + 1) / 2
        )


def test_the_mapping_is_signed_and_checked():
    signatures = {
        score("macro_f1", ["a"], ["a"], mapping=m).signature for m in ("equal", "folded", "contained")
    }
    assert len(signatures) == 3
    with pytest.raises(ValueError, match="mapping='fuzzy' is not one of equal, folded, contained"):
        score("accuracy", ["a"], ["a"], mapping="fuzzy")
    with pytest.raises(ValueError, match="cannot tell the labels 'A' and 'a' apart"):
        score("accuracy", ["a"], ["a"], labels=["a", "A"], mapping="folded")


TRUE = ["spam", "spam", "ham", "ham", "ham", "eggs", "eggs", None]
SAID = ["spam", "ham", "ham", "ham", "bacon", "spam", "eggs", "eggs"]


def test_confusion():
    found = confusion([*SAID[:-1], None], [*TRUE[:-1], "eggs"])
    assert found.labels == ("eggs", "ham", "spam")
    assert found.counts.tolist() == [[1, 0, 1, 0], [0, 2, 0, 1], [0, 1, 1, 0]]
    assert (found.unmapped, found.unscored) == (1, 1)
    eggs, ham, spam = found.per_class
    assert (eggs.precision, eggs.recall, eggs.f1, eggs.support) == (1, 1 / 2, pytest.approx(2 / 3), 2)
    assert (ham.precision, ham.recall, ham.f1, ham.support) == (2 / 3, 2 / 3, pytest.approx(2 / 3), 3)
    assert (spam.precision, spam.recall, spam.f1) == (1 / 2, 1 / 2, 1 / 2)
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["counts"][0] == [1, 0, 1, 0]


def test_confusion_equals_scikit_learn_and_macro_f1():
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    rng = np.random.default_rng(1)
    true, said = rng.choice(list("abcd"), (2, 400))
    found = confusion(said, true)
    assert (found.counts[:, :-1] == confusion_matrix(true, said)).all() and found.unmapped == 0
    mine = [(one.precision, one.recall, one.f1, one.support) for one in found.per_class]
    expected = np.array(precision_recall_fscore_support(true, said))
    assert pytest.approx(expected) == np.array(mine).T
    assert score("macro_f1", said, true).value == pytest.approx(np.mean([one.f1 for one in found.per_class]))


def test_what_never_occurs_has_no_value():
    never = confusion(["a"], ["a"], labels=["a", "b"]).per_class[1]
    assert (never.precision, never.recall, never.f1, never.support) == (None, None, None, 0)
    assert confusion([], []).counts.shape == (0, 1)


def test_confusion_is_shown_escaped_and_plain():
    html = confusion(["<b>"], ["<b>"])._repr_html_()
    assert "&lt;b&gt;" in html and "<b>" not in html and "style" not in html and "script" not in html


COSTS = {"fraud": {"fine": 100.0, "unmapped": 5}, "fine": {"fraud": 2}, "*": {"unmapped": 1, "*": 3}}
PRICED = [  # answer, truth, USD
    ("fraud", "fraud", 0),
    ("fine", "fraud", 100),
    ("fraud", "fine", 2),
    ("what?", "fraud", 5),
    ("what?", "fine", 1),
    ("other", "fraud", 3),
    ("fraud", "other", 3),
    ("other", "other", 0),
]


@pytest.mark.parametrize(("answer", "truth", "usd"), PRICED)
def test_the_most_specific_cost_counts(answer, truth, usd):
    labels = ["fraud", "fine", "other"]
    assert score("cost_of_error", [answer], [truth], labels=labels, costs=COSTS).value == usd


def test_costs_are_a_mean_in_usd_where_less_is_better():
    found = score(
        "cost_of_error", ["a", "b", None], ["a", "a", "a"], labels="ab", costs={"a": {"b": 3, "a": 1}}
    )
    assert (found.value, found.higher_is_better, found.unscored) == (2, False, 1)
    assert found.interval is None or found.interval[0] >= 0
    assert score("cost_of_error", ["A."], ["a"], costs={}, mapping="folded").value == 0


@pytest.mark.parametrize(
    ("costs", "message"),
    [
        (None, "costs= is None"),
        ({"a": 3}, "give {true label: {answered label: USD}}"),
        ({"refnd": {"other": 1}}, "names 'refnd', which is no label here: did you mean 'refund'"),
        ({"refund": {"othr": 1}}, "did you mean 'other'"),
        ({"refund": {"other": -1}}, "finite and not negative"),
        ({"refund": {"other": float("nan")}}, "finite and not negative"),
        ({"refund": {"other": "1"}}, "finite and not negative"),
        ({"other": {"refund": 1}}, r"predictions\[0\] answers 'other' where 'refund' is right.*no price"),
    ],
)
def test_costs_that_do_not_fit_are_named(costs, message):
    with pytest.raises(ValueError, match=message):
        score("cost_of_error", ["other", "other"], ["refund", "other"], costs=costs)
    with pytest.raises(ValueError, match="means something else"):
        score("cost_of_error", ["*"], ["*"], costs={})


@given(st.lists(st.tuples(st.sampled_from("abcx"), st.sampled_from("abc")), min_size=1), st.randoms())
def test_the_order_of_samples_does_not_matter(pairs, shuffler):
    said, true = zip(*pairs, strict=True)
    other_said, other_true = zip(*shuffler.sample(pairs, len(pairs)), strict=True)
    here, there = confusion(said, true), confusion(other_said, other_true)
    assert (here.counts == there.counts).all() and here.per_class == there.per_class
    hits = score("accuracy", said, true).value * len(pairs)
    assert np.trace(here.counts) == pytest.approx(hits)


def test_an_empty_label_is_a_label_and_not_unmapped():
    found = score("cost_of_error", ["", "a", ""], ["", "a", "a"], costs={"*": {"*": 4.0, "unmapped": 9.0}})
    assert found.value == pytest.approx(4 / 3)


@pytest.mark.parametrize("references", [[{"a": 1}], {"a": 1}, {"a"}])
def test_keys_are_no_references(references):
    with pytest.raises(ValueError, match="references"):
        score("accuracy", ["a"], references)
