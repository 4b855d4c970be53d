"""What lies in a run folder: every record comes back as it was, in strict JSON without absent fields."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from validators.examples import Message, ToolCall
from workbench.files import row_text
from workbench.records import (
    SCHEMAS,
    ContenderSummary,
    Difference,
    Passage,
    Prediction,
    Prompt,
    Sample,
    Verdict,
)
from workbench.runs import Run, RunError


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
