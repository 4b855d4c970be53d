"""Predicted against measured: peak memory and time of real trainings, each in a process of its own.

    python -m tests.benchmarks.forecast [NAME …]

Random weights in real shapes, but for the pinned model; rows are the sample tickets. Goal: memory within 15 %, a
step's time within 25 %. Both are measured on this machine, so other work on it shows: run it alone, or with priority.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

ROWS = Path(__file__).parents[2] / "sample_data" / "triage" / "tickets.jsonl"
PINNED = "smollm2-135m-instruct"
LLAMA = {"model_type": "llama", "vocab_size": 49152, "max_position_embeddings": 2048}


@dataclass(frozen=True)
class Case:
    """A training: a shape (none: the pinned model), settings, and how many tickets stand in a row."""

    name: str
    shape: dict[str, Any] | None = None
    tickets: int = 1
    rows: int = 40
    settings: dict[str, Any] = field(default_factory=dict)


def llama(hidden: int, inner: int, layers: int, heads: int, keys: int) -> dict[str, Any]:
    """A Llama shape with the pinned model's vocabulary."""
    return LLAMA | {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": keys,
    }


GPT2 = {
    "model_type": "gpt2",
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "n_positions": 1024,
    "vocab_size": 50257,
}
QWEN = llama(1024, 2816, 16, 16, 4) | {"model_type": "qwen2"}
CASES = (
    Case("135M lora, packed", settings={"batch_size": 8}),
    Case("135M qlora, packed", settings={"batch_size": 8, "method": "qlora"}),
    Case("135M lora, long rows", tickets=5, rows=16, settings={"batch_size": 4}),
    Case(
        "135M lora, checkpointed",
        tickets=5,
        rows=16,
        settings={"batch_size": 4, "gradient_checkpointing": "on"},
    ),
    Case("135M full, packed", rows=32, settings={"batch_size": 4, "method": "full"}),
    Case(
        "45M llama full, float32", llama(512, 1408, 6, 8, 4), settings={"method": "full", "dtype": "float32"}
    ),
    Case("124M gpt2 lora, padded", GPT2, settings={"packing": "off"}),
    Case("250M qwen2 lora, float32", QWEN, rows=32, settings={"batch_size": 4, "dtype": "float32"}),
    Case("250M qwen2 qlora", QWEN, rows=32, settings={"batch_size": 4, "method": "qlora"}),
)


def main(names: list[str]) -> None:
    """Print a line a case."""
    print(f"{'':26}{'memory MB':>22}{'s a step':>26}")
    right = 0
    chosen = [case for case in CASES if not names or any(name in case.name for name in names)]
    for case in chosen:
        with tempfile.TemporaryDirectory() as scratch:
            foretold, found = (_in_a_process(case, part, scratch) for part in ("forecast", "train"))
        memory, seconds = (found[key] / foretold[key] - 1 for key in ("memory", "seconds"))
        right += abs(memory) <= 0.15 and abs(seconds) <= 0.25
        print(
            f"{case.name:26}{foretold['memory']:>7.0f} → {found['memory']:>5.0f} {memory:>+6.0%}"
            f"{foretold['seconds']:>12.2f} → {found['seconds']:>5.2f} {seconds:>+6.0%}   {found['how']}",
            flush=True,
        )
    print(f"{right} of {len(chosen)} within the goals (found against foretold)")


def _in_a_process(case: Case, part: str, scratch: str) -> dict[str, Any]:
    number = str(CASES.index(case))
    command = [sys.executable, "-m", "tests.benchmarks.forecast", part, number, scratch]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"TQDM_DISABLE": "1"})
    if done.returncode:
        raise SystemExit(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def forecast(case: Case, scratch: Path) -> dict[str, Any]:
    """What is foretold; makes the model first, where it is not the pinned one."""
    from workbench.forecast import peak_bytes, training_seconds
    from workbench.shapes import model_size
    from workbench.training.pace import measured_pace
    from workbench.training.workload import workload_of

    if case.shape is not None:
        make_model(case.shape, scratch / "model")
    settings, rows = _prepared(case, scratch)
    packed = settings.packing != "off"
    work = workload_of(
        settings, rows, dtype=settings.dtype, device=settings.device, packed=packed, processes=1
    )
    work = replace(work, checkpointing=settings.gradient_checkpointing == "on")
    size = model_size(settings.folder)
    assert size is not None
    steps = -(-len(rows) // settings.batch_size)
    seconds = training_seconds(work, measured_pace(settings.folder, work), epochs=1)
    return {"memory": peak_bytes(size, work) / 1e6, "seconds": seconds / steps}


def train(case: Case, scratch: Path) -> dict[str, Any]:
    """What is found."""
    from validators.tokens import load_hf_tokenizer
    from workbench.runs import Run
    from workbench.training import fine_tune

    settings, _ = _prepared(case, scratch)
    tokenizer = load_hf_tokenizer(PINNED, _pinned())
    ends: dict[int, float] = {}

    def told(step: int, steps: int, said: str) -> None:
        ends.setdefault(step, time.perf_counter())

    (scratch / "run").mkdir()
    done = fine_tune(settings, _examples(case), {}, tokenizer, Run(scratch / "run"), told)
    first, last = min(n for n in ends if n > 0), max(ends)  # the first step is a warm-up
    seconds = (ends[last] - ends[first]) / (last - first)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return {"memory": peak, "seconds": seconds, "how": done.packing}


def make_model(shape: dict[str, Any], folder: Path) -> None:
    """Write a model of random weights in a shape, with the pinned model's tokenizer."""
    import torch
    import transformers

    config = transformers.AutoConfig.for_model(**shape, bos_token_id=1, eos_token_id=2, pad_token_id=2)
    model: Any = transformers.AutoModelForCausalLM
    model.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(_pinned() / name, folder / name)


def _pinned() -> Path:
    from validators.assets import resolve_model

    return resolve_model(PINNED, base=Path())


def _prepared(case: Case, scratch: Path) -> tuple[Any, Any]:
    from validators.tokens import load_hf_tokenizer
    from workbench.training import TrainingSettings, encode_rows

    folder = _pinned() if case.shape is None else scratch / "model"
    plain: dict[str, Any] = {
        "epochs": 1,
        "learning_rate": 1e-5,
        "rank": 16,
        "alpha": 32,
        "batch_size": 8,
        "seed": 7,
    }
    plain |= {"dtype": "bfloat16", "gradient_checkpointing": "off", "max_length": 1024}
    settings = TrainingSettings(
        **(plain | {"name": "x", "model": "x", "folder": folder, "device": "cpu"} | case.settings)
    )
    tokenizer = load_hf_tokenizer(PINNED, _pinned())
    return settings, encode_rows(_examples(case), tokenizer, settings.max_length)


def _examples(case: Case) -> dict[str, Any]:
    """Conversations of some tickets each."""
    from validators.examples import Example, Message

    lines = [json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines()]
    found = {}
    for number in range(case.rows):
        some = lines[number * case.tickets : (number + 1) * case.tickets]
        messages = (Message(m["role"], m["content"]) for row in some for m in row["messages"])
        found[str(number)] = Example(tuple(messages), line=number + 1)
    return found


if __name__ == "__main__":
    if sys.argv[1:2] in (["forecast"], ["train"]):
        part = {"forecast": forecast, "train": train}[sys.argv[1]]
        print(json.dumps(part(CASES[int(sys.argv[2])], Path(sys.argv[3]))))
    else:
        main(sys.argv[1:])
