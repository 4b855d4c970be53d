"""Sorted batches against plain `generate` in arrival order: tokens a second on the same prompts, one run.

python -m tests.benchmarks.batching
"""

from __future__ import annotations

import random
import time
from pathlib import Path

from validators.assets import fetch
from validators.examples import Message
from workbench.backends import Request
from workbench.backends.hf import HfBackend
from workbench.experiment import Experiment
from workbench.models import load_model
from workbench.records import Prompt
from workbench.settings import HfBackend as Settings

ROOT = Path(__file__).resolve().parents[2]
BATCH, NEW, ROWS = 16, 12, 48


def prompts() -> list[str]:
    """Ticket texts of very different lengths, in a seeded order."""
    from workbench.data import prepare, read_files

    experiment = Experiment.load(ROOT / "sample_data" / "triage" / "experiment.yaml")
    texts = [s.question for s in prepare(experiment, *read_files(experiment)).train]
    rng = random.Random(0)
    return [" ".join(rng.choices(texts, k=rng.randint(1, 6))) for _ in range(ROWS)]


def main() -> None:
    """Print a table."""
    import torch

    folder = fetch("smollm2-135m-instruct")
    settings = Settings(kind="hf", model=str(folder), batch_size=BATCH, max_new_tokens=NEW)
    backend = HfBackend(settings, ROOT)
    tokenizer = backend.tokenizer.tokenizer
    tokenizer.padding_side = "left"
    asked = prompts()
    model = load_model(folder, backend.device, backend.dtype)

    def plain() -> None:
        for begin in range(0, ROWS, BATCH):
            chats = [[{"role": "user", "content": t}] for t in asked[begin : begin + BATCH]]
            batch = tokenizer.apply_chat_template(
                chats, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
            )
            with torch.inference_mode():
                model.generate(**batch, max_new_tokens=NEW, do_sample=False)

    def ours() -> None:
        requests = [
            Request(prompt=Prompt(id=str(i), messages=(Message("user", t),)), references=("x",))
            for i, t in enumerate(asked)
        ]
        list(backend.answer(requests))

    ours(), plain()  # warm up
    took = {"generate, arrival order": [], "workbench hf (likelihood included)": []}
    for _ in range(3):
        for seconds, work in zip(took.values(), (plain, ours), strict=True):
            begun = time.monotonic()
            work()
            seconds.append(time.monotonic() - begun)
    for name, seconds in took.items():
        print(
            f"{name:<36} {ROWS / min(seconds):6.1f} prompts/s   ratio {min(next(iter(took.values()))) / min(seconds):.2f}"
        )


if __name__ == "__main__":
    main()
