"""A user's own metric, tables for notebooks, and bad input to scores."""

import json

import numpy as np
import pytest

from metrics import (
    METRICS,
    Metric,
    UnknownMetric,
    compare_paired,
    measure,
    own_metric,
    reducer,
    score,
    score_rows,
)
from metrics.types import bounds

SHARE = """
def score(prediction, references):
    return len(set(prediction) & set(references[0])) / max(1, len(set(references[0])))
"""


def written(tmp_path, source, **options):
    path = tmp_path / "mine.py"
    path.write_text(source, encoding="utf-8")
    return own_metric("mine", path, **options)


def test_an_own_metric_is_a_metric_everywhere(tmp_path):
    mine = written(tmp_path, SHARE)
    assert isinstance(mine, Metric) and "mine" not in METRICS
    rows = measure(mine, ["ab", None, "x"], ["abcd", "q", ["xy", "z"]])
    assert rows.stats[:, 0].tolist() == [0.5, 0, 0.5] and rows.scored.tolist() == [True, False, True]
    found = score(mine, ["ab", None, "x"], ["abcd", "q", "xy"], seed=1)
    assert (found.metric, found.value, found.unscored) == ("mine", 0.5, 1)
    assert score_rows(mine, rows).value == 0.5
    assert reducer(mine, list(rows.columns))(np.array([0.25])) == 0.25
    assert compare_paired(rows.stats, rows.stats, reduce=rows.reduce).difference == 0


def test_the_file_is_read_when_measured_and_signed(tmp_path):
    mine = own_metric("mine", tmp_path / "mine.py")
    with pytest.raises(ValueError, match=r"mine\.py: the file of the metric 'mine' cannot be read"):
        score(mine, ["a"], ["a"])
    (tmp_path / "mine.py").write_text(SHARE)
    before = score(mine, ["a"], ["a"]).signature
    (tmp_path / "mine.py").write_text(SHARE + "# changed\n")
    assert "sha256:" in before and score(mine, ["a"], ["a"]).signature != before
    assert [one.name for one in tmp_path.iterdir()] == ["mine.py"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def score(:", r"mine\.py:1: the file does not run: SyntaxError"),
        ("x = 1\nx / 0", r"mine\.py:2: the file does not run: ZeroDivisionError"),
        ("import sys\nsys.exit(3)", r"mine\.py:2: the file does not run: SystemExit"),
        ("x = 1", r"mine\.py: no function `score"),
        (
            "def score(p, r):\n    return 1 / (len(p) - 1)",
            r"mine\.py:2: score fails on predictions\[1\]: Zero",
        ),
        ("def score(p):\n    return 1", r"score fails on predictions\[0\]: TypeError"),
        ("def score(p, r):\n    return 1.5", r"gives 1.5 for predictions\[0\], outside the scale '0-1'"),
        ("def score(p, r):\n    return None", r"gives None for predictions\[0\]: return a finite number"),
        ("def score(p, r):\n    return float('nan')", r"gives nan for predictions\[0\]: return a finite"),
        ("def score(p, r):\n    return '1'", r"gives '1' for predictions\[0\]"),
    ],
)
def test_faults_name_file_row_and_cure(tmp_path, source, message):
    with pytest.raises(ValueError, match=message):
        score(written(tmp_path, source), ["ab", "a"], ["a", "b"])


def test_scales(tmp_path):
    assert bounds("0-1") == (0, 1) and bounds("0-100") == (0, 100) and bounds("-1-1") == (-1, 1)
    assert bounds("bits, from 0")[0] == 0 and bounds("anything") == (-np.inf, np.inf)
    source = "def score(p, r):\n    return len(p)"
    cost = written(tmp_path, source, scale="letters, from 0", higher_is_better=False)
    found = score(cost, ["a", "abc"] * 20, ["x"] * 40)
    assert found.value == 2 and not found.higher_is_better and found.interval[0] > 1
    with pytest.raises(ValueError, match="outside the scale '1-2'"):
        score(written(tmp_path, source, scale="1-2"), ["abc"], ["x"])


@pytest.mark.parametrize("name", ["bleu", "two words", ""])
def test_names_that_are_taken_or_none(tmp_path, name):
    with pytest.raises(ValueError, match="give yours another"):
        own_metric(name, tmp_path / "mine.py")


def test_no_options_and_no_name(tmp_path):
    with pytest.raises(ValueError, match="mine has no option 'k': it takes none"):
        score(written(tmp_path, SHARE), ["a"], ["a"], k=3)
    with pytest.raises(UnknownMetric, match="unknown metric 'mine'"):
        score("mine", ["a"], ["a"])


def test_scores_and_comparisons_are_tables_in_notebooks(tmp_path):
    found = score("exact_match", ["<i>", None], ["<i>", "b"])
    gone = score("bleu", ["yes"], ["yes"])
    difference = compare_paired([0, 1, 1] * 9, [1, 1, 1] * 9)
    for html in (found._repr_html_(), gone._repr_html_(), difference._repr_html_()):
        assert html.startswith("<table>") and html.endswith("</table>")
        assert "script" not in html and "style" not in html and "color" not in html
    assert "0.2065" in found._repr_html_() and "not available" in gone._repr_html_()
    assert "b is better" in difference._repr_html_() and "McNemar" in difference._repr_html_()


SAME = [  # all ties or constants: never a point, never 0 for nothing
    ("exact_match", ["a"] * 9, ["b"] * 9, 0.0),
    ("token_f1", ["x y"] * 9, ["x y"] * 9, 1.0),
    ("recall_at_k", [["a"]] * 9, [["a", "b"]] * 9, 0.5),
    ("judge", [0.5] * 40, None, 0.5),
]


@pytest.mark.parametrize(("name", "predictions", "references", "value"), SAME)
def test_constant_scores_have_width(name, predictions, references, value):
    found = score(name, predictions, references)
    assert found.value == value and found.interval[0] < found.interval[1]
    assert json.dumps(found.as_dict(), allow_nan=False)


@pytest.mark.parametrize("name", ["judge", "mrr", "token_f1"])
def test_one_sample_has_a_value_and_at_most_a_wide_interval(name):
    cases = {"judge": ([0.5], None), "mrr": ([["x", "a"]], [["a"]]), "token_f1": (["a b"], ["b"])}
    found = score(name, *cases[name])
    assert found.value is not None
    assert found.interval is None or found.interval[1] - found.interval[0] > 0.5


def test_chinese_token_f1_has_a_reason_and_a_cure():
    found = score("token_f1", ["在巴黎"], ["巴黎"])
    assert found.value is None and "tokenize='characters'" in found.reason
    assert score("token_f1", ["在巴黎"], ["巴黎"], tokenize="characters").value == pytest.approx(0.8)
    assert score("token_f1", ["Кот сидит"], ["кот лежит"]).value == 0.5
    with pytest.raises(ValueError, match="tokenize='nope' is not one of squad, characters"):
        score("token_f1", ["a"], ["a"], tokenize="nope")


def test_the_file_may_hold_dataclasses_and_look_beside_itself(tmp_path):
    (tmp_path / "words.txt").write_text("a b", encoding="utf-8")
    source = """
from __future__ import annotations
from dataclasses import dataclass
from pathlib import Path

@dataclass
class Words:
    known: list[str]

WORDS = Words(Path(__file__).with_name("words.txt").read_text().split())

def score(prediction, references):
    return prediction in WORDS.known
"""
    assert score(written(tmp_path, source), ["a", "c"], ["x", "x"]).value == 0.5


def test_an_object_that_refuses_to_be_a_number_is_none(tmp_path):
    source = "class X:\n    def __float__(self): raise RuntimeError('no')\ndef score(p, r):\n    return X()"
    with pytest.raises(ValueError, match=r"predictions\[0\]: return a finite number"):
        score(written(tmp_path, source), ["a"], ["x"])


def test_scales_may_be_written_with_a_dash():
    assert bounds("0–100") == (0, 100) and bounds("-1–1") == (-1, 1)
