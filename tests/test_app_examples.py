"""The page Examples: columns, filters, differences, and one sample to the letter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

pytest.importorskip("streamlit", reason="the app needs streamlit")

from streamlit.testing.v1 import AppTest

from apps import cases as module
from apps.cases import SearchError, cases, outcomes, prompt_of, values
from apps.marking import MOST_WORDS, marked, nearest, word_diff
from apps.reading import ReadOnce
from tests.app_pages import opened, words
from tests.example_data import MARKUP, PAYLOAD
from tests.example_run import make_run
from workbench.card import seconds
from workbench.runs import Run

FAILED = 8  # the sample on which zero-shot's request failed


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A whole run that no test changes."""
    return make_run(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def root(whole: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORKBENCH_RUNS", str(whole.folder.parent))
    return whole.folder.parent


def pills(at: AppTest) -> Any:
    """The outcomes one can pick."""
    return at.get("button_group")[0]


# -- columns ---------------------------------------------------------------------------------------------


def test_columns_hold_what_the_folder_holds(whole: Run) -> None:
    every = cases(whole)
    assert list(every.ids) == [s.id for s in whole.samples()]
    for name in whole.contenders():
        answers = {p.id: p for p in whole.predictions(name)}
        for at, sample in enumerate(every.ids):
            assert every.answer(at, name) == answers[sample]
            assert every.said[name].texts[at] == answers[sample].prediction
            assert every.said[name].errors[at] == answers[sample].error
        assert [s.id for s in (every.sample(0), every.sample(23))] == [every.ids[0], every.ids[23]]
    assert np.isnan(every.said["zero-shot"].seconds[FAILED]) == np.False_
    assert prompt_of(whole, "rag", every.ids[5]) == whole.prompts("rag")[5]
    assert prompt_of(whole, "rag", "no such sample") is None


def test_values_a_sample_average_to_the_score(whole: Run) -> None:
    for metric in ("exact_match", "macro_f1"):
        found = values(whole, metric)
        assert set(found) == set(whole.contenders())
    rag = values(whole, "exact_match")["rag"]
    scores = whole.scores("rag") or {}
    assert rag.mean() == pytest.approx(scores["metrics"]["exact_match"]["value"])


def test_answers_that_came_in_another_order_or_twice_find_their_sample(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    rows = run.predictions("lora")
    run.write_predictions("lora", [rows[3], *reversed(rows[:20])])
    every = cases(run)
    assert [every.answer(at, "lora") for at in range(24)] == [*rows[:20], None, None, None, None]
    assert every.said["lora"].texts[21] is None


def test_a_run_that_goes_on_is_read_again(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    rows = run.predictions("lora")
    run.write_predictions("lora", rows[:5])
    assert (cases(run).said["lora"].rows >= 0).sum() == 5
    run.write_predictions("lora", rows)
    assert (cases(run).said["lora"].rows >= 0).sum() == 24
    assert cases(run) is cases(ReadOnce(run.folder)), "and kept while nothing changes"


def test_a_failed_request_is_no_loss(whole: Run) -> None:
    every, found = cases(whole), values(whole, "exact_match")
    how = outcomes(found["zero-shot"], found["lora"], better_up=True)
    assert every.failed("zero-shot")[FAILED]
    assert how[FAILED] == "error" and every.different(["zero-shot", "lora"])[FAILED]
    assert every.sample(FAILED).id == every.ids[FAILED]


@pytest.mark.parametrize(
    ("one", "other", "up", "outcome"),
    [(1, 0, True, "win"), (1, 0, False, "loss"), (0.5, 0.5, True, "tie"), (np.nan, 1, True, "error")],
)
def test_outcomes(one: float, other: float, up: bool, outcome: str) -> None:
    assert outcomes(np.array([one]), np.array([other]), better_up=up).tolist() == [outcome]


# -- search ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sought", "pattern", "many"),
    [
        ("PUMPE", False, 1),
        ("schöne GRÜSSE", False, 0),
        ("SCHÖNE Grüße 🌱", False, 1),
        ("a.*b", False, 0),
        (r"bed/(care|x)\b", True, None),
        ("no ticket says this", False, 0),
        (PAYLOAD, False, 2),
        ("bench\\water", False, 0),
    ],
)
def test_words_and_patterns_are_found(whole: Run, sought: str, pattern: bool, many: int | None) -> None:
    found = cases(whole).holding(sought, whole.contenders(), pattern=pattern)
    assert found.sum() == many if many is not None else found.any()


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("(a", "unclosed group"),
        ("(?=x)y", "look-around"),
        (r"(a)\1", "backreferences are not supported"),
        (r"(?:\w{50}){20}", "exceeds size limit"),
        ("a" * 501, "more than 500 characters"),
        ("*", "repetition operator missing expression"),
    ],
)
def test_a_pattern_that_cannot_be_searched_is_refused(whole: Run, pattern: str, told: str) -> None:
    with pytest.raises(SearchError, match=told):
        cases(whole).holding(pattern, [], pattern=True)


def test_a_pattern_that_hangs_elsewhere_does_not_here(whole: Run) -> None:
    text = pl.Series(["a" * 5_000 + "!"])
    assert not module._search([text], "(a+a+)+$", 1).any()


def test_a_search_that_takes_too_long_ends(whole: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SECONDS", -1.0)
    with pytest.raises(SearchError, match="make the pattern simpler"):
        cases(whole).holding("a", [])


# -- differences -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "against", "expected"),
    [
        ("bench/light", "bench/light", [("bench/light", "same")]),
        ("bench/light", "shop/advice", [("shop/advice", "gone"), ("bench/light", "added")]),
        (
            "the red door",
            "the door is",
            [("the ", "same"), ("red ", "added"), ("door", "same"), (" is", "gone")],
        ),
        ("我恨你", "我爱你", [("我", "same"), ("爱", "gone"), ("恨", "added"), ("你", "same")]),
        ("", "", []),
    ],
)
def test_word_differences(text: str, against: str, expected: list[tuple[str, str]]) -> None:
    assert [(p.text, p.kind) for p in word_diff(text, against) or []] == expected


def test_differences_give_both_texts_back() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        one, other = ("".join(rng.choice(list("ab c.\n我"), 30)) for _ in range(2))
        pieces = word_diff(one, other) or []
        assert "".join(p.text for p in pieces if p.kind != "gone") == one
        assert "".join(p.text for p in pieces if p.kind != "added") == other


def test_differences_of_long_texts_are_not_marked() -> None:
    assert word_diff("a b " * MOST_WORDS, "a") is None


def test_marks_hold_the_text_as_text() -> None:
    shown = marked(word_diff(f"{PAYLOAD} {MARKUP}", "**other** <b>words</b>") or [])
    bare = shown.replace(":green-background[**", "").replace(":red-background[~~", "")
    assert "<script>" not in bare and "](" not in bare
    assert marked([]) == r"\(empty\)"


def test_the_nearest_reference_is_marked_against() -> None:
    assert nearest("the blue door", ["a cat", "the red door", "x"]) == "the red door"
    assert nearest("x", []) is None


# -- the page --------------------------------------------------------------------------------------------


def test_a_sample_of_the_address_is_shown(root: Path, whole: Run) -> None:
    said = words(opened("examples", sample=whole.samples()[FAILED].id))
    assert f"Sample {FAILED + 1}" in said
    assert f"HTTP 500 {PAYLOAD}" in said


def test_another_run_is_not_asked_for_this_ones_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_RUNS", str(tmp_path))
    large, small = make_run(tmp_path), make_run(tmp_path, samples=12, name="triage-0000aaaa")
    at = opened("examples", run=large.name, sample=large.samples()[20].id)
    assert "Sample 21" in words(at)
    at.selectbox(key="run_name").set_value(small.name).run()
    said = words(at)
    assert "of 12 samples shown" in said and "This run has no sample" not in said


def test_a_sample_that_is_not_there_is_said(root: Path) -> None:
    assert "This run has no sample ../../etc" in words(opened("examples", sample="../../etc"))


def test_the_filters_narrow(root: Path) -> None:
    at = opened("examples")
    at.toggle(key=f"{at.session_state['run'].name}/different").set_value(False).run()
    assert "24 of 24 samples shown" in words(at)
    at.text_input[0].set_value("PUMPE").run()
    assert "1 of 24 samples shown" in words(at) and "Sample 3" in words(at)
    at.text_input[0].set_value("no ticket says this").run()
    assert "No sample passes these filters" in words(at)
    at.text_input[0].set_value("(a").run()
    assert "0 of 24 samples shown" in words(at)
    at.toggle(key=f"{at.session_state['run'].name}/pattern").set_value(True).run()
    assert "Not searched: unclosed group." in words(at)


def test_which_samples_one_got_wrong_and_the_other_right_and_what_they_cost(root: Path, whole: Run) -> None:
    at = opened("examples")
    found = values(whole, "exact_match")
    lost = [i for i in range(24) if found["lora"][i] == 0 and found["few-shot"][i] == 1]
    assert f"few-shot better · {len(lost)}" in [o.replace("\\", "") for o in pills(at).options]
    pills(at).set_value(["loss"]).run()
    said = words(at)
    assert f"{len(lost)} of 24 samples shown" in said
    assert at.dataframe[0].value["#"].tolist() == [i + 1 for i in lost]
    took = sum(whole.predictions("few-shot")[i].seconds or 0.0 for i in lost)
    assert "What these answers took: lora" in said and f"few-shot {seconds(took)}" in said


def test_a_link_names_the_contenders_and_the_outcome(root: Path, whole: Run) -> None:
    at = opened(
        "examples", contender="rag", against="few-shot", outcomes="loss,win", sample=whole.samples()[3].id
    )
    assert pills(at).value == ["win", "loss"] and "Sample 4" in words(at)
    assert [box.value for box in at.selectbox if box.label in ("Contender", "against")] == ["rag", "few-shot"]
    pills(at).set_value([]).run()
    assert pills(at).value == [] and "outcomes" not in at.query_params, "the address follows the widgets"
    at = opened("examples", contender="../../etc", against="few-shot", outcomes="loss;drop")
    assert [box.value for box in at.selectbox if box.label in ("Contender", "against")] == [
        "lora",
        "few-shot",
    ]


def test_what_an_hour_of_the_machine_costs_prices_the_answers(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert np.isnan(cases(run).said["lora"].usd).all(), "no price is known"
    text = run.experiment_text() or ""
    run.write_experiment_text(text + "decision: {costs: {gpu_usd_per_hour: 3.6}}\n")
    said = cases(run).said["lora"]
    assert said.usd == pytest.approx(said.seconds / 1000)


def test_next_goes_on(root: Path) -> None:
    at = opened("examples")
    first = next(s.value for s in at.subheader if "Sample" in s.value)
    next(b for b in at.button if b.label == "Next").click().run()
    assert first != next(s.value for s in at.subheader if "Sample" in s.value)


def test_prompts_and_passages_are_there_to_the_letter(root: Path, whole: Run) -> None:
    sample = next(s for s in whole.samples() if s.references == ("gate/login",))
    at = opened("examples", sample=sample.id)
    assert not at.code, "read when they are asked for"
    at.session_state[f"{whole.name}/prompts"] = True
    at.run()
    shown = [c.value for c in at.code]
    rag = next(p for p in whole.prompts("rag") if p.id == sample.id)
    assert [m.text for m in rag.messages if m.text not in shown] == []
    assert [p.text for p in rag.passages if p.text not in shown] == []
    assert any(PAYLOAD in text for text in shown)


def test_a_damaged_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path)
    monkeypatch.setenv("WORKBENCH_RUNS", str(tmp_path))
    path = run.folder / "contenders" / "lora" / "predictions.jsonl"
    row = json.loads(path.read_text().splitlines()[0]) | {"prediction": 7}
    path.write_text(json.dumps(row) + "\n")
    said = words(opened("examples"))
    assert "cannot be read" in said and "predictions.jsonl:1: damaged row" in said


@pytest.mark.parametrize("view", ["examples", "rate", "runs"])
@pytest.mark.parametrize("stage", ["started", "lint", "split", "contenders"])
def test_a_run_that_has_not_come_far_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, view: str, stage: str
) -> None:
    make_run(tmp_path, until=stage)
    monkeypatch.setenv("WORKBENCH_RUNS", str(tmp_path))
    assert "still going, or it was stopped" in words(opened(view))


@pytest.mark.parametrize("view", ["examples", "rate", "runs"])
def test_an_experiment_of_another_version_breaks_no_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, view: str
) -> None:
    make_run(tmp_path, name="triage-00000001")
    make_run(tmp_path, name="triage-00000002").write_experiment_text("name: triage\nnewer: true\n")
    monkeypatch.setenv("WORKBENCH_RUNS", str(tmp_path))
    said = words(opened(view, run="triage-00000002"))
    assert ("samples shown" in said) is (view == "examples")
