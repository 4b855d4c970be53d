"""The triage few-shot contender through the backend and through plain `generate`: tokens a second, one run.

python -m tests.benchmarks.batching [--rows 118] [--dtype float32] [--choose similar stratified]

`generate` takes the prompts in arrival order at the same batch size, padded on the left; the backend gives
the likelihood of every reference as well. Wall time is what a user waits; CPU time is fairer where others
use the machine. In float32 the answers must be the same.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from validators.assets import fetch
from workbench.backends import Request
from workbench.backends.hf import HfBackend
from workbench.contenders import Setting, question
from workbench.contenders.few_shot import fit_few_shot
from workbench.data import prepare, read_files
from workbench.experiment import Experiment
from workbench.retrieval import open_embedder
from workbench.settings import FewShot
from workbench.settings import HfBackend as Settings

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = 8
FILE = ROOT / "sample_data" / "triage" / "experiment.yaml"


def requests(
    experiment: Experiment, backend: HfBackend, choose: str, rows: int, vectors: Path
) -> list[Request]:
    """What the few-shot contender asks, its examples chosen in this way."""
    dataset = prepare(experiment, *read_files(experiment))
    settings = next(c for c in experiment.contenders if isinstance(c, FewShot))
    setting: Any = Setting(
        experiment=experiment,
        train=dataset.train,
        dev=dataset.dev,
        conversations=dataset.conversations,
        run=None,  # type: ignore[arg-type]
        backend=backend,
        embedder=lambda: open_embedder(experiment.retrieval, vectors, base=ROOT, offline=False),
        progress=lambda *_: None,
    )
    asked = dataset.test[:rows]
    fitted = fit_few_shot(settings.model_copy(update={"choose": choose, "examples": EXAMPLES}), setting)
    prompts = fitted.prompts([question(s) for s in asked])
    return [Request(prompt=p, references=s.references) for p, s in zip(prompts, asked, strict=True)]


def plain(backend: HfBackend, model: Any, asked: list[Request], size: int, new: int) -> list[list[int]]:
    """Answers of `generate`, batch by batch in arrival order."""
    import torch

    prompts = [backend.tokenizer.prompt_ids(r.prompt.messages) for r in asked]
    pad = backend.tokenizer.tokenizer.pad_token_id
    answers: list[list[int]] = []
    for begin in range(0, len(prompts), size):
        batch = prompts[begin : begin + size]
        width = max(map(len, batch))
        ids = torch.tensor([[pad] * (width - len(p)) + p for p in batch])
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in batch])
        with torch.inference_mode():
            out = model.generate(
                ids.to(backend.device),
                attention_mask=mask.to(backend.device),
                max_new_tokens=new,
                do_sample=False,
            )
        answers += out[:, width:].tolist()
    return answers


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What the work gives, its wall seconds and its CPU seconds."""
    begun, used = time.monotonic(), time.process_time()
    found = work()
    return found, time.monotonic() - begun, time.process_time() - used


def measure(choose: str, rows: int, dtype: str) -> None:
    """Print the lines of one way to choose examples."""
    experiment = Experiment.load(FILE)
    wanted = experiment.backends["local"]
    assert isinstance(wanted, Settings)
    folder = fetch("smollm2-135m-instruct")
    settings = wanted.model_copy(update={"model": str(folder), "dtype": dtype})
    backend = HfBackend(settings, ROOT)
    with tempfile.TemporaryDirectory() as vectors:
        asked = requests(experiment, backend, choose, rows, Path(vectors))
    size, new = settings.batch_size, settings.max_new_tokens
    list(backend.answer(asked[:1]))  # loads the model
    ours, *our_time = timed(lambda: {p.id: p for p in backend.answer(asked)})
    theirs, *their_time = timed(lambda: plain(backend, backend._weights.model, asked, size, new))
    decode = backend.tokenizer.tokenizer.decode
    texts = [decode(a, skip_special_tokens=True) for a in theirs]
    same = sum(ours[r.prompt.id].prediction == t for r, t in zip(asked, texts, strict=True))
    tokens = sum(p.prompt_tokens + p.completion_tokens for p in ours.values())
    print(f"{choose}, {dtype}, {len(asked)} prompts, {tokens:,} tokens, batch size {size}")
    for name, (wall, cpu) in {"generate, arrival order": their_time, "workbench hf": our_time}.items():
        ratios = f"{their_time[0] / wall:.2f} × wall, {their_time[1] / cpu:.2f} × CPU"
        print(f"  {name:<24} {tokens / wall:8,.0f} tokens/s  {wall:7.1f} s, {cpu:7.1f} s CPU   {ratios}")
    print(f"  equal answers {same} of {len(asked)}", flush=True)


def main() -> None:
    """Measure what the arguments ask for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10**6)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--choose", nargs="+", default=["similar", "stratified"])
    given = parser.parse_args()
    for choose in given.choose:
        measure(choose, given.rows, given.dtype)


if __name__ == "__main__":
    main()
