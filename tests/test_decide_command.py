"""`workbench decide`: what-if from the files alone, and a verdict over files made elsewhere. Whole commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands import workbench
from tests.judged_run import Answers, jsonl, judged, marks

HERE = Path()
BASE, LORA = Answers(marks(100, 100)), Answers(marks(150, 50), tuned=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run, _ = judged(tmp_path, {"base": BASE, "lora": LORA})
    return run.folder


def test_the_verdict_again(folder: Path) -> None:
    files = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    done = workbench(HERE, "decide", str(folder))
    assert (
        done.returncode == 0
        and done.stdout.startswith("TUNE · lora is worth it")
        and "what if" not in done.stdout
    )
    again = json.loads(workbench(HERE, "decide", str(folder), "--format", "json").stdout)
    assert again == json.loads((folder / "verdict.json").read_text())
    assert files == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_run_folder_below_a_folder_with_an_equals_sign(tmp_path: Path) -> None:
    run, _ = judged(tmp_path / "lr=1", {"base": BASE, "lora": LORA})
    done = workbench(HERE, "decide", str(run.folder), "--worth-it", "0.4")
    assert done.returncode == 0 and done.stdout.startswith("what if   worth_it 0.4"), done.stderr


@pytest.mark.parametrize(
    ("flags", "headline", "words"),
    [
        (["--worth-it", "0.4"], "DON'T TUNE", "what if   worth_it 0.4"),
        (["--budget-usd", "10", "--labour-usd", "20"], "DON'T TUNE", "over the budget"),
        (["--worth-it", "0.2"], "CAN'T TELL", "exploratory"),
    ],
)
def test_what_if(flags: list[str], headline: str, words: str, folder: Path) -> None:
    done = workbench(HERE, "decide", str(folder), *flags)
    assert (
        done.returncode == 0
        and headline in done.stdout
        and words in done.stdout
        and "exploratory" in done.stdout
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{run}", "--worth-it", "-1"], "--worth-it"),
        (["{run}", "--date", "soon"], "YYYY-MM-DD"),
        (["{run}/nowhere"], "no such folder"),
        (["{run}", "--tuned", "lora"], "NAME=FILE"),
        (["a=missing.jsonl", "b=missing.jsonl", "--tuned", "c"], "none of a, b"),
        (["a=missing.jsonl", "b=missing.jsonl", "--tuned", "b"], "missing.jsonl"),
        (["a=x.jsonl", "a=y.jsonl"], "once"),
    ],
)
def test_bad_arguments(arguments: list[str], words: str, folder: Path) -> None:
    done = workbench(HERE, "decide", *(a.format(run=folder) for a in arguments))
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr


def test_answers_made_elsewhere_reach_a_verdict(tmp_path: Path) -> None:
    """Two plain files and a margin: a run folder with everything, and no torch anywhere."""
    for name, right in (("base", 100), ("lora", 150)):
        rows = [
            {
                "id": f"q{i}",
                "input": f"question {i}",
                "prediction": "yes" if i < right else "no",
                "reference": "yes",
            }
            for i in range(200)
        ]
        jsonl(tmp_path / f"{name}.jsonl", rows)
    files = [f"{name}={tmp_path / name}.jsonl" for name in ("base", "lora")]
    out = tmp_path / "decided"
    done = workbench(HERE, "decide", *files, "--tuned", "lora", "--worth-it", "0.1", "--out", str(out))
    assert done.returncode == 0 and done.stdout.startswith("TUNE · lora is worth it"), done.stderr
    assert "worth it from +0.10" in done.stdout and "what if" not in done.stdout
    (run,) = (out / "runs").iterdir()
    assert (run / "report.html").exists() and (run / "verdict.json").exists()
    # The experiment that was written is an ordinary one: run it again, change it, decide again.
    assert workbench(HERE, "run", str(out / "experiment.yaml"), "--runs", str(out / "runs")).returncode == 0
    assert "DON'T TUNE" in workbench(HERE, "decide", str(run), "--worth-it", "0.4").stdout


def test_an_experiment_that_somebody_wrote_is_not_overwritten(tmp_path: Path) -> None:
    for name in ("base", "lora"):
        jsonl(tmp_path / f"{name}.jsonl", [{"id": "q", "prediction": "yes", "reference": "yes"}])
    (tmp_path / "experiment.yaml").write_text("name: mine\n")
    files = [f"{name}={tmp_path / name}.jsonl" for name in ("base", "lora")]
    done = workbench(HERE, "decide", *files, "--tuned", "lora", "--out", str(tmp_path))
    assert done.returncode == 2 and "is there already" in done.stderr and "--out" in done.stderr
    assert (tmp_path / "experiment.yaml").read_text() == "name: mine\n"
    assert not (tmp_path / "test.jsonl").exists()


def test_a_day_that_is_none(folder: Path) -> None:
    done = workbench(HERE, "decide", str(folder), "--date", "2026-13-01")
    assert done.returncode == 2 and "--date: write the day as" in done.stderr


def test_the_next_command_finds_the_experiment_that_was_written(tmp_path: Path) -> None:
    for name in ("base", "lora"):
        jsonl(
            tmp_path / f"{name}.jsonl",
            [{"id": str(i), "prediction": "x", "reference": "x"} for i in range(12)],
        )
    done = workbench(tmp_path, "decide", "base=base.jsonl", "lora=lora.jsonl", "--tuned", "lora")
    assert "workbench run decided/experiment.yaml" in done.stdout, done.stdout + done.stderr
    assert (tmp_path / "decided" / "experiment.yaml").exists()
