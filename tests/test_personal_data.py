"""Before anything leaves for a server elsewhere: personal data is named, and nothing is sent without a word for it."""

from __future__ import annotations

import json
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.commands import workbench
from tests.example_run import make_run
from tests.judged_run import chat, jsonl, label, question
from workbench import personal_data as module
from workbench.data import divide, read_files
from workbench.experiment import Experiment
from workbench.personal_data import LeavingError, check_leaving, is_elsewhere, leaving
from workbench.records import Prediction
from workbench.report import write_report
from workbench.retrieval import corpus_of
from workbench.runs import Run

AWAY = "https://api.invalid/v1"
MAIL, PHONE, KEY = "joe.bloggs@quillmail.com", "+44 20 7946 0958", "AKIAQYLPMN5HFIQR7XYA"


def write(folder: Path, url: str = AWAY, **changes: Any) -> Experiment:
    """30 chats; a mail address stands in every question, a phone number in every answer, a key in the corpus."""
    rows = [chat(f"{question(i)} Write to {MAIL} ({i}).", f"{label(i)} or {PHONE}") for i in range(30)]
    jsonl(folder / "data.jsonl", rows)
    (folder / "pages").mkdir(exist_ok=True)
    (folder / "pages" / "a.md").write_text(f"# Till\n\nThe key {KEY} opens {MAIL}.\n")
    tree = {
        "name": "leaving",
        "data": {"path": "data.jsonl", "corpus": "pages", "split": {"dev": 0.1, "test": 0.4}},
        "backends": {
            "api": {"kind": "openai", "model": "m", "base_url": url, "api_key_env": "CANARY"},
            "here": {"kind": "echo"},
        },
        "contenders": [{"name": "zero-shot", "kind": "prompting"}],
        "metrics": {"primary": "exact_match", "also": []},
    }
    (folder / "experiment.yaml").write_text(yaml.safe_dump(tree | changes, sort_keys=False))
    return Experiment.load(folder / "experiment.yaml")


def found(experiment: Experiment, *only: str) -> set[str]:
    """The codes of what would leave."""
    told = leaving(experiment, divide(experiment, *read_files(experiment)), only)
    return {f.code for f in told.found} if told else set()


PROMPTED, FEW = {"name": "a", "kind": "prompting"}, {"name": "a", "kind": "few-shot", "choose": "random"}
JUDGED = {"judge": {"backend": "api"}, "metrics": {"primary": "judge", "also": []}}
ENDPOINT = {"retrieval": {"embedder": {"base_url": AWAY, "model": "e"}}}


@pytest.mark.parametrize(
    ("contender", "changes", "codes"),
    [
        (PROMPTED, {}, {"PII002"}),
        (PROMPTED | {"constrain": "labels"}, {}, {"PII002", "PII004"}),
        (FEW, {}, {"PII002", "PII004"}),
        ({"name": "a", "kind": "rag"}, {}, {"PII001", "PII002"}),
        ({"name": "a", "kind": "hosted"}, {}, {"PII002", "PII004"}),
        (PROMPTED | {"backend": "here"}, {}, set()),
        ({"name": "a", "kind": "rag", "backend": "here"}, ENDPOINT, {"PII001", "PII002"}),
        ({"name": "a", "kind": "rag", "backend": "here"}, {"retrieval": {"qdrant": "http://far:6333"}}, {"PII001", "PII002"}),
        (FEW | {"choose": "similar", "backend": "here"}, ENDPOINT, {"PII002", "PII004"}),
        (PROMPTED | {"backend": "here"}, ENDPOINT, set()),
        (PROMPTED | {"backend": "here"}, JUDGED, {"PII002", "PII004"}),
    ],
)  # fmt: skip
def test_what_is_sent_is_what_is_looked_at(
    contender: dict[str, Any], changes: dict[str, Any], codes: set[str], tmp_path: Path
) -> None:
    assert found(write(tmp_path, contenders=[contender], **changes)) == codes
    near = json.loads(json.dumps(changes).replace(AWAY, "http://127.0.0.1:1/v1").replace("far", "localhost"))
    assert found(write(tmp_path, "http://127.0.0.1:1/v1", contenders=[contender], **near)) == set()


def test_only_who_is_asked_counts(tmp_path: Path) -> None:
    experiment = write(tmp_path, contenders=[PROMPTED, FEW | {"name": "b", "backend": "here"}])
    assert found(experiment, "a") == {"PII002"} and found(experiment, "b") == set()


@pytest.mark.parametrize(
    ("url", "elsewhere"),
    [
        ("http://127.0.0.1:8000/v1", False),
        ("http://127.9.9.9", False),
        ("http://localhost:11434/v1", False),
        ("http://LOCALHOST.:1", False),
        ("http://[::1]:8000/v1", False),
        ("http://0.0.0.0:8000", False),
        ("https://api.openai.com/v1", True),
        ("http://10.0.0.7:8000", True),
        ("http://localhost.evil.com", True),
        ("http://127.0.0.1.nip.io", True),
    ],
)
def test_loopback_is_not_elsewhere(url: str, elsewhere: bool) -> None:
    assert is_elsewhere(url) is elsewhere


def test_the_address_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = {"api": {"kind": "openai", "model": "m"}}
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    assert found(write(tmp_path, backends=backend)) == set()
    monkeypatch.delenv("OPENAI_BASE_URL")
    assert found(write(tmp_path, backends=backend)) == {"PII002"}


def test_finds_are_named_and_never_shown(tmp_path: Path) -> None:
    experiment = write(tmp_path)
    with pytest.raises(LeavingError) as told:
        check_leaving(experiment, divide(experiment, *read_files(experiment)))
    text = str(told.value)
    assert f"{AWAY} (zero-shot)" in text and "--redact" in text and "--send-personal-data" in text
    assert "PII002 email-address 12: data.jsonl:" in text and "messages[0].content" in text
    assert "Write to <EMAIL_1>" in text and "and 9 more" in text
    assert MAIL not in text and "quillmail" not in text
    sent = experiment.model_copy(update={"personal_data": "send"})
    assert (
        check_leaving(sent, divide(experiment, *read_files(experiment))) == f"PII002 12 may leave for {AWAY}"
    )


def test_redacted_rows_hold_nothing(tmp_path: Path) -> None:
    experiment = write(
        tmp_path, personal_data="redact", contenders=[{"name": "a", "kind": "rag", "examples": 2}]
    )
    assert found(experiment) == set()
    rows, hashes = read_files(experiment)
    told = check_leaving(experiment, divide(experiment, rows, hashes))
    assert told == "placeholders for EMAIL 1, PHONE 1, SECRET 1"
    text = json.dumps([row.value for row in rows["all"]])
    assert MAIL not in text and PHONE not in text and text.count("<EMAIL_1>") == 30
    (page,) = corpus_of(experiment).documents
    assert page.text == "# Till\n\nThe key <SECRET_1> opens <EMAIL_1>.\n"


# -- whole commands --------------------------------------------------------------------------------------


def far(secret: str) -> None:
    """Loopback counts as elsewhere from now on, and the key is there."""
    import os

    os.environ["CANARY"] = secret
    module.is_elsewhere = lambda url: True


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return workbench(folder, "run", "experiment.yaml", *arguments, prepare=partial(far, "sk-canary-1"))


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_run_stops_before_anything_is_sent(tmp_path: Path, serve_log: tuple[str, list[str]]) -> None:
    url, asked = serve_log
    write(tmp_path, url)
    done = run(tmp_path)
    assert (
        done.returncode == 2 and "PII002" in done.stderr and asked == [] and not (tmp_path / "runs").exists()
    )
    plan = run(tmp_path, "--dry-run")
    assert plan.returncode == 0 and "plan " in plan.stdout and "PII002" in plan.stderr and asked == []
    assert run(tmp_path, "--redact", "--send-personal-data").returncode == 2


def test_a_redacted_run_holds_and_sends_placeholders(
    tmp_path: Path, serve_log: tuple[str, list[str]]
) -> None:
    url, asked = serve_log
    write(tmp_path, url, contenders=[PROMPTED, FEW | {"name": "b", "examples": 2}])
    done = run(tmp_path, "--redact")
    assert done.returncode in (0, 1), done.stderr
    assert len(asked) == 24 and all("<EMAIL_1>" in body for body in asked)
    (folder,) = Run.all(tmp_path / "runs")
    for words in (MAIL, PHONE, "quillmail"):
        assert not any(words in body for body in asked)
        assert words.encode() not in everything(tmp_path / "runs") and words not in done.stdout + done.stderr
    assert folder.meta()["personal_data"] == "redact" and "<PHONE_1>" in folder.samples()[0].references[0]
    sent = run(tmp_path, "--send-personal-data", "--only", "a")
    assert sent.returncode in (0, 1) and "PII002" in sent.stderr
    assert len(Run.all(tmp_path / "runs")) == 2 and any(MAIL in body for body in asked[24:])


@pytest.fixture
def serve_log(serve: Any) -> tuple[str, list[str]]:
    """A loopback server that answers "till", and the bodies it was sent."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "till"}}
    about = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    bodies: list[str] = []

    def behave(body: dict[str, Any], _: int) -> Any:
        bodies.append(json.dumps(body["messages"]))
        return 200, {}, about | {"usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}

    url, _ = serve(behave)
    return url, bodies


def test_a_redacted_report_masks_what_is_cut_too(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    # The address begins before the place where the report cuts an answer.
    answers = [
        Prediction(id=p.id, references=p.references, group=MAIL, prediction="x " * 395 + f"{MAIL} {PHONE}", seconds=1.0)
        for p in folder.predictions("zero-shot")
    ]  # fmt: skip
    folder.write_predictions("zero-shot", answers)
    plain, _ = write_report(folder)
    assert "joe.bloggs" in plain.read_text()
    for path in write_report(folder, redact=True):
        text = path.read_text()
        assert (path.name.startswith("report.redacted.") and "&lt;EMAIL_1&gt;" in text) or "EMAIL\\_1" in text
        assert "joe.bl" not in text and "7946" not in text
    assert "joe.bloggs" in plain.read_text()
