"""Several runs side by side: what differs in their settings, and how the scores moved."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("streamlit", reason="the app needs streamlit")

from metrics import compare_paired
from tests.app_pages import opened, words
from tests.example_data import PAYLOAD
from tests.example_run import make_run
from workbench.across import scores_moved, settings_apart
from workbench.charts import svg
from workbench.charts_runs import runs_chart
from workbench.runs import Run, RunError

BETTER = {"zero-shot": 0.35, "few-shot": 0.84, "rag": 0.62, "lora": 0.6}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORKBENCH_RUNS", str(tmp_path))
    return tmp_path


@pytest.fixture
def two(root: Path) -> tuple[Run, Run]:
    """The same test samples; the second run's lora is worse, trained otherwise, from another seed."""
    first = make_run(root, name="triage-00000001")
    second = make_run(root, name="triage-00000002", accuracy=BETTER)
    text = (second.experiment_text() or "").replace("kind: fine-tuned", "kind: fine-tuned, epochs: 5")
    second.write_experiment_text(text.replace("group_by: customer", "group_by: customer, seed: 8"))
    second.write_meta({**second.meta(), "dataset": {"files": {"tickets.jsonl": "0" * 64}, "rows": 120}})
    return first, second


def test_only_what_differs_is_named(two: tuple[Run, Run]) -> None:
    assert {s.place: s.values for s in settings_apart(two)} == {
        "data file.tickets.jsonl": (two[0].meta()["dataset"]["files"]["tickets.jsonl"][:12], "0" * 12),
        "contenders.lora.epochs": ("2.0", "5.0"),
        "data.split.seed": ("7", "8"),
    }
    assert settings_apart([two[0], two[0]]) == []


def test_a_contender_that_is_not_there_is_a_dash(two: tuple[Run, Run]) -> None:
    first, second = two
    lines = (second.experiment_text() or "").splitlines(keepends=True)
    second.write_experiment_text("".join(line for line in lines if "name: rag" not in line))
    apart = {s.place: s.values for s in settings_apart([first, second])}
    assert apart["contenders.rag.kind"] == ("rag", "–")


def test_an_experiment_of_another_version_is_named(two: tuple[Run, Run]) -> None:
    two[1].write_experiment_text("name: triage\nsomething: new\n")
    with pytest.raises(RunError, match="triage-00000002: its experiment cannot be read"):
        settings_apart(two)


def test_scores_move_with_intervals_on_the_same_samples(two: tuple[Run, Run]) -> None:
    found = {m.contender: m for m in scores_moved(two, "exact_match")}
    assert list(found) == ["zero-shot", "few-shot", "rag", "lora"]
    lora = found["lora"]
    before, after = (run.scores("lora")["metrics"]["exact_match"] for run in two)  # type: ignore[index]
    assert lora.scores == (before, after) and lora.reasons == (None,)
    expected = compare_paired(
        [row[0] for row in before["rows"]],
        [row[0] for row in after["rows"]],
        groups=two[0].scores("lora")["groups"],  # type: ignore[index]
    )
    change = lora.changes[0]
    assert change is not None and change.difference == pytest.approx(after["value"] - before["value"])
    assert (change.interval, change.p) == (expected.interval, expected.p)
    zero = found["zero-shot"].changes[0]
    assert zero is not None and zero.difference == 0.0 and zero.n == 23, "the failed answer is left out"


def test_other_samples_are_not_comparable(root: Path, two: tuple[Run, Run]) -> None:
    other = make_run(root, name="triage-00000003", samples=30)
    found = scores_moved([two[0], other], "exact_match")
    assert {m.changes for m in found} == {(None,)}
    told = "other test samples (24 of 30 are the same): not comparable"
    assert {m.reasons for m in found} == {(told,)}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"signature": "another"}, "measured in another way: not comparable"),
        ({"value": None, "reason": "nobody answered"}, "nobody answered"),
    ],
)
def test_why_scores_do_not_compare(two: tuple[Run, Run], change: dict[str, str], told: str) -> None:
    scores = two[1].scores("lora") or {}
    scores["metrics"]["exact_match"] |= change
    two[1].write_scores("lora", scores)
    found = next(m for m in scores_moved(two, "exact_match") if m.contender == "lora")
    assert (found.changes, found.reasons) == ((None,), (told,))


def test_a_metric_that_one_run_lacks(two: tuple[Run, Run]) -> None:
    scores = two[1].scores("lora") or {}
    del scores["metrics"]["macro_f1"]
    two[1].write_scores("lora", scores)
    found = next(m for m in scores_moved(two, "macro_f1") if m.contender == "lora")
    assert found.reasons == ("not scored in both runs",) and found.scores[1] is None


def test_the_chart_has_a_mark_a_run_and_contender(two: tuple[Run, Run]) -> None:
    drawn = svg(runs_chart(scores_moved(two, "exact_match"), [run.name for run in two], "exact_match"))
    assert "triage-00000001" in drawn and "triage-00000002" in drawn


# -- the page --------------------------------------------------------------------------------------------


def test_two_runs_stand_side_by_side(two: tuple[Run, Run]) -> None:
    at = opened("runs", run="triage-00000002")
    assert at.multiselect[0].value == ["triage-00000001", "triage-00000002"]
    scores, settings = (frame.value for frame in at.dataframe)
    assert settings["setting"].tolist() == [
        "data file.tickets.jsonl",
        "data.split.seed",
        "contenders.lora.epochs",
    ]
    moved = dict(zip(scores["contender"], scores["change in triage-00000002"], strict=True))
    assert moved["few-shot"].startswith("0.00") and moved["lora"].startswith("−0.")
    assert "How the scores moved" in words(at)


def test_other_test_splits_are_said_not_to_compare(root: Path) -> None:
    make_run(root, name="triage-00000001")
    make_run(root, name="triage-00000002", samples=30)
    said = words(opened("runs"))
    assert "other test samples (24 of 30 are the same): not comparable" in said


def test_one_run_is_not_enough(root: Path) -> None:
    make_run(root)
    assert "There is only one run here" in words(opened("runs"))


def test_a_run_without_scores_and_a_damaged_one(root: Path) -> None:
    make_run(root, name="triage-00000001", until="split")
    second = make_run(root, name="triage-00000002")
    assert "How the scores moved" in words(opened("runs", run="triage-00000002"))
    second.write_experiment_text(f"name: {PAYLOAD!r}\n")
    said = words(opened("runs", run="triage-00000002"))
    assert "its experiment cannot be read" in said
