"""The run folder: whole files or none, torn lines cut, one owner at a time, nothing outside the folder."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.files import row_text, write_atomic
from workbench.records import Prediction
from workbench.runs import Run, RunError

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run(tmp_path / "triage-00000000")
    made.write_meta({"status": "started", "contenders": ["zero", "lora"]})
    return made


def prediction(number: int, **more: Any) -> Prediction:
    return Prediction(id=f"s{number}", references=("yes",), **({"prediction": "yes"} | more))


# -- atomic writes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_failing_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    path = tmp_path / "deep" / "file.json"
    write_atomic(path, "old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((os, "fsync", full) if broken == "fsync" else (Path, "replace", full)))
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["file.json"], "no temporary file is left"


def test_a_written_file_can_be_read_by_others(tmp_path: Path) -> None:
    write_atomic(tmp_path / "f", "x")
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o644


# -- appending -------------------------------------------------------------------------------------


def test_a_torn_last_line_is_never_read_and_cut_on_reopening(run: Run) -> None:
    run.write_predictions("zero", [prediction(1), prediction(2)])
    path = run.folder / "contenders" / "zero" / "predictions.jsonl"
    whole = path.read_bytes()
    for cut in range(1, len(whole)):
        path.write_bytes(whole[:-cut])
        kept = whole[:-cut].count(b"\n")
        assert len(run.predictions("zero")) == kept
        with run.open_predictions("zero") as out:
            out.append(prediction(3))
        assert [p.id for p in run.predictions("zero")] == [*["s1", "s2"][:kept], "s3"]


def test_every_append_is_there_at_once(run: Run) -> None:
    with run.open_predictions("zero") as out:
        for number in range(3):
            out.append(prediction(number))
            assert len(run.predictions("zero")) == number + 1


def test_a_kill_in_the_middle_keeps_the_finished_rows(run: Run) -> None:
    code = (
        "import os, sys; from workbench.runs import Run; from workbench.records import Prediction\n"
        "with Run(__import__('pathlib').Path(sys.argv[1])).open_predictions('zero') as out:\n"
        "    out.append(Prediction(id='s1', references=('a',), prediction='x'))\n"
        "    os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(run.folder)], cwd=ROOT).returncode == -9
    assert [p.id for p in run.predictions("zero")] == ["s1"]


@pytest.mark.parametrize(
    "line", ["{}", "[]", '{"id": 3}', "nonsense", "", '{"id": "a", "references": "yes"}', "[" * 5000]
)
def test_a_damaged_row_in_the_middle_is_told_with_its_place(run: Run, line: str) -> None:
    run.write_predictions("zero", [prediction(1)])
    path = run.folder / "contenders" / "zero" / "predictions.jsonl"
    path.write_text(path.read_text() + line + "\n" + row_text(prediction(2)))
    with pytest.raises(RunError, match=r"predictions\.jsonl:2: damaged row"):
        run.predictions("zero")


@settings(max_examples=100)
@given(raw=st.binary(max_size=80))
def test_any_bytes_are_read_or_told(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    run = Run(tmp_path_factory.getbasetemp() / "any")
    (run.folder / "contenders" / "c").mkdir(parents=True, exist_ok=True)
    (run.folder / "run.json").write_bytes(raw)
    (run.folder / "verdict.json").write_bytes(b'{"schema": "workbench.verdict/1", "x": ' + raw + b"}")
    (run.folder / "contenders" / "c" / "predictions.jsonl").write_bytes(raw + b"\n")
    for read in (run.meta, run.verdict, lambda: run.predictions("c")):
        with pytest.raises(RunError, match=str(run.folder)):
            read()


# -- the lock --------------------------------------------------------------------------------------

HOLD = "import sys, time; from workbench.runs import Run; from pathlib import Path\nwith Run(Path(sys.argv[1])).lock():\n    print('held', flush=True)\n    time.sleep(60)"


def test_a_second_process_is_kept_out_and_a_dead_owner_leaves_no_lock(run: Run) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run.folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as owner:
        try:
            assert owner.stdout is not None
            assert owner.stdout.readline() == "held\n"
            with pytest.raises(RunError, match="in use by another workbench process"), run.lock():
                pass
        finally:
            owner.kill()
    with run.lock():
        pass


def test_the_lock_ends_with_its_block(run: Run) -> None:
    with run.lock(), pytest.raises(RunError), run.lock():
        pass
    with pytest.raises(KeyError), run.lock():
        raise KeyError
    with run.lock():
        pass


# -- schemas ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("schema", ["workbench.run/2", "workbench.cost/1", "other", None, 7])
def test_another_schema_is_refused(run: Run, schema: Any) -> None:
    (run.folder / "run.json").write_text(json.dumps({"schema": schema, "status": "success"}))
    with pytest.raises(RunError) as caught:
        Run.open(run.folder)
    message = str(caught.value)
    assert message.startswith(
        f"{run.folder / 'run.json'}: schema {schema!r}, this version reads 'workbench.run/1'"
    )
    assert "update yours" in message


@pytest.mark.parametrize("text", ["", "null", "[]", '"x"', "{", "\xff", '{"schema": "workbench.verdict/1"}'])
def test_a_damaged_file_is_told(run: Run, text: str) -> None:
    (run.folder / "verdict.json").write_text(text, encoding="latin-1")
    with pytest.raises(RunError, match=r"verdict\.json: (damaged|schema None)"):
        run.verdict()


def test_what_is_no_run_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a run folder"):
        Run.open(tmp_path)
    with pytest.raises(RunError, match="no such folder"):
        Run.open(tmp_path / "x")
    with pytest.raises(RunError, match=r"run\.json is missing"):
        Run(tmp_path).meta()


# -- names -----------------------------------------------------------------------------------------

TRAVERSAL = [
    *(
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "/etc",
        "a/",
        "./a",
        "a/..",
        "..\\x",
        "C:\\x",
        "\\\\host\\share",
        "a\0b",
        "a\n",
    ),
    *(
        "%2e%2e",
        "%2e%2e%2fx",
        ".hidden",
        "~",
        "~root",
        "-rf",
        "a b",
        "é",
        "\u202e",
        "a" * 65,
        "a:b",
        "*",
        "$HOME",
    ),
]


@pytest.mark.parametrize("name", TRAVERSAL)
def test_contender_names_stay_in_the_folder(run: Run, name: str) -> None:
    outside = run.folder.parent / "x"
    outside.mkdir()
    for act in (
        lambda: run.write_contender(name, {}),
        lambda: run.remove_contender(name),
        lambda: run.write_predictions(name, []),
        lambda: run.predictions(name),
        lambda: run.adapter_folder(name),
    ):
        with pytest.raises(RunError, match="no contender name"):
            act()
    assert outside.exists()
    assert sorted(p.name for p in run.folder.iterdir()) == ["run.json"]


@pytest.mark.parametrize("name", ["a", "zero-shot", "lora_r16", "v1.2+b", "a" * 64, "a..b"])
def test_plain_names_are_taken(run: Run, name: str) -> None:
    run.write_contender(name, {"kind": "prompting"})
    assert run.contenders() == [name]
    run.remove_contender(name)
    run.remove_contender(name)
    assert run.contenders() == []


def test_contenders_come_in_the_order_of_the_experiment(run: Run) -> None:
    for name in ("another", "lora", "zero"):
        run.write_contender(name, {})
    assert run.contenders() == ["zero", "lora", "another"]


# -- index and listing -----------------------------------------------------------------------------


def test_file_index(run: Run) -> None:
    run.write_cost({"usd": 1})
    run.write_predictions("zero", [prediction(1), prediction(2)])
    for skipped in (
        "index/store.json",
        "contenders/zero/adapter/adapter_config.json",
        "contenders/zero/.predictions.jsonl.x1",
    ):
        write_atomic(run.folder / skipped, "{}")
    write_atomic(run.folder / "contenders/zero/checkpoints/3/state.json", "{}")
    hashes = {
        name: hashlib.sha256((run.folder / name).read_bytes()).hexdigest()
        for name in ("contenders/zero/predictions.jsonl", "cost.json")
    }
    assert run.file_index() == {
        name: {"schema": f"workbench.{kind}/1", "rows": rows, "sha256": hashes[name]}
        for name, kind, rows in (
            ("contenders/zero/predictions.jsonl", "predictions", 2),
            ("cost.json", "cost", None),
        )
    }


def test_all_runs_the_newest_first(tmp_path: Path) -> None:
    for age, name in enumerate(["old-1", "b-2", "a-2", "new-3"]):
        Run(tmp_path / name).write_meta({})
        moment = {"a-2": 200, "b-2": 200}.get(name, 100 * (age + 1))
        os.utime(tmp_path / name / "run.json", (moment, moment))
    (tmp_path / "no-run").mkdir()
    assert [run.name for run in Run.all(tmp_path)] == ["new-3", "a-2", "b-2", "old-1"]
    assert Run.all(tmp_path / "missing") == []


def test_origin_is_relative_and_may_have_gone(run: Run) -> None:
    assert run.origin() is None
    run.write_meta({"origin": "experiment.yaml"})
    assert run.origin() is None
    (run.folder.parent / "experiment.yaml").write_text("name: x")
    assert run.origin() is not None
