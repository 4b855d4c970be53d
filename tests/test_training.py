"""LoRA training on a real tiny model: which tokens train, how the loss is counted, exact resume."""

from __future__ import annotations

import functools
import json
import math
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError

from tests.conftest import make_tiny_model
from validators.encoding import encode
from validators.examples import Example, Message
from validators.tokens import HuggingFaceTokenizer, load_hf_tokenizer
from workbench.backends import Request
from workbench.backends.hf import HfBackend
from workbench.records import Prompt
from workbench.runs import Run
from workbench.settings import HfBackend as HfSettings
from workbench.training import (
    DevScore,
    TrainingError,
    TrainingSettings,
    TrainingSummary,
    encode_rows,
    fine_tune,
)
from workbench.training.attention import set_packed_attention
from workbench.training.loss import attach_loss
from workbench.training.order import Order
from workbench.training.packing import collate_packed, pack_rows
from workbench.training.rows import IGNORED, collate
from workbench.training.trainer import SupervisedTrainer

QUIET = lambda *_: None  # noqa: E731
PAIRS = [
    ("the pump", "silent"),
    ("the tank", "leaks"),
    ("route bench", "water"),
    ("post late till", "charge"),
    ("pump and tank", "the bench"),
    ("is the till late", "late"),
    ("system", "route: water"),
    ("user", "post/late till"),
]


# Dev rows that are answered ever worse: best is the first epoch, of 4 steps.
RISING: dict[str, Any] = {"epochs": 3, "learning_rate": 0.05}


def other() -> dict[str, Example]:
    rows = [("the pump", "late"), ("the tank", "charge"), ("user", "silent"), ("system", "leaks")]
    return {f"d{i}": chat(q, a, 20 + i) for i, (q, a) in enumerate(rows)}


def chat(question: str, answer: str, line: int = 1, weight: int | None = None) -> Example:
    return Example((Message("user", question), Message("assistant", answer, weight=weight)), line=line)


def examples(count: int = 8) -> dict[str, Example]:
    return {f"s{i}": chat(q, a, i + 1) for i, (q, a) in enumerate(PAIRS[:count])}


def settings_for(folder: Path, **changed: Any) -> TrainingSettings:
    plain = {
        "name": "lora",
        "model": "tiny",
        "folder": folder,
        "device": "cpu",
        "dtype": "float32",
        "epochs": 2,
        "learning_rate": 1e-3,
        "rank": 4,
        "alpha": 8,
        "batch_size": 2,
        "max_length": 128,
        "seed": 3,
    }
    return TrainingSettings(**(plain | changed))


def train(
    model: Path,
    run: Path,
    rows: Mapping[str, Example] | None = None,
    dev: Mapping[str, Example] | None = None,
    progress: Callable[[int, int, str], None] = QUIET,
    score: DevScore | None = None,
    **changed: Any,
) -> TrainingSummary:
    tokenizer = load_hf_tokenizer("tiny", model)
    rows = examples() if rows is None else rows
    return fine_tune(settings_for(model, **changed), rows, dev or {}, tokenizer, Run(run), progress, score)


def widened(folder: Path, factor: float) -> Path:
    """The tiny model with wider ends: with the usual narrow ones no answer can become likely."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(make_tiny_model(folder))
    with torch.no_grad():
        model.lm_head.weight.mul_(factor)
        model.model.embed_tokens.weight.mul_(factor)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that gets worse on OTHER after its first epoch at RISING's learning rate."""
    return widened(tmp_path_factory.mktemp("model"), 5)


def loss_by_hand(model: Any, rows: list[dict[str, list[int]]], pad: int) -> float:
    """Mean cross-entropy over the trained tokens, from the whole logits."""
    import torch

    batch = collate(rows, pad)
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    return float(
        torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), ignore_index=IGNORED
        )
    )


# -- rows ----------------------------------------------------------------------------------------


def test_labels_are_the_loss_mask(tiny_model: Path) -> None:
    tokenizer = load_hf_tokenizer("tiny", tiny_model)
    rows = encode_rows(examples(), tokenizer, 128)
    for row, example in zip(rows, examples().values(), strict=True):
        encoding = encode(example, tokenizer)
        assert row["input_ids"] == list(encoding.ids)
        assert row["labels"] == [
            i if m else IGNORED for i, m in zip(encoding.ids, encoding.loss_mask, strict=True)
        ]
        trained = [i for i in row["labels"] if i != IGNORED]
        # Pad and end of turn are one token here: the end of turn trains all the same.
        assert trained[-1] == tokenizer.tokenizer.pad_token_id == tokenizer.tokenizer.eos_token_id


def test_padding_is_masked_by_position_not_by_token(tiny_model: Path) -> None:
    tokenizer = load_hf_tokenizer("tiny", tiny_model)
    rows = encode_rows(examples(), tokenizer, 128)
    batch = collate(rows, tokenizer.tokenizer.pad_token_id)
    assert batch["input_ids"].shape == batch["attention_mask"].shape == batch["labels"].shape
    for index, row in enumerate(rows):
        length = len(row["input_ids"])
        assert batch["labels"][index, :length].tolist() == row["labels"]
        assert set(batch["labels"][index, length:].tolist()) <= {IGNORED}
        assert batch["attention_mask"][index].sum() == length


def test_rows_with_nothing_to_train_are_refused_by_line(tiny_model: Path) -> None:
    tokenizer = load_hf_tokenizer("tiny", tiny_model)
    rows = {
        "good": chat("a", "b", 4),
        "long": chat("the pump is silent " * 40, "b", 7),
        "off": chat("a", "b", 9, weight=0),
    }
    with pytest.raises(TrainingError, match=r"2 of 3 rows at max_length 60.*lines 7, 9.*Raise max_length"):
        encode_rows(rows, tokenizer, 60)


def test_rows_the_template_cannot_mask_are_refused_by_line(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path, template="{% for m in messages %}{{ m['content'] }} {% endfor %}")
    with pytest.raises(TrainingError, match=r"lines 1, 2: .*end-of-turn"):
        encode_rows(examples(2), load_hf_tokenizer("tiny", folder), 60)


# -- the loss ------------------------------------------------------------------------------------


def trainer_for(
    model: Path, rows: list[dict[str, list[int]]], out: Path, *, bins_of: int | None = None, **arguments: Any
) -> Any:
    """A plain optimiser over an adapter of random weights; `bins_of` rows are packed where given."""
    import peft
    import transformers

    transformers.set_seed(0)
    config = peft.LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(transformers.AutoModelForCausalLM.from_pretrained(model), config)
    plain = {
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "max_grad_norm": 0.0,
    }
    plain |= {
        "remove_unused_columns": False,
        "optim": "sgd",
        "learning_rate": 1.0,
        "lr_scheduler_type": "constant",
    }
    assert attach_loss(adapted.get_base_model())
    items: list[Any] = list(rows)
    if bins_of:
        set_packed_attention(adapted.get_base_model())
        items = pack_rows(rows, bins_of, 0)
    return SupervisedTrainer(
        order=Order(len(items), 0),
        model=adapted,
        args=transformers.TrainingArguments(output_dir=str(out), **(plain | arguments)),
        train_dataset=items,
        data_collator=collate_packed if bins_of else functools.partial(collate, pad_id=1),
    )


@pytest.mark.parametrize("count", [1, 3, 8])
def test_the_loss_is_plain_cross_entropy_over_the_trained_tokens(
    tiny_model: Path, tmp_path: Path, count: int
) -> None:
    """Also where logits of the common prompt are left out."""
    rows = encode_rows(examples(count), load_hf_tokenizer("tiny", tiny_model), 128)
    trainer = trainer_for(tiny_model, rows, tmp_path)
    ours = trainer.compute_loss(trainer.model, collate(rows, 1)).item()
    assert ours == pytest.approx(loss_by_hand(trainer.model, rows, 1), rel=1e-6)
    tokens = sum(t != IGNORED for r in rows for t in r["labels"])
    whole_step = trainer.compute_loss(trainer.model, collate(rows, 1), num_items_in_batch=2 * tokens)
    assert whole_step.item() == pytest.approx(ours / 2, rel=1e-6)


def moved_by(model: Path, out: Path, size: int, packed: bool) -> Any:
    """What one step over eight uneven rows, `size` a micro-batch, adds to the weights that train, as one vector."""
    import torch

    uneven = {f"s{i}": chat(q, " ".join([a] * (1 + i)), i) for i, (q, a) in enumerate(PAIRS)}
    rows = encode_rows(uneven, load_hf_tokenizer("tiny", model), 256)
    trainer = trainer_for(
        model,
        rows,
        out,
        bins_of=size if packed else None,
        per_device_train_batch_size=1 if packed else size,
        gradient_accumulation_steps=8 // size,
        max_steps=1,
    )
    before = [p.detach().clone() for p in trainer.model.parameters() if p.requires_grad]
    trainer.train()
    after = [p.detach() for p in trainer.model.parameters() if p.requires_grad]
    return torch.cat([(a - b).flatten() for a, b in zip(after, before, strict=True)])


def test_accumulated_batches_train_as_one(tiny_model: Path, tmp_path: Path) -> None:
    """A step of 8 × 1, 4 × 2, 1 × 8 rows, padded or packed, moves the weights the same.

    The whole step's tokens are the divisor.
    """
    import torch

    moved = [
        moved_by(tiny_model, tmp_path, size, packed)
        for size, packed in ((8, False), (4, False), (1, False), (8, True), (4, True), (1, True))
    ]
    assert moved[0].abs().max() > 1e-4
    assert all(torch.allclose(moved[0], other, rtol=0, atol=1e-6) for other in moved[1:])


# -- whole trainings -----------------------------------------------------------------------------


def test_an_overfit_model_gives_the_answers_and_stops(tmp_path: Path) -> None:
    folder = widened(tmp_path / "wide", 25)
    run = tmp_path / "run"
    train(folder, run, epochs=60, learning_rate=1e-2, rank=32, alpha=64, batch_size=4)
    settings = HfSettings(kind="hf", model=str(folder), device="cpu", dtype="float32", max_new_tokens=16)
    requests = [
        Request(prompt=Prompt(id=q, messages=(Message("user", q),)), references=(a,)) for q, a in PAIRS
    ]
    answered = HfBackend(settings, tmp_path).answer(requests, adapter=Run(run).adapter_folder("lora"))
    rows = {p.id: p for p in answered}
    assert {q: rows[q].prediction for q, _ in PAIRS} == dict(PAIRS)
    assert {r.finish_reason for r in rows.values()} == {"stop"}


def test_the_adapter_folder_reloads_to_the_same_dev_loss(
    model: Path, whole: tuple[Path, TrainingSummary]
) -> None:
    """And it is the best epoch's, though later epochs are worse."""
    import peft
    from transformers import AutoModelForCausalLM

    run, summary = whole
    log = [r for r in Run(run).training("lora") if "dev_loss" in r]
    best = min(log, key=lambda r: r["dev_loss"])
    assert (summary.best_step, summary.dev_loss) == (best["step"], best["dev_loss"])
    assert summary.best_step == 4 and best["dev_loss"] < log[-1]["dev_loss"]
    base = AutoModelForCausalLM.from_pretrained(model)
    adapted = peft.PeftModel.from_pretrained(base, Run(run).adapter_folder("lora")).eval()
    rows = encode_rows(other(), load_hf_tokenizer("tiny", model), 128)
    assert loss_by_hand(adapted, rows, 1) == pytest.approx(summary.dev_loss, rel=1e-5)


def test_the_adapter_folder_names_the_model_and_no_place(tiny_model: Path, tmp_path: Path) -> None:
    summary = train(tiny_model, tmp_path / "run")
    folder = Run(tmp_path / "run").adapter_folder("lora")
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny" and config["peft_type"] == "LORA"
    weights_and_config = {"adapter_config.json", "adapter_model.safetensors"}
    beside = {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "origin.json"}
    assert {p.name for p in folder.iterdir()} == weights_and_config | beside
    for path in (*folder.iterdir(), tmp_path / "run" / "contenders" / "lora" / "train.jsonl"):
        assert str(tmp_path).encode() not in path.read_bytes()
        assert str(tiny_model).encode() not in path.read_bytes()
    assert not Run(tmp_path / "run").checkpoint_folder("lora").exists()
    tokenizer: HuggingFaceTokenizer = load_hf_tokenizer("tiny", tiny_model)
    encodings = [encode(e, tokenizer) for e in examples().values()]
    assert (summary.examples, summary.steps) == (8, 8)
    assert summary.tokens == 2 * sum(len(e.ids) for e in encodings)
    assert summary.trained_tokens == 2 * sum(e.trained for e in encodings)


def test_without_dev_rows_the_last_epoch_is_kept(tiny_model: Path, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    summary = train(tiny_model, tmp_path, progress=lambda done, total, _: steps.append((done, total)))
    assert (summary.best_step, summary.dev_loss) == (None, None)
    log = Run(tmp_path).training("lora")
    assert [r["step"] for r in log if "loss" in r] == list(range(1, 9))
    assert all(math.isfinite(r["loss"]) and r["learning_rate"] >= 0 and r["memory_mb"] > 0 for r in log)
    assert steps[-1] == (8, 8)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tiny_model: Path, tmp_path: Path) -> None:
    blobs = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        train(tiny_model, tmp_path / name, seed=seed)
        blobs.append(weights(tmp_path / name))
    assert blobs[0] == blobs[1] != blobs[2]


def test_gradient_checkpointing_changes_no_weight(tiny_model: Path, tmp_path: Path) -> None:
    for switch in ("on", "off", "auto"):
        train(tiny_model, tmp_path / switch, gradient_checkpointing=switch, epochs=1)
    assert weights(tmp_path / "on") == weights(tmp_path / "off") == weights(tmp_path / "auto")


@pytest.mark.parametrize("dev", [True, False])
def test_a_loss_that_is_no_number_stops_with_the_cure(tiny_model: Path, tmp_path: Path, dev: bool) -> None:
    with pytest.raises(TrainingError, match=r"Lower learning_rate"):
        train(tiny_model, tmp_path, dev=examples(2) if dev else {}, learning_rate=1e30)
    assert not Run(tmp_path).adapter_folder("lora").exists()


# -- the best epoch ------------------------------------------------------------------------------


def dev_losses(run: Path) -> list[float | None]:
    """None for a loss that was no number: the log leaves out what has no value."""
    return [row.get("dev_loss") for row in Run(run).training("lora") if "loss" not in row]


def test_training_ends_where_the_dev_loss_no_longer_falls(model: Path, tmp_path: Path) -> None:
    asked: dict[str, Any] = {**RISING, "epochs": 9, "dev": other(), "patience": 2}
    summary = train(model, tmp_path, **asked)
    losses = dev_losses(tmp_path)
    assert None not in losses and len(losses) < 9
    best = min(range(len(losses)), key=lambda i: losses[i] or 0.0)
    assert len(losses) == best + 3 and summary.best_step == 4 * (best + 1)
    assert (summary.steps, summary.dev_loss) == (4 * len(losses), losses[best])


@pytest.mark.parametrize("bad", [{1}, {2}, {1, 2, 3}], ids=str)
def test_a_dev_loss_that_is_no_number_is_never_the_best(
    model: Path, tmp_path: Path, bad: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, seen = SupervisedTrainer.evaluation_loop, []

    def sometimes(self: Any, *given: Any, **named: Any) -> Any:
        out = real(self, *given, **named)
        seen.append(out.metrics["eval_loss"])
        if len(seen) in bad:
            out.metrics["eval_loss"] = math.nan
        return out

    monkeypatch.setattr(SupervisedTrainer, "evaluation_loop", sometimes)
    summary = train(model, tmp_path, dev=other(), **RISING)
    good = {epoch: loss for epoch, loss in enumerate(seen, 1) if epoch not in bad}
    best = min(good, key=good.__getitem__, default=None)
    assert dev_losses(tmp_path) == [good.get(epoch) for epoch in (1, 2, 3)]
    assert summary.dev_loss == (good[best] if best else None)
    assert summary.best_step == (4 * best if best else None)


# -- killed and resumed --------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
from tests.test_training import RISING, other, train
def progress(step, total, _):
    if step == 6:
        os.kill(os.getpid(), signal.SIGKILL)
train(Path(sys.argv[1]), Path(sys.argv[2]), dev=other(), progress=progress, **RISING)
"""


@pytest.fixture(scope="module")
def whole(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainingSummary]:
    """A training of three epochs that nobody interrupted."""
    run = tmp_path_factory.mktemp("whole")
    return run, train(model, run, dev=other(), **RISING)


@pytest.fixture(scope="module")
def killed(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same training, killed in the middle of its second epoch."""
    run = tmp_path_factory.mktemp("killed") / "run"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(model), str(run)],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return run


def weights(run: Path) -> bytes:
    return (Run(run).adapter_folder("lora") / "adapter_model.safetensors").read_bytes()


def told(run: Path) -> list[tuple[Any, ...]]:
    return [(r["step"], r.get("loss"), r.get("dev_loss")) for r in Run(run).training("lora")]


def test_a_killed_training_resumes_to_the_same_bytes(
    model: Path, whole: tuple[Path, TrainingSummary], killed: Path, tmp_path: Path
) -> None:
    """In a folder of another name: the best checkpoint, noted by path, must be found there."""
    folder = tmp_path / "moved"
    shutil.copytree(killed, folder)
    checkpoints = Run(folder).checkpoint_folder("lora")
    assert [p.name for p in checkpoints.iterdir()] == ["checkpoint-4"]
    shutil.move(killed, killed.with_name("gone"))
    # What a kill within the next checkpoint leaves: a folder without the state, which is written last.
    (checkpoints / "checkpoint-8").mkdir()
    (checkpoints / "checkpoint-8" / "adapter_config.json").write_text("{}")
    steps: list[int] = []
    resumed = train(model, folder, dev=other(), progress=lambda done, *_: steps.append(done), **RISING)
    run, summary = whole
    assert min(steps) == 5  # the first epoch was not trained again
    assert weights(folder) == weights(run)
    assert (resumed.steps, resumed.best_step, resumed.dev_loss) == (
        summary.steps,
        summary.best_step,
        summary.dev_loss,
    )
    assert told(folder) == told(run)
    assert not checkpoints.exists()


def test_a_training_killed_after_its_last_step_only_saves(
    model: Path, whole: tuple[Path, TrainingSummary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("workbench.training.trainer.save_trained", stop)
        train(model, tmp_path, dev=other(), **RISING)
    steps: list[int] = []
    train(model, tmp_path, dev=other(), progress=lambda done, *_: steps.append(done), **RISING)
    assert steps == []
    assert weights(tmp_path) == weights(whole[0])
    assert told(tmp_path) == told(whole[0])


def test_a_disk_that_is_full_at_the_end_loses_nothing(
    model: Path, whole: tuple[Path, TrainingSummary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Any, __: Any, work: Path) -> None:
        work.mkdir()
        (work / "adapter_model.safetensors").write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patch, pytest.raises(TrainingError, match="No space left") as error:
        patch.setattr("workbench.training.saving._save_adapter", full)
        train(model, tmp_path, dev=other(), **RISING)
    assert "what was trained cannot be written to lora/adapter (" in str(error.value)
    assert [p.name for p in Run(tmp_path).contender_folder("lora").iterdir() if "adapter" in p.name] == []
    train(model, tmp_path, dev=other(), **RISING)
    assert weights(tmp_path) == weights(whole[0])


KILLED_OFTEN = """
import json, os, signal, sys
from pathlib import Path
from tests.test_training import QUIET, other, train
options = json.loads(sys.argv[3])
for limit in (2, 5, 6, None):
    def progress(step, total, _):
        if step == limit:
            os.kill(os.getpid(), signal.SIGKILL)
    child = os.fork()
    if child == 0:
        train(Path(sys.argv[1]), Path(sys.argv[2]), dev=other(), progress=progress, **options)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == (signal.SIGKILL if limit else 0), status
"""


@pytest.mark.parametrize("packing", ["on", "off"])
def test_a_training_killed_within_epochs_resumes_to_the_same_bytes(
    model: Path, tmp_path: Path, packing: str
) -> None:
    """Three kills; with dropout, whose chances go on, and steps of several micro-batches."""
    options: dict[str, Any] = {
        "packing": packing,
        "epochs": 2,
        "batch_size": 1,
        "gradient_accumulation": 2,
        "dropout": 0.2,
        "learning_rate": 1e-2,
        "save_seconds": 0.0,
    }
    whole = train(model, tmp_path / "whole", dev=other(), **options)
    assert whole.steps == 8 and whole.packing.startswith("packed" if packing == "on" else "batches")
    done = subprocess.run(
        [sys.executable, "-c", KILLED_OFTEN, str(model), str(tmp_path / "killed"), json.dumps(options)],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
    assert told(tmp_path / "killed") == told(tmp_path / "whole")


def test_a_training_that_stopped_early_only_saves_after_a_kill(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    asked: dict[str, Any] = {**RISING, "epochs": 9, "dev": other(), "patience": 1}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("workbench.training.trainer.save_trained", stop)
        train(model, tmp_path, **asked)
    steps: list[int] = []
    summary = train(model, tmp_path, progress=lambda done, *_: steps.append(done), **asked)
    assert steps == [] and summary.steps == 4 * len(dev_losses(tmp_path)) < 36
