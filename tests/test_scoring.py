"""Metrics as an experiment names them: options, one's own file, costs of errors, tool calls; faults found before spending."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.judged_run import Answers, chat, jsonl, marks, run_it, write_experiment
from workbench.experiment import Experiment, ExperimentError
from workbench.records import Prediction
from workbench.scoring import ScoreError, check_metrics, measured, score_contender

OWN = '''
def score(prediction, references):
    """Share of the reference's words that are there."""
    said = set(prediction.split())
    wanted = references[0].split()
    return sum(word in said for word in wanted) / len(wanted)
'''


def experiment(folder: Path, **changes: Any) -> Experiment:
    tree = {
        "name": "one",
        "task": "classification",
        "data": {"test": "test.jsonl"},
        "backends": {"none": {"kind": "echo"}},
        "contenders": [{"name": "base", "kind": "predictions", "path": "base.jsonl"}],
        **changes,
    }
    return Experiment.parse(yaml.safe_dump(tree), path=folder / "experiment.yaml")


def answered(*pairs: tuple[str | None, str]) -> list[Prediction]:
    return [
        Prediction(
            id=f"s{i}", prediction=said, references=(true,), error=None if said is not None else "HTTP 500"
        )
        for i, (said, true) in enumerate(pairs)
    ]


def value(found: Experiment, metric: str, predictions: list[Prediction]) -> Any:
    return score_contender("base", predictions, found, [metric], tokenizer="t")["metrics"][metric]


def test_a_metric_of_ones_own_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "words.py").write_text(OWN)
    found = experiment(
        tmp_path, metrics={"primary": "words", "also": [], "own": {"words": {"file": "words.py"}}}
    )
    stored = value(found, "words", answered(("a b", "a b"), ("a", "a b"), ("x", "a b"), (None, "a b")))
    assert stored["value"] == pytest.approx(0.5) and (stored["n"], stored["unscored"]) == (3, 1)
    assert stored["higher_is_better"] and stored["scale"] == "0-1" and "words" in stored["signature"]


def test_a_verdict_by_ones_own_metric_runs_no_code_of_ones_own(tmp_path: Path) -> None:
    """The file is run when answers are scored; to decide again it need not even be there."""
    (tmp_path / "half.py").write_text(
        "def score(prediction, references):\n    return float(prediction in references) / 2\n"
    )
    contenders = {"base": Answers(marks(50, 50)), "lora": Answers(marks(95, 5), tuned=True)}
    metrics = {"primary": "half", "also": [], "own": {"half": {"file": "half.py"}}}
    path = write_experiment(tmp_path, contenders, metrics=metrics)
    run, verdict = run_it(path, tmp_path / "runs")
    assert verdict.headline == "tune" and verdict.difference is not None
    assert verdict.difference.estimate == pytest.approx(0.225)
    (tmp_path / "half.py").unlink()
    from tests.judged_run import TODAY
    from workbench.verdict import decide

    assert decide(run, today=TODAY) == verdict


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def score(prediction):\n    return 1.0\n", "own.py"),
        ("def score(prediction, references):\n    return 7.0\n", "0"),
        ("def score(prediction, references):\n    return 1 / 0\n", "ZeroDivisionError"),
        ("x = 1\n", "score"),
        ("def score(:\n", "own.py"),
    ],
)
def test_faults_of_ones_own_metric_are_found_before_anything_is_spent(
    text: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text(text)
    metrics = {"primary": "mine", "also": [], "own": {"mine": {"file": "own.py"}}}
    path = write_experiment(tmp_path, {"base": Answers(marks(5, 5))}, metrics=metrics)
    with pytest.raises(ScoreError, match=words) as caught:
        run_it(path, tmp_path / "runs")
    assert "mine" in str(caught.value)


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        ({"primary": "exact_match", "own": {"bleu": {"file": "x.py"}}}, "built-in"),
        ({"primary": "mine"}, "unknown metric 'mine'"),
        ({"primary": "judge"}, "judge section"),
        ({"primary": "cost_of_error"}, "needs its matrix"),
        ({"primary": "exact_match", "options": {"blue": {}}}, "unknown metric 'blue'"),
        ({"primary": "recall_at_k"}, "data.sources"),
    ],
)
def test_metrics_that_cannot_be_measured_are_refused(
    metrics: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ExperimentError, match=words):
        experiment(tmp_path, metrics=metrics)


def test_options_reach_the_metric_and_its_signature(tmp_path: Path) -> None:
    texts = answered(("我喜欢猫", "我喜欢狗"))
    plain = value(experiment(tmp_path), "rouge_l", texts)
    assert plain["value"] is None and "tokenize" in plain["reason"]
    chosen = experiment(tmp_path, metrics={"options": {"rouge_l": {"tokenize": "characters"}}})
    stored = value(chosen, "rouge_l", texts)
    assert stored["value"] == pytest.approx(0.75) and "characters" in stored["signature"]


def test_costs_of_errors_by_hand(tmp_path: Path) -> None:
    """Missing an alarm costs $100, every other error $1; the matrix names a label that no test row has."""
    costs = {"alarm": {"*": 100}, "*": {"*": 1}, "club": {"till": 2}}
    found = experiment(
        tmp_path,
        metrics={"primary": "cost_of_error", "also": [], "options": {"cost_of_error": {"costs": costs}}},
    )
    pairs = (("alarm", "alarm"), ("till", "alarm"), ("alarm", "till"), ("??", "till"))
    stored = value(found, "cost_of_error", answered(*pairs))
    assert stored["value"] == pytest.approx((0 + 100 + 1 + 1) / 4) and not stored["higher_is_better"]


def test_the_schema_may_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text(json.dumps({"type": "object", "required": ["desk"]}))
    found = experiment(tmp_path, metrics={"options": {"schema_match": {"schema": "schema.json"}}})
    assert value(found, "schema_match", answered(('{"desk": 1}', "x"), ("{}", "x")))["value"] == 0.5
    missing = experiment(
        tmp_path, metrics={"also": ["schema_match"], "options": {"schema_match": {"schema": "no.json"}}}
    )
    with pytest.raises(ExperimentError, match=r"no\.json"):
        measured("schema_match", answered(("{}", "x")), missing, tokenizer="")


def test_tool_calls_are_compared_as_calls(tmp_path: Path) -> None:
    call = {"type": "function", "function": {"name": "refund", "arguments": '{"order": 7}'}}
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"refund {i}"},
                {"role": "assistant", "tool_calls": [{"id": "c", **call}]},
            ]
        }
        for i in range(4)
    ]
    jsonl(tmp_path / "test.jsonl", rows)
    said = [
        '[{"name": "refund", "arguments": {"order": 7}}]',
        '{"name": "refund", "arguments": {"order": 8}}',
        "sure!",
    ]
    answers = [{"input": f"refund {i}", "prediction": text} for i, text in enumerate(said)]
    jsonl(tmp_path / "base.jsonl", [*answers, {"input": "refund 3", "prediction": "", "error": None}])
    path = tmp_path / "experiment.yaml"
    tree = {
        "name": "calls",
        "task": "tools",
        "data": {"test": "test.jsonl"},
        "lint": {"target": "generic"},
        "backends": {"none": {"kind": "echo"}},
        "contenders": [{"name": "base", "kind": "predictions", "path": "base.jsonl"}],
    }
    path.write_text(yaml.safe_dump(tree))
    run, _ = run_it(path, tmp_path / "runs")
    scores = run.scores("base")
    assert scores is not None and scores["metrics"]["tool_call_match"]["value"] == 0.25


def test_a_reference_that_a_metric_cannot_read_is_named_before_anything_is_spent(tmp_path: Path) -> None:
    jsonl(tmp_path / "test.jsonl", [chat("one", '{"desk": 1}'), chat("two", "no JSON here")])
    found = experiment(tmp_path, task="extraction")
    from workbench.data import prepare, read_files

    samples = prepare(found, *read_files(found)).test
    with pytest.raises(ScoreError, match=r"field_f1: references\[1\]"):
        check_metrics(found, samples)


def test_classification_keeps_its_confusion_matrix(tmp_path: Path) -> None:
    predictions = answered(("till", "till"), ("post", "till"), ("??", "post"), ("post", "post"))
    table = score_contender("base", predictions, experiment(tmp_path), ["exact_match"], tokenizer="t")[
        "confusion"
    ]
    assert table["labels"] == ["post", "till"] and table["counts"] == [[1, 0, 1], [1, 1, 0]]


def test_a_price_for_a_true_label_that_no_row_has_is_mistyped(tmp_path: Path) -> None:
    jsonl(tmp_path / "test.jsonl", [chat("one", "alarm"), chat("two", "till")])
    from workbench.data import prepare, read_files

    def check(*true: str) -> None:
        costs = {label: {"*": 100} for label in true} | {"*": {"*": 1}}
        metrics = {"primary": "cost_of_error", "also": [], "options": {"cost_of_error": {"costs": costs}}}
        found = experiment(tmp_path, metrics=metrics)
        samples = prepare(found, *read_files(found)).test
        check_metrics(found, samples[:1], samples[1:])

    check("alarm", "till")
    with pytest.raises(ScoreError, match=r"the true label 'alrm', which no row has\. Did you mean 'alarm'\?"):
        check("alrm")
