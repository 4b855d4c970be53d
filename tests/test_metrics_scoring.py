"""Classification values, scores, their intervals and reasons, and what `evaluate` loads."""

import json
import os
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from metrics import METRICS, UnknownMetric, hub_path, measure, score, score_rows
from tests.example_metrics import CASES, TEXTS

TRUE = ["spam", "spam", "ham", "ham", "ham", "eggs", "eggs", "eggs", "eggs", "spam"]
SAID = ["spam", "ham", "ham", "ham", "eggs", "eggs", "spam", "eggs", "eggs", "bacon"]


def test_f1_equals_scikit_learn():
    from sklearn.metrics import accuracy_score, f1_score

    labels = sorted(set(TRUE))
    for name, average in (("macro_f1", "macro"), ("micro_f1", "micro")):
        expected = f1_score(TRUE, SAID, labels=labels, average=average)
        assert score(name, SAID, TRUE).value == pytest.approx(expected, abs=1e-12)
    assert score("accuracy", SAID, TRUE).value == accuracy_score(TRUE, SAID)


def test_macro_f1_equals_scikit_learn_on_random_labels():
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(3)
    true, said = (
        rng.choice(list("abcdefg"), 300, p=[0.4, 0.2, 0.15, 0.1, 0.1, 0.04, 0.01]) for _ in range(2)
    )
    assert score("macro_f1", said, true).value == pytest.approx(
        f1_score(true, said, average="macro"), abs=1e-12
    )


def test_an_unmapped_answer_is_a_miss_and_no_class():
    rows = measure("macro_f1", ["a", "I think it is b"], ["a", "b"])
    assert rows.columns == ("tp:a", "tp:b", "fp:a", "fp:b", "fn:a", "fn:b")
    assert rows.stats.tolist() == [[1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1]]
    assert score_rows("macro_f1", rows).value == 0.5
    assert score("micro_f1", ["a", "?"], ["a", "b"]).value == pytest.approx(2 / 3)


def test_given_labels_count_as_false_alarms_and_must_hold_the_references():
    assert score("micro_f1", ["a", "c"], ["a", "b"], labels=["a", "b", "c"]).value == 0.5
    assert score("macro_f1", ["a", "b"], ["a", "b"], labels=["a", "b", "never"]).value == 1
    with pytest.raises(ValueError, match=r"references\[1\] is 'b'"):
        score("accuracy", ["a", "b"], ["a", "b"], labels=["a"])


def test_several_accepted_labels():
    for name in ("accuracy", "micro_f1", "macro_f1"):
        assert score(name, ["b", "a"], [["a", "b"], "a"]).value == 1


def test_free_text_is_no_classification():
    texts = [f"text {row}" for row in range(1001)]
    assert "no classification" in score("macro_f1", texts, texts).reason


def test_a_failed_prediction_is_not_a_wrong_answer():
    found = score("exact_match", ["yes", None, "no"], ["yes", "yes", "yes"])
    assert (found.value, found.n, found.unscored) == (0.5, 2, 1)


@pytest.mark.parametrize("name", list(METRICS))
def test_no_value_is_none_with_a_reason(name):
    case = CASES[name]
    for predictions, reason in (([], "no samples"), ([None, None], "all 2 predictions failed")):
        empty = score(name, predictions, (case.references or TEXTS)[: len(predictions)], **case.options)
        assert empty.value is None and reason in empty.reason and empty.interval is None
        assert json.loads(json.dumps(empty.as_dict(), allow_nan=False))["value"] is None


def test_unknown_names_suggest_the_nearest():
    for wrong, right in (("blue", "bleu"), ("rougeL", "rouge_l"), ("exact-match", "exact_match")):
        with pytest.raises(UnknownMetric, match=f"did you mean '{right}'"):
            score(wrong, ["a"], ["a"])


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        (["a"], ["a", "b"], "1 predictions but 2 references"),
        (["a", 3], ["a", "b"], r"predictions\[1\] is a int"),
        (["a", "b"], ["a", None], r"references\[1\]"),
        (["a"], [[]], r"references\[0\]"),
        ("a", ["a"], "predictions is a str"),
        (["a"], None, "references is a NoneType"),
    ],
)
def test_wrong_shapes_are_named(predictions, references, message):
    with pytest.raises(ValueError, match=message):
        score("exact_match", predictions, references)


def test_lists_arrays_and_columns_are_the_same():
    plain = score("token_f1", ["a b", None, "c"], ["a", "b", "c"])
    assert score("token_f1", pl.Series(["a b", None, "c"]), pl.Series([["a"], ["b"], ["c"]])) == plain
    assert score("token_f1", np.array(["a b", None, "c"], dtype=object), np.array(["a", "b", "c"])) == plain


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("bleu", {"tokenise": "13a"}, "no option 'tokenise': it takes tokenize, lowercase"),
        ("exact_match", {"case": 1}, "it takes none"),
        ("bleu", {"tokenize": "nope"}, "no tokenizer 'nope'"),
        ("rouge_l", {"tokenize": "nope"}, "not one of latin, words, characters"),
        ("rouge_l", {"tokenize": "words", "stem": True}, "stem=True"),
    ],
)
def test_wrong_options_are_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        score(name, ["a"], ["a"], **options)


def answers(right, n):
    return ["yes"] * right + ["no"] * (n - right), ["yes"] * n


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    # Wilson: centre (x + z²/2)/(n + z²); none right of n reaches z²/(n + z²).
    [
        (50, 100, 0.4038, 0.5962),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (1, 1, 0.2065, 1.0),
        (15, 20, 0.5313, 0.8881),
    ],
)
def test_a_share_has_wilsons_interval(right, n, low, high):
    assert score("exact_match", *answers(right, n)).interval == pytest.approx((low, high), abs=5e-5)


def test_intervals_by_groups():
    predictions, references = answers(30, 60)
    wide = score("exact_match", predictions, references, groups=[row // 10 for row in range(60)])
    narrow = score("exact_match", predictions, references)
    assert wide.interval[1] - wide.interval[0] > narrow.interval[1] - narrow.interval[0]
    assert 0 <= wide.interval[0] < 0.5 < wide.interval[1] <= 1
    assert score("exact_match", predictions, references, groups=["one"] * 60).interval is None
    assert score("exact_match", predictions, references, groups=range(60)).interval == narrow.interval


def test_intervals_of_corpus_metrics_hold_the_value():
    rng = np.random.default_rng(0)
    said = [" ".join(rng.choice(list("abcde"), 9)) for _ in range(60)]
    true = [" ".join(rng.choice(list("abcde"), 9)) for _ in range(60)]
    for name in ("bleu", "chrf", "micro_f1", "rouge_l"):
        for groups in (None, [row % 12 for row in range(60)]):
            found = score(name, said, true, groups=groups)
            if found.value:
                assert found.interval[0] < found.value < found.interval[1]
    assert score("chrf", said, true, seed=1) == score("chrf", said, true, seed=1)


def test_a_perfect_score_is_no_certainty():
    low, high = score("token_f1", ["a b"] * 40, ["a b"] * 40, groups=[row // 2 for row in range(40)]).interval
    assert high == 1 and low == pytest.approx(0.05 ** (1 / 20))


def test_scores_print_and_travel():
    found = score("exact_match", ["yes", "no", None], ["yes", "yes", "yes"])
    assert str(found).startswith("exact_match 0.5 [0.09453, 0.9055] (n 2, 1 unscored)")
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["interval"] == list(found.interval)


def test_importing_metrics_is_light():
    heavy = [
        "torch",
        "transformers",
        "datasets",
        "evaluate",
        "sklearn",
        "streamlit",
        "sacrebleu",
        "rouge_score",
        "nltk",
        "scipy",
        "polars",
    ]
    code = f"import sys, metrics; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.filterwarnings("ignore")
def test_evaluate_loads_every_metric_offline(tmp_path):
    pytest.importorskip("evaluate")
    code = """
import json, sys, evaluate
from metrics import METRICS, hub_path
found = {}
for name, (right, _, references, _, options) in json.loads(sys.argv[2]).items():
    module = evaluate.load(hub_path(name, sys.argv[1]))
    needs = METRICS[name].needs
    if needs == "text":
        references = references or right
        found |= module.compute(predictions=right, references=references, **options)
        several = module.compute(predictions=right, references=[[one] for one in references], **options)
        assert several == {name: found[name]}
    elif needs == "ranking":
        found |= module.compute(predictions=right, references=references)
    else:
        found |= module.compute(predictions=[1.0, 1.0] if needs == "rating" else right)
print(json.dumps(found))
"""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), json.dumps(CASES)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    values = json.loads(run.stdout.splitlines()[-1])
    assert values == pytest.approx({name: case.perfect for name, case in CASES.items()})
    assert set(values) == set(METRICS)
    assert hub_path("bleu", tmp_path).endswith("bleu")
