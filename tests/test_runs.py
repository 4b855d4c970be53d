"""The run folder: whole files or none, torn lines cut, one owner at a time, nothing outside the folder."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from validators.examples import Message, ToolCall
from workbench.records import ContenderSummary, Difference, Passage, Prediction, Prompt, Sample, Verdict
from workbench.runs import SCHEMAS, Run, RunError, row_text, write_atomic

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run(tmp_path / "triage-00000000")
    made.write_meta({"status": "started", "contenders": ["zero", "lora"]})
    return made


def prediction(number: int, **more: Any) -> Prediction:
    return Prediction(id=f"s{number}", references=("yes",), **({"prediction": "yes"} | more))


CALL = ToolCall("c1", "look", '{"x": null}')
SAMPLE = Sample(
    id="s1",
    messages=(
        Message("system", "Be brief."),
        Message("user", ({"type": "text", "text": "h\u2028i\n"},), name="Ann"),
        Message("assistant", None, tool_calls=(CALL,), weight=0),
        Message("tool", "3", tool_call_id="c1"),
    ),
    references=("yes", "ja"),
    group="g",
    tags={"language": "de"},
    tools=({"type": "function", "function": {"name": "look", "parameters": {"default": None}}},),
    line=4,
)
PROMPT = Prompt(id="s1", messages=SAMPLE.messages, tools=SAMPLE.tools, passages=(Passage("a.md", "t", 0.5),))
PREDICTION = Prediction(
    id="s1",
    prediction="",
    references=("yes", "ja"),
    group="g",
    tool_calls=({"name": "look", "arguments": None},),
    prompt_tokens=9,
    completion_tokens=0,
    seconds=0.25,
    usd=0.0,
    finish_reason="stop",
    reference_nats=1.5,
    reference_tokens=2,
    reference_bytes=3,
)
FAILED = Prediction(id="s2", references=("no",), error="429: too many requests")
VERDICT = Verdict(
    headline="dont-tune",
    reason="enough",
    sentence="Few-shot is enough.",
    experiment="triage",
    metric="exact_match",
    higher_is_better=True,
    margin=0.05,
    equivalent_within=0.05,
    tuned="lora",
    choice="zero",
    against="lora",
    difference=Difference(against="zero", estimate=0.02, interval=(-0.03, 0.04), p=0.48, method="bootstrap"),
    differences=(),
    contenders=(
        ContenderSummary(
            name="zero",
            kind="prompting",
            tuned=False,
            score=None,
            interval=None,
            n=0,
            errors=3,
            reason="all failed",
        ),
    ),
    n=100,
    groups=None,
    seeds=1,
    smallest_detectable_effect=0.1,
    costs={"zero": 0.6, "lora": None},
    payback_months=None,
    if_you_must={"lora": {"usd": 1.0}},
    flips=("worth-it under 0.04",),
    caveats=(),
    next="workbench predict",
)


# -- round trips -----------------------------------------------------------------------------------


def test_every_record_comes_back_as_it_was(run: Run) -> None:
    run.write_splits({"train": ["t"], "dev": [], "test": ["s1"]}, [SAMPLE])
    run.write_prompts("lora", [PROMPT])
    run.write_predictions("lora", [PREDICTION, FAILED])
    run.write_predictions("lora", [FAILED], split="dev")
    run.write_training("lora", [{"step": 1, "loss": 2.5}])
    run.write_verdict(VERDICT)
    assert run.splits() == {"train": ["t"], "dev": [], "test": ["s1"]}
    assert run.samples() == [SAMPLE]
    assert run.prompts("lora") == [PROMPT]
    assert run.predictions("lora") == [PREDICTION, FAILED]
    assert run.predictions("lora", "dev") == [FAILED]
    assert run.training("lora") == [{"step": 1, "loss": 2.5}]
    assert run.verdict() == VERDICT


@pytest.mark.parametrize("kind", ["cost", "comparison", "lint"])
def test_plain_objects_come_back_with_their_schema(run: Run, kind: str) -> None:
    value: dict[str, Any] = {"deep": {"none": None, "text": "ü\u2028"}, "list": [1, 2.5]}
    getattr(run, f"write_{kind}")(value | ({"findings": [{"code": "MSG001"}]} if kind == "lint" else {}))
    assert getattr(run, kind)() == value | {"schema": SCHEMAS[kind]}


def test_findings_lie_beside_the_lint_report(run: Run) -> None:
    run.write_lint({"findings": [{"code": "MSG001", "line": 3}], "summary": {"errors": 1}})
    assert run.findings() == [{"code": "MSG001", "line": 3}]
    assert "findings" not in (run.lint() or {})


def test_what_is_not_there_is_none_or_empty(tmp_path: Path) -> None:
    empty = Run(tmp_path)
    for read in (
        empty.experiment_text,
        empty.lint,
        empty.cost,
        empty.splits,
        empty.comparison,
        empty.verdict,
    ):
        assert read() is None
    assert empty.contender("x") is None
    assert empty.scores("x") is None
    assert empty.findings() == empty.samples() == empty.contenders() == empty.predictions("x") == []


def nones(value: Any) -> int:
    if isinstance(value, dict):
        return sum(v is None or nones(v) for v in value.values())
    return sum(nones(v) for v in value) if isinstance(value, list) else 0


@pytest.mark.parametrize(
    "record", [prediction(1), FAILED, Sample(id="s", messages=(Message("user", "q"),), references=("a",))]
)
def test_rows_hold_no_none(record: Any) -> None:
    assert nones(json.loads(row_text(record))) == 0


def test_none_that_means_something_is_kept() -> None:
    row = json.loads(row_text(SAMPLE))
    assert row["messages"][2]["content"] is None, "a message beside tool calls has the content None"
    assert row["tools"][0]["function"]["parameters"] == {"default": None}, "a tool's schema is the user's"


def test_files_are_strict_sorted_json(run: Run) -> None:
    run.write_cost({"z": 1, "a": "ü"})
    text = (run.folder / "cost.json").read_text(encoding="utf-8")
    assert text == '{\n "a": "ü",\n "schema": "workbench.cost/1",\n "z": 1\n}\n'
    assert row_text({"z": 1, "a": "ü", "gone": None}) == '{"a": "ü", "z": 1}\n'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_nan_is_refused_and_the_old_file_stays(run: Run, value: float) -> None:
    run.write_cost({"usd": 1.0})
    with pytest.raises(ValueError, match="JSON compliant"):
        run.write_cost({"usd": value})
    with pytest.raises(ValueError, match="JSON compliant"):
        run.write_predictions("zero", [prediction(1, usd=value)])
    assert (run.cost() or {})["usd"] == 1.0
    (run.folder / "cost.json").write_text('{"schema": "workbench.cost/1", "usd": NaN}')
    with pytest.raises(RunError, match=r"cost\.json: damaged"):
        run.cost()


def test_half_a_surrogate_pair_of_a_model_is_stored(run: Run) -> None:
    with run.open_predictions("zero") as out:
        out.append(prediction(1, prediction="a\ud83d"))
        out.append(prediction(2))
    assert [p.prediction for p in run.predictions("zero")] == ["a?", "yes"]


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


@settings(max_examples=100, deadline=None)
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


def test_messages_written_by_an_older_version_are_read() -> None:
    """Rows once held every absent field as null."""
    old = {
        "role": "user",
        "content": "q",
        "name": None,
        "weight": None,
        "tool_calls": [],
        "tool_call_id": None,
    }
    assert msgspec.convert(old, Message) == Message("user", "q")
