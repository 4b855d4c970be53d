"""The training doctor: what a training's log shows of six common faults, each with its evidence and its cure.

It reads train.jsonl and contender.json alone, so a training can be looked at again by anyone, also one that
broke off. It would rather say nothing than something doubtful: every trend is held against the noise of the
log that it is read from.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any, Literal

Name = Literal["out of memory", "divergence", "learning nothing", "overfitting", "plateau", "too slow"]
# error: what was trained is worth nothing; warning: it could be better, or cheaper.
Severity = Literal["error", "warning"]

# What the field starts from (`recipe.py`): a rate that is far from it is the first thing to doubt.
USUAL_RATE = {"lora": 2e-4, "qlora": 2e-4, "full": 1e-5}

Log = Sequence[Mapping[str, Any]]
Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Symptom:
    """What is wrong with a training: since which step (None: from the start), how it shows, what to do."""

    name: Name
    step: int | None
    evidence: str
    cure: str
    severity: Severity

    def __str__(self) -> str:
        return f"{self.name}: {self.evidence} {self.cure}"


def examine(log: Log, facts: Facts | None) -> tuple[Symptom, ...]:
    """Look at a training. `log` is the rows of train.jsonl, `facts` contender.json: its settings and training.

    Where something made the training worthless, what follows from that is not told as well.
    """
    facts = facts or {}
    found = [symptom for check in CHECKS for symptom in check(log, facts)]
    errors = [s for s in found if s.severity == "error"]
    return tuple(errors[:1] or found)


# -- broken off --------------------------------------------------------------------------------------


def _out_of_memory(log: Log, facts: Facts) -> Iterator[Symptom]:
    if not log or log[-1].get("broke") != "memory":
        return
    asked = facts.get("settings") or {}
    batch, length = asked.get("batch_size"), asked.get("max_length")
    peak = max((row["memory_mb"] for row in log if row.get("memory_mb")), default=None)
    size = f" with {batch} rows a batch, each of at most {length} tokens" if batch and length else ""
    held = f"; {peak / 1024:.1f} GiB were in use" if peak else ""
    # Left open, that was done before memory was said to have run out.
    closed = asked.get("gradient_checkpointing") == "off"
    yield Symptom(
        "out of memory",
        log[-1]["step"],
        f"memory ran out after step {log[-1]['step']}{size}{held}.",
        f"{'Set gradient_checkpointing: auto; halve' if closed else 'Halve'} batch_size and double "
        "gradient_accumulation (the same learning); lower max_length; or use method: qlora.",
        "error",
    )


def _diverged(log: Log, facts: Facts) -> Iterator[Symptom]:
    for row in log:
        if what := {"loss": "training loss", "dev loss": "dev loss"}.get(row.get("broke", "")):
            evidence = f"the {what} is no number any more at step {row['step']}."
            yield Symptom("divergence", row["step"], evidence, _gentler(facts), "error")
            return
    points = _points(log, "loss")
    if len(points) < 4:
        return
    losses = [loss for _, loss in points]
    means, width = _rolling(losses)
    noise = _noise(losses)
    if max(losses) > 1.5 * losses[0] + 4 * noise and means[-1] > 0.75 * losses[0]:
        step, peak = max(points, key=lambda point: point[1])
        evidence = (
            f"the training loss leapt from {losses[0]:.2f} to {peak:.2f} by step {step} and never came back to where it "
            f"began: it ends at {means[-1]:.2f}."
        )
        yield Symptom("divergence", step, evidence, _gentler(facts), "error")
        return
    low = min(range(len(means)), key=means.__getitem__)
    first, last, floor = means[0], means[-1], means[low]
    surely = last - floor > 4 * noise / math.sqrt(width)
    if not surely or last < 1.2 * floor or last - floor < 0.5 * (first - floor):
        return
    begun = points[min(low + width, len(points) - 1)][0]
    norms = [norm for step, norm in _points(log, "gradient_norm") if step >= begun]
    norm = f", with gradients of norm {max(norms):.1f}" if norms and max(norms) > 10 else ""
    evidence = f"the training loss rose from {floor:.2f} to {last:.2f} after step {begun} (it began at {first:.2f}){norm}."
    yield Symptom("divergence", begun, evidence, _gentler(facts), "error")


def _gentler(facts: Facts) -> str:
    rate, usual = _rate(facts), USUAL_RATE[_method(facts)]
    lower = "Lower learning_rate to a tenth"
    if rate:
        lower = f"Lower learning_rate from {rate:g} to {rate / 10:g}"
        if rate > 100 * usual:
            lower = f"Lower learning_rate from {rate:g} ({usual:g} is usual for method: {_method(facts)})"
    if (facts.get("backend") or {}).get("dtype") in ("bfloat16", "float16"):
        return f"{lower}, or use dtype: float32; a longer warm-up (warmup_ratio: 0.1) helps too."
    return f"{lower}; a longer warm-up (warmup_ratio: 0.1) helps too."


# -- learning nothing --------------------------------------------------------------------------------


def _learns_nothing(log: Log, facts: Facts) -> Iterator[Symptom]:
    """The first reason that is found: mask, template, gradient, answers, learning rate."""
    for reason in (_masked_wrongly, _asked_nothing, _without_gradient, _guesses, _stands_still):
        told = reason(log, facts)
        if told is not None:
            yield Symptom("learning nothing", None, *told, "error")
            return


def _masked_wrongly(_: Log, facts: Facts) -> tuple[str, str] | None:
    rows = _rows(facts)
    begun, ended = rows.get("begin_trained"), rows.get("end_trained")
    if begun is not None and begun >= 0.2:
        return (
            f"in {begun:.0%} of the rows the very first token is trained, so the prompt is: the loss mask is wrong.",
            "Look at the first batch for what is marked as trained; mend the template's generation marks or the "
            "message weights.",
        )
    if ended is not None and ended <= 0.5:
        return (
            f"in {1 - ended:.0%} of the rows the answer's end is not trained, so the model does not learn to stop: the "
            "loss mask is wrong, or the answers are cut.",
            "Raise max_length, or mend the chat template's end of turn; `workbench show` marks what is trained.",
        )
    return None


def _asked_nothing(_: Log, facts: Facts) -> tuple[str, str] | None:
    rows = _rows(facts)
    if rows.get("prompts") != 1 or rows.get("answers", 0) < 2:
        return None
    return (
        f"all rows have the same prompt and {rows['answers']} different answers: the question does not reach the model.",
        "Mend the chat template, which leaves it out, or the columns the rows are made of; `workbench show` prints "
        "what the model sees.",
    )


def _without_gradient(log: Log, facts: Facts) -> tuple[str, str] | None:
    norms = [norm for _, norm in _points(log, "gradient_norm")]
    if len(norms) < 2 or max(norms) > 1e-7:
        return None
    return (
        f"the gradient is zero in all {len(norms)} logged steps: nothing that could change is connected to the loss.",
        "Check target_modules, and that the adapter to continue from (or rank and alpha) is not all zero; with method: "
        "qlora try method: lora. The learning rate is not the cause.",
    )


def _guesses(log: Log, facts: Facts) -> tuple[str, str] | None:
    """No better than who knows how frequent each answer is, and nothing of the question; and no longer improving."""
    guess = _rows(facts).get("guess_loss")
    dev = [loss for _, loss in _points(log, "dev_loss")]
    train = [loss for _, loss in _points(log, "loss")]
    if not guess or (facts.get("settings") or {}).get("loss") or not (dev or len(train) >= 6):
        return None
    course = dev or _thirds(train)
    reached = min(course)
    improves = len(course) > 1 and course[-1] < 0.95 * course[-2]
    # So far off at such a rate it is not going to arrive.
    hopeless = reached > 2 * guess and _too_high(facts)
    if reached < 0.97 * guess or (improves and not hopeless):
        return None
    said = (
        f"the {'dev' if dev else 'training'} loss came to {reached:.3f}; {guess:.3f} is what naming each answer as often "
        "as it occurs would cost, without reading the question."
    )
    if reached > 1.3 * guess:
        return said, _other_rate(facts)
    return (
        said,
        "Check that every answer stands beside its own question (shuffled labels?) and that the template shows the "
        "question; else train for more epochs, or with a larger rank or learning_rate.",
    )


def _stands_still(log: Log, facts: Facts) -> tuple[str, str] | None:
    losses = [loss for _, loss in _points(log, "loss")]
    dev = [loss for _, loss in _points(log, "dev_loss")]
    fell = _fell(losses)
    if fell is None or fell[1] >= 0.05 * fell[2] or (dev and min(dev) < 0.95 * dev[0]):
        return None
    said = f"the training loss was {fell[2]:.3f} in the first third and {fell[2] - fell[0]:.3f} in the last."
    return said, _other_rate(facts)


def _too_high(facts: Facts) -> bool:
    rate = _rate(facts)
    return rate is not None and rate > 10 * USUAL_RATE[_method(facts)]


def _other_rate(facts: Facts) -> str:
    rate, usual = _rate(facts), USUAL_RATE[_method(facts)]
    if rate and rate <= usual / 10:
        return f"Raise learning_rate from {rate:g}: {usual:g} is usual for method: {_method(facts)}."
    if _too_high(facts):
        return f"Lower learning_rate from {rate:g}: {usual:g} is usual for method: {_method(facts)}."
    return (
        "Try ten times the learning_rate, more epochs, then a larger rank; see in the first batch that the answers are "
        "what is trained. If the loss was low from the start, the model knew it already: don't tune."
    )


# -- learning less than it could ---------------------------------------------------------------------


def _overfits(log: Log, facts: Facts) -> Iterator[Symptom]:
    dev, train = _points(log, "dev_loss"), _points(log, "loss")
    if len(dev) < 2:
        return
    step, best = min(dev, key=lambda point: (point[1], point[0]))
    last_step, last = dev[-1]
    before = [loss for at, loss in train if at <= step]
    after = [loss for at, loss in train if at > step]
    if last < 1.2 * best or last - best < 0.02 or not before or not after or min(after) >= min(before):
        return
    early = step == dev[0][0]
    doubt = " If it never fell, check that the answers are right for their questions." if early else ""
    yield Symptom(
        "overfitting",
        step,
        f"the dev loss rose from {best:.3f} at step {step} to {last:.3f} at step {last_step}, while the training loss "
        f"fell to {min(after):.3f}.",
        f"Stop earlier (fewer epochs, or patience: 1), lower rank{_of(facts, 'rank')}, add dropout: 0.05 or weight_decay: "
        f"0.01, or bring more rows.{doubt}",
        "warning",
    )


def _plateau(log: Log, facts: Facts) -> Iterator[Symptom]:
    """Stuck while much is left to learn; a low loss that no longer falls is the end, and no fault."""
    dev, losses = _points(log, "dev_loss"), [loss for _, loss in _points(log, "loss")]
    if len(dev) < 4 or len(losses) < 8:
        return
    best, total = min(loss for _, loss in dev), max(row["step"] for row in log)
    since = next(step for step, loss in dev if loss <= 1.05 * best)
    first = _rolling(losses)[0][0]
    rose = dev[-1][1] >= 1.1 * best
    if rose or since > 0.5 * total or best < 0.4 * first or sum(step > since for step, _ in dev) < 3:
        return
    yield Symptom(
        "plateau",
        since,
        f"from step {since} of {total} on the dev loss has fallen by no more than a twentieth, to {best:.3f} (the training "
        f"loss began at {first:.2f}).",
        f"Raise rank{_of(facts, 'rank')} or train all linear layers (target_modules: []), try another learning_rate"
        f"{_of(facts, 'learning_rate')}; if that changes nothing, the questions do not tell the answers: better data, and "
        "fewer epochs.",
        "warning",
    )


def _too_slow(log: Log, facts: Facts) -> Iterator[Symptom]:
    padding = _rows(facts).get("padding") or 0.0
    if padding >= 0.5:
        yield Symptom(
            "too slow",
            None,
            f"{padding:.0%} of what the model computes is padding.",
            "Set packing: auto, which pads nothing, or a smaller batch_size with more gradient_accumulation.",
            "warning",
        )
    busy = [share for _, share in _points(log, "gpu_percent")][1:]
    if len(busy) >= 5 and median(busy) < 40:
        yield Symptom(
            "too slow",
            None,
            f"the GPU works {median(busy):.0f} % of the time.",
            f"Give it more at once: a larger batch_size{_of(facts, 'batch_size')} with less gradient_accumulation, packing: auto, "
            "gradient_checkpointing: off where memory allows.",
            "warning",
        )


CHECKS: tuple[Callable[[Log, Facts], Iterator[Symptom]], ...] = (
    _out_of_memory,
    _diverged,
    _learns_nothing,
    _overfits,
    _plateau,
    _too_slow,
)


# -- reading the log ---------------------------------------------------------------------------------


def _points(log: Log, key: str) -> list[tuple[int, float]]:
    """(step, value) of the rows that have it."""
    return [(row["step"], float(row[key])) for row in log if row.get(key) is not None]


def _rolling(values: Sequence[float]) -> tuple[list[float], int]:
    """Means over windows of an eighth of the log, and how many values each holds."""
    width = max(1, len(values) // 8)
    return [fmean(values[i : i + width]) for i in range(len(values) - width + 1)], width


def _noise(values: Sequence[float]) -> float:
    """The standard deviation of a value about its trend, from neighbours' differences; a few jumps don't count."""
    return 1.05 * median(abs(b - a) for a, b in itertools.pairwise(values)) if len(values) > 1 else 0.0


def _thirds(losses: Sequence[float]) -> list[float]:
    third = len(losses) // 3
    return [fmean(losses[:third]), fmean(losses[third:-third]), fmean(losses[-third:])]


def _fell(losses: Sequence[float]) -> tuple[float, float, float] | None:
    """(by how much the loss fell, by how much at most, where it began), thirds compared; None for too short a log."""
    if len(losses) < 6:
        return None
    first, _, last = _thirds(losses)
    return first - last, first - last + 2 * _noise(losses) * math.sqrt(2 / (len(losses) // 3)), first


def _rows(facts: Facts) -> Mapping[str, Any]:
    return (facts.get("training") or {}).get("rows") or {}


def _method(facts: Facts) -> str:
    method = (facts.get("settings") or {}).get("method")
    return method if method in USUAL_RATE else "lora"


def _rate(facts: Facts) -> float | None:
    rate = (facts.get("settings") or {}).get("learning_rate")
    return float(rate) if rate else None


def _of(facts: Facts, setting: str) -> str:
    value = (facts.get("settings") or {}).get(setting)
    return f" (now {value:g})" if isinstance(value, int | float) else ""
