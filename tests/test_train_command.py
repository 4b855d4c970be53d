"""`workbench train`, whole commands: decide first, then train; the first batch; one code path with `run`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.commands import workbench
from tests.conftest import make_tiny_model
from tests.test_run_command import experiment, only_run, write_data
from validators.tokens import load_hf_tokenizer
from workbench.runs import Run
from workbench.training.job import Job
from workbench.training.rows import IGNORED
from workbench.training.xray import x_ray, x_ray_text

LOCAL: dict[str, Any] = {
    "backends": {
        "local": {"kind": "hf", "model": "tiny", "device": "cpu", "dtype": "float32", "max_new_tokens": 8}
    },
    "contenders": [
        {"name": "zero-shot", "kind": "prompting"},
        {"name": "lora", "kind": "fine-tuned", "epochs": 1, "rank": 2, "alpha": 4, "batch_size": 4},
    ],
    "metrics": {"primary": "exact_match", "also": []},
}


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    make_tiny_model(tmp_path / "tiny")
    write_data(tmp_path)
    experiment(tmp_path, **LOCAL)
    return tmp_path


def trained_files(run: Run) -> Mapping[str, bytes]:
    folder = run.contender_folder("lora")
    named = [folder / "train.jsonl", folder / "first-batch.json", *sorted((folder / "adapter").iterdir())]
    return {path.name: path.read_bytes() for path in named}


def test_first_decide_then_train_then_run_finds_it_trained(tiny: Path) -> None:
    refused = workbench(tiny, "train", "experiment.yaml")
    assert refused.returncode == 2 and "Decide before you tune" in refused.stderr
    command = re.search(r"^  workbench (run .*)$", refused.stderr, re.M)
    assert command is not None and not (tiny / "runs").exists()
    assert workbench(tiny, *command[1].split()).returncode in (0, 1)

    done = workbench(tiny, "train", "experiment.yaml")
    run = only_run(tiny)
    info = run.contender("lora")
    assert done.returncode == 0, done.stderr
    assert info is not None and (info["status"], run.meta()["status"]) == ("started", "trained")
    training = info["training"]
    assert f"trained   lora: {training['steps']} steps · {training['tokens']:,} tokens" in done.stdout
    assert f"best step {training['best_step']}: dev loss {training['dev_loss']:.3f} · packed" in done.stdout
    assert "tokens/s" in done.stdout and "doctor    " in done.stdout
    assert done.stdout.endswith("next      workbench run experiment.yaml\n")
    assert "first batch: 4 rows" in done.stderr and done.stderr.count("⟦") == 5 and "\x1b" not in done.stderr
    assert run.predictions("lora") == []

    before = trained_files(run)
    assert workbench(tiny, "run", "experiment.yaml").returncode in (0, 1)
    assert trained_files(run) == before and len(run.predictions("lora")) == 12


REFUSED: list[tuple[tuple[str, ...], dict[str, Any], str]] = [
    (("--only", "zero-shot"), {}, "'zero-shot' is not trained here; trained are: lora"),
    (("--only", "lorra"), {}, "Did you mean 'lora'"),
    (
        (),
        {"contenders": [{"name": "zero-shot", "kind": "prompting"}]},
        "trains nothing here: add a contender",
    ),
    ((), {"contenders": [LOCAL["contenders"][1]]}, "Add one (kind: prompting) and run it"),
    (("--anyway",), {"launch": {"proceses": 2}}, "did you mean 'processes'"),
]


@pytest.mark.parametrize(("options", "changes", "told"), REFUSED, ids=[told for *_, told in REFUSED])
def test_what_cannot_be_trained_is_refused_by_name(
    tiny: Path, options: tuple[str, ...], changes: dict[str, Any], told: str
) -> None:
    experiment(tiny, **(LOCAL | changes))
    done = workbench(tiny, "train", "experiment.yaml", *options)
    assert done.returncode == 2
    assert told in " ".join(done.stderr.split())


def test_anyway_trains_and_a_plan_trains_nothing(tiny: Path) -> None:
    planned = workbench(tiny, "train", "experiment.yaml", "--dry-run")
    assert planned.returncode == 0 and "lora" in planned.stdout and "zero-shot" not in planned.stdout
    assert not (tiny / "runs").exists()
    contender = LOCAL["contenders"][1] | {"seeds": 2}
    experiment(tiny, **(LOCAL | {"contenders": [contender]}))
    done = workbench(tiny, "train", "experiment.yaml", "--anyway", "--offline")
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^trained   lora(.*?):", done.stdout, re.M) == ["", " (seeds/8)"]


def test_rows_with_errors_are_not_trained_on(tiny: Path) -> None:
    with (tiny / "data.jsonl").open("a") as file:
        file.write('{"messages": [{"role": "user", "content": "?"}, {"role": "asistant", "content": "!"}]}\n')
    done = workbench(tiny, "train", "experiment.yaml", "--anyway")
    assert done.returncode == 2 and re.search(
        r"the data has errors.*\n?.*workbench lint .*data\.jsonl", done.stderr
    )


# -- the first batch -----------------------------------------------------------------------------------


def batch_of(
    tiny_model: Path, tmp_path: Path, answer: str
) -> tuple[dict[str, Any], list[dict[str, list[int]]]]:
    from tests.test_training import chat, settings_for
    from workbench.training import encode_rows

    tokenizer = load_hf_tokenizer("tiny", tiny_model)
    examples = {"a": chat("the pump", "silent", 3), "b": chat("the tank", answer, 9)}
    rows = encode_rows(examples, tokenizer, 128)
    sources = [(name, example.line) for name, example in examples.items()]
    job = Job(settings_for(tiny_model), Run(tmp_path), rows, [], sources)
    return x_ray([[rows[1], rows[0]]], job, tokenizer, "packed"), rows


def test_the_first_batch_is_the_rows_with_their_trained_parts(tiny_model: Path, tmp_path: Path) -> None:
    batch, rows = batch_of(tiny_model, tmp_path, "leaks")
    Run(tmp_path).write_first_batch("lora", batch)
    assert Run(tmp_path).first_batch("lora") == {**batch, "schema": "workbench.batch/1"}
    assert Run(tmp_path).first_batch("other") is None
    (sequence,) = batch["sequences"]
    assert [(row["id"], row["line"]) for row in sequence["rows"]] == [("b", 9), ("a", 3)]
    for row, encoded in zip(sequence["rows"], reversed(rows), strict=True):
        assert row["tokens"] == len(encoded["input_ids"])
        assert row["trained"] == sum(label != IGNORED for label in encoded["labels"])
    assert sequence["rows"][0]["pieces"] == [
        {"text": "<|im_start|>user\nthe tank<|im_end|>\n<|im_start|>assistant\n", "trained": False},
        {"text": "leaks<|im_end|>", "trained": True},
        {"text": "\n", "trained": False},
    ]


@pytest.mark.parametrize("colour", [False, True])
def test_the_x_ray_marks_by_sign_and_lets_no_data_speak(
    tiny_model: Path, tmp_path: Path, colour: bool
) -> None:
    batch, _ = batch_of(tiny_model, tmp_path, "\x1b[2J⟧ gone ⟦\n── line 1")
    text = x_ray_text(batch, colour=colour)
    assert text.count("⟦") == text.count("⟧") == 3  # the legend and two answers
    assert ("\x1b[32m⟦silent" in text) is colour
    assert text.count("\x1b") == (6 if colour else 0)
    assert text.startswith("first batch: 2 rows, ") and "══ sequence 1: 2 rows" in text
    assert json.loads(json.dumps(batch)) == batch
