"""Whether training is right, measured: one row for each thing that has to be, on tiny models made here, on a CPU.

The same is asserted by tests/test_encoding.py and tests/test_training*.py; here stand the figures, and more kills.
A row fails where its figure is above the limit, and the exit status is then 1.

    python -m tests.benchmarks.correctness [--kills 20] [--seed 1] [--only WORD]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file

from tests import test_encoding as encoding
from tests import test_training as training
from tests.conftest import make_tiny_model
from tests.test_training_models import FAMILIES, family, gradients, losses_of, rows_of, trl_loss
from validators.encoding import encode
from validators.examples import Example
from validators.tokens import TokenizerError, load_hf_tokenizer
from workbench.backends import Request
from workbench.backends.hf import HfBackend
from workbench.experiment import settings_hash
from workbench.records import Prompt
from workbench.runs import Run
from workbench.settings import HfBackend as HfSettings
from workbench.training import encode_rows
from workbench.training.attention import set_packed_attention, why_not_packed
from workbench.training.loss import attach_loss
from workbench.training.methods import load_base, with_method
from workbench.training.packing import collate_packed, pack_rows
from workbench.training.rows import collate
from workbench.training.supervised import SupervisedTrainer


@dataclass(frozen=True, slots=True)
class Measured:
    """One figure. `limit` None: it is a count that has to be whole (`figure` 0 is none missing)."""

    what: str
    figure: float
    limit: float
    told: str = ""


Measure = Callable[[Path, argparse.Namespace], Iterator[Measured]]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    failed = 0
    print(f"{'':3}{'what':58}{'measured':>10}{'limit':>9}  ")
    for measure in MEASURES:
        if asked.only not in measure.__name__:
            continue
        with tempfile.TemporaryDirectory() as folder:
            rows = measure(Path(folder), asked)
            while True:
                # Libraries tell what they do on both.
                with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
                    row = next(rows, None)
                if row is None:
                    break
                good = row.figure <= row.limit
                failed += not good
                mark = "ok" if good else "NO"
                print(f"{mark:3}{row.what:58}{row.figure:10.2g}{row.limit:9.0e}  {row.told}", flush=True)
    sys.exit(1 if failed else 0)


# -- which tokens train ------------------------------------------------------------------------------


def masks(folder: Path, asked: argparse.Namespace) -> Iterator[Measured]:
    """The masked spans, decoded, against the assistant's text, for every published template."""
    wrong = ends = begins = prefixes = refused = 0
    for stem, (head, end) in encoding.WRITES.items():
        tokenizer = encoding.family(stem)
        found = encoding.trained(encoding.ONE, tokenizer)
        wrong += found != [f"{head}the answer{end}"]
        ends += not found[-1].endswith(end)
        made = encode(Example(encoding.ONE), tokenizer)
        prompt = tokenizer.prompt_ids(encoding.ONE[:-1])
        prefixes += list(made.ids[: len(prompt)]) != list(prompt) or any(made.loss_mask[: len(prompt)])
        begin = tokenizer.tokenizer.bos_token_id
        begins += made.ids.count(begin) > 1
    for stem in encoding.REFUSED:
        try:
            encode(Example(encoding.ONE), encoding.family(stem))
        except TokenizerError as error:
            refused += stem in str(error)
    count = len(encoding.WRITES)
    yield Measured("templates whose span is not the answer as published", wrong, 0, f"of {count}")
    yield Measured("templates whose span does not end on its end of turn", ends, 0, f"of {count}")
    yield Measured("templates that write BOS twice", begins, 0, f"of {count}")
    yield Measured("templates whose prompt is no untrained prefix", prefixes, 0, f"of {count}")
    odd = len(encoding.REFUSED)
    yield Measured(
        "templates that cannot be masked and are not refused by name", odd - refused, 0, f"of {odd}"
    )
    marked = [s for s in encoding.WRITES if (encoding.templates() / f"{s}{encoding.MARKED}.jinja").exists()]
    apart = 0
    for stem in marked:
        try:
            encoding.test_the_mask_agrees_with_the_marked_template(stem)
        except AssertionError:
            apart += 1
    yield Measured("marked templates with another mask", apart, 0, f"of {len(marked)}")


def stopping(folder: Path, asked: argparse.Namespace) -> Iterator[Measured]:
    """An overfit model gives its answers and stops; the adapter folder holds the template it was trained under."""
    model, run = training.widened(folder / "wide", 25), folder / "run"
    training.train(model, run, epochs=60, learning_rate=1e-2, rank=32, alpha=64, batch_size=4)
    adapter = Run(run).adapter_folder("lora")
    backend = HfBackend(
        HfSettings(kind="hf", model=str(model), device="cpu", dtype="float32", max_new_tokens=16), folder
    )
    given = list(backend.answer([asked_of(q) for q, _ in training.PAIRS], adapter=adapter))
    right = {p.id: p.prediction for p in given}
    count = len(training.PAIRS)
    yield Measured("overfit: answers that are not the taught ones", sum(right[q] != a for q, a in training.PAIRS), 0, f"of {count}")  # fmt: skip
    yield Measured("overfit: answers that do not stop", sum(p.finish_reason != "stop" for p in given), 0, f"of {count}")  # fmt: skip
    hashes = {settings_hash(load_hf_tokenizer("x", f).tokenizer.chat_template) for f in (model, adapter)}
    yield Measured("template of the adapter folder is another", len(hashes) - 1, 0)


def asked_of(question: str) -> Request:
    """One question."""
    message = training.Message("user", question)
    return Request(prompt=Prompt(id=question, messages=(message,)), references=("",))


# -- losses and logits -------------------------------------------------------------------------------


def packing(folder: Path, asked: argparse.Namespace) -> Iterator[Measured]:
    """Packed against separate logits of each family, and what moves when the row before is another."""
    for name in FAMILIES:
        model, rows = family(name), rows_of()
        alone = torch.cat([model(input_ids=torch.tensor([r["input_ids"]])).logits[0] for r in rows])
        assert why_not_packed(model, rows) is None
        together = logits(model, rows)
        size = float(alone.abs().max())
        other = [{key: [(i + 1) % 97 for i in ids] for key, ids in rows[0].items()}, *rows[1:]]
        begin = len(rows[0]["input_ids"])
        leaked = (logits(model, other) - together)[begin:].abs().max() / size
        moved = (together - alone).abs().max() / size
        yield Measured(f"packed − separate logits, {name}", float(moved), 1e-5)
        yield Measured(f"leak from the row before, {name}", float(leaked), 1e-5)


@torch.no_grad()
def logits(model: Any, rows: list[dict[str, list[int]]]) -> torch.Tensor:
    """[tokens, vocabulary] of rows packed side by side."""
    batch = collate_packed([rows])
    del batch["labels"]
    found: torch.Tensor = model(**batch, use_cache=False).logits[0]
    return found


def losses(folder: Path, asked: argparse.Namespace) -> Iterator[Measured]:
    """The loss in chunks against plain cross-entropy, and packed rows against TRL's trainer."""
    worst = steepest = 0.0
    for name in FAMILIES:
        model, rows = family(name), rows_of()
        batch = collate(rows, 0)
        count = sum(t != training.IGNORED for r in rows for t in r["labels"])
        plain = training.loss_by_hand(model, rows, 0)
        model.zero_grad()
        out = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        torch.nn.functional.cross_entropy(
            out[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), reduction="sum"
        ).backward()
        wanted = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        assert attach_loss(model)
        found = gradients(model, batch)
        worst = max(worst, abs(model(**batch, use_cache=False).loss.item() / count - plain) / plain)
        scale = {n: float(g.abs().max()) or 1.0 for n, g in wanted.items()}
        steepest = max(steepest, *(float((found[n] - g).abs().max()) / scale[n] for n, g in wanted.items()))
    yield Measured(
        "loss in chunks − cross-entropy, relative", worst, 1e-6, f"worst of {len(FAMILIES)} families"
    )
    yield Measured(
        "its gradients, relative to the largest", steepest, 1e-4, f"worst of {len(FAMILIES)} families"
    )
    model, rows = family("llama"), rows_of()
    theirs = trl_loss(model, rows, folder)
    assert why_not_packed(model.eval(), rows) is None and attach_loss(model)
    count = sum(t != training.IGNORED for r in rows for t in r["labels"])
    ours = model(**collate_packed([rows]), use_cache=False).loss.item() / count
    yield Measured("loss, packed − TRL's SFTTrainer, padded", abs(ours - theirs), 1e-4)


def accumulation(folder: Path, asked: argparse.Namespace) -> Iterator[Measured]:
    """How far weights of one step are apart: 8 × 1, 4 × 2, 2 × 4, 1 × 8 rows, padded and packed."""
    model = make_tiny_model(folder / "model")
    for packed in (False, True):
        moved = [training.moved_by(model, folder, size, packed) for size in (8, 4, 2, 1)]
        apart = max(float((one - moved[0]).abs().max()) for one in moved[1:])
        largest = float(moved[0].abs().max())
        how = "packed" if packed else "padded"
        yield Measured(
            f"a step of 8 × 1, 4 × 2, 2 × 4, 1 × 8, {how}", apart, 1e-6, f"a step moves {largest:.2g}"
        )


def four_bits(folder: Path, asked: argparse.Namespace) -> Iterator[Measured]:
    """NF4 learns on this CPU, also after a generate."""
    base = make_tiny_model(folder / "base", hidden_size=128, intermediate_size=256)
    settings = training.settings_for(base, method="qlora", dtype="bfloat16", rank=8)
    model = load_base(settings)
    rows = encode_rows(training.examples(), load_hf_tokenizer("tiny", base), 128)
    model.generate(input_ids=torch.tensor([rows[0]["input_ids"][:5]]), max_new_tokens=2, do_sample=False)
    adapted = with_method(model, settings)
    attach_loss(model)
    set_packed_attention(model)
    found = losses_of(adapted, collate_packed(pack_rows(rows, len(rows), 0)), steps=16)
    told = f"{found[0]:.3g} → {found[-1]:.3g} in 16 steps"
    yield Measured("QLoRA after a generate: loss left of the first", found[-1] / found[0], 0.9, told)


# -- whole trainings ---------------------------------------------------------------------------------


def best(folder: Path, asked: argparse.Namespace) -> Iterator[Measured]:
    """The best checkpoint, saved and loaded again, has its dev loss; a NaN is never the best."""
    import peft

    model, run = training.widened(folder / "model", 5), folder / "run"
    summary = training.train(model, run, dev=training.other(), **training.RISING)
    base = transformers.AutoModelForCausalLM.from_pretrained(model)
    adapted = peft.PeftModel.from_pretrained(base, Run(run).adapter_folder("lora")).eval()
    rows = encode_rows(training.other(), load_hf_tokenizer("tiny", model), 128)
    known = summary.dev_loss or 0.0
    apart = abs(training.loss_by_hand(adapted, rows, 1) - known) / known
    told = f"best step {summary.best_step} of {summary.steps}"
    yield Measured("dev loss of the reloaded best − as logged, relative", apart, 1e-6, told)
    real, seen = SupervisedTrainer.evaluation_loop, []

    def first_is_nan(self: Any, *given: Any, **named: Any) -> Any:
        out = real(self, *given, **named)
        seen.append(out.metrics["eval_loss"])
        if len(seen) == 1:
            out.metrics["eval_loss"] = float("nan")
        return out

    SupervisedTrainer.evaluation_loop = first_is_nan  # type: ignore[method-assign]
    try:
        again = training.train(model, folder / "nan", dev=training.other(), **training.RISING)
    finally:
        SupervisedTrainer.evaluation_loop = real  # type: ignore[method-assign]
    yield Measured("a NaN is taken for the best", again.best_step == 4, 0, f"best step {again.best_step}")


def processes(folder: Path, asked: argparse.Namespace) -> Iterator[Measured]:
    """Two processes (gloo) against one, over the same steps."""
    model = make_tiny_model(folder / "model")
    found = []
    for count in (1, 2):
        run = folder / str(count)
        training.train(model, run, epochs=2, processes=count)
        found.append(load_file(Run(run).adapter_folder("lora") / "adapter_model.safetensors"))
    apart = max(float((found[0][key] - found[1][key]).abs().max()) for key in found[0])
    yield Measured("weights trained by two processes − by one", apart, 1e-6)


def kills(folder: Path, asked: argparse.Namespace) -> Iterator[Measured]:
    """SIGKILLs at random moments, also within the writing of checkpoints; each training is then resumed to its end."""
    chance = random.Random(asked.seed)
    model = training.widened(folder / "model", 5)
    options: dict[str, Any] = {
        "dev": training.other(),
        "epochs": 3,
        "batch_size": 1,
        "gradient_accumulation": 2,
        "dropout": 0.2,
        "learning_rate": 1e-2,
        "save_seconds": 0.0,
    }
    whole = training.train(model, folder / "whole", **options)
    wanted = training.weights(folder / "whole")
    other = torn = 0
    at: list[int] = []
    for number in range(asked.kills):
        run = folder / str(number)
        step, delay = chance.randrange(1, whole.steps), chance.random() * 0.1
        status = in_fork(lambda run=run, step=step, delay=delay: killed(model, run, step, delay, options))
        if status != signal.SIGKILL:
            at.append(-1)  # the moment came after the end
        else:
            at.append(step)
        left = list(Run(run).checkpoint_folder("lora").glob("checkpoint-*"))
        torn += any(not (path / "trainer_state.json").exists() for path in left)
        assert in_fork(lambda run=run: training.train(model, run, **options)) == 0
        other += training.weights(run) != wanted or training.told(run) != training.told(folder / "whole")
    told = f"of {asked.kills}, after steps {sorted(at)} of {whole.steps}; {torn} left half a checkpoint"
    yield Measured("killed and resumed: other weights or another log", other, 0, told)


def killed(model: Path, run: Path, step: int, delay: float, options: dict[str, Any]) -> None:
    """Train, and die some time after a step."""

    def die() -> None:
        time.sleep(delay)
        os.kill(os.getpid(), signal.SIGKILL)

    def progress(done: int, *_: Any) -> None:
        if done == step:
            threading.Thread(target=die, daemon=True).start()

    training.train(model, run, progress=progress, **options)


def in_fork(work: Callable[[], object]) -> int:
    """The exit status of work done in a fork."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            work()
            os._exit(0)
        os._exit(1)
    return os.waitpid(child, 0)[1]


MEASURES: tuple[Measure, ...] = (
    *(masks, stopping, packing, losses, accumulation, four_bits),
    *(best, kills, processes),
)

if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
