"""`workbench compare`: whole commands over files of answers, their pairing, their words, and bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics import compare_paired
from metrics.multiple import holm
from tests.commands import workbench
from tests.judged_run import Answers as Marks
from tests.judged_run import jsonl, judged
from workbench.answers import Answer, Answers
from workbench.compare import CompareError, compare_answers
from workbench.compare_text import compared_text
from workbench.pairing import PairingError, pair

FILES = Path(__file__).parent / "answers"
DIFFERENCE = {"estimate", "interval", "p", "method"}


def rows(marks: str, **more: Any) -> list[dict[str, Any]]:
    """One row a mark: + right, - wrong, ! failed."""
    said = {"+": {"prediction": "yes"}, "-": {"prediction": "no"}, "!": {"error": "HTTP 500"}}
    return [{"id": f"q{i}", "reference": "yes", **said[mark], **more} for i, mark in enumerate(marks)]


def answers(marks: str, **scores: list[float | None]) -> Answers:
    made = tuple(
        Answer(
            id=f"q{i}",
            prediction={"+": "yes", "-": "no", "!": None}[mark],
            references=("yes",),
            error="HTTP 500" if mark == "!" else None,
        )
        for i, mark in enumerate(marks)
    )
    return Answers(name="x", rows=made, format="rows", scores={k: tuple(v) for k, v in scores.items()})


def compared(folder: Path, *arguments: str) -> dict[str, Any]:
    done = workbench(folder, "compare", *arguments, "--format", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


# -- two files -----------------------------------------------------------------------------------


def test_the_contract_of_two_files(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", rows("+" * 10 + "-" * 30))
    jsonl(tmp_path / "b.jsonl", list(reversed(rows("+" * 30 + "-" * 10))))
    found = compared(tmp_path, "a.jsonl", "b.jsonl", "--metric", "exact_match", "--margin", "0.1")
    assert set(found) == {
        "schema", "metric", "signature", "n", "groups", "a", "b", "difference", "conclusion"
    }  # fmt: skip
    assert found["schema"] == "workbench.comparison/1" and set(found["difference"]) == DIFFERENCE
    assert (found["n"], found["groups"], found["conclusion"]) == (40, None, "better")
    assert (found["a"]["score"], found["b"]["score"], found["difference"]["estimate"]) == (0.25, 0.75, 0.5)
    reference = compare_paired([1] * 10 + [0] * 30, [1] * 30 + [0] * 10, margin=0.1)
    assert found["difference"]["interval"] == list(reference.interval or ())
    assert found["difference"]["p"] == reference.p
    turned = compared(tmp_path, "b.jsonl", "a.jsonl", "--margin", "0.1")
    assert turned["conclusion"] == "worse" and turned["difference"]["p"] == found["difference"]["p"]
    assert turned["difference"]["interval"] == pytest.approx(
        [-v for v in found["difference"]["interval"]][::-1]
    )


def test_text_is_a_small_table_and_a_sentence(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", rows("+-" * 20))
    jsonl(tmp_path / "b.jsonl", rows("+" * 39 + "!", group=None))
    done = workbench(tmp_path, "compare", "a.jsonl", "b.jsonl")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "exact match · 39 pairs"
    assert lines[1].startswith("  a  a.jsonl  0.513 [") and lines[2].startswith("  b  b.jsonl  1.000 [")
    assert lines[3].startswith("     b − a    +0.487 [+") and "p < 0.001" in lines[3]
    assert lines[4] == "b.jsonl is better than a.jsonl."
    assert done.stderr == "note: 1 of 40 samples left out of b.jsonl against a.jsonl: not both answered\n"


def test_groups_are_taken_from_the_rows(tmp_path: Path) -> None:
    """The same answers, once as 40 samples and once as 4 customers."""
    plain, grouped = rows("-" * 40), rows("-" * 40)
    better = rows("+" * 20 + "-" * 20)
    for i, row in enumerate(grouped):
        row["group"] = f"customer {i // 10}"
    jsonl(tmp_path / "a.jsonl", plain)
    jsonl(tmp_path / "g.jsonl", grouped)
    jsonl(tmp_path / "b.jsonl", better)
    assert compared(tmp_path, "a.jsonl", "b.jsonl")["conclusion"] == "better"
    found = compared(tmp_path, "g.jsonl", "b.jsonl")
    assert (found["groups"], found["conclusion"]) == (4, "inconclusive")


@pytest.mark.parametrize(
    ("a", "b", "options", "conclusion"),
    [
        ("+" * 50 + "-" * 50, "+" * 50 + "-" * 50, ["--margin", "0.05"], "equivalent"),
        ("+" * 50 + "-" * 50, "+" * 50 + "-" * 50, [], "inconclusive"),
        ("+" * 52 + "-" * 48, "-" * 48 + "+" * 52, ["--margin", "0.02"], "inconclusive"),
        ("-", "+", [], "inconclusive"),
        ("-" * 5, "+" * 5, ["--alpha", "0.2"], "better"),
    ],
)
def test_conclusions(tmp_path: Path, a: str, b: str, options: list[str], conclusion: str) -> None:
    jsonl(tmp_path / "a.jsonl", rows(a))
    jsonl(tmp_path / "b.jsonl", rows(b))
    assert compared(tmp_path, "a.jsonl", "b.jsonl", *options)["conclusion"] == conclusion


# -- scores the files hold -----------------------------------------------------------------------


def test_a_score_of_the_file_is_a_metric(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", [{"id": i, "latency": 10.0 + i % 3} for i in range(40)])
    jsonl(tmp_path / "b.jsonl", [{"id": i, "latency": 14.0 + i % 5} for i in range(40)])
    found = compared(tmp_path, "a.jsonl", "b.jsonl", "--metric", "latency")
    assert (found["conclusion"], found["signature"]) == ("better", "latency|by:rows")
    lower = compared(tmp_path, "a.jsonl", "b.jsonl", "--metric", "latency", "--lower-is-better")
    assert lower["conclusion"] == "worse" and lower["difference"] == found["difference"]


def test_given_names_the_files_own_score_where_both_exist() -> None:
    named = {
        "a": answers("++--", exact_match=[0, 0, 0, 0]),
        "b": answers("+++-", exact_match=[1, 1, 1, None]),
    }
    ours = compare_answers(named, "exact_match").pairs[0]
    theirs = compare_answers(named, "given:exact_match").pairs[0]
    assert (ours.a.value, ours.b.value, ours.comparison.n) == (0.5, 0.75, 4)
    assert (theirs.a.value, theirs.b.value, theirs.comparison.n, theirs.left_out) == (0.0, 1.0, 3, 1)


@pytest.mark.parametrize(
    ("a", "b", "metric", "estimate"),
    [
        ("lm_eval/dummy#whole", "lm_eval/table#first-word", "exact_match", 0.875),
        ("lm_eval/dummy#desks_choice", "lm_eval/table#desks_choice", "acc", 0.625),
        ("lm_eval/dummy#desks_choice", "lm_eval/table#desks_choice", "exact_match", 0.625),
        ("promptfoo/results.json#echo/1", "promptfoo/results.jsonl#table/1", "score", 6 / 7),
        ("inspect/first.eval", "inspect/table.json", "match", 4 / 14),
        # Other tools, other ids: paired by the question's text.
        ("lm_eval/table#whole", "promptfoo/results.json#table/1", "exact_match", 1 / 7),
    ],
)
def test_files_that_the_tools_wrote(a: str, b: str, metric: str, estimate: float) -> None:
    found = compared(FILES, a, b, "--metric", metric)
    assert found["difference"]["estimate"] == pytest.approx(estimate)


def test_runs_and_their_contenders(tmp_path: Path) -> None:
    run, _ = judged(
        tmp_path, {"few-shot": Marks("+" * 5 + "-" * 15), "lora": Marks("+" * 18 + "!!", tuned=True)}
    )
    names = [str(run.folder.relative_to(tmp_path)) + end for end in ("#few-shot", "/contenders/lora")]
    found = compared(tmp_path, *names)
    assert (found["a"]["score"], found["b"]["score"], found["n"]) == (5 / 18, 1.0, 18)
    stored = run.comparison()
    assert stored is not None
    (entry,) = stored["metrics"]["exact_match"]
    assert found["difference"]["estimate"] == entry["difference"]["estimate"]
    token = compared(tmp_path, *names, "--metric", "token_f1")
    assert token["n"] == 18 and token["signature"].startswith("token_f1")


# -- more than two -------------------------------------------------------------------------------


def test_of_three_each_meets_the_first(tmp_path: Path) -> None:
    marks = {"a": "+-" * 20, "b": "+" * 30 + "-" * 10, "c": "+" * 39 + "!"}
    for name, one in marks.items():
        jsonl(tmp_path / f"{name}.jsonl", rows(one))
    found = compared(tmp_path, "a.jsonl", "b.jsonl", "c.jsonl")
    assert found["schema"] == "workbench.comparisons/1" and found["metric"] == "exact_match"
    pairs = found["comparisons"]
    assert [(p["a"]["name"], p["b"]["name"], p["n"]) for p in pairs] == [
        ("a.jsonl", "b.jsonl", 40), ("a.jsonl", "c.jsonl", 39)
    ]  # fmt: skip
    alone = [compared(tmp_path, "a.jsonl", f"{name}.jsonl") for name in "bc"]
    assert [p["difference"]["p"] for p in pairs] == holm([one["difference"]["p"] for one in alone])
    for together, single in zip(pairs, alone, strict=True):
        assert set(together["difference"]) == DIFFERENCE and "after Holm" in together["difference"]["method"]
        assert together["difference"]["estimate"] == single["difference"]["estimate"]
        wide, narrow = together["difference"]["interval"], single["difference"]["interval"]
        assert wide[0] < narrow[0] and wide[1] > narrow[1]
    shown = workbench(tmp_path, "compare", "a.jsonl", "b.jsonl", "c.jsonl").stdout
    assert shown.count("exact match · ") == 2 and "c.jsonl is better than a.jsonl." in shown


# -- properties ----------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.text("+-!", min_size=2, max_size=30), st.randoms(use_true_random=False), st.data())
def test_turning_and_mixing_changes_nothing_but_the_sign(left: str, random: Any, data: st.DataObject) -> None:
    right = data.draw(st.text("+-!", min_size=len(left), max_size=len(left)))
    a, b = answers(left), answers(right)
    mixed = list(b.rows)
    random.shuffle(mixed)
    if not any(x != "!" and y != "!" for x, y in zip(left, right, strict=True)):
        with pytest.raises(CompareError):
            compare_answers({"a": a, "b": b}, "exact_match")
        return
    one = compare_answers({"a": a, "b": b}, "exact_match")
    same = compare_answers({"a": a, "b": Answers(name="b", rows=tuple(mixed), format="rows")}, "exact_match")
    turned = compare_answers({"b": b, "a": a}, "exact_match").pairs[0].comparison
    assert one.as_dict() == same.as_dict()
    assert turned.difference == -one.pairs[0].comparison.difference
    assert turned.p == one.pairs[0].comparison.p
    json.dumps(one.as_dict(), allow_nan=False)
    assert compared_text(one).endswith(".\n")


# -- bad input -----------------------------------------------------------------------------------

GOOD = rows("+-+-")
MANY = rows("+" * 14)


def without(field: str, *places: int) -> list[dict[str, Any]]:
    return [{k: v for k, v in r.items() if k != field or i not in places} for i, r in enumerate(GOOD)]


BAD: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]], list[str], tuple[str, ...]]] = {
    "fewer ids": (GOOD, GOOD[:2], [], ("2 ids only in a.jsonl: q2, q3", "do not answer the same samples")),
    "many other ids": (
        GOOD[:1], MANY, [], ("13 ids only in b.jsonl: q1, q2, q3, q4, q5, q6, q7, q8, q9, q10 … and 3 more",)),
    "an id twice": (GOOD, [*GOOD, GOOD[1]], [], ("b.jsonl: 1 id stands more than once: q1",)),
    "references missing": (GOOD, without("reference", 1, 2), [], ("b.jsonl: 2 of 4 rows have no reference: q1, q2",)),
    "no reference anywhere": (without("reference", 0, 1, 2, 3), GOOD, [], ("a.jsonl: 4 of 4 rows have no reference",)),
    "other references": (
        GOOD, [GOOD[0] | {"reference": "no"}, *GOOD[1:]], [], ("different references for 1 of 4 ids: q0",)),
    "other groups": (
        [r | {"group": "g"} for r in GOOD], [r | {"group": "h"} for r in GOOD], [],
        ("b.jsonl puts 4 samples into another group: q0",)),
    "all failed": (GOOD, rows("!!!!"), [], ("b.jsonl: all 4 rows failed",)),
    "no common answer": (rows("++!!"), rows("!!++"), [], ("no sample was answered by both",)),
    "an unknown metric": (GOOD, GOOD, ["--metric", "exact_mach"], ("Did you mean 'exact_match'?", "Measured here")),
    "a score of one file": (
        [r | {"acc": 1} for r in GOOD], GOOD, ["--metric", "acc"], ("'acc' is not in b.jsonl", "Scores in the files: acc")),
    "a metric of other things": (GOOD, GOOD, ["--metric", "mrr"], ("mrr is measured from rankings",)),
    "likelihoods that are not there": (GOOD, GOOD, ["--metric", "bits_per_byte"], ("without likelihoods",)),
    "no text": (
        [{"id": 1, "s": 1, "reference": "x"}], [{"id": 1, "s": 1, "reference": "x"}], ["--metric", "bleu"],
        ("1 rows hold no text to measure bleu on: 1.", "Scores in the files: s")),
    "no id": ([{"input": "q", "prediction": "x"}], GOOD, [], ("rows are paired by id, or by input",)),
    "a direction that is known": (GOOD, GOOD, ["--lower-is-better"], ("higher is better",)),
    "a margin below 0": (GOOD, GOOD, ["--margin", "-1"], ("margin",)),
    "an alpha of 2": (GOOD, GOOD, ["--alpha", "2"], ("alpha", "between 0 and 0.5")),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_with_its_ids(tmp_path: Path, case: str) -> None:
    a, b, options, words = BAD[case]
    jsonl(tmp_path / "a.jsonl", a)
    jsonl(tmp_path / "b.jsonl", b)
    done = workbench(tmp_path, "compare", "a.jsonl", "b.jsonl", *options)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    assert "bug in the workbench" not in done.stderr


@pytest.mark.parametrize("content", ["", "\x00\x01", '{"id": 1, "prediction": "x", "score": NaN}\n', "{"])
def test_files_that_are_none_are_named(tmp_path: Path, content: str) -> None:
    jsonl(tmp_path / "a.jsonl", GOOD)
    (tmp_path / "b.jsonl").write_text(content)
    for arguments in (["a.jsonl", "b.jsonl"], ["b.jsonl", "a.jsonl"], ["a.jsonl"], ["a.jsonl", "c.jsonl"]):
        done = workbench(tmp_path, "compare", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert "bug in the workbench" not in done.stderr


def test_one_id_means_one_question() -> None:
    def of(content: str) -> Answers:
        row = Answer(id="0", content=content, prediction="x", references=("x",))
        return Answers(name="x", rows=(row,), format="lm-eval")

    assert pair({"a": of("h1"), "b": of("h1")}).keys == ("0",)
    with pytest.raises(PairingError, match="different questions by 1 ids: 0"):
        pair({"a": of("h1"), "b": of("h2")})


def test_scores_measured_in_two_ways_do_not_compare() -> None:
    a, b = answers("++", judge=[1, 1]), answers("++", judge=[0, 1])
    b = Answers(name="b", rows=b.rows, format="rows", scores=b.scores, signatures={"judge": "judge|model:x"})
    with pytest.raises(
        CompareError, match=r"a and b measured judge differently.*judge\|by:rows and judge\|model:x"
    ):
        compare_answers({"a": a, "b": b}, "judge")


def test_the_cost_of_errors_needs_its_matrix() -> None:
    with pytest.raises(CompareError, match="needs its matrix"):
        compare_answers({"a": answers("+-+"), "b": answers("+++")}, "cost_of_error")
