"""Recall, MRR and nDCG of rankings: tables, and scikit-learn's nDCG."""

import math

import numpy as np
import pytest

from metrics import score

RANKINGS = [  # metric, ranking, relevant, options, value
    ("recall_at_k", "abcd", "bd", {}, 1),
    ("recall_at_k", "abcd", "bd", {"k": 2}, 1 / 2),
    ("recall_at_k", "abcd", "bdxy", {"k": None}, 1 / 2),
    ("recall_at_k", "abcdefghijkl", "l", {}, 0),
    ("recall_at_k", "abcdefghijkl", "l", {"k": None}, 1),
    ("recall_at_k", "aab", "ab", {"k": 2}, 1),
    ("recall_at_k", "", "a", {}, 0),
    ("recall_at_k", "ab", {"a": 2, "b": 0}, {"k": 1}, 1),
    ("mrr", "abcd", "bd", {}, 1 / 2),
    ("mrr", "abcd", "x", {}, 0),
    ("mrr", "abcd", "d", {"k": 3}, 0),
    ("mrr", "abcdefghijkl", "l", {}, 1 / 12),
    ("ndcg", "ab", "a", {}, 1),
    ("ndcg", "ba", "a", {}, 1 / math.log2(3)),
    ("ndcg", "xay", "ab", {}, (1 / math.log2(3)) / (1 + 1 / math.log2(3))),
    ("ndcg", "ab", {"a": 1, "b": 3}, {}, (1 + 3 / math.log2(3)) / (3 + 1 / math.log2(3))),
    ("ndcg", "ab", {"a": 1, "b": 3}, {"k": 1}, 1 / 3),
]


@pytest.mark.parametrize(("name", "ranking", "relevant", "options", "value"), RANKINGS)
def test_rankings(name, ranking, relevant, options, value):
    wanted = relevant if isinstance(relevant, dict) else list(relevant)
    found = score(name, [list(ranking)], [wanted], **options)
    assert found.value == pytest.approx(value)


@pytest.mark.parametrize("k", [1, 3, 10, None])
def test_ndcg_equals_scikit_learn(k):
    from sklearn.metrics import ndcg_score

    rng = np.random.default_rng(0)
    gains = rng.integers(0, 4, (50, 12))
    gains[:, 0] += 1
    scores = np.array([rng.permutation(12) for _ in range(50)])
    rankings = [list(np.argsort(-row)) for row in scores]
    references = [dict(enumerate(row.tolist())) for row in gains]
    assert score("ndcg", rankings, references, k=k).value == pytest.approx(ndcg_score(gains, scores, k=k))


def test_ids_are_compared_as_text_and_the_cut_is_signed():
    found = score("recall_at_k", [[1, 2]], [["2"]])
    assert found.value == 1 and "k:10" in found.signature
    assert "k:all" in score("mrr", [[1]], [[1]]).signature


@pytest.mark.parametrize(
    ("rankings", "relevant", "options", "message"),
    [
        ([["a"], ["a"]], [["a"], []], {}, r"references\[1\] has no relevant document"),
        ([["a"]], [{"a": 0}], {}, r"references\[0\] has no relevant document"),
        ([["a"]], [{"a": -1}], {}, "not negative"),
        ([["a"]], [{"a": math.nan}], {}, "finite"),
        (["abc"], [["a"]], {}, r"predictions\[0\] is 'abc'"),
        ([["a"]], ["a"], {}, r"references\[0\] is 'a'"),
        ([["a"]], [["a"]], {"k": 0}, "k=0"),
        ([["a"]], [["a"]], {"k": 2.5}, "k=2.5"),
        ([["a"]], [["a"], ["b"]], {}, "1 predictions but 2 references"),
    ],
)
def test_wrong_input_is_named(rankings, relevant, options, message):
    with pytest.raises(ValueError, match=message):
        score("recall_at_k", rankings, relevant, **options)


def test_a_failed_search_is_not_an_empty_one():
    found = score("mrr", [["a"], None, []], [["a"], ["a"], ["a"]])
    assert (found.value, found.n, found.unscored) == (0.5, 2, 1)


@pytest.mark.parametrize("gain", [[1], "1", None, float("nan"), -1])
def test_gains_are_numbers(gain):
    with pytest.raises(ValueError, match="gains are finite and not negative"):
        score("ndcg", [["a"]], [{"a": gain}])
