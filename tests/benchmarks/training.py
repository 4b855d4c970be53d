"""Training speed on this machine: ours against a padded transformers Trainer and TRL's SFTTrainer with packing.

Same rows, same adapter, same order of work, in turns within one process, so that a busy machine slows all
alike. Useful tokens are those of the rows: padding is left out, and what rows share counts in each of them.
Seconds are the process's own.

    python -m tests.benchmarks.training [MODEL] [STEPS]
"""

from __future__ import annotations

import functools
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import peft
import transformers
import trl

from validators.assets import resolve_model
from validators.examples import Example, Message
from validators.tokens import load_hf_tokenizer
from workbench.models import load_model, pick_device, pick_dtype
from workbench.training import TrainingSettings, encode_rows
from workbench.training.packing import useful_tokens
from workbench.training.rows import collate
from workbench.training.trainer import prepare, trainer_for

ROWS = Path(__file__).parents[2] / "sample_data" / "triage" / "tickets.jsonl"
BATCH = 8


def main(model: str = "smollm2-135m-instruct", steps: int = 6) -> None:
    """Print useful tokens a second and peak memory of each trainer."""
    folder = resolve_model(model, base=Path())
    tokenizer = load_hf_tokenizer(model, folder)
    device = pick_device("auto")
    settings = TrainingSettings(
        *("speed", model, folder, device, pick_dtype("auto", device)),
        epochs=1,
        learning_rate=1e-4,
        rank=16,
        alpha=32,
        batch_size=BATCH,
        max_length=1024,
        seed=7,
    )
    rows = encode_rows({str(e.line): e for e in examples()}, tokenizer, settings.max_length)
    tokens = sum(len(row["input_ids"]) for row in rows)
    out = Path(tempfile.mkdtemp())
    made: dict[str, Any] = {
        "ours": ours(settings, rows, tokenizer, out),
        "transformers, padded": padded(settings, rows, tokenizer, out),
        "TRL, packed": packed_by_trl(settings, rows, tokenizer, out),
    }
    batches = {name: iter(trainer.get_train_dataloader()) for name, trainer in made.items()}
    spent = dict.fromkeys(made, 0.0)
    useful = dict.fromkeys(made, 0)
    for step in range(steps + 1):  # the first warms up
        for name, trainer in made.items():
            batch = next(batches[name])
            begun = time.process_time()
            trainer.model.train()
            trainer.training_step(trainer.model, batch)
            trainer.model.zero_grad()
            if step:
                spent[name] += time.process_time() - begun
                useful[name] += int(useful_tokens(batch))
    print(f"{len(rows)} rows, {tokens} tokens, {settings.device}, {settings.dtype}, {steps} steps")
    for name in made:
        print(
            f"{name:22} {spent[name] / steps:8.2f} s a step {useful[name] / spent[name]:8.1f} useful tokens/s"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"peak memory of all three together {peak} MB")


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
    adapted = peft.get_peft_model(load_model(settings.folder, settings.device, settings.dtype), adapter())
    return ready(
        transformers.Trainer(model=adapted, args=arguments, train_dataset=rows, data_collator=collator)
    )


def packed_by_trl(settings: TrainingSettings, rows: Any, tokenizer: Any, out: Path) -> Any:
    """SFTTrainer with its packing, bins as wide as eight rows are long."""
    width = BATCH * sum(len(row["input_ids"]) for row in rows) // len(rows)
    plain = common(settings, out) | {"per_device_train_batch_size": 1}
    arguments = trl.SFTConfig(**plain, packing=True, max_length=width)
    return ready(
        trl.SFTTrainer(
            model=load_model(settings.folder, settings.device, settings.dtype),
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
        "per_device_train_batch_size": BATCH,
        "learning_rate": settings.learning_rate,
        "bf16": settings.dtype == "bfloat16",
        "use_cpu": settings.device == "cpu",
        "report_to": "none",
        "gradient_checkpointing": False,
        "dataloader_pin_memory": False,
    }


def ready(trainer: Any) -> Any:
    """Prepared for steps without a loop around them."""
    trainer.create_optimizer()
    trainer.current_gradient_accumulation_steps = 1
    trainer.model = trainer.accelerator.prepare_model(trainer.model)
    return trainer


if __name__ == "__main__":
    run: Callable[..., None] = main
    run(*sys.argv[1:2], *(int(n) for n in sys.argv[2:3]))
