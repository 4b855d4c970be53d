"""Every page of the app on whole, partial, broken and missing runs, without a browser."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("streamlit", reason="the app needs streamlit")

from apps.board import gain, metrics_of, pairs, signatures, summaries
from apps.words import ago, literal
from tests.app_pages import opened, words
from tests.example_data import MARKUP, PAYLOAD
from tests.example_run import make_run
from workbench.cli.app import MISSING, app, command
from workbench.records import Difference, Harm, SliceChange
from workbench.runs import Run

PIECES = ("<script>", "<img", "](javascript:")
VIEWS = ("decision", "scores", "examples", "training", "data")


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("WORKBENCH_RUNS", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        ("decision", ("triage · 24 test samples", "CAN'T TELL", "lora", "few-shot", "workbench predict")),
        ("scores", ("Scores", "higher is better", "Paired differences")),
        ("examples", ("of 24 samples shown", "What these answers took", "Sample", "bench/water")),
        ("training", ("lora", "step 30 kept", "the dev loss rose from 0.323 at step 30")),
        ("data", ("Findings", "4 warnings", "84 / 12 / 24")),
    ],
)
def test_each_page_shows_a_whole_run(root, view, expected):
    make_run(root)
    said = words(opened(view))
    assert [part for part in expected if part not in said] == []


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("stage", ["started", "contenders"])
def test_each_page_says_what_to_do_on_a_partial_run(root, view, stage):
    make_run(root, until=stage)
    said = words(opened(view))
    assert "still going, or it was stopped" in said
    if stage == "started":
        assert "workbench run EXPERIMENT.yaml" in said


def test_a_failed_run_shows_its_error(root):
    make_run(root, until="contenders", status="error")
    said = words(opened())
    assert "broke off with an error" in said
    assert "ConnectionError: the server at 127.0.0.1:8000 went away" in said


def test_an_empty_folder_names_the_first_commands(root):
    said = words(opened())
    assert "No runs here yet" in said
    assert "workbench init" in said


def test_a_missing_folder_is_an_empty_one(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_RUNS", str(tmp_path / "nowhere"))
    assert "No runs here yet" in words(opened())


@pytest.mark.parametrize(
    ("view", "file"),
    [
        ("decision", "verdict.json"),
        ("decision", "run.json"),
        ("scores", "contenders/lora/scores.json"),
        ("examples", "samples.jsonl"),
        ("training", "contenders/lora/train.jsonl"),
        ("data", "findings.jsonl"),
    ],
)
def test_a_damaged_file_is_named(root, view, file):
    run = make_run(root)
    (run.folder / file).write_text('{"broken\n')
    said = words(opened(view))
    assert "cannot be read" in said
    assert file in said


def test_a_real_lint_report_and_a_cost_without_a_price_are_read(root):
    from validators import lint

    run = make_run(root)
    data = root / "train.jsonl"
    data.write_text('{"messages": []}\nnot json\n\n')
    run.write_lint(lint([data]).as_dict())
    run.write_cost({**(run.cost() or {}), "usd": None, "reason": "local-model is not priced"})
    said = words(opened("data"))
    assert "error" in said
    assert "no price: local-model is not priced" in said


def test_a_verdict_without_a_tuned_contender_is_shown(root):
    run = make_run(root)
    verdict = run.verdict()
    untuned = tuple(c for c in verdict.contenders if not c.tuned)
    unscored = msgspec.structs.replace(untuned[0], score=None, interval=None, reason="every request failed")
    run.write_verdict(
        msgspec.structs.replace(
            verdict,
            reason="no-tuned-contender",
            tuned=None,
            difference=None,
            differences=(),
            contenders=(unscored, *untuned[1:]),
            payback_months=None,
            if_you_must={},
            smallest_detectable_effect=None,
        )
    )
    said = words(opened())
    assert "nothing tuned was scored yet" in said
    assert "every request failed" in said


def test_harm_and_payback_stand_on_the_decision_page(root):
    run = make_run(root)
    verdict = run.verdict()
    phone = SliceChange(slice="channel=phone", n=40, estimate=-0.21, interval=(-0.35, -0.07))
    costs = verdict.costs | {"payback_probability": 0.93, "horizon_months": 12.0}
    harm = Harm(against="few-shot", slices=(phone,))
    run.write_verdict(msgspec.structs.replace(verdict, harm=harm, costs=costs))
    said = words(opened())
    assert "worse on channel=phone −0.21 [−0.35, −0.07]" in said
    assert "within 12 months: probability 0.93" in said


class TestPicker:
    def test_lists_every_run_the_newest_first_with_its_status(self, root):
        make_run(root, name="triage-00000001", until="lint", status="cancelled")
        make_run(root, name="triage-00000002")
        box = opened().sidebar.selectbox[0]
        assert box.options == ["✓ triage-00000002", "⊘ triage-00000001"]

    def test_the_address_picks_a_run(self, root):
        make_run(root, name="triage-00000001")
        make_run(root, name="triage-00000002")
        at = opened(run="triage-00000001")
        assert at.sidebar.selectbox[0].value == "triage-00000001"
        assert "still going" not in words(at)

    def test_picking_another_run_changes_the_page(self, root):
        make_run(root, name="triage-00000001", until="lint")
        make_run(root, name="triage-00000002")
        at = opened()
        at.sidebar.selectbox[0].set_value("triage-00000001").run()
        assert "No verdict yet" in words(at)
        assert at.query_params["run"] in ("triage-00000001", ["triage-00000001"])

    @pytest.mark.parametrize(
        "name",
        [
            "..",
            "../secret",
            "/etc",
            "%2e%2e/secret",
            "triage-1f2e9a07/..",
            "a\0b",
            "\\\\host\\share",
            PAYLOAD,
        ],
    )
    def test_the_address_opens_nothing_else(self, tmp_path, monkeypatch, name):
        make_run(tmp_path / "runs")
        make_run(tmp_path, name="secret")
        monkeypatch.setenv("WORKBENCH_RUNS", str(tmp_path / "runs"))
        at = opened(run=name)
        assert at.sidebar.selectbox[0].value == "triage-1f2e9a07"
        assert "There is no run called" in words(at)


def test_markup_of_the_data_is_never_markdown(root):
    run = make_run(root)
    odd = [("examples", run.samples()[place].id) for place in (3, 7, 8)]
    for view, sample in [*odd, *((view, "") for view in VIEWS if view != "examples")]:
        at = opened(view, **({"sample": sample} if sample else {}))
        for element in [*at.markdown, *at.caption, *at.title, *at.subheader, *at.info, *at.warning]:
            assert [piece for piece in PIECES if piece in element.value] == []
            assert not getattr(element, "allow_html", False)


def test_literal_escapes_what_markdown_would_read():
    assert literal("a_b *c* [d](e) <f> :red[g] $h$") == (r"a\_b \*c\* \[d\]\(e\) \<f\> \:red\[g\] \$h\$")
    assert "<" not in literal(MARKUP).replace("\\<", "")


def test_how_long_ago():
    from datetime import UTC, datetime

    now = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
    table = {
        "2026-11-20T11:59:30+00:00": "just now",
        "2026-11-20T11:30:00+00:00": "30 minutes ago",
        "2026-11-20T05:00:00+00:00": "7 hours ago",
        "2026-11-15T12:00:00+00:00": "5 days ago",
        "not a time": "",
    }
    assert {then: ago(then, now) for then in table} == table


class TestBoard:
    def test_numbers_are_those_of_the_folder(self, tmp_path):
        run = make_run(tmp_path)
        assert metrics_of(run) == ["exact_match", "macro_f1", "perplexity"]
        lora = next(c for c in summaries(run, "exact_match") if c.name == "lora")
        assert lora.score == run.scores("lora")["metrics"]["exact_match"]["value"]
        assert lora.tuned
        assert len(signatures(run, "exact_match")) == 1
        assert [p.difference.against for p in pairs(run, "exact_match")] == ["zero-shot", "few-shot", "rag"]

    def test_gain_turns_round_where_lower_is_better(self):
        fell = Difference(against="rag", estimate=-0.3, interval=(-0.5, -0.1), p=0.01, method="t")
        assert gain(fell, True) == fell
        assert (gain(fell, False).estimate, gain(fell, False).interval) == (0.3, (0.1, 0.5))


class TestCommand:
    def test_serves_this_machine_only_and_reports_nothing(self):
        line = command(Path("apps/main.py"), 9000)
        settings = dict(zip(line[5::2], line[6::2], strict=True))
        assert settings["--server.address"] == "127.0.0.1"
        assert settings["--server.port"] == "9000"
        assert settings["--server.headless"] == "true"
        assert settings["--server.enableXsrfProtection"] == "true"
        assert settings["--browser.gatherUsageStats"] == "false"
        assert int(settings["--server.maxUploadSize"]) <= 50

    def test_says_what_to_install(self, monkeypatch, capsys, tmp_path):
        import importlib.util

        import typer

        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(typer.Exit) as left:
            app(tmp_path)
        assert left.value.exit_code == 2
        assert capsys.readouterr().err.strip() == MISSING
        assert "[app]" in MISSING

    def test_a_file_is_no_folder_of_runs(self, capsys, tmp_path):
        import typer

        (tmp_path / "x").write_text("")
        with pytest.raises(typer.Exit) as left:
            app(tmp_path / "x")
        assert left.value.exit_code == 2
        assert "not a folder" in capsys.readouterr().err


def test_the_example_run_is_the_same_every_time(tmp_path):
    one, two = make_run(tmp_path / "a"), make_run(tmp_path / "b")
    assert one.file_index() == two.file_index()
    assert Run.open(one.folder).verdict() == two.verdict()
    json.dumps(one.meta(), allow_nan=False)
