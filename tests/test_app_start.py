"""The Start page: from an uploaded file to an experiment, and runs that the app starts, stops and goes on with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("streamlit", reason="the app needs streamlit")

from streamlit.testing.v1 import AppTest

from apps.jobs import EXPERIMENTS, Job, JobError, jobs, last_words, progress, run_of, save, start, stop
from apps.views.start import planned
from tests.example_data import PAYLOAD
from tests.test_app_data import Given, said
from workbench.experiment import Experiment
from workbench.runs import Run

ROOT = Path(__file__).resolve().parent.parent
MAIN = ROOT / "apps" / "main.py"
DESKS = ("till/charge", "bench/water", "gate/login")
ROWS = "ticket,label,customer\n" + "".join(
    f"number {i} is about the {word},{DESKS[i % 3]},c{i % 12}\n"
    for i, word in enumerate(["bill", "pump", "door"] * 20)
)
EXPERIMENT = """\
name: tickets
task: classification
data: {path: rows.csv, columns: {input: ticket, output: label}}
backends:
  api: {kind: openai, base_url: "%s", model: m, concurrency: 1}
contenders:
  - {name: zero-shot, kind: prompting}
"""


def page(root: Path, monkeypatch: pytest.MonkeyPatch, *, allow: bool = False) -> AppTest:
    monkeypatch.setenv("WORKBENCH_RUNS", str(root))
    monkeypatch.setenv("WORKBENCH_ALLOW_RUN", str(int(allow)))
    at = AppTest.from_file(str(MAIN), default_timeout=60).run()
    at.switch_page("views/start.py").run()
    assert not at.exception, at.exception
    return at


def given(at: AppTest, text: str, name: str = "tickets.csv") -> AppTest:
    at.file_uploader[0].set_value((name, text.encode(), "")).run()
    assert not at.exception, at.exception
    return at


def until(true: Callable[[], Any], what: str) -> None:
    for _ in range(1200):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError(what)


# -- the form --------------------------------------------------------------------------------------------


class TestForm:
    def test_a_table_becomes_an_experiment_that_parses(self, tmp_path, monkeypatch):
        at = given(page(tmp_path, monkeypatch), ROWS)
        words = said(at)
        assert "60 rows; this looks like classification" in words
        assert "show a true gain of" in words
        text = next(c.value for c in at.code if c.value.startswith("# workbench run"))
        parsed = Experiment.parse(text, path=tmp_path / "experiment.yaml")
        assert parsed.data.path == "tickets.csv"
        assert parsed.decision.worth_it == 0.05
        assert parsed.data.split.group_by == "metadata.customer"

    def test_the_answers_reach_the_file(self, tmp_path, monkeypatch):
        at = given(page(tmp_path, monkeypatch), ROWS)
        at.number_input[0].set_value(0.2).run()
        at.number_input[1].set_value(1234).run()
        at.number_input[3].set_value(500.0).run()
        next(t for t in at.text_input if "better" in t.label).set_value(PAYLOAD).run()
        text = next(c.value for c in at.code if c.value.startswith("# workbench run"))
        parsed = Experiment.parse(text, path=tmp_path / "experiment.yaml")
        assert parsed.decision.worth_it == 0.2
        assert parsed.decision.requests_per_month == 1234
        assert parsed.decision.costs.labour_usd == 500
        assert f"# What should get better: {PAYLOAD}" in text

    def test_columns_that_nobody_can_guess_are_asked_for(self, tmp_path, monkeypatch):
        at = given(page(tmp_path, monkeypatch), ROWS.replace("ticket,label", "x1,x2", 1))
        assert "Their names do not tell" in at.info[0].value
        at.selectbox[0].set_value("x1").run()
        at.selectbox[1].set_value("x2").run()
        assert "this looks like classification" in said(at)

    @pytest.mark.parametrize(
        ("name", "blob", "fault"),
        [
            ("x.jsonl", "", "no rows"),
            ("x.jsonl", "not json\n", "x.jsonl:1"),
            ("../../x.json", "[1, 2]", "x.json"),
            ("x.csv", "ticket,label\nonly,\n", "no row can be used"),
            (f"{PAYLOAD}.jsonl", '{"messages": 3}\n', "no row can be used"),
        ],
    )
    def test_faults_are_told_and_say_no_place_of_this_machine(self, tmp_path, monkeypatch, name, blob, fault):
        words = said(given(page(tmp_path, monkeypatch), blob, name))
        assert fault in words
        assert "workbench-upload-" not in words

    def test_without_leave_nothing_is_written_or_run(self, tmp_path, monkeypatch):
        at = given(page(tmp_path, monkeypatch), ROWS)
        assert [b.label for b in at.button if "run" in b.label.lower()] == []
        assert len(at.text_area) == 0
        assert list(tmp_path.iterdir()) == []

    def test_a_faulty_change_is_told(self, tmp_path, monkeypatch):
        at = given(page(tmp_path, monkeypatch, allow=True), ROWS)
        at.text_area[0].set_value(at.text_area[0].value.replace("worth_it", "worth")).run()
        assert not at.exception
        assert "worth" in "\n".join(c.value for c in at.code)
        assert [b.label for b in at.button if b.label == "Save and run"] == []

    def test_the_plan_is_the_command_s(self, serve_chat):
        told = planned(Given("rows.csv", ROWS.encode()), EXPERIMENT % serve_chat)
        assert "plan      tickets" in told
        assert "show a true gain" in told
        assert "workbench-upload-" not in planned(Given("rows.csv", ROWS.encode()), "name: [")


# -- runs that the app starts ----------------------------------------------------------------------------


@pytest.fixture
def slow(serve) -> tuple[str, threading.Event]:
    """A server that answers nothing until it is told to."""
    go = threading.Event()
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": DESKS[0]}}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}

    def behave(body: Any, before: int) -> Any:
        go.wait(60)
        return 200, {}, {**answer, "choices": [choice], "usage": usage}

    return serve(behave)[0], go


def test_two_who_look_at_once_see_no_run(tmp_path):
    job = save(tmp_path, "tickets", "name: tickets\n", "rows.csv", ROWS.encode())
    (job.folder / "run.pid").write_text("1")
    looking = "import sys; from apps.jobs import *\nwhile True: Job(Path(sys.argv[1]), 'tickets').pid"
    other = subprocess.Popen([sys.executable, "-c", looking, str(tmp_path)], cwd=ROOT)
    try:
        assert {job.pid for _ in range(20_000)} == {None}
    finally:
        other.kill()
        other.wait()


def test_a_run_is_started_stopped_and_gone_on_with(tmp_path, slow, monkeypatch):
    address, go = slow
    job = save(tmp_path, "tickets", EXPERIMENT % address, "rows.csv", ROWS.encode())
    assert job.pid is None
    # The process that starts it leaves at once: the run is nobody's child any more.
    starting = f"from apps.jobs import *; print(start(Job(Path({str(tmp_path)!r}), 'tickets')))"
    done = subprocess.run([sys.executable, "-c", starting], cwd=ROOT, capture_output=True, text=True)
    assert job.pid == int(done.stdout), done.stderr
    with pytest.raises(JobError, match="running already"):
        start(job)
    with pytest.raises(JobError, match="is running"):
        save(tmp_path, "tickets", EXPERIMENT % address, "rows.csv", ROWS.encode())
    until(lambda: any("zero-shot" in line for line in last_words(job)), "it does not begin")
    at = page(tmp_path, monkeypatch, allow=True)
    assert "tickets** · running" in said(at)
    next(b for b in at.button if b.label == "Stop").click().run()
    assert not at.exception, at.exception
    until(lambda: job.pid is None, "it does not stop")
    run = run_of(job, Run.all(tmp_path))
    assert run is not None
    assert run.meta()["status"] == "cancelled"
    go.set()
    at = page(tmp_path, monkeypatch, allow=True)
    assert "going on redoes nothing" in said(at)
    next(b for b in at.button if b.label == "Go on").click().run()
    until(lambda: job.pid is None and run.meta()["status"] == "success", "it does not end")
    at = page(tmp_path, monkeypatch, allow=True)
    assert "tickets** · done" in said(at)
    assert "See the verdict" in [b.label for b in at.button]
    assert jobs(tmp_path) == [job]


def test_a_second_stop_ends_what_does_not_hear(tmp_path):
    job = save(tmp_path, "deaf", "x", "rows.csv", b"")
    deaf = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    from apps import jobs as module

    launch, module._LAUNCH = module._LAUNCH, deaf
    try:
        start(job)
    finally:
        module._LAUNCH = launch
    until(lambda: last_words(job) == ["deaf"], "it does not begin")
    stop(job)
    assert job.pid is not None
    stop(job, kill=True)
    until(lambda: job.pid is None, "it does not end")


def test_a_number_without_its_lock_is_nobody(tmp_path):
    """A file left by a machine that went down names a process that is somebody else's by now."""
    job = save(tmp_path, "old", "x", "rows.csv", b"")
    (job.folder / "run.pid").write_text(str(os.getpid()))
    assert job.pid is None
    stop(job)
    stop(job, kill=True)


@pytest.mark.parametrize("name", ["..", "../x", "/x", "a/b", "", ".x", "a\n", "a\x00", "x" * 65, "-x", "a b"])
def test_an_experiment_stays_in_its_folder(tmp_path, name):
    with pytest.raises(JobError):
        save(tmp_path / "runs", name, "x", "rows.csv", b"")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("data", ["../rows.csv", "/tmp/rows.csv", "a/rows.csv"])
def test_its_data_stays_there_too(tmp_path, data):
    with pytest.raises(JobError):
        save(tmp_path, "x", "x", data, b"")
    assert list(tmp_path.iterdir()) == []


def test_no_link_is_followed_and_no_data_replaced(tmp_path):
    job = save(tmp_path, "x", "one", "rows.csv", b"1")
    save(tmp_path, "x", "two", "rows.csv", b"1")
    assert job.experiment.read_text() == "two"
    with pytest.raises(JobError, match="other data"):
        save(tmp_path, "x", "three", "rows.csv", b"2")
    (tmp_path / "secret").mkdir()
    (tmp_path / EXPERIMENTS / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(JobError, match="not a place"):
        save(tmp_path, "link", "x", "rows.csv", b"")
    assert list((tmp_path / "secret").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["lint", "split"], None),
        (["lora · fine-tuned", "  lora 26/104, 13 s left · loss 5.2"], ("lora", 0.25)),
        (["lora · fine-tuned", "  lora 104/104 · loss 5.2", "verdict"], None),
        (["zero-shot · prompting", "  zero-shot 3/6"], ("zero-shot", 0.5)),
        (["  0/0"], None),
        ([], None),
    ],
)
def test_how_far_it_is(words, expected):
    assert progress(words) == expected


def test_what_it_says_cannot_steer_the_page(tmp_path, monkeypatch):
    job = save(tmp_path, "x", "name: x\n", "rows.csv", b"")
    job.log.write_bytes(b"\x1b[31mred\xff " + PAYLOAD.encode() + b"\n")
    at = page(tmp_path, monkeypatch, allow=True)
    assert any(PAYLOAD in c.value for c in at.code)
    assert "\x1b" not in json.dumps([c.value for c in at.code])
    assert [m.value for m in at.markdown if "<script>" in m.value] == []


def test_leave_is_given_on_the_command_line(monkeypatch, tmp_path):
    from workbench.cli import app as module

    told: list[dict[str, str]] = []
    monkeypatch.setattr(module.os, "execve", lambda program, line, environment: told.append(environment))
    for allow in (False, True):
        module.app(tmp_path, 8501, allow)
    assert [t["WORKBENCH_ALLOW_RUN"] for t in told] == ["0", "1"]
    assert Job(tmp_path, "x").command.startswith("workbench run ")
