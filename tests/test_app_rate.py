"""Blind rating: whose turn it is, what is kept, taken back and counted, and the verdict that follows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer

pytest.importorskip("streamlit", reason="the app needs streamlit")

from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from tests.app_pages import opened, words
from tests.judged_run import TODAY, Answers, jsonl, marks, question, run_it, write_experiment
from workbench.blind import BLOCK, Pair, agreements, pairs, tally, upcoming
from workbench.cli.report import report
from workbench.comparisons import comparison_now
from workbench.experiment import Experiment
from workbench.human import scores_now
from workbench.ratings import RatingsError, latest, people, rate
from workbench.records import Rating
from workbench.runs import Run
from workbench.verdict import decide, standing

N = 40
# lora and few-shot say the same on the last 12.
SAID = {"few-shot": Answers(marks(12, 28)), "lora": Answers("?" * 28 + "-" * 12, tuned=True)}
BOTH = ("lora", "few-shot")
IDS = [f"s{i}" for i in range(100)]


def judged_by_people(folder: Path) -> Run:
    path = write_experiment(folder, SAID, metrics={"primary": "human", "also": ["exact_match"]})
    return run_it(path, folder / "runs")[0]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("WORKBENCH_RUNS", str(tmp_path / "runs"))
    return judged_by_people(tmp_path)


def choice(sample: str, winner: str, rater: str = "ann", a: str = "lora", b: str = "few-shot") -> Rating:
    return Rating(id=sample, a=a, b=b, winner=winner, rater=rater)  # type: ignore[arg-type]


# -- the order -------------------------------------------------------------------------------------------


def test_the_order_is_a_raters_own_and_stays() -> None:
    ann, bob = (list(pairs(IDS, set(), BOTH, rater)) for rater in ("ann", "bob"))
    assert ann == list(pairs(IDS, set(), ("few-shot", "lora"), "ann"))
    assert [p.id for p in ann] != [p.id for p in bob]
    assert sorted(p.id for p in ann) == sorted(IDS)
    for start in range(0, 100, BLOCK):
        assert {p.id for p in ann[start : start + BLOCK]} == {p.id for p in bob[start : start + BLOCK]}


def test_sides_are_drawn() -> None:
    found = list(pairs([f"{i}" for i in range(2000)], set(), BOTH, "ann"))
    assert all({p.left, p.right} == set(BOTH) for p in found)
    assert 0.45 < sum(p.left == "lora" for p in found) / 2000 < 0.55


def test_answers_that_read_alike_are_passed_and_not_asked() -> None:
    alike = set(IDS[::2])
    order = list(pairs(IDS, alike, BOTH, "ann"))
    passed, first = upcoming(iter(order), set())
    assert first is not None and first.id not in alike
    assert all(p.alike for p in passed) and order[: len(passed) + 1] == [*passed, first]
    done = {p.id for p in [*passed, first]}
    again, second = upcoming(iter(order), done)
    assert second is not None and second.id not in done and not {p.id for p in again} & done
    rest, nobody = upcoming(iter(order), set(IDS) - alike)
    assert nobody is None and {p.id for p in rest} == alike


@pytest.mark.parametrize(("side", "winner"), [("left", "a"), ("right", "b"), ("tie", "tie")])
def test_a_side_is_kept_as_a_name(side: str, winner: str) -> None:
    rating = Pair("s", "lora", "rag", alike=False).rating(side, "ann", "now")  # type: ignore[arg-type]
    assert (rating.a, rating.b, rating.winner, rating.rater, rating.time) == (
        "lora",
        "rag",
        winner,
        "ann",
        "now",
    )


# -- counting --------------------------------------------------------------------------------------------


def test_the_win_rate_counts_ties_half() -> None:
    given = [choice(f"s{i}", "a") for i in range(30)]
    given += [choice(f"t{i}", "b", a="few-shot", b="lora") for i in range(10)]
    given += [choice(f"u{i}", "tie") for i in range(20)] + [choice(f"v{i}", "b") for i in range(20)]
    found = tally(given, BOTH, {})
    assert found is not None and (found.wins, found.ties, found.losses) == (40, 20, 20)
    assert found.rate.value == pytest.approx(50 / 80) and found.rate.n == 80
    assert found.rate.interval is not None and found.rate.interval[0] < 0.625 < found.rate.interval[1]
    turned = tally(given, ("few-shot", "lora"), {})
    assert turned is not None and turned.rate.value == pytest.approx(30 / 80)
    assert tally(given, ("lora", "rag"), {}) is None


def test_raters_agree_over_what_both_were_asked() -> None:
    ann = [choice(s, "a", "ann") for s in IDS[:10]] + [choice(s, "tie", "ann") for s in IDS[10:20]]
    bob = [choice(s, "b", "bob", "few-shot", "lora") for s in IDS[:15]] + [choice(IDS[50], "a", "bob")]
    found = agreements([*ann, *bob], BOTH, alike={IDS[0]})
    assert list(found) == [("ann", "bob")]
    one = found["ann", "bob"]
    assert one.n == 14 and one.exact == pytest.approx(9 / 14)


def test_what_is_taken_back_is_gone() -> None:
    back = Rating(id="s1", a="few-shot", b="lora", rater="ann", withdrawn=True)
    given = [choice("s1", "a"), choice("s1", "b", "bob"), choice("s2", "a")]
    assert latest([*given, back]) == given[1:]
    assert latest([*given, back, choice("s1", "tie")]) == [*given[1:], choice("s1", "tie")]


# -- the verdict -----------------------------------------------------------------------------------------


def test_ratings_after_the_run_reach_the_verdict(run: Run) -> None:
    before = run.verdict()
    assert before is not None and before.reason == "no-signal" and "page Rate" in before.next
    ids = [s.id for s in run.samples()]
    rate(run, *(choice(s, "a") for s in ids[:20]))
    after = standing(run, today=TODAY)
    assert after is not None and (after.headline, after.choice) == ("tune", "lora")
    assert after == decide(run, today=TODAY)
    assert run.verdict() == before, "what the run wrote stays"
    scores = dict(scores_now(run, Experiment.load(run.folder / "experiment.yaml")))
    assert scores["lora"]["metrics"]["human"]["value"] == 1.0
    assert scores["lora"]["metrics"]["exact_match"] == (run.scores("lora") or {})["metrics"]["exact_match"]
    back = [Rating(id=s, a="lora", b="few-shot", rater="ann", withdrawn=True) for s in ids[:20]]
    rate(run, *back)
    taken_back = standing(run, today=TODAY)
    assert taken_back is not None and taken_back.reason == "no-signal"


def test_report_and_comparisons_follow_ratings(run: Run) -> None:
    experiment = Experiment.load(run.folder / "experiment.yaml")
    assert comparison_now(run, experiment) == run.comparison()
    rate(run, *(choice(s.id, "a") for s in run.samples()[:20]))
    found = (comparison_now(run, experiment) or {})["metrics"]["human"]
    assert [(pair["difference"]["estimate"], pair["n"]) for pair in found] == [(1.0, 20)]
    before = run.report_path("md").read_text()
    cli = typer.Typer()
    cli.command()(report)
    done = CliRunner().invoke(cli, [str(run.folder)])
    assert done.exit_code == 0, done.output
    after = run.report_path("md").read_text()
    assert ("TUNE · lora" in before, "TUNE · lora" in after) == (False, True)
    assert "| lora − few-shot | +1.000" in after and "| 1.000 " in after


def test_the_folder_keeps_what_the_ratings_file_said(tmp_path: Path) -> None:
    rows = [
        {"input": question(i), "a": "lora", "b": "few-shot", "winner": "a", "rater": "bob"} for i in range(20)
    ]
    jsonl(tmp_path / "people.jsonl", rows)
    metrics, extra = {"primary": "human"}, {"ratings": "people.jsonl"}
    run, first = run_it(write_experiment(tmp_path, SAID, metrics=metrics, extra=extra), tmp_path / "runs")
    assert first.choice == "lora"
    (tmp_path / "people.jsonl").unlink()
    rate(run, *(choice(s.id, "b") for s in run.samples()[:20]))
    copy = Experiment.load(run.folder / "experiment.yaml")
    assert len(people(run, copy)) == 40
    verdict = standing(run, today=TODAY)
    assert verdict is not None and verdict.choice != "lora", "bob for lora, ann for few-shot"
    (run.folder / "given-ratings.jsonl").unlink()
    with pytest.raises(RatingsError, match=r"does not hold what people\.jsonl said"):
        people(run, copy)


def test_a_kill_while_ratings_are_written_leaves_whole_lines(run: Run) -> None:
    code = (
        "import sys; from workbench.runs import Run; from workbench.ratings import rate\n"
        "from workbench.records import Rating\n"
        "run = Run(__import__('pathlib').Path(sys.argv[1])); print('go', flush=True)\n"
        "for n in range(10**6): rate(run, Rating(id=f's{n}', a='lora', b='few-shot', winner='a', rater='x'), said={})"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(run.folder)], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"go\n"
    while len(run.ratings()) < 20:
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    many = len(run.ratings())
    rate(run, choice("last", "a"))
    assert [r.id for r in run.ratings()] == [*(f"s{n}" for n in range(many)), "last"]


# -- the page --------------------------------------------------------------------------------------------


def begin(rater: str = "Ann") -> AppTest:
    return opened("rate").text_input(key="rater").set_value(rater).run()


def press(at: AppTest, label: str) -> AppTest:
    next(b for b in at.button if b.label == label).click().run()
    assert not at.exception
    return at


def shown(at: AppTest) -> list[str]:
    return [t.value for t in at.text]


def test_without_a_name_nothing_is_asked(run: Run) -> None:
    at = opened("rate")
    assert "Write your name to begin" in words(at)
    assert [b.label for b in at.button if b.label in ("Tie", "Undo")] == []


def test_twenty_pairs_change_the_verdict_on_the_decision_page(run: Run) -> None:
    assert "CAN'T TELL" in words(opened("decision"))
    at = begin()
    assert "0 of 28 pairs rated by you" in at.get("progress")[0].proto.text
    for _ in range(20):
        # The rater prefers the answer that names a desk, wherever it stands; lora says "… desk".
        left, right = shown(at)[1:3]
        assert left != right
        press(at, "Left is better" if left.endswith(" desk") else "Right is better")
    assert "20 of 28 pairs rated by you" in at.get("progress")[0].proto.text
    asked = [r for r in latest(run.ratings()) if r.winner != "tie"]
    assert len(asked) == 20 and {r.rater for r in asked} == {"Ann"} and all(r.time for r in asked)
    assert {r.a if r.winner == "a" else r.b for r in asked} == {"lora"}
    assert "These ratings decide" in words(at)
    said = words(opened("decision"))
    assert "CAN'T TELL" not in said and "TUNE" in said


def test_nothing_tells_who_is_who_before_the_choice(run: Run) -> None:
    at = begin()
    asked = [t for t in words(at).splitlines() if t in BOTH]
    assert asked == []
    assert [c.value for c in at.caption if c.value in ("Left", "Right")] == ["Left", "Right"]


def test_undo_takes_back_and_asks_again(run: Run) -> None:
    at = begin()
    first = shown(at)
    press(at, "Tie")
    second = shown(at)
    assert second != first
    press(at, "Undo")
    assert shown(at) == first
    press(at, "Left is better")
    assert shown(at) == second
    kept = [r for r in latest(run.ratings()) if r.rater == "Ann"]
    assert [r.winner for r in kept if r.winner != "tie"] == ["a"]


def test_another_session_goes_on_where_the_rater_was(run: Run) -> None:
    at = begin()
    press(press(at, "Tie"), "Tie")
    third = shown(at)
    assert shown(begin()) == third
    other = begin("Bob")
    assert "0 of 28 pairs rated by you" in other.get("progress")[0].proto.text


def test_all_rated_is_said_and_what_reads_alike_is_a_tie(run: Run) -> None:
    ids = [s.id for s in run.samples()]
    rate(run, *(choice(s, "tie", "Ann") for s in ids[:27]))
    at = press(begin(), "Tie")
    assert "You have rated every pair of these two" in words(at) and "0 won" not in words(at)
    at.session_state[f"{run.name}/said"] = True
    assert "0 won · 40 level · 0 lost" in words(at.run())
    other = begin("Bob")
    for _ in range(3):
        press(other, "Left is better")
    table = at.run().dataframe[0].value
    assert table["raters"].tolist() == ["Ann and Bob"] and table["pairs"].tolist() == [3]


def test_ratings_on_a_scale_are_not_mixed_with_choices(run: Run) -> None:
    rate(run, Rating(id=run.samples()[0].id, contender="lora", rating=0.5, rater="ann"))
    assert "People rated these answers on a scale" in words(opened("rate"))


def test_one_contender_is_no_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_RUNS", str(tmp_path / "runs"))
    run_it(write_experiment(tmp_path, {"lora": SAID["lora"]}), tmp_path / "runs")
    assert "pair of contenders" in words(opened("rate"))
