"""Rows → a proposed experiment: what is asked for, how it is scored, who competes, and why.

Every choice is a rule of thumb over the rows, stated in `reasons`, so that whoever reads the experiment
can disagree with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from statistics import median
from typing import Any, cast, get_args

from metrics import METRICS
from metrics.catalogue import UnknownMetric, metric_named
from validators.examples import Example, ExampleError, Message, parse_example
from validators.findings import quoted
from validators.reading import DataError, Row, to_chat
from validators.suggest import did_you_mean

from .experiment import TASK_METRICS, Task
from .proposal_columns import ProposalError, find_group, find_references, find_slices
from .records import Sample
from .sections import Columns
from .splits import classes_of

# The smallest gain proposed as worth tuning for, in the unit of the metric's scale.
MARGINS = {"0-1": 0.05, "0-100": 5.0}
# Found to train the embedded model well on about 400 rows; less data is gone over more often.
LEARNING_RATE, BATCH_SIZE = 1e-3, 4
EPOCHS = ((100, 5), (300, 4), (2000, 3), (10_000, 2))

SMALL_TALK = re.compile(
    r"\b(you(’|'| a)?re (very |most |always |quite )?welcome|no problem|no worries|my pleasure|^any ?time|glad (i|to|that|we)|"
    r"happy to (help|hear)|good ?bye|bye|take care|have a (nice|great|good|lovely|wonderful)|thank(s| you)|^enjoy|^cheers|"
    r"gern(e)? geschehen|de rien|avec plaisir|de nada|prego|graag gedaan)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user said; None leaves the choice to the data."""

    task: str | None = None
    metric: str | None = None
    worth_it: float | None = None
    group_by: str | None = None
    corpus: str | None = None
    requests_per_month: float | None = None
    goals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposed experiment. `reasons` says why, by key; `warnings` what the user should know first."""

    name: str
    path: str
    rows: int
    task: Task
    columns: Columns | None
    answer: str | int
    references: str | None
    group_by: str | None
    slices: tuple[str, ...]
    corpus: str | None
    system: str | None
    metric: str
    also: tuple[str, ...]
    worth_it: float
    max_new_tokens: int
    max_length: int
    shots: int
    epochs: int
    requests_per_month: float
    goals: tuple[str, ...] = ()
    tried: str = ""
    data_usd: float = 0
    labour_usd: float = 0
    gpu_usd_per_hour: float = 0
    reasons: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Asked:
    """One row's asked-for turn: the messages before it, the reply, and the row's metadata."""

    messages: tuple[Message, ...]
    reply: Message
    metadata: Mapping[str, Any]

    @property
    def text(self) -> str:
        return self.reply.text or json.dumps([call.name for call in self.reply.tool_calls])

    @property
    def question(self) -> str:
        return next((m.text for m in reversed(self.messages) if m.role == "user"), "")


def propose(
    rows: Sequence[Row], columns: Columns | None, wishes: Wishes, *, name: str, path: str, source: str
) -> Proposal:
    """Propose an experiment for rows read from `source`, which the experiment file will call `path`.

    Raises ProposalError for rows that cannot be used (with how many) and for wishes that cannot be met.
    """
    examples = parse_rows(rows, columns, source)
    reasons: dict[str, str] = {}
    warnings: list[str] = []
    answer = _answer(examples, reasons, warnings)
    asked = [_asked(example, answer) for example in examples]
    classes = classes_of([Sample(id="", messages=(), references=(a.text,)) for a in asked])
    task = _task(asked, classes, columns, wishes.task, reasons)
    metric = _metric(task, wishes.metric)
    primary, also = TASK_METRICS[task]
    metadata = [a.metadata for a in asked]
    group_by, reasons["group_by"] = find_group(metadata, wishes.group_by)
    longest = _tail([_tokens(a.text) for a in asked])
    whole = _tail([sum(_tokens(m.text) + 5 for m in a.messages) + _tokens(a.text) for a in asked])
    _warn_of_lengths(longest, whole, warnings)
    return Proposal(
        name=name,
        path=path,
        rows=len(rows),
        task=task,
        columns=columns,
        answer=answer,
        references=find_references(metadata),
        group_by=group_by,
        slices=find_slices(metadata, group_by),
        corpus=wishes.corpus,
        system=_system(asked, task, classes, reasons, warnings),
        metric=metric,
        also=tuple(m for m in dict.fromkeys((primary, *also)) if m != metric),
        worth_it=margin_for(metric, wishes.worth_it, warnings),
        max_new_tokens=min(512, 8 * ceil((longest + 4) / 8)),
        max_length=1024 if whole <= 1024 else 2048,
        shots=_shots(len(asked), whole),
        epochs=next((epochs for below, epochs in EPOCHS if len(asked) < below), 1),
        requests_per_month=50_000 if wishes.requests_per_month is None else wishes.requests_per_month,
        goals=wishes.goals,
        reasons=reasons,
        warnings=tuple(warnings),
    )


def parse_rows(rows: Sequence[Row], columns: Columns | None, source: str) -> list[Example]:
    """The rows as chats with an assistant answer. Raises ProposalError with how many are not, and which."""
    examples, faults = [], []
    mapping = columns.model_dump() if columns else None
    for row in rows:
        try:
            example = parse_example(to_chat(row.value, **mapping) if mapping else row.value, row.line)
            if not _answers(example):
                raise DataError("no assistant answer, so there is nothing to learn or to compare with.")
            examples.append(example)
        except (ExampleError, DataError) as error:
            faults.append(f"  {source}:{row.line}: {error}")
    if faults:
        which = "no row" if not examples else f"{len(faults)} of {len(rows)} rows"
        more = [f"  … and {len(faults) - 5} more"] if len(faults) > 5 else []
        told = "can be used" if not examples else "cannot be used"
        raise ProposalError(
            "\n".join([f"{which} {told} (`workbench lint {source}` shows all faults):", *faults[:5], *more])
        )
    return examples


def _answers(example: Example) -> list[int]:
    return [i for i, m in enumerate(example.messages) if m.role == "assistant" and (m.text or m.tool_calls)]


def _asked(example: Example, answer: str | int) -> _Asked:
    turns = _answers(example)
    turn = turns[answer] if isinstance(answer, int) else turns[-1]
    return _Asked(example.messages[:turn], example.messages[turn], example.metadata)


def _answer(examples: Sequence[Example], reasons: dict[str, str], warnings: list[str]) -> str | int:
    """The last turn, unless conversations end in pleasantries: then the turn before, or the first."""
    turns = [len(_answers(example)) for example in examples]
    several = sum(count > 1 for count in turns)
    if not several:
        return "last"

    def chatter(answer: str | int) -> int:
        found = [_asked(e, answer).reply for e in examples]
        return sum(is_small_talk(reply.text) and not reply.tool_calls for reply in found)

    ending = chatter("last")
    reasons["answer"] = (
        f"{several} of {len(examples)} rows have several assistant turns, the last is asked for"
    )
    if ending < 0.3 * len(examples):
        return "last"
    better = min([*([-2] if min(turns) > 1 else []), 0], key=chatter)
    if chatter(better) >= ending:
        warnings.append(f"{ending} of {len(examples)} answers are small talk: check data.answer")
        return "last"
    example = next(e for e in examples if is_small_talk(_asked(e, "last").reply.text))
    shown = quoted(_asked(example, "last").reply.text)
    where = "first" if better == 0 else "last but one"
    reasons["answer"] = f"{ending} of {len(examples)} rows end in small talk such as {shown}"
    warnings.append(
        f"{reasons['answer']}: the {where} assistant turn is asked for instead (answer: {better})"
    )
    return better


def is_small_talk(text: str) -> bool:
    """Whether a reply only closes a conversation: short, and a pleasantry."""
    return len(text.split()) <= 14 and SMALL_TALK.search(text) is not None


def _task(
    asked: Sequence[_Asked],
    classes: Sequence[str] | None,
    columns: Columns | None,
    wish: str | None,
    reasons: dict[str, str],
) -> Task:
    if wish is not None and wish not in get_args(Task):
        near = did_you_mean(wish, get_args(Task))
        raise ProposalError(f"--task: {quoted(wish)} is none of {', '.join(get_args(Task))}.{near}")
    task, reasons["task"] = _task_and_reason(asked, classes, columns)
    if wish is not None and wish != task:
        reasons["task"] = f"as asked; the data looks like {task}: {reasons['task']}"
    return cast(Task, wish or task)


def _task_and_reason(
    asked: Sequence[_Asked], classes: Sequence[str] | None, columns: Columns | None
) -> tuple[Task, str]:
    n = len(asked)
    calls = sum(bool(a.reply.tool_calls) for a in asked)
    if calls >= n / 2:
        return "tools", f"{calls} of {n} replies call tools"
    if classes:
        return "classification", f"the {n} replies are one of {len(classes)} classes"
    # One reply that is no JSON could not be measured by its fields.
    if all(_is_json(a.text) for a in asked):
        return "extraction", f"all {n} replies are JSON"
    words = median(len(a.text.split()) for a in asked)
    questions = sum("?" in a.question for a in asked)
    named = columns is not None and "question" in (columns.input or columns.template or "").casefold()
    if words <= 6 or (words <= 25 and (named or questions >= n / 2)):
        return "qa", f"replies are short (median {words:g} words), {questions} of {n} inputs hold a question"
    return "generation", f"replies are free text (median {words:g} words)"


def _metric(task: Task, wish: str | None) -> str:
    if wish is None:
        return TASK_METRICS[task][0]
    try:
        return metric_named(wish).name
    except UnknownMetric as error:
        raise ProposalError(f"--metric: {error}") from None


def margin_for(metric: str, wish: float | None, warnings: list[str]) -> float:
    """The margin in the metric's own unit: the wish, or the usual one. Raises ProposalError for one out of reach."""
    scale = METRICS[metric].scale
    if wish is None:
        return MARGINS.get(scale, 0.05)
    if scale == "0-1" and wish >= 1:
        raise ProposalError(
            f"a margin of {wish:g}: {metric} goes from 0 to 1, so no gain is that large. 5 points are 0.05."
        )
    if scale == "0-100" and 0 < wish < 0.1:
        warnings.append(f"worth_it {wish:g} is next to nothing: {metric} goes from 0 to 100")
    return wish


def _system(
    asked: Sequence[_Asked],
    task: Task,
    classes: Sequence[str] | None,
    reasons: dict[str, str],
    warnings: list[str],
) -> str | None:
    """A system prompt that gives untuned contenders a fair chance; None where the rows' own must stand."""
    prompts = {"\n".join(m.text for m in a.messages if m.role == "system") for a in asked}
    own = next(iter(prompts)) if len(prompts) == 1 else None
    if own is None:
        return None
    if task == "classification" and classes:
        if all(label.lstrip("-").isdigit() for label in classes):
            warnings.append(
                "the classes are bare numbers: say in `system` what each means, nobody can guess it"
            )
        if all(label in own for label in classes):
            return None
        reasons["system"] = "untuned contenders are told the classes; the tuned one learns them"
        separator = " | " if any("," in label for label in classes) else ", "
        told = f"Answer with exactly one of these and nothing else: {separator.join(classes)}"
        return f"{own}\n{told}".strip()
    if own:
        return None
    if task == "extraction":
        return "Answer with JSON and nothing else."
    brief = task == "qa" and median(len(a.text.split()) for a in asked) <= 6
    return "Answer in as few words as possible, with nothing but the answer." if brief else None


def _warn_of_lengths(longest: int, whole: int, warnings: list[str]) -> None:
    if longest + 4 > 512:
        warnings.append(f"replies of about {longest} tokens are cut at max_new_tokens 512: raise it")
    if whole > 2048:
        warnings.append(
            f"rows of about {whole} tokens are cut in training at max_length 2048: shorten or raise it"
        )


def _shots(n: int, whole: int) -> int:
    """As many examples as the training split surely has and a small model's context holds."""
    return max(1, min(8, n // 3, 1500 // max(1, whole)))


def _tail(sizes: Iterable[int]) -> int:
    """The size that 99 of 100 stay within."""
    ordered = sorted(sizes)
    return ordered[ceil(0.99 * len(ordered)) - 1]


def _tokens(text: str) -> int:
    """Tokens of a text, counted generously: small vocabularies spend one a digit, two a non-ASCII letter."""
    digits = sum(c.isdigit() for c in text)
    foreign = sum(not c.isascii() for c in text)
    return digits + 2 * foreign + ceil(max(0, len(text) - digits - foreign) / 3)


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except ValueError:
        return False
