"""Answers made elsewhere → an experiment of their own, so that `workbench run` reaches a verdict over them.

Nothing is asked and no model is loaded: the questions become the test split, each file a contender.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from metrics import METRICS
from validators.suggest import did_you_mean

from .answers import Answer, Answers, AnswersError
from .data import prepare, read_files
from .experiment import Experiment
from .files import write_atomic
from .pairing import Paired, listed, pair
from .settings import NAME_PATTERN, Brought

# What of an answer goes into a contender's file beside its text.
_KEPT = (
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "seconds",
    "usd",
    "finish_reason",
    "reference_nats",
    "reference_tokens",
    "reference_bytes",
)


HEADER = "# Answers made elsewhere. workbench run experiment.yaml\n"


def experiment_of(
    answers: Mapping[str, Answers],
    tuned: Sequence[str],
    metric: str | None,
    decision: Mapping[str, Any],
    folder: Path,
) -> Path:
    """Write `experiment.yaml`, `test.jsonl` and `answers/<name>.jsonl` into `folder`; return the first.

    `metric` (None: exact_match) is one of METRICS that is measured from answers or likelihoods; `decision`
    is the experiment's section of that name. Every contender must answer the same samples, with the same
    references. Raises AnswersError, PairingError, DataError and ExperimentError.
    """
    metric = metric or "exact_match"
    _check(answers, tuned, metric)
    _check_free(folder / "experiment.yaml")
    paired = pair(answers)
    if METRICS[metric].needs == "text":
        _check_words(paired, metric)
    first = next(iter(paired.rows.values()))
    write_atomic(folder / "test.jsonl", _lines(_test_rows(paired, first)))
    several = any(len(row.references) > 1 for row in first)
    grouped = any(group is not None for group in paired.groups)
    tree = {
        "name": "decided",
        "data": {
            "test": "test.jsonl",
            **({"references": "metadata.references"} if several else {}),
            **({"split": {"group_by": "metadata.group"}} if grouped else {}),
        },
        # Nothing is asked of it: every contender brings its answers.
        "backends": {"none": {"kind": "echo"}},
        "contenders": [
            {"name": name, "kind": "predictions", "path": f"answers/{name}.jsonl", "tuned": name in tuned}
            for name in answers
        ],
        "metrics": {"primary": metric, "also": []},
        "decision": dict(decision),
    }
    path = folder / "experiment.yaml"
    text = HEADER + yaml.safe_dump(tree, sort_keys=False)
    experiment = Experiment.parse(text, path=path)
    ids = [sample.id for sample in prepare(experiment, *read_files(experiment)).test]
    for contender in experiment.contenders:
        assert isinstance(contender, Brought)
        rows = (_answer_row(i, row) for i, row in zip(ids, paired.rows[contender.name], strict=True))
        write_atomic(experiment.resolve(contender.paths[0]), _lines(rows))
    write_atomic(path, text)
    return path


def _check(answers: Mapping[str, Answers], tuned: Sequence[str], metric: str) -> None:
    for name in answers:
        if not re.fullmatch(NAME_PATTERN, name):
            raise AnswersError(
                f"{name!r} names no contender: letters a-z, digits and . _ + - only, a letter or digit first, at most 64"
            )
    for name in tuned:
        if name not in answers:
            raise AnswersError(
                f"{name!r} is said to be tuned, but no answers have that name.{did_you_mean(name, answers)} "
                f"There are: {', '.join(answers)}"
            )
    measured = [name for name, of in METRICS.items() if of.needs in ("text", "likelihood")]
    if metric not in measured:
        held = any(metric in one.scores for one in answers.values())
        why = (
            "is a score that the files hold; a verdict measures the answers itself"
            if held
            else "is unknown here"
        )
        raise AnswersError(
            f"the metric {metric!r} {why}.{did_you_mean(metric, measured)} Known: {', '.join(measured)}. "
            "`workbench compare` compares scores that files hold."
        )


def _check_free(path: Path) -> None:
    """An experiment that somebody wrote is not overwritten."""
    if path.exists() and not path.read_bytes().startswith(HEADER.encode().rstrip()):
        raise AnswersError(
            f"{path} is there already, and `decide` did not write it. Name another folder with --out."
        )


def _check_words(paired: Paired, metric: str) -> None:
    for name, rows in paired.rows.items():
        wordless = [
            k for k, r in zip(paired.keys, rows, strict=True) if r.prediction is None and r.error is None
        ]
        if wordless:
            raise AnswersError(
                f"{name}: {len(wordless)} rows hold no text to measure {metric} on: {listed(wordless)}."
            )


def _test_rows(paired: Paired, rows: Sequence[Answer]) -> Iterable[dict[str, Any]]:
    for key, row, group in zip(paired.keys, rows, paired.groups, strict=True):
        asked = [m.as_dict() for m in row.messages] or [{"role": "user", "content": row.input or key}]
        metadata: dict[str, Any] = {"id": key, "group": key if group is None else group}
        yield {
            "messages": [*asked, {"role": "assistant", "content": row.references[0]}],
            "metadata": metadata | {"references": list(row.references)},
        }


def _answer_row(sample_id: str, row: Answer) -> dict[str, Any]:
    kept = {field: value for field in _KEPT if (value := getattr(row, field)) is not None}
    calls = {"tool_calls": list(row.tool_calls)} if row.tool_calls else {}
    said = {"error": row.error} if row.error is not None else {"prediction": row.prediction or ""}
    # A likelihood stands for tokens and bytes; what is not known of the two weighs nothing.
    sizes = {"reference_tokens": 0, "reference_bytes": 0} if row.reference_nats is not None else {}
    return {"id": sample_id, **said, **sizes, **kept, **calls}


def _lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
