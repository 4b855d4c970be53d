"""Real trainings in seconds, healthy and broken on purpose, for the doctor to tell apart.

A tiny Llama is first taught to sort tickets by their topic word into desks; what is then trained on it are
adapters for other desks. All that is broken is broken in the way it happens to people: a rate, a mask, a
template, labels in the wrong order.
"""

from __future__ import annotations

import contextlib
import random
import resource
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.conftest import make_tiny_model
from validators.examples import Example, Message
from validators.tokens import load_hf_tokenizer
from workbench.runs import Run
from workbench.training import TrainingError, TrainingSettings, encode_rows

TOPICS = ("pump", "tank", "meter", "bill", "route", "letter", "phone", "garden")
DESKS = ("alpha", "beta", "gamma", "delta", "omega", "kappa", "sigma", "theta")
# What the base model was taught to say of the topics in each of three towns; adapters are to learn a fourth way.
TOWNS = {"bern": DESKS, "oslo": (*DESKS[3:], *DESKS[:3]), "lima": DESKS[::-1]}
NEW = (*DESKS[5:], *DESKS[:5])
FILLERS = (
    "the",
    "is",
    "late",
    "and",
    "leaks",
    "again",
    "my",
    "new",
    "old",
    "near",
    "since",
    "please",
    "very",
    "loud",
)
QUIET: Callable[..., None] = lambda *_: None  # noqa: E731


def ticket(chance: random.Random, topic: str, words: int = 5) -> str:
    """A sentence of fillers with the topic somewhere in it."""
    told = [chance.choice(FILLERS) for _ in range(words)]
    told.insert(chance.randrange(words + 1), topic)
    return " ".join(told)


def tickets(count: int, *, seed: int = 0, words: int = 5) -> list[tuple[str, str]]:
    """Questions and answers, the topics in turn."""
    chance = random.Random(seed)
    return [(ticket(chance, TOPICS[i % 8], words), NEW[i % 8]) for i in range(count)]


def lessons(count: int) -> list[tuple[str, str]]:
    """What the base model learns: the answer stands in the town's order of desks."""
    chance = random.Random(11)
    return [
        (f"{town} {ticket(chance, TOPICS[i % 8], chance.randrange(1, 9))}", desks[i % 8])
        for i in range(count // 3)
        for town, desks in TOWNS.items()
    ]


def chats(pairs: Sequence[tuple[str, str]], prefix: str) -> dict[str, Example]:
    """Training rows of questions and answers."""
    return {
        f"{prefix}{i}": Example((Message("user", q), Message("assistant", a)), line=i + 1)
        for i, (q, a) in enumerate(pairs)
    }


def make_base(folder: Path, *, seed: int = 0) -> Path:
    """A tiny chat model that sorts tickets into the old desks: three seconds of all-weights training."""
    words = " ".join((*TOPICS, *TOWNS, *DESKS, *FILLERS, "system user assistant"))
    raw = make_tiny_model(
        folder / "raw",
        seed=seed,
        texts=[words] * 3,
        vocabulary=600,
        hidden_size=96,
        intermediate_size=192,
        num_key_value_heads=4,
        max_position_embeddings=1024,
    )
    whole = {"method": "full", "learning_rate": 3e-3, "epochs": 6, "batch_size": 16}
    done = train(Case("base", pairs=lessons(900), dev=0, changed=whole), raw, folder / "run")
    assert done.log[-1]["loss"] < 0.3, done.log[-1]
    return folder / "run" / "contenders" / "base" / "model"


@dataclass(frozen=True, slots=True)
class Case:
    """A training: its rows, what differs from the usual settings, and what is done to it behind its back."""

    name: str
    expected: tuple[str, str] | None = None
    """The symptom's name (or names) and a word of its cure; None for a healthy training."""
    rows: int = 160
    dev: int = 40
    pairs: Sequence[tuple[str, str]] | None = None
    """Questions and answers instead of tickets, the last of them for dev."""
    words: int = 5
    changed: Mapping[str, Any] = field(default_factory=dict)
    spoil: Callable[[list[dict[str, list[int]]]], Any] = QUIET
    """Changes encoded training rows in place."""
    shuffled: bool = False
    around: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext


@dataclass(frozen=True, slots=True)
class Trained:
    """What the doctor is shown."""

    log: list[dict[str, Any]]
    facts: dict[str, Any]
    error: str | None


def settings_of(case: Case, model: Path) -> TrainingSettings:
    """The usual settings, and what the case changes."""
    usual = TrainingSettings(
        name=case.name.replace(" ", "-"), model="tiny", folder=model, device="cpu", dtype="float32", epochs=3, learning_rate=1e-2,
        rank=8, alpha=16, batch_size=8, max_length=512, seed=3,
    )  # fmt: skip
    return replace(usual, **case.changed)


def train(case: Case, model: Path, folder: Path) -> Trained:
    """Run a training to its end, whatever that is."""
    from workbench.training.job import Job
    from workbench.training.trainer import train_job

    settings, run = settings_of(case, model), Run(folder)
    tokenizer = load_hf_tokenizer("tiny", model)
    every = list(case.pairs or tickets(case.rows + case.dev, seed=1, words=case.words))
    pairs, dev_pairs = every[: len(every) - case.dev], every[len(every) - case.dev :]
    if case.shuffled:
        answers = [answer for _, answer in pairs]
        random.Random(5).shuffle(answers)
        pairs = [(question, answer) for (question, _), answer in zip(pairs, answers, strict=True)]
    examples = chats(pairs, "t")
    rows = encode_rows(examples, tokenizer, settings.max_length)
    dev = encode_rows(chats(dev_pairs, "d"), tokenizer, settings.max_length)
    case.spoil(rows)
    sources = [(name, example.line) for name, example in examples.items()]
    facts: dict[str, Any] = {
        "settings": {
            n: getattr(settings, n) for n in ("method", "learning_rate", "rank", "batch_size", "max_length")
        }
    }
    error = None
    try:
        with case.around():
            summary = train_job(Job(settings, run, rows, dev, sources), tokenizer, QUIET, QUIET)
        facts["training"] = summary.as_dict()
    except TrainingError as broke:
        error = str(broke)
    return Trained(run.training(settings.name), facts, error)


# -- behind the trainer's back -----------------------------------------------------------------------


def invert(rows: list[dict[str, list[int]]]) -> None:
    """Train the prompt and not the answer: what marks round the wrong turns do."""
    for row in rows:
        row["labels"] = [
            ids if label == -100 else -100 for ids, label in zip(row["input_ids"], row["labels"], strict=True)
        ]


def cut(rows: list[dict[str, list[int]]]) -> None:
    """Take the end of turn and the line break after it off, as a max_length that is two tokens short does."""
    for row in rows:
        row["input_ids"], row["labels"] = row["input_ids"][:-2], row["labels"][:-2]


@contextlib.contextmanager
def little_memory(more: int = 150 * 2**20) -> Iterator[None]:
    """Only so many bytes of address space more than now."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@contextlib.contextmanager
def zero_adapter() -> Iterator[None]:
    """Adapters whose two halves are both zero: neither gives the other a gradient."""
    from workbench.training import trainer

    whole = trainer.with_method

    def zeroed(*given: Any) -> Any:
        model = whole(*given)
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.data.zero_()
        return model

    trainer.with_method = zeroed
    try:
        yield
    finally:
        trainer.with_method = whole


def uneven() -> list[tuple[str, str]]:
    """One ticket in thirty is forty times as long as the others."""
    long, short = iter(tickets(10, seed=9, words=200)), tickets(200, seed=1)
    return [next(long) if i % 20 == 0 else pair for i, pair in enumerate(short)]


def echoes(count: int) -> list[tuple[str, str]]:
    """Answers of free text, hardly one twice: the topic's desk, and the question's first words again."""
    return [(q, f"{a} {' '.join(q.split()[:2])}") for q, a in tickets(count, seed=4)]


def noisy(count: int) -> list[tuple[str, str]]:
    """Every third answer is a desk at random."""
    chance = random.Random(13)
    return [(q, chance.choice(DESKS) if i % 3 == 0 else a) for i, (q, a) in enumerate(tickets(count, seed=6))]


BROKEN = (
    # It leaps and comes back, or is no better than a guess: by the rounding of the machine.
    Case("rate x 10", ("divergence or learning nothing", "Lower learning_rate"), changed={"learning_rate": 0.1}),
    Case("rate x 1000", ("divergence", "Lower learning_rate"), changed={"learning_rate": 10.0}),
    Case("rate by 10000", ("learning nothing", "Raise learning_rate"), changed={"learning_rate": 1e-6}),
    Case("no number", ("divergence", "Lower learning_rate"), changed={"method": "full", "learning_rate": 1e20}),
    Case("mask inverted", ("learning nothing", "marks"), spoil=invert),
    Case("answers cut", ("learning nothing", "max_length"), spoil=cut),
    Case("labels shuffled", ("learning nothing", "shuffled"), shuffled=True),
    Case("one question", ("learning nothing", "columns"), pairs=[("ticket", a) for _, a in tickets(200)]),
    Case("adapter of zeros", ("learning nothing", "zero"), around=zero_adapter),
    Case("30 epochs on 20 noisy rows", ("overfitting", "epochs"), pairs=noisy(60), changed={"epochs": 30}),
    Case("one matrix a layer", ("plateau", "rank"), pairs=echoes(200), changed={"rank": 1, "alpha": 1, "target_modules": ("gate_proj",), "epochs": 16, "schedule": "constant", "learning_rate": 3e-2}),
    Case("padding", ("too slow", "packing"), pairs=uneven(), changed={"packing": "off", "batch_size": 32, "epochs": 6, "learning_rate": 2e-2}),
    Case("memory", ("out of memory", "max_length"), rows=6, dev=0, words=30_000, changed={"batch_size": 1, "max_length": 300_000, "packing": "off", "gradient_checkpointing": "off"}, around=little_memory),
)  # fmt: skip

HEALTHY = (
    Case("lora"),
    Case("rank 2", changed={"rank": 2, "alpha": 4}),
    Case("all weights", changed={"method": "full", "learning_rate": 1e-3}),
    Case("dora with dropout", changed={"dora": True, "dropout": 0.1}),
    Case("8 batches of 1", changed={"batch_size": 1, "gradient_accumulation": 8}),
    Case("one epoch", rows=480, changed={"epochs": 1}),
    Case("no dev", dev=0),
    Case("long rows unpacked", words=40, changed={"packing": "off", "epochs": 4}),
    Case("bf16 constant rate", changed={"dtype": "bfloat16", "schedule": "constant"}),
    Case("free text", pairs=echoes(280), changed={"epochs": 5}),
    Case("patience", changed={"epochs": 12, "patience": 2}),
    Case("few rows", rows=48, changed={"epochs": 6}),
)
