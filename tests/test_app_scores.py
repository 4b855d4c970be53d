"""The pages Decision, Scores and Cost: what-ifs, contrasts, slices, confusion, break-even, diagnostic contenders."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("streamlit", reason="the app needs streamlit")

from streamlit.testing.v1 import AppTest

from apps.bills import bill_of, break_even_of, cost_spans
from apps.board import diagnostics, evidence_of, experiment_of, summaries
from apps.checklist import checklist
from apps.contrasts import contrasts, slice_changes, slice_masks, slice_scores
from apps.whatif import CONTROLS, changed, command, settings_of, turned, what_if
from tests.example_run import make_run
from tests.test_app import opened, words
from workbench.card import headline
from workbench.runs import Run
from workbench.verdict import decide

TODAY = date(2026, 11, 21)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORKBENCH_RUNS", str(tmp_path))
    return tmp_path


def control(at: AppTest, label: str) -> object:
    return next(n for n in at.number_input if n.label.startswith(label))


class TestWhatIf:
    def test_is_what_decide_says_under_these_settings_and_writes_nothing(self, tmp_path: Path) -> None:
        run = make_run(tmp_path)
        before = {p: p.read_bytes() for p in run.folder.rglob("*") if p.is_file()}
        experiment = experiment_of(run)
        for changes in ((("worth_it", 0.5),), (("requests_per_month", 1e6), ("gpu_usd_per_hour", 3.0))):
            decision = turned(experiment.decision, dict(changes))
            assert what_if(run, changes, TODAY) == decide(run, decision=decision, today=TODAY)
        assert {p: p.read_bytes() for p in run.folder.rglob("*") if p.is_file()} == before

    def test_the_same_evidence_answers_every_margin(self, tmp_path: Path) -> None:
        run = make_run(tmp_path)
        assert evidence_of(run, 0.0)[0] is evidence_of(run, 0.0)[0]
        assert evidence_of(run, 1.0)[0] is not evidence_of(run, 0.0)[0]

    def test_settings_that_were_not_turned_are_no_change(self, tmp_path: Path) -> None:
        decision = experiment_of(make_run(tmp_path)).decision
        own = settings_of(decision)
        assert set(own) == {c.key for c in CONTROLS}
        assert changed(decision, own) == {}
        assert changed(decision, own | {"labour_usd": 5.0}) == {"labour_usd": 5.0}
        assert turned(decision, {}) == decision
        # The provider's fee counts only while nobody has named another.
        assert "hosting_usd_per_hour" not in turned(decision, {"labour_usd": 5.0}).costs.model_fields_set

    @pytest.mark.parametrize("key", ["worth_it", "horizon_months"])
    def test_a_number_out_of_range_is_named(self, tmp_path: Path, key: str) -> None:
        with pytest.raises(ValueError, match=key):
            what_if(make_run(tmp_path), ((key, -1.0),), TODAY)

    def test_the_command_asks_the_same(self, tmp_path: Path) -> None:
        run = make_run(tmp_path / "runs")
        asked = command(run, {"worth_it": 0.5, "requests_per_month": 1_234_567.0, "budget_usd": None})
        assert asked == "workbench decide runs/triage-1f2e9a07 --worth-it 0.5 --requests-per-month 1234567"

    def test_turning_a_control_changes_the_card_and_undo_brings_it_back(self, root: Path) -> None:
        run = make_run(root)
        filed = headline(run.verdict())
        at = opened()
        assert filed in words(at)
        control(at, "Worth it").set_value(0.9)
        at.run()
        said = words(at)
        assert "What if: the card above is not on file" in said
        assert "--worth-it 0.9" in said
        assert headline(what_if(run, (("worth_it", 0.9),), date.today())) in said
        next(b for b in at.button if b.label == "As in the file").click().run()
        assert "What if: the card" not in words(at)


def test_the_checklist_says_what_is_known_and_what_is_not(root: Path) -> None:
    run = make_run(root)
    points = {(p.topic, p.question): p for p in checklist(run, run.verdict())}
    assert list(dict.fromkeys(topic for topic, _ in points)) == [
        "Use case",
        "Alternatives",
        "Costs",
        "Benefits",
    ]
    assert points["Costs", "The work?"].missing == "counts as $0: set labour_usd in decision.costs"
    assert "few-shot" in points["Alternatives", "What was tried without tuning?"].answer
    assert points["Benefits", "Cheaper a month by?"].answer == "$10.50"
    assert "Before tuning" in words(opened())


class TestContrasts:
    def test_stored_pairs_are_those_of_the_folder_and_turn_round(self, tmp_path: Path) -> None:
        run = make_run(tmp_path)
        over_rag = {c.name: c for c in contrasts(run, "exact_match", "rag")}
        over_lora = {c.name: c for c in contrasts(run, "exact_match", "lora")}
        assert set(over_rag) == {"zero-shot", "few-shot", "lora"}
        a, b = over_rag["lora"].gain, over_lora["rag"].gain
        assert a.estimate == -b.estimate
        assert a.interval == (-b.interval[1], -b.interval[0])

    def test_pairs_that_are_not_stored_are_compared_now(self, tmp_path: Path) -> None:
        run = make_run(tmp_path, samples=80)
        one = {c.name: c for c in contrasts(run, "exact_match", "zero-shot")}["few-shot"]
        values = {c.name: c.score for c in summaries(run, "exact_match")}
        # One request of zero-shot failed, so the pair is over the others.
        assert one.n == 79
        assert one.gain.estimate == pytest.approx(values["few-shot"] - values["zero-shot"], abs=0.02)

    def test_lower_is_better_turns_the_sign(self, tmp_path: Path) -> None:
        run = make_run(tmp_path)
        lora = {c.name: c for c in contrasts(run, "perplexity", "zero-shot")}["lora"]
        values = {c.name: c.score for c in summaries(run, "perplexity")}
        assert values["lora"] < values["zero-shot"]
        assert lora.gain.estimate > 0

    def test_slices_add_up_to_the_whole(self, tmp_path: Path) -> None:
        run = make_run(tmp_path, samples=60)
        languages = [s for s in slice_scores(run, "exact_match") if s.slice.startswith("language=")]
        lora = [s for s in languages if s.name == "lora"]
        whole = next(c for c in summaries(run, "exact_match") if c.name == "lora")
        assert sum(s.value * s.n for s in lora) / sum(s.n for s in lora) == pytest.approx(whole.score)
        gains = slice_changes(run, "exact_match", "lora", "rag")
        assert {g.slice for g in gains} <= set(slice_masks(run))


def test_values_of_different_signatures_stand_in_different_tables(root: Path) -> None:
    run = make_run(root)
    scores = run.scores("rag")
    scores["metrics"]["exact_match"]["signature"] = "exact_match|norm:none"
    run.write_scores("rag", scores)
    at = opened("scores")
    assert "kept apart" in words(at)
    boards = [set(d.value["contender"]) for d in at.dataframe if "contender" in d.value.columns]
    assert boards == [{"● zero-shot", "● few-shot", "◆ lora"}, {"● rag"}]


def test_a_diagnostic_contender_is_drawn_as_one(root: Path) -> None:
    run = make_run(root)
    info = run.contender("rag")
    run.write_contender("rag", info | {"diagnostic": True})
    assert diagnostics(run) == ["rag"]
    at = opened("scores")
    assert "■ rag" in set(at.dataframe[0].value["contender"])
    assert "neither win nor be an alternative" in words(at)
    assert "neither win nor be an alternative" in words(opened("cost"))
    from workbench.charts import scores_chart

    drawn = scores_chart(summaries(run, "exact_match"), "exact_match", diagnostic=["rag"]).to_dict()
    (rows,) = {str(v["values"]): v["values"] for v in _data(drawn) if "role" in v["values"][0]}.values()
    assert {r["name"]: r["role"] for r in rows}["rag"] == "diagnostic"


def _data(spec: object) -> list[dict]:
    if isinstance(spec, dict):
        own = [spec["data"]] if "data" in spec and spec["data"].get("values") else []
        return own + [found for value in spec.values() for found in _data(value)]
    return [found for value in spec for found in _data(value)] if isinstance(spec, list) else []


def test_holm_marks_stand_beside_secondary_metrics(root: Path) -> None:
    run = make_run(root)
    comparison = run.comparison()
    for row in comparison["metrics"]["macro_f1"]:
        row["p_holm"] = 0.012
    run.write_comparison(comparison)
    at = opened("scores")
    assert not any("p (Holm)" in d.value.columns for d in at.dataframe)
    at.session_state[f"metric of {run.name}"] = "macro_f1"
    at.run()
    assert any("p (Holm)" in d.value.columns for d in at.dataframe)
    holm = {c.name: c.p_holm for c in contrasts(run, "macro_f1", "rag")}
    assert holm["lora"] == 0.012


def test_the_confusion_of_labels_is_shown(root: Path) -> None:
    run = make_run(root)
    assert run.scores("lora")["confusion"]
    at = opened("scores")
    assert "Which label is taken for which" in words(at)
    assert any({"true", "answered", "times"} <= set(d.value.columns) for d in at.dataframe)


def priced(root: Path) -> Run:
    """The example with a price of the machine's hour and of the work, so that all costs are known."""
    run = make_run(root)
    costs = "decision: {costs: {gpu_usd_per_hour: 2.0, labour_usd: 40}}\n"
    run.write_experiment_text((run.experiment_text() or "") + costs)
    return run


class TestCost:
    def test_the_curve_is_the_bill_at_every_volume(self, tmp_path: Path) -> None:
        run = priced(tmp_path)
        curve = break_even_of(run, "lora", "few-shot", 50_000.0, 12.0)
        assert len(curve) == 25
        assert curve[0]["volume"] == 0.0
        assert curve[-1]["volume"] >= 200_000
        for row in curve[1:]:
            assert row["low"] < row["net"] < row["high"]
            bill = bill_of(run, "lora", "few-shot", row["volume"], 12.0)
            assert row["net"] == pytest.approx(12 * bill.saving_per_month - bill.fixed)

    def test_the_page_says_from_which_volume_it_pays(self, root: Path) -> None:
        run = priced(root)
        curve = break_even_of(run, "lora", "few-shot", 50_000.0, 12.0)
        first, last = curve[0], curve[-1]
        at = -first["net"] * last["volume"] / (last["net"] - first["net"])
        assert f"has paid back after 12 months from {at:,.0f} requests a month on" in words(opened("cost"))

    def test_without_prices_it_says_so(self, root: Path) -> None:
        run = make_run(root)
        assert break_even_of(run, "lora", "few-shot", 50_000.0, 12.0) == ()
        said = words(opened("cost"))
        assert "No curve: a price is unknown" in said
        assert "Latency" in said

    def test_intervals_hold_the_price(self, tmp_path: Path) -> None:
        run = priced(tmp_path)
        spans = cost_spans(run)
        assert list(spans) == run.contenders()
        for one in evidence_of(run, 2.0):
            low, high = spans[one.name]
            assert low < one.summary.usd_per_1000 < high


@pytest.mark.parametrize(
    ("view", "expected"), [("decision", "exact match"), ("scores", "lora"), ("cost", "Latency")]
)
def test_an_experiment_of_another_version_leaves_the_rest_readable(
    root: Path, view: str, expected: str
) -> None:
    run = make_run(root)
    run.write_experiment_text("name: triage\nfrom_the_future: true\n")
    at = opened(view)
    assert expected in words(at) + str([d.value for d in at.dataframe])
    assert "What if" not in str([e.label for e in at.expander])


def test_a_verdict_of_before_is_shown_without_what_it_lacks(root: Path) -> None:
    run = make_run(root)
    verdict = msgspec.structs.replace(
        run.verdict(), smallest_detectable_effect=None, if_you_must={}, costs={}
    )
    run.write_verdict(verdict)
    assert "no smallest detectable effect" in words(opened())
    assert Run.open(run.folder).verdict() == verdict
