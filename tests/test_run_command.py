"""`workbench run`, whole commands: complete folders, the same bytes twice, resumes, kills, and bad input."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.commands import ENVIRONMENT, ROOT, die_at_write, interrupt_at_append, process, workbench
from tests.judged_run import chat, jsonl, label, question
from workbench.runs import Run

# What no seed decides: clocks, durations, what follows from them, and the machine.
CLOCKS = {
    "created",
    "updated",
    "until",
    "seconds",
    "seconds_p95",
    "seconds_per_request",
    "tokens_per_second",
    "memory_mb",
    "process_mb",
    "cpu_percent",
    "hardware",
    "sha256",  # of files that hold the above, in run.json
}


def write_data(folder: Path, rows: int = 30) -> None:
    """A classified chat file, recorded answers for half of the rows, and predictions for all."""
    jsonl(folder / "data.jsonl", [chat(question(i), label(i)) for i in range(rows)])
    jsonl(folder / "recorded.jsonl", [{"input": question(i), "answer": label(i // 2)} for i in range(rows)])
    jsonl(
        folder / "theirs.jsonl",
        [{"input": question(i), "prediction": label(i // 3 * 3)} for i in range(rows)],
    )


def experiment(folder: Path, **changes: Any) -> Path:
    """The cheap experiment: recorded answers, an echo, a predictions file that counts as tuned."""
    tree: dict[str, Any] = {
        "name": "cheap",
        "task": "classification",
        "data": {"path": "data.jsonl", "split": {"dev": 0.1, "test": 0.4}},
        "backends": {"recorded": {"kind": "replay", "path": "recorded.jsonl"}, "echo": {"kind": "echo"}},
        "contenders": [
            {"name": "zero-shot", "kind": "prompting"},
            {"name": "few-shot", "kind": "few-shot", "examples": 3, "choose": "random", "backend": "echo"},
            {"name": "theirs", "kind": "predictions", "path": "theirs.jsonl", "tuned": True},
        ],
        "metrics": {"primary": "exact_match", "also": ["macro_f1", "rouge_l"]},
    }
    tree |= changes
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    return path


@pytest.fixture
def cheap(tmp_path: Path) -> Path:
    write_data(tmp_path)
    experiment(tmp_path)
    return tmp_path


def only_run(folder: Path) -> Run:
    (run,) = Run.all(folder / "runs")
    return run


def without_clocks(value: Any) -> Any:
    """A JSON value less what no seed decides."""
    if isinstance(value, dict):
        return {key: without_clocks(item) for key, item in value.items() if key not in CLOCKS}
    return [without_clocks(item) for item in value] if isinstance(value, list) else value


def contents(folder: Path) -> dict[str, Any]:
    """Every file of a run folder, by name, less clocks and durations."""
    found: dict[str, Any] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".json":
            found[name] = without_clocks(json.loads(path.read_text()))
        elif path.suffix == ".jsonl":
            found[name] = [without_clocks(json.loads(line)) for line in path.read_text().splitlines()]
        elif name.startswith("report."):
            # Durations stand among the text: the words must agree, the figures need not.
            found[name] = re.sub(r"[\d.,]+", "0", re.sub(r"<svg.*?</svg>", "", path.read_text(), flags=re.S))
        else:
            found[name] = path.read_bytes()
    return found


# -- a whole run -----------------------------------------------------------------------------------

WHOLE: dict[str, Any] = {
    "backends": {
        "local": {"kind": "hf", "model": "tiny", "device": "cpu", "dtype": "float32", "max_new_tokens": 16},
        "echo": {"kind": "echo"},
    },
    "contenders": [
        {"name": "zero-shot", "kind": "prompting"},
        {"name": "few-shot", "kind": "few-shot", "examples": 2, "choose": "random"},
        {"name": "parrot", "kind": "prompting", "backend": "echo"},
        {"name": "theirs", "kind": "predictions", "path": "theirs.jsonl"},
        {"name": "lora", "kind": "fine-tuned", "epochs": 1, "rank": 2, "alpha": 4},
    ],
    "metrics": {"primary": "exact_match", "also": ["perplexity", "bits_per_byte"]},
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    write_data(folder)
    shutil.copytree(tiny_model, folder / "tiny")
    experiment(folder, **WHOLE)
    done = process(folder, "run", "experiment.yaml", "--offline")
    assert done.returncode == 0, done.stderr
    return folder


def test_a_run_leaves_a_complete_folder(whole: Path) -> None:
    run = only_run(whole)
    found = {p.relative_to(run.folder).as_posix() for p in run.folder.rglob("*") if p.is_file()}
    top = {
        "run.json",
        "experiment.yaml",
        "findings.jsonl",
        "lint.json",
        "cost.json",
        "lengths.jsonl",
        "splits.json",
        "samples.jsonl",
    }
    end = {"comparison.json", "verdict.json", "report.html", "report.md", ".lock"}
    each = {"contender.json", "prompts.jsonl", "predictions.jsonl", "scores.json"}
    expected = top | end | {f"contenders/{name}/{file}" for name in run.contenders() for file in each}
    expected |= {
        f"contenders/lora/{f}"
        for f in ("train.jsonl", "first-batch.json", "adapter/adapter_model.safetensors")
    }
    assert expected <= found
    assert {f for f in found - expected if "/adapter/" not in f} == set()
    assert re.fullmatch(r"cheap-[0-9a-f]{8}", run.name)
    meta = run.meta()
    assert (meta["status"], meta["error"], meta["seed"]) == ("success", None, 7)
    assert meta["files"]["contenders/lora/predictions.jsonl"]["rows"] == len(run.samples()) == 12
    assert run.contenders() == ["zero-shot", "few-shot", "parrot", "theirs", "lora"]
    assert (run.folder / "experiment.yaml").read_bytes() == (whole / "experiment.yaml").read_bytes()
    for name in run.contenders():
        assert [p.id for p in run.predictions(name)] == [s.id for s in run.samples()]
        assert (run.contender(name) or {})["status"] == "success"
    training = (run.contender("lora") or {})["training"]
    assert training["examples"] == len((run.splits() or {})["train"]) and training["steps"] >= 1
    verdict = run.verdict()
    assert verdict is not None and verdict.tuned == "lora"


def test_a_run_folder_holds_no_place_of_this_machine(whole: Path) -> None:
    for path in only_run(whole).folder.rglob("*"):
        if path.is_file():
            assert str(whole).encode() not in path.read_bytes(), path


def test_prompts_hold_no_reference(whole: Path) -> None:
    run = only_run(whole)
    for name in ("zero-shot", "parrot", "theirs", "lora"):
        for prompt, sample in zip(run.prompts(name), run.samples(), strict=True):
            assert [m.text for m in prompt.messages] == [sample.question], name
    shown = {m.text for p in run.prompts("few-shot") for m in p.messages if m.role == "user"}
    assert len(shown) == 2 + len(run.samples())


def test_the_same_seed_gives_the_same_files(whole: Path) -> None:
    first = contents(only_run(whole).folder)
    done = process(whole, "run", "experiment.yaml", "--offline", "--runs", "again")
    assert done.returncode == 0, done.stderr
    (second,) = Run.all(whole / "again")
    other = contents(second.folder)
    assert other["run.json"].pop("origin") == first["run.json"].pop("origin") == "../experiment.yaml"
    # The next command names the folder, in the verdict and in the reports.
    place = ("verdict.json", "report.html", "report.md")
    assert {n: c for n, c in other.items() if n not in place} == {
        n: c for n, c in first.items() if n not in place
    }
    assert other.keys() == first.keys()
    shutil.rmtree(whole / "again")


def stamps(run: Run) -> dict[str, int]:
    """When each contender's answers were last written."""
    return {n: (run.contender_folder(n) / "predictions.jsonl").stat().st_mtime_ns for n in run.contenders()}


def test_a_second_run_keeps_answers(whole: Path) -> None:
    run = only_run(whole)
    before, files = stamps(run), contents(run.folder)
    done = process(whole, "run", "experiment.yaml", "--offline")
    assert done.returncode == 0 and done.stderr.count("kept") == 5, done.stderr
    assert stamps(run) == before
    assert contents(run.folder) == files


# -- what is redone --------------------------------------------------------------------------------


def test_only_what_changed_is_redone(cheap: Path) -> None:
    assert workbench(cheap, "run", "experiment.yaml").returncode == 0
    run = only_run(cheap)
    first = stamps(run)
    assert list(first) == ["zero-shot", "few-shot", "theirs"]

    def changed(done: subprocess.CompletedProcess[str]) -> set[str]:
        assert done.returncode == 0, done.stderr
        nonlocal first
        now = stamps(only_run(cheap))
        different = {name for name in now if now[name] != first.get(name)}
        first = now
        return different

    tree = yaml.safe_load((cheap / "experiment.yaml").read_text())
    tree["contenders"].append({"name": "parrot", "kind": "prompting", "backend": "echo"})
    experiment(cheap, **tree)
    assert changed(workbench(cheap, "run", "experiment.yaml")) == {"parrot"}
    tree["contenders"][1]["examples"] = 2
    experiment(cheap, **tree)
    assert changed(workbench(cheap, "run", "experiment.yaml")) == {"few-shot"}
    rows = [json.loads(line) for line in (cheap / "theirs.jsonl").read_text().splitlines()]
    jsonl(cheap / "theirs.jsonl", [{**row, "seconds": 1.5} for row in rows])
    assert changed(workbench(cheap, "run", "experiment.yaml")) == {"theirs"}
    tree["decision"] = {"worth_it": 0.5}
    tree["metrics"] = {"primary": "rouge_l", "also": []}
    experiment(cheap, **tree)
    assert changed(workbench(cheap, "run", "experiment.yaml")) == set()
    assert list((only_run(cheap).scores("theirs") or {})["metrics"]) == ["rouge_l"]
    assert changed(workbench(cheap, "run", "experiment.yaml", "--fresh", "--only", "parrot")) == {"parrot"}
    assert list(first) == ["zero-shot", "few-shot", "theirs", "parrot"]  # the others keep what they have


def test_other_data_is_another_folder(cheap: Path) -> None:
    assert workbench(cheap, "run", "experiment.yaml").returncode == 0
    before = contents(only_run(cheap).folder)
    with (cheap / "data.jsonl").open("a") as file:
        file.write(json.dumps(chat("One more matter: a parcel has come twice.", "post")) + "\n")
    jsonl(cheap / "theirs.jsonl", [{"input": q, "prediction": "post"} for q in questions(cheap)])
    assert workbench(cheap, "run", "experiment.yaml").returncode in (0, 1)
    folders = {r.name for r in Run.all(cheap / "runs")}
    tree = yaml.safe_load((cheap / "experiment.yaml").read_text())
    tree["data"]["split"]["seed"] = 8
    experiment(cheap, **tree)
    assert workbench(cheap, "run", "experiment.yaml").returncode in (0, 1)
    assert len(folders) == 2 and len(Run.all(cheap / "runs")) == 3
    assert before in [contents(r.folder) for r in Run.all(cheap / "runs")]


def questions(folder: Path) -> list[str]:
    rows = [json.loads(line) for line in (folder / "data.jsonl").read_text().splitlines()]
    return [row["messages"][0]["content"] for row in rows]


def test_only_runs_some_and_says_so(cheap: Path) -> None:
    done = workbench(cheap, "run", "experiment.yaml", "--only", "few-shot", "--only", "zero-shot")
    assert done.returncode == 0
    run = only_run(cheap)
    assert run.contenders() == ["zero-shot", "few-shot"]
    verdict = run.verdict()
    assert verdict is not None and verdict.reason == "no-tuned-contender"
    assert "not scored: theirs" in verdict.caveats
    assert verdict.next == "workbench run experiment.yaml", "the tuned one is in the file already"
    assert workbench(cheap, "run", "experiment.yaml", "--only", "theirs").returncode == 0
    assert len(run.contenders()) == 3


def test_old_answers_do_not_stand_for_new_settings(cheap: Path) -> None:
    assert workbench(cheap, "run", "experiment.yaml").returncode == 0
    tree = yaml.safe_load((cheap / "experiment.yaml").read_text())
    tree["contenders"][1]["examples"] = 2
    experiment(cheap, **tree)
    assert workbench(cheap, "run", "experiment.yaml", "--only", "zero-shot").returncode == 0
    verdict = only_run(cheap).verdict()
    assert verdict is not None and "not scored: few-shot" in verdict.caveats


def test_failed_answers_are_asked_again(cheap: Path) -> None:
    recorded = (cheap / "recorded.jsonl").read_text().splitlines(keepends=True)
    (cheap / "recorded.jsonl").write_text("".join(recorded[::2]))
    assert workbench(cheap, "run", "experiment.yaml").returncode in (0, 1)
    run = only_run(cheap)
    failed = [p for p in run.predictions("zero-shot") if p.error is not None]
    assert failed and all(p.prediction is None for p in failed)
    assert (run.scores("zero-shot") or {})["metrics"]["exact_match"]["unscored"] == len(failed)
    before = (run.contender_folder("zero-shot") / "predictions.jsonl").read_text()
    assert workbench(cheap, "run", "experiment.yaml").returncode in (0, 1)
    assert (run.contender_folder("zero-shot") / "predictions.jsonl").read_text() == before  # not twice
    (cheap / "recorded.jsonl").write_text("".join(recorded))
    assert workbench(cheap, "run", "experiment.yaml").returncode == 0
    assert not [p for p in run.predictions("zero-shot") if p.error is not None]


def test_the_verdict_goes_to_stdout_and_the_progress_to_stderr(cheap: Path) -> None:
    done = workbench(cheap, "run", "experiment.yaml", "--format", "json")
    assert done.returncode == 0
    assert json.loads(done.stdout) == json.loads((only_run(cheap).folder / "verdict.json").read_text())
    assert [line.split(" ·")[0] for line in done.stderr.splitlines() if not line.startswith(" ")][:2] == [
        "lint",
        "split",
    ]
    done = workbench(cheap, "run", "experiment.yaml")
    assert (
        "\x1b" not in done.stdout
        and str(only_run(cheap).report_path("html").relative_to(cheap)) in done.stdout
    )


# -- kills -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    write_data(folder)
    experiment(folder)
    assert workbench(folder, "run", "experiment.yaml").returncode == 0
    return contents(only_run(folder).folder)


# 12 answers a contender: the first files, amid each contender's rows, compaction, scores, verdict, report.
@pytest.mark.parametrize("number", [1, 2, 6, 9, 15, 22, 29, 41, 55, 58, 61, 63, 65])
def test_killed_at_a_write_and_run_again(number: int, cheap: Path, uninterrupted: dict[str, Any]) -> None:
    killed = workbench(cheap, "run", "experiment.yaml", prepare=partial(die_at_write, number))
    assert killed.returncode == -signal.SIGKILL
    assert workbench(cheap, "run", "experiment.yaml").returncode == 0
    assert contents(only_run(cheap).folder) == uninterrupted


def started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "workbench", "run", "experiment.yaml", *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("stage", ["lint", "few-shot", "verdict"])
def test_killed_when_a_stage_begins(stage: str, cheap: Path, uninterrupted: dict[str, Any]) -> None:
    running = started(cheap)
    assert running.stderr is not None
    for line in running.stderr:
        if line.split(" ·")[0].strip() == stage:
            running.kill()
            break
    running.communicate()
    assert workbench(cheap, "run", "experiment.yaml").returncode == 0
    assert contents(only_run(cheap).folder) == uninterrupted


def test_a_killed_training_gives_the_same_adapter(whole: Path, tmp_path: Path) -> None:
    for name in ("data.jsonl", "theirs.jsonl"):
        shutil.copy(whole / name, tmp_path)
    (tmp_path / "tiny").symlink_to(whole / "tiny")
    lora = {"name": "lora", "kind": "fine-tuned", "epochs": 1, "rank": 2, "alpha": 4}
    experiment(tmp_path, **WHOLE | {"contenders": [lora]})
    # In training, after it, and while answering, one after the other.
    for file in ("train.jsonl", "adapter", "predictions.jsonl"):
        running = started(tmp_path, "--offline")
        try:
            wait_for(tmp_path, f"runs/*/contenders/lora/{file}", running)
        finally:
            running.kill()
            running.communicate()
    done = process(tmp_path, "run", "experiment.yaml", "--offline")
    assert done.returncode == 0, done.stderr
    killed, reference = only_run(tmp_path), only_run(whole)
    assert contents(killed.contender_folder("lora")) == contents(reference.contender_folder("lora"))
    assert not list(killed.folder.rglob("*.partial")) and not killed.checkpoint_folder("lora").exists()


def test_another_way_to_ask_does_not_train_again(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True, symlinks=True)
    run = only_run(tmp_path)
    adapter = run.adapter_folder("lora") / "adapter_model.safetensors"

    def again(backend: Mapping[str, Any], lora: Mapping[str, Any]) -> tuple[int, int]:
        """When the adapter was written, and the most tokens of an answer."""
        backends = {"local": {**WHOLE["backends"]["local"], **backend}}
        tuned = {"name": "lora", "kind": "fine-tuned", "epochs": 1, "rank": 2, "alpha": 4, **lora}
        experiment(tmp_path, **WHOLE | {"backends": backends, "contenders": [tuned]})
        done = workbench(tmp_path, "run", "experiment.yaml", "--offline")
        assert done.returncode in (0, 1), done.stderr  # alone, it decides nothing
        return adapter.stat().st_mtime_ns, max(p.completion_tokens or 0 for p in run.predictions("lora"))

    before = adapter.stat().st_mtime_ns
    assert again({"max_new_tokens": 2}, {}) == (before, 2)
    assert again({"max_new_tokens": 2}, {"rank": 3})[0] > before


def wait_for(folder: Path, pattern: str, running: subprocess.Popen[str]) -> None:
    for _ in range(60_000):
        if any(folder.glob(pattern)) or running.poll() is not None:
            return
        time.sleep(0.002)
    raise AssertionError(f"no {pattern} came")


def test_a_second_process_is_refused(cheap: Path) -> None:
    assert workbench(cheap, "run", "experiment.yaml").returncode == 0
    run = only_run(cheap)
    before = contents(run.folder)
    with run.lock():
        done = workbench(cheap, "run", "experiment.yaml", "--fresh")
    assert done.returncode == 2 and "in use by another workbench process" in done.stderr
    assert contents(run.folder) == before


def test_an_interrupt_says_what_is_kept(cheap: Path) -> None:
    done = workbench(cheap, "run", "experiment.yaml", prepare=interrupt_at_append)
    assert done.returncode == 130
    assert only_run(cheap).meta()["status"] == "cancelled"
    assert workbench(cheap, "run", "experiment.yaml").returncode == 0


# -- bad input -------------------------------------------------------------------------------------


def replaced(*words: str) -> Callable[[Path], None]:
    """Old, new, old, new… in the experiment file."""

    def change(folder: Path) -> None:
        path = folder / "experiment.yaml"
        text = path.read_text()
        for old, new in zip(words[::2], words[1::2], strict=True):
            assert old in text
            text = text.replace(old, new)
        path.write_text(text)

    return change


def written(name: str, blob: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_bytes(blob)

    return change


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def as_folder(folder: Path) -> None:
    (folder / "experiment.yaml").unlink()
    (folder / "experiment.yaml").mkdir()


BINARY = bytes(range(256)) * 20
UNANSWERED = b"".join(
    json.dumps({"messages": [{"role": "user", "content": question(i)}]}).encode() + b"\n" for i in range(20)
)
FEW = b"".join(json.dumps(chat(question(i), label(i))).encode() + b"\n" for i in range(2))

# what is done to the folder → words of the message, whether a run folder may have been begun
BAD: dict[str, tuple[Callable[[Path], None], tuple[str, ...], bool]] = {
    "no experiment": (without("experiment.yaml"), ("experiment.yaml", "no such file", "workbench init"), False),
    "an empty one": (written("experiment.yaml", b""), ("experiment.yaml", "empty", "contenders"), False),
    "a folder": (as_folder, ("experiment.yaml", "folder"), False),
    "a binary one": (written("experiment.yaml", BINARY), ("experiment.yaml", "not"), False),
    "no YAML": (written("experiment.yaml", b"name: [a\nb: {"), ("experiment.yaml:", "YAML"), False),
    "a list": (written("experiment.yaml", b"- a\n- b\n"), ("experiment.yaml", "mapping"), False),
    "an unknown key": (replaced("contenders:", "contendors: 1\ncontenders:"), ("experiment.yaml:", "did you mean 'contenders'"), False),
    "a wrong type": (replaced("examples: 3", "examples: many"), ("experiment.yaml:", "examples", "many"), False),
    "an unknown metric": (replaced("primary: exact_match", "primary: exactmatch"), ("did you mean 'exact_match'",), False),
    "an unknown backend": (replaced("backend: echo", "backend: ecco"), ("did you mean 'echo'",), False),
    "two of one name": (replaced("name: few-shot", "name: zero-shot"), ("zero-shot", "name of its own"), False),
    "no data": (replaced("path: data.jsonl", "path: dato.jsonl"), ("dato.jsonl", "no such file", "data.jsonl"), False),
    "empty data": (written("data.jsonl", b""), ("data.jsonl", "no rows"), False),
    "binary data": (written("data.jsonl", BINARY), ("data.jsonl", "binary"), False),
    "data that is a folder": (replaced("path: data.jsonl", "path: ."), ("folder", "data.jsonl"), False),
    "two samples": (written("data.jsonl", FEW), ("too few samples", "data.split"), False),
    "no such column": (
        replaced("path: data.jsonl", "path: data.jsonl\n  columns: {input: question, output: answer}"),
        ("data.jsonl:1", "question"),
        False,
    ),
    "no such group": (replaced("test: 0.4", "test: 0.4\n    group_by: metadata.who"), ("metadata.who",), False),
    "an unknown model": (
        replaced("    kind: replay\n    path: recorded.jsonl", "    kind: hf\n    model: no-such-model"),
        ("no-such-model",),
        True,
    ),
    "no corpus": (
        replaced("kind: prompting", "kind: rag"),
        ("zero-shot", "data.corpus"),
        False,
    ),
    "a missing corpus": (
        replaced("kind: prompting", "kind: rag", "path: data.jsonl", "path: data.jsonl\n  corpus: manuals"),
        ("manuals",),
        True,
    ),
    "no recorded answers": (without("recorded.jsonl"), ("replay", "recorded.jsonl", "no such file"), True),
    "recorded rows of another kind": (written("recorded.jsonl", b'{"a": 1}\n'), ("recorded.jsonl", "input"), True),
    "recorded numbers": (written("recorded.jsonl", b'{"input": [1], "answer": 2}\n'), ("recorded.jsonl:1", "texts"), True),
    "no predictions": (without("theirs.jsonl"), ("theirs", "theirs.jsonl", "no such file"), True),
    "too few predictions": (
        written("theirs.jsonl", json.dumps({"input": question(3), "prediction": "x"}).encode() + b"\n"),
        ("theirs", "of 12 test samples", "missing ids", "samples.jsonl"),
        True,
    ),
    "predictions that match nothing": (written("theirs.jsonl", b'{"text": "x"}\n'), ("theirs.jsonl:1", "prediction"), True),
    "predictions with times in words": (
        written("theirs.jsonl", json.dumps({"input": question(0), "prediction": "x", "seconds": "2 s"}).encode() + b"\n"),
        ("theirs.jsonl:1", "seconds"),
        True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD, ids=list(BAD))
def test_bad_input_says_where_and_what(case: str, cheap: Path) -> None:
    change, words, begun = BAD[case]
    change(cheap)
    done = workbench(cheap, "run", "experiment.yaml", "--offline")
    assert done.returncode == 2, (done.stdout, done.stderr)
    for word in words:
        assert word in done.stderr, done.stderr
    assert "bug in the workbench" not in done.stderr
    runs = Run.all(cheap / "runs")
    if begun:  # found before any contender began; the folder lists the test samples, and why it ended
        assert runs[0].contenders() == [] and runs[0].meta()["status"] == "error"
        assert str(cheap) not in (runs[0].folder / "run.json").read_text()
        assert runs[0].samples() and runs[0].verdict() is None
    else:
        assert not (cheap / "runs").exists()


def test_a_question_for_which_nothing_is_found_is_told(cheap: Path) -> None:
    (cheap / "pages").mkdir()
    (cheap / "pages" / "zebra.md").write_text("Quagga zebra okapi.", encoding="utf-8")
    rag = {"name": "rag", "kind": "rag", "retriever": "bm25", "backend": "echo"}
    split = {"dev": 0.1, "test": 0.4}
    experiment(cheap, data={"path": "data.jsonl", "corpus": "pages", "split": split}, contenders=[rag])
    done = workbench(cheap, "run", "experiment.yaml", "--offline")
    assert done.returncode == 0, done.stderr
    verdict = only_run(cheap).verdict()
    assert verdict is not None and "rag retrieved nothing for 12 of 12 questions" in verdict.caveats


def test_an_unknown_name_in_only(cheap: Path) -> None:
    done = workbench(cheap, "run", "experiment.yaml", "--only", "few-shots")
    assert done.returncode == 2 and not (cheap / "runs").exists()
    assert "few-shots" in done.stderr and "did you mean" in done.stderr.lower()


@pytest.mark.parametrize(
    "rows",
    [
        UNANSWERED,
        FEW * 3 + b'{"messages": [{"role": "bot", "content": "hm"}]}\n',
        b'{"messages": "hm"}\n' * 9,
        FEW * 3 + b'{"messages": [}\n' + FEW,
    ],
    ids=["no answers", "an unknown role", "no chats", "a line that is no JSON"],
)
def test_errors_in_the_data_are_the_verdict(rows: bytes, cheap: Path) -> None:
    (cheap / "data.jsonl").write_bytes(rows)
    done = workbench(cheap, "run", "experiment.yaml")
    assert done.returncode == 1, done.stderr
    run = only_run(cheap)
    verdict = run.verdict()
    assert verdict is not None and (verdict.headline, verdict.reason) == ("cant-tell", "fix-data")
    assert run.contenders() == [] and run.findings() and "data.jsonl" in done.stdout
    assert run.meta()["status"] == "success" and run.report_path("md").exists()


# -- offline ---------------------------------------------------------------------------------------


@pytest.fixture
def no_sockets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("no-sockets")
    (folder / "sitecustomize.py").write_text(
        "import socket\n"
        "def refuse(self, *_, **__):\n"
        "    raise SystemExit(77)\n"
        "socket.socket.connect = socket.socket.connect_ex = refuse\n"
    )
    yield {**ENVIRONMENT, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}


@pytest.mark.parametrize("flags", [[], ["--offline"]])
def test_no_connection_is_opened(flags: list[str], cheap: Path, no_sockets: dict[str, str]) -> None:
    done = process(cheap, "run", "experiment.yaml", *flags, env=no_sockets)
    assert done.returncode == 0, done.stderr


# -- several backends, tables in several files --------------------------------------------------------


def test_a_server_and_another_backend_work_in_one_run(cheap: Path, serve_chat: str) -> None:
    """The server's connections outlive the opening of the other backend, and its key stays in no file."""
    experiment(
        cheap,
        backends={
            "api": {
                "kind": "openai",
                "model": "m",
                "base_url": serve_chat,
                "api_key_env": "CANARY",
                "price": [1, 2],
            },
            "recorded": {"kind": "replay", "path": "recorded.jsonl"},
        },
        contenders=[
            {"name": "remote", "kind": "prompting", "backend": "api"},
            {"name": "local", "kind": "prompting", "backend": "recorded"},
            {"name": "theirs", "kind": "predictions", "path": "theirs.jsonl", "tuned": True},
        ],
    )
    done = process(cheap, "run", "experiment.yaml", env=ENVIRONMENT | {"CANARY": "sk-canary-1234"})
    assert done.returncode in (0, 1), done.stderr
    run = only_run(cheap)
    assert [p.prediction for p in run.predictions("remote")] == ["till"] * 12
    verdict = run.verdict()
    assert verdict is not None
    costs = {c.name: c.usd_per_1000 for c in verdict.contenders}
    assert costs["remote"] == pytest.approx(1000 * (10 * 1 + 2 * 2) / 1e6) and costs["local"] is None
    texts = [p.read_text(errors="replace") for p in run.folder.rglob("*") if p.is_file()]
    assert not any("sk-canary" in text for text in (*texts, done.stdout, done.stderr))


def test_leaks_between_table_files_are_errors(tmp_path: Path) -> None:
    rows = [
        {"q": f"Where do I find the shelf number {i} in the big storage room?", "a": label(i)}
        for i in range(30)
    ]
    jsonl(tmp_path / "train.jsonl", rows[:20])
    jsonl(tmp_path / "test.jsonl", rows[15:])
    jsonl(tmp_path / "recorded.jsonl", [{"input": r["q"], "answer": r["a"]} for r in rows])
    experiment(
        tmp_path,
        data={"train": "train.jsonl", "test": "test.jsonl", "columns": {"input": "q", "output": "a"}},
        contenders=[{"name": "zero-shot", "kind": "prompting", "backend": "recorded"}],
    )
    assert workbench(tmp_path, "run", "experiment.yaml").returncode == 1
    run = only_run(tmp_path)
    verdict = run.verdict()
    assert verdict is not None and verdict.reason == "fix-data"
    assert sum(f["code"] == "DUP003" for f in run.findings()) == 5 and not run.contenders()
