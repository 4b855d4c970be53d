"""`workbench predict`: new questions answered by a contender of a finished run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.commands import workbench
from tests.judged_run import chat, jsonl, question
from tests.test_run_command import experiment, only_run, write_data

NEW = ["Where is my parcel?", "The bench hums.", "Was ist mit der Rückgabe — schon da? 🌱"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose verdict prefers the recorded answers to a tuned echo brought as predictions."""
    folder = tmp_path_factory.mktemp("made")
    write_data(folder)
    rows = [{"input": question(i), "answer": ("till", "post", "bench")[i % 3]} for i in range(30)]
    jsonl(folder / "recorded.jsonl", [*rows, *({"input": q, "answer": "post"} for q in NEW)])
    experiment(folder)
    assert workbench(folder, "run", "experiment.yaml").returncode == 0
    verdict = only_run(folder).verdict()
    assert verdict is not None and verdict.choice == "zero-shot"
    return folder


def predict(folder: Path, *arguments: str) -> Any:
    return workbench(folder, "predict", str(only_run(folder).folder.relative_to(folder)), *arguments)


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("key", ["input", "prompt", "question"])
def test_rows_of_questions(key: str, made: Path, tmp_path: Path) -> None:
    jsonl(tmp_path / "new.jsonl", [{key: q} for q in NEW])
    done = predict(made, str(tmp_path / "new.jsonl"), str(tmp_path / "out.jsonl"))
    assert done.returncode == 0 and "3 answers" in done.stderr
    rows = rows_of(tmp_path / "out.jsonl")
    assert [(r["line"], r["input"], r["prediction"], r["contender"]) for r in rows] == [
        (i, q, "post", "zero-shot") for i, q in enumerate(NEW, 1)
    ]


def test_rows_of_chats_without_their_answers(made: Path, tmp_path: Path) -> None:
    jsonl(
        tmp_path / "new.jsonl",
        [chat(NEW[0], "a wrong old answer"), {"messages": chat(NEW[1], "")["messages"][:1]}],
    )
    done = predict(made, str(tmp_path / "new.jsonl"), str(tmp_path / "out.jsonl"))
    assert done.returncode == 0, done.stderr
    assert [r["prediction"] for r in rows_of(tmp_path / "out.jsonl")] == ["post", "post"]


def test_an_array_in_one_line_is_as_many_rows(made: Path, tmp_path: Path) -> None:
    (tmp_path / "new.json").write_text(json.dumps([{"input": q} for q in [*NEW, NEW[0]]]), encoding="utf-8")
    done = predict(made, str(tmp_path / "new.json"), str(tmp_path / "out.jsonl"), "--contender", "few-shot")
    assert done.returncode == 0, done.stderr
    assert [r["prediction"] for r in rows_of(tmp_path / "out.jsonl")] == [*NEW, NEW[0]]  # an echo
    again = predict(made, str(tmp_path / "new.json"), str(tmp_path / "out.jsonl"), "--contender", "few-shot")
    assert again.returncode == 0 and len(rows_of(tmp_path / "out.jsonl")) == 4


def test_text_in_answer_out(made: Path) -> None:
    done = predict(made, NEW[0])
    assert (done.returncode, done.stdout) == (0, "post\n")
    long = "Where is it? " * 400
    done = predict(made, long, "--contender", "few-shot")
    assert (done.returncode, done.stdout) == (0, f"{long}\n")
    done = predict(made, "never recorded")
    assert done.returncode == 2 and "no answer" in done.stderr


def test_answers_to_stdout(made: Path, tmp_path: Path) -> None:
    jsonl(tmp_path / "new.jsonl", [{"input": q} for q in NEW])
    done = predict(made, str(tmp_path / "new.jsonl"))
    assert done.returncode == 0
    assert [json.loads(line)["prediction"] for line in done.stdout.splitlines()] == ["post"] * 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("hello", "--contender", "few-shots"), ("few-shots", "zero-shot, few-shot, theirs")),
        (("hello", "--contender", "theirs"), ("made elsewhere",)),
        (("nowhere.jsonl",), ("nowhere.jsonl", "no such file")),
        (("nowhere.jsonl", "out.jsonl"), ("nowhere.jsonl", "no such file")),
        (("empty.jsonl", "out.jsonl"), ("empty.jsonl", "no rows")),
        (("odd.jsonl", "out.jsonl"), ("odd.jsonl:1", "messages, or input")),
        (("mute.jsonl", "out.jsonl"), ("mute.jsonl:1", "no user message")),
        (("new.jsonl", "notes.txt"), ("notes.txt:1", "not a row of answers")),
        (("new.jsonl", "old.jsonl"), ("old.jsonl:1", "not asked")),
        (("new.jsonl", "by-another.jsonl"), ("by-another.jsonl:1", "few-shot")),
    ],
)
def test_what_cannot_be_is_refused(arguments: tuple[str, ...], words: tuple[str, ...], made: Path) -> None:
    (made / "empty.jsonl").write_text("")
    jsonl(made / "odd.jsonl", [{"text": "hm"}])
    jsonl(made / "mute.jsonl", [{"messages": [{"role": "system", "content": "hm"}]}])
    jsonl(made / "new.jsonl", [{"input": NEW[0]}])
    (made / "notes.txt").write_text("my notes\n")
    jsonl(made / "old.jsonl", [{"line": 1, "input": NEW[1], "prediction": "x", "contender": "zero-shot"}])
    jsonl(
        made / "by-another.jsonl", [{"line": 1, "input": NEW[0], "prediction": "x", "contender": "few-shot"}]
    )
    before = {p: p.read_bytes() for p in made.glob("*.*") if p.is_file()}
    done = predict(made, *arguments)
    assert done.returncode == 2, (done.stdout, done.stderr)
    for word in words:
        assert word in done.stderr, done.stderr
    assert {p: p.read_bytes() for p in made.glob("*.*") if p.is_file()} == before


def test_a_folder_that_is_no_run(made: Path, tmp_path: Path) -> None:
    done = workbench(made, "predict", str(tmp_path), "hello")
    assert done.returncode == 2 and "not a run folder" in done.stderr


def test_failures_are_counted_and_asked_again(made: Path, tmp_path: Path) -> None:
    jsonl(tmp_path / "new.jsonl", [{"input": NEW[0]}, {"input": "never recorded"}, {"input": NEW[1]}])
    for _ in range(2):
        done = predict(made, str(tmp_path / "new.jsonl"), str(tmp_path / "out.jsonl"))
        assert done.returncode == 1 and "2 answers, 1 failed" in done.stderr
        assert [r["line"] for r in rows_of(tmp_path / "out.jsonl")] == [1, 3]


def test_an_interrupted_file_is_completed(made: Path, tmp_path: Path) -> None:
    jsonl(tmp_path / "new.jsonl", [{"input": q} for q in NEW])
    out = tmp_path / "out.jsonl"
    assert predict(made, str(tmp_path / "new.jsonl"), str(out)).returncode == 0
    whole = out.read_bytes()
    first, second, _ = whole.splitlines(keepends=True)
    kept = first.replace(b'"post"', b'"kept"')
    for torn in (b"", second[:20], second[:-1]):  # a row without its line end never finished
        out.write_bytes(kept + torn)
        done = predict(made, str(tmp_path / "new.jsonl"), str(out))
        assert done.returncode == 0, done.stderr
        assert out.read_bytes() == whole.replace(first, kept)


def test_what_changed_since_is_refused(tmp_path: Path) -> None:
    write_data(tmp_path)
    path = experiment(tmp_path)
    assert workbench(tmp_path, "run", "experiment.yaml").returncode == 0
    data = (tmp_path / "data.jsonl").read_text()
    (tmp_path / "data.jsonl").write_text(data + json.dumps(chat("One more matter.", "post")) + "\n")
    done = predict(tmp_path, "hello", "--contender", "few-shot")
    assert (
        done.returncode == 2
        and "has changed since" in done.stderr
        and "Run the experiment again" in done.stderr
    )
    (tmp_path / "data.jsonl").write_text(data)
    assert predict(tmp_path, "hello", "--contender", "few-shot").stdout == "hello\n"
    # Settings that the contender was never scored with.
    tree = yaml.safe_load(path.read_text())
    tree["contenders"][1]["examples"] = 2
    experiment(tmp_path, **tree)
    assert workbench(tmp_path, "run", "experiment.yaml", "--only", "zero-shot").returncode == 0
    done = predict(tmp_path, "hello", "--contender", "few-shot")
    assert done.returncode == 2 and "few-shot" in done.stderr and "changed since it was scored" in done.stderr


def test_leaked_rows_that_the_run_left_out_stay_out(tmp_path: Path) -> None:
    """The contender is set up from the rows that it was scored with, not refused as if the data had changed."""
    write_data(tmp_path)
    rows = rows_of(tmp_path / "data.jsonl")
    jsonl(tmp_path / "train.jsonl", rows[:20])
    jsonl(tmp_path / "dev.jsonl", rows[20:22])
    jsonl(tmp_path / "test.jsonl", rows[18:])  # two rows of train, two of dev
    files = {"train": "train.jsonl", "dev": "dev.jsonl", "test": "test.jsonl"}
    experiment(tmp_path, data={**files, "split": {"drop_leaked": True}})
    done = workbench(tmp_path, "run", "experiment.yaml")
    assert done.returncode == 0 and len(only_run(tmp_path).samples()) == 8, done.stderr
    done = predict(tmp_path, "Where is it?", "--contender", "few-shot")
    assert (done.returncode, done.stdout) == (0, "Where is it?\n"), done.stderr


def test_a_moved_experiment_is_named(made: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(only_run(made).folder, tmp_path / "elsewhere" / "run")
    done = workbench(tmp_path, "predict", "elsewhere/run", "hello", "--contender", "few-shot")
    assert done.returncode == 2 and "--experiment" in done.stderr
    done = workbench(
        tmp_path,
        "predict",
        "elsewhere/run",
        "hello",
        "--contender",
        "few-shot",
        "--experiment",
        str(made / "experiment.yaml"),
    )
    assert (done.returncode, done.stdout) == (0, "hello\n")
