"""Whole commands on what cannot be trained: each is named with its cure, and nothing that was done is lost."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.commands import workbench
from tests.conftest import CHATML, make_tiny_model
from tests.judged_run import chat, jsonl, label, question
from workbench.runs import Run

ROWS = [chat(question(i), label(i)) for i in range(16)]
# A template that knows no system prompts.
NO_SYSTEM = "{% for m in messages %}{% if m['role'] not in ['user', 'assistant'] %}{{ raise_exception('roles') }}{% endif %}{% endfor %}"
PARROT = {"name": "parrot", "kind": "prompting", "backend": "echo"}
LORA: dict[str, Any] = {"name": "lora", "kind": "fine-tuned", "epochs": 2, "rank": 2, "learning_rate": 1e-3}


def experiment(folder: Path, rows: list[dict[str, Any]] = ROWS, **lora: Any) -> None:
    """An echo that answers first, and a contender that is tuned."""
    jsonl(folder / "data.jsonl", rows)
    tree = {
        "name": "bad",
        "task": "classification",
        "data": {"path": "data.jsonl", "split": {"dev": 0.2, "test": 0.3}},
        "lint": {"ignore": ["MSG017"]},  # lint would find rows without training first
        "backends": {
            "local": {
                "kind": "hf",
                "model": "tiny",
                "device": "cpu",
                "dtype": "float32",
                "max_new_tokens": 2,
            },
            "echo": {"kind": "echo"},
        },
        "contenders": [PARROT, LORA | lora],
        "metrics": {"primary": "exact_match", "also": []},
    }
    (folder / "experiment.yaml").write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")


def untrained(row: dict[str, Any]) -> dict[str, Any]:
    asked, answer = row["messages"]
    return {"messages": [asked, answer | {"weight": 0}]}


def with_system(row: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "system", "content": "Be brief."}, *row["messages"]]}


def with_picture(row: dict[str, Any]) -> dict[str, Any]:
    asked, answer = row["messages"]
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    return {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": asked["content"]}, picture]},
            answer,
        ]
    }


# what the rows are, how the contender is set, the model's template → words of the message
REFUSED: dict[str, tuple[list[dict[str, Any]], dict[str, Any], str | None, tuple[str, ...]]] = {
    "rows with nothing to train": (
        [*map(untrained, ROWS[:2]), *ROWS[2:]],
        {},
        CHATML,
        ("nothing would train in", "their weights are 0 (lines", "take these rows out"),
    ),
    "all rows too long": (
        ROWS,
        {"max_length": 4},
        CHATML,
        ("nothing would train in", "at max_length 4", "Raise max_length"),
    ),
    "a base without a template": (ROWS, {}, None, ("tiny has no chat template",)),
    "a template that lacks roles": (
        [with_system(row) for row in ROWS],
        {},
        NO_SYSTEM + CHATML,
        ("lines ", "tiny refuses the roles system, user", "Use a template that takes them"),
    ),
    "an unknown target module": (
        ROWS,
        {"target_modules": ["q_prj"]},
        CHATML,
        ("LlamaForCausalLM has no 'q_prj'", "Did you mean 'q_proj'", "Choose from down_proj, gate_proj"),
    ),
    "a module to save that is not there": (
        ROWS,
        {"modules_to_save": ["head"]},
        CHATML,
        ("modules_to_save: LlamaForCausalLM has no 'head'", "lm_head"),
    ),
    "an adapter to go on from that is not there": (
        ROWS,
        {"continue_from": "gone", "rank": 16},
        CHATML,
        ("continue_from: ", "gone does not exist"),
    ),
    "pictures before a model for text": (
        [with_picture(row) for row in ROWS],
        {},
        CHATML,
        ("tiny is given text alone", "message 0 has a part of type 'image_url'", "take these rows out"),
    ),
    "a loss with a name of its own": (
        ROWS,
        {"loss": "dpo", "allow_code": True},
        CHATML,
        ("experiment.yaml:", "'dpo' names no function", "losses.py beside this file"),
    ),
    "a seed below zero": (ROWS, {"seed": -1}, CHATML, ("seed: must be greater than or equal to 0",)),
    "a loss that is no number": (
        ROWS,
        {"learning_rate": 1e30, "epochs": 6},
        CHATML,
        ("the training loss is no longer a number", "Lower learning_rate"),
    ),
    "a loss of one's own that is not there": (
        ROWS,
        {"loss": "mine.losses:focal", "allow_code": True},
        CHATML,
        ("there is no module 'mine.losses'", "put mine/losses.py beside the experiment file"),
    ),
    "a loss of one's own that nobody allowed": (
        ROWS,
        {"loss": "mine.losses:focal"},
        CHATML,
        ("experiment.yaml:", "allow_code: true"),
    ),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str | None], Path]:
    """The tiny model under a template, made once."""
    made: dict[str | None, Path] = {}

    def of(template: str | None) -> Path:
        if template not in made:
            made[template] = make_tiny_model(tmp_path_factory.mktemp("model"), template=template)
        return made[template]

    return of


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_trained_is_named_with_its_cure(
    case: str, model: Callable[[str | None], Path], tmp_path: Path
) -> None:
    rows, lora, template, words = REFUSED[case]
    shutil.copytree(model(template), tmp_path / "tiny")
    experiment(tmp_path, rows, **lora)
    done = workbench(tmp_path, "run", "experiment.yaml", "--offline")
    assert done.returncode == 2
    last = done.stderr[done.stderr.index("error: ") :]
    assert all(part in " ".join(last.split()) for part in words), last
    for run in Run.all(tmp_path / "runs"):
        assert run.meta()["status"] == "error" and not run.adapter_folder("lora").exists()
        # What stood before the training is there: it was found before, or its answers are kept.
        began = "lora · fine-tuned" in done.stderr
        assert began == bool(run.predictions("parrot"))


# -- a full disk -------------------------------------------------------------------------------------

# Bytes that a file may have once the disk is "full": a log row fits, a checkpoint does not.
ROOM = 20_000


def full_at_the_second_checkpoint() -> None:
    """From the second dev loss on, no file of this process may grow: like a disk without room."""
    from workbench import files

    append, seen = files.Appender.append, 0

    def counted(self: Any, row: Any) -> None:
        nonlocal seen
        append(self, row)
        if isinstance(row, dict) and "dev_loss" in row:
            seen += 1
        if seen == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, resource.RLIM_INFINITY))

    files.Appender.append = counted  # type: ignore[method-assign]


def test_a_full_disk_at_a_checkpoint_leaves_the_one_before_whole(
    model: Callable[[str | None], Path], tmp_path: Path
) -> None:
    shutil.copytree(model(CHATML), tmp_path / "tiny")
    experiment(tmp_path)
    done = workbench(tmp_path, "run", "experiment.yaml", "--offline", prepare=full_at_the_second_checkpoint)
    (run,) = Run.all(tmp_path / "runs")
    assert done.returncode == 2
    assert "the checkpoint after step 2 cannot be written to lora/" in done.stderr
    assert "Make room on the disk and run the same command again" in done.stderr
    (kept,) = run.checkpoint_folder("lora").iterdir()
    assert kept.name == "checkpoint-1" and (kept / "trainer_state.json").exists()
    before = run.training("lora")[:2]
    assert run.predictions("parrot") and not run.adapter_folder("lora").exists()
    done = workbench(tmp_path, "run", "experiment.yaml", "--offline")
    assert run.meta()["status"] == "success", done.stderr
    assert run.adapter_folder("lora").exists() and run.training("lora")[:2] == before
    assert [row["step"] for row in run.training("lora")] == [1, 1, 2, 2]
