"""Training speed on this machine: ours against a padded transformers Trainer and TRL's SFTTrainer with packing.

Same rows, same adapter, same order of work, one process. Useful tokens are those of the rows: padding is left
out, and what rows share counts in each of them. On a CPU the three take turns, so that a busy machine slows all
alike, and seconds are the process's own. On a GPU each trains alone, so that its peak memory is its own, TRL with
Liger's kernels where they are installed; the share of the card's matrix product is told too. Shapes have random weights.

    python -m tests.benchmarks.training [MODEL] [--steps 6] [--batch 8] [--method lora]
    python -m tests.benchmarks.training 8b --batch 64 --method qlora      # 1b, 8b: a shape
"""

from __future__ import annotations

import argparse
import functools
import gc
import itertools
import json
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import datasets
import peft
import torch
import transformers
import trl

from tests.benchmarks.forecast import PINNED, ROWS, llama, make_model
from validators.assets import resolve_model
from validators.examples import Example, Message
from validators.tokens import load_hf_tokenizer
from workbench.models import pick_device, pick_dtype
from workbench.shapes import model_size
from workbench.training import TrainingSettings, encode_rows
from workbench.training.methods import load_base
from workbench.training.packing import useful_tokens
from workbench.training.rows import IGNORED, collate
from workbench.training.trainer import prepare, trainer_for

LARGE = {"vocab_size": 128256, "max_position_embeddings": 8192}
SHAPES = {
    "tiny": llama(64, 128, 2, 4, 2),
    "1b": llama(2048, 8192, 16, 32, 8) | LARGE,
    "8b": llama(4096, 14336, 32, 32, 8) | LARGE,
}


@dataclass(slots=True)
class Spent:
    """What a trainer's steps took: seconds, tokens of rows, that train, that are computed; peak bytes on a GPU."""

    seconds: float = 0.0
    useful: int = 0
    trained: int = 0
    computed: int = 0
    peak: int = 0


def main() -> None:
    """Print useful tokens a second and peak memory of each trainer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", nargs="?", default=PINNED)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--method", choices=("lora", "qlora"), default="lora")
    parser.add_argument("--checkpointing", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        if asked.model in SHAPES:
            make_model(SHAPES[asked.model], folder := out / asked.model)
        else:
            folder = resolve_model(asked.model, base=Path())
        device = pick_device("auto")
        settings = TrainingSettings(
            *("speed", asked.model, folder, device, pick_dtype("auto", device)),
            epochs=1,
            learning_rate=1e-4,
            rank=16,
            alpha=32,
            batch_size=asked.batch,
            max_length=1024,
            seed=7,
            method=asked.method,
            gradient_checkpointing="on" if asked.checkpointing else "off",
        )
        measure(settings, asked.steps, out)


def measure(settings: TrainingSettings, steps: int, out: Path) -> None:
    """Train a few steps with each, and print the table."""
    tokenizer = load_hf_tokenizer(settings.model, settings.folder)
    rows = encode_rows({str(e.line): e for e in examples()}, tokenizer, settings.max_length)
    makers = {"ours": ours, "transformers, padded": padded, "TRL, packed": packed_by_trl}
    ready_ = {
        name: functools.partial(make, settings, rows, tokenizer, out / str(number))
        for number, (name, make) in enumerate(makers.items())
    }
    on_gpu = settings.device.startswith("cuda")
    spent = alone(ready_, steps) if on_gpu else in_turns(ready_, steps)
    tokens = sum(len(row["input_ids"]) for row in rows)
    told = (
        f"{settings.method}, {settings.device}, {settings.dtype}, {steps} steps of {settings.batch_size} rows"
    )
    print(f"{settings.model}: {len(rows)} rows, {tokens} tokens, {told}")
    heads = f"{'useful tokens/s':>17}{'trained tokens/s':>18}{'peak GiB':>10}{'of the product':>16}"
    print(f"{'':22}{'s a step':>10}{heads}")
    size = model_size(settings.folder)
    for name, one in spent.items():
        share = ""
        if on_gpu and size is not None:
            # Forward and backward through the layers' products, and forward again where they are checkpointed.
            passes = 6 if settings.gradient_checkpointing == "on" else 4
            done = passes * size.multiplied * one.computed / one.seconds
            share = f"{done / products(settings.device):.0%}"
        speeds = f"{one.useful / one.seconds:17.1f}{one.trained / one.seconds:18.1f}"
        memory = f"{one.peak / 2**30:10.1f}" if one.peak else f"{'':10}"
        print(f"{name:22}{one.seconds / steps:10.2f}{speeds}{memory}{share:>16}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"peak memory of the process {peak} MB")


def in_turns(ready_: dict[str, Callable[[], Any]], steps: int) -> dict[str, Spent]:
    """A step of each, again and again."""
    made = {name: make() for name, make in ready_.items()}
    batches = {name: itertools.cycle(trainer.get_train_dataloader()) for name, trainer in made.items()}
    spent = {name: Spent() for name in made}
    for number in range(steps + 1):  # the first warms up
        for name, trainer in made.items():
            step(trainer, next(batches[name]), spent[name] if number else Spent(), time.process_time)
    return spent


def alone(ready_: dict[str, Callable[[], Any]], steps: int) -> dict[str, Spent]:
    """All steps of each, one after another on a GPU."""

    def now() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    spent = {}
    for name, make in ready_.items():
        torch.cuda.reset_peak_memory_stats()
        trainer, found = make(), Spent()
        batches = itertools.cycle(trainer.get_train_dataloader())
        for number in range(steps + 2):  # the first ones warm up
            step(trainer, next(batches), found if number > 1 else Spent(), now)
        found.peak = torch.cuda.max_memory_allocated()
        spent[name] = found
        del trainer, batches
        gc.collect()
        torch.cuda.empty_cache()
    return spent


def step(trainer: Any, batch: Any, spent: Spent, now: Callable[[], float]) -> None:
    """One forward and backward pass."""
    useful = int(useful_tokens(batch))
    trained = int((batch["labels"][:, 1:] != IGNORED).sum())
    begun = now()
    trainer.model.train()
    trainer.training_step(trainer.model, batch)
    trainer.model.zero_grad()
    spent.seconds += now() - begun
    spent.useful += useful
    spent.trained += trained
    spent.computed += batch["input_ids"].numel()


def products(device: str) -> float:
    """Operations a second of a large matrix product in bf16: what no training can exceed."""
    a, b = (torch.randn(8192, 8192, device=device, dtype=torch.bfloat16) for _ in range(2))
    for number in range(25):
        if number == 5:
            torch.cuda.synchronize()
            begun = time.perf_counter()
        a @ b
    torch.cuda.synchronize()
    return 20 * 2 * 8192**3 / (time.perf_counter() - begun)


def examples() -> list[Example]:
    """The tickets as conversations."""
    lines = [json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines()]
    return [
        Example(tuple(Message(m["role"], m["content"]) for m in row["messages"]), line=number)
        for number, row in enumerate(lines, 1)
    ]


def ours(settings: TrainingSettings, rows: Any, tokenizer: Any, out: Path) -> Any:
    """As a fine-tuned contender trains."""
    model, how = prepare(settings, rows)
    return ready(trainer_for(model, settings, rows, [], out, tokenizer, packed=how == "packed"))


def padded(settings: TrainingSettings, rows: Any, tokenizer: Any, out: Path) -> Any:
    """The usual Trainer: rows in random order, padded to the longest of a batch."""
    arguments = transformers.TrainingArguments(**common(settings, out), remove_unused_columns=False)
    collator = functools.partial(collate, pad_id=tokenizer.tokenizer.pad_token_id or 0)
    adapted = peft.get_peft_model(load_base(settings), adapter())
    return ready(
        transformers.Trainer(model=adapted, args=arguments, train_dataset=rows, data_collator=collator)
    )


def packed_by_trl(settings: TrainingSettings, rows: Any, tokenizer: Any, out: Path) -> Any:
    """SFTTrainer with its packing, bins as wide as eight rows are long."""
    width = settings.batch_size * sum(len(row["input_ids"]) for row in rows) // len(rows)
    liger = settings.device != "cpu" and find_spec("liger_kernel") is not None
    plain = common(settings, out) | {"per_device_train_batch_size": 1, "use_liger_kernel": liger}
    arguments = trl.SFTConfig(**plain, packing=True, max_length=width)
    return ready(
        trl.SFTTrainer(
            model=load_base(settings),
            args=arguments,
            train_dataset=datasets.Dataset.from_list(rows),
            processing_class=tokenizer.tokenizer,
            peft_config=adapter(),
        )
    )


def adapter() -> Any:
    """The same adapter for all."""
    return peft.LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")


def common(settings: TrainingSettings, out: Path) -> dict[str, Any]:
    """What all are told."""
    return {
        "output_dir": str(out),
        "per_device_train_batch_size": settings.batch_size,
        "learning_rate": settings.learning_rate,
        "bf16": settings.dtype == "bfloat16",
        "fp16": settings.dtype == "float16",
        "use_cpu": settings.device == "cpu",
        "report_to": "none",
        "gradient_checkpointing": settings.gradient_checkpointing == "on",
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "dataloader_pin_memory": False,
    }


def ready(trainer: Any) -> Any:
    """Prepared for steps without a loop around them."""
    trainer.create_optimizer()
    trainer.current_gradient_accumulation_steps = 1
    trainer.model = trainer.accelerator.prepare_model(trainer.model)
    return trainer


if __name__ == "__main__":
    main()
