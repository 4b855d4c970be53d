"""A proposal as text: the commented experiment file, and what is told about it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import yaml

from metrics import METRICS, smallest_detectable_effect
from validators.findings import printable

from .odds import PLANNED_DISCORDANT
from .plan import USUAL_FOLDS
from .proposal import BATCH_SIZE, LEARNING_RATE, Proposal
from .sections import Columns

# With fewer rows, a fifth of them decides too little.
FEW_ROWS = 600
# With fewer, their dev split tells options apart by chance alone.
ROWS_TO_CHOOSE = 200

_PLAIN = re.compile(r"(?:\.\./)*[A-Za-z][A-Za-z0-9_-]*(?:[./ ][A-Za-z0-9_-]+)*")


def scalar(value: str) -> str:
    """Any text as one YAML scalar on one line: bare where nothing can misread it, else in double quotes."""
    if _PLAIN.fullmatch(value) and len(value) < 80 and yaml.safe_load(value) == value:
        return value
    dumped: str = yaml.safe_dump(value, default_style='"', allow_unicode=True, width=float("inf"))
    return dumped.rstrip("\n")


def experiment_yaml(p: Proposal, command: str) -> str:
    """The experiment file, headed by the command that runs it."""
    parts = (_head(p, command), _data(p), _backends(p), _contenders(p), _metrics(p), _decision(p))
    return "\n".join(line for part in parts for line in part) + "\n"


def _head(p: Proposal, command: str) -> Iterator[str]:
    yield _comment(command)
    yield _comment(
        "Is tuning a model worth it here, or will prompting do? Proposed from the data: change what does not fit."
    )
    for goal in p.goals:
        yield _comment(f"What should get better: {goal}")
    if p.tried:
        yield _comment(f"Tried before (prompting, RAG): {p.tried}")
    yield f"name: {scalar(p.name)}"
    yield _beside(f"task: {p.task}", p.reasons["task"])


def _data(p: Proposal) -> Iterator[str]:
    yield "data:"
    yield _beside(f"  path: {scalar(p.path)}", f"{p.rows:,} rows; paths start at this file")
    if p.columns is not None:
        yield _beside(f"  columns: {_columns(p.columns)}", "how a row becomes a question and its answer")
    yield _beside(
        f"  answer: {p.answer}",
        p.reasons.get("answer", "the assistant turn asked for: last, all, or an index"),
    )
    if p.references:
        yield _beside(f"  references: {scalar(p.references)}", "further right answers")
    if p.slices:
        yield _beside(f"  slices: [{', '.join(map(scalar, p.slices))}]", "each value gets scores of its own")
    if p.corpus:
        yield _beside(f"  corpus: {scalar(p.corpus)}", "the documents that rag searches")
    yield _comment(f"group_by: {p.reasons['group_by']}", indent="  ")
    group = scalar(p.group_by) if p.group_by else "null"
    yield f"  split: {{dev: 0.1, test: 0.2, group_by: {group}, stratify: true, seed: 7}}"


def _columns(columns: Columns) -> str:
    given = columns.model_dump(exclude_none=True)
    return "{" + ", ".join(f"{key}: {scalar(value)}" for key, value in given.items()) + "}"


def _backends(p: Proposal) -> Iterator[str]:
    yield "backends:"
    yield _comment(
        "max_new_tokens fits 99 of 100 replies; a folder or hub id may stand for the model", indent="  "
    )
    yield (
        "  local: {kind: hf, model: smollm2-135m-instruct, device: auto, batch_size: 16, "
        f"max_new_tokens: {p.max_new_tokens}}}"
    )
    yield _comment(
        f"api: {{kind: openai, model: gpt-4o-mini, api_key_env: OPENAI_API_KEY, max_new_tokens: {p.max_new_tokens}}}",
        indent="  ",
    )


def _contenders(p: Proposal) -> Iterator[str]:
    untuned = [("zero-shot", "kind: prompting")]
    untuned.append(("few-shot", f"kind: few-shot, examples: {_shots(p)}, choose: similar"))
    if p.corpus:
        untuned.append(("rag", "kind: rag, top_k: 4, retriever: hybrid"))
    yield "contenders:"
    if _shots(p).startswith("["):
        yield _comment("examples: both numbers are tried on dev, the better one answers test", indent="  ")
    if p.reasons.get("system"):
        yield _comment(p.reasons["system"], indent="  ")
    for name, settings in untuned:
        system = f", system: {scalar(p.system)}" if p.system else ""
        yield f"  - {{name: {name}, {settings}{system}}}"
    yield _comment(
        "learning_rate and batch_size trained this model well on about 400 rows; epochs follow from the data's size",
        indent="  ",
    )
    yield (
        f"  - {{name: lora, kind: fine-tuned, method: lora, epochs: {p.epochs}, learning_rate: {LEARNING_RATE}, "
        f"batch_size: {BATCH_SIZE}, max_length: {p.max_length}}}"
    )
    yield _comment(
        "- {name: today, kind: predictions, path: answers.jsonl}  # answers made elsewhere", indent="  "
    )


def _shots(p: Proposal) -> str:
    """How many examples to show: a choice for dev where a tenth of the rows can tell."""
    half = p.shots // 2
    return f"[{half}, {p.shots}]" if half and p.rows >= ROWS_TO_CHOOSE else str(p.shots)


def _metrics(p: Proposal) -> Iterator[str]:
    yield _beside(f"metrics: {{primary: {p.metric}, also: [{', '.join(p.also)}]}}", "the primary one decides")


def _decision(p: Proposal) -> Iterator[str]:
    scale = METRICS[p.metric].scale
    yield "decision:"
    yield _beside(
        f"  worth_it: {_number(p.worth_it)}",
        f"the smallest gain in {p.metric} ({scale}) that justifies tuning",
    )
    yield f"  requests_per_month: {_number(p.requests_per_month)}"
    yield _beside("  horizon_months: 12", "tuning must pay back within this time")
    costs = {"data_usd": p.data_usd, "labour_usd": p.labour_usd, "gpu_usd_per_hour": p.gpu_usd_per_hour}
    told = ", ".join(f"{key}: {_number(value)}" for key, value in costs.items())
    yield f"  costs: {{{told}, hosting_usd_per_hour: 0}}"


def describe(p: Proposal, sizes: Mapping[str, int], groups: int | None) -> list[str]:
    """What is proposed and why, the split, and what its test part can show, as lines of text."""
    names = ["zero-shot", "few-shot", *(["rag"] if p.corpus else []), f"lora ({p.epochs} epochs)"]
    turn = "" if p.answer == "last" and "answer" not in p.reasons else f": {p.reasons.get('answer', '')}"
    split = " · ".join(f"{name} {n:,}" for name, n in sizes.items())
    table = [
        ("task", f"{p.task}: {p.reasons['task']}"),
        ("columns", _columns(p.columns) if p.columns else ""),
        ("answer", f"{p.answer}{turn}"),
        ("references", p.references or ""),
        ("group by", f"{p.group_by or 'nothing'}: {p.reasons['group_by']}"),
        ("slices", ", ".join(p.slices)),
        ("metric", f"{p.metric}, worth tuning from +{_number(p.worth_it)}"),
        ("contenders", ", ".join(names)),
        ("split", split + (f" (in {groups:,} groups)" if groups is not None else "")),
        *(("test size", line) for line in detectable(p, sizes["test"])),
        ("folds", folded(p, sum(sizes.values()))),
        *(("warning", line) for line in (*p.warnings, *_too_small(p, sizes["test"]))),
    ]
    return [printable(f"{label:12}{text}") for label, text in table if text]


def detectable(p: Proposal, n: int) -> list[str]:
    """What n test samples can show, and how many would show the margin."""
    shown = smallest_detectable_effect(n, discordant=PLANNED_DISCORDANT)
    told = f"{n:,} samples show a true gain of {100 * shown:.1f} points in 4 of 5 tests"
    if METRICS[p.metric].scale != "0-1":
        return [f"{told} of a right-or-wrong metric; for {p.metric} only the run can tell"]
    surely = smallest_detectable_effect(n, discordant=PLANNED_DISCORDANT, margin=p.worth_it)
    alike = "; rows of one group count for less" if p.group_by else ""
    # Contenders that far apart differ on more samples than planned for.
    differing = max(PLANNED_DISCORDANT, shown)
    lines = [
        f"{told}, where two contenders differ on {differing:.0%} of them{alike}",
        f"to be told that tuning is worth it, the true gain must be about {100 * surely:.1f} points",
    ]
    needed = samples_to_show(p.worth_it)
    if needed is not None:
        margin = f"a gain as small as the margin, {100 * p.worth_it:.3g} points,"
        lines.append(f"{margin} takes {needed:,} test samples (about {5 * needed:,} rows)")
    return lines


def folded(p: Proposal, rows: int) -> str:
    """What cross-fitting would show, where the rows are few; else nothing."""
    if rows >= FEW_ROWS or METRICS[p.metric].scale != "0-1":
        return ""
    shown = smallest_detectable_effect(rows, discordant=PLANNED_DISCORDANT)
    return (
        f"all {rows:,} rows are tested with data.split.folds: {USUAL_FOLDS} (and {USUAL_FOLDS} trainings): "
        f"that shows a true gain of {100 * shown:.1f} points"
    )


def _too_small(p: Proposal, n: int) -> list[str]:
    needed = samples_to_show(p.worth_it) if METRICS[p.metric].scale == "0-1" else None
    if needed is None or needed <= n:
        return []
    return [
        "the test split is too small for this margin: unless the gain is large, expect can't-tell. Add rows."
    ]


def samples_to_show(gain: float) -> int | None:
    """The number of test samples that show a true gain (0–1) in 80 of 100 tests; None over ten million."""
    low, high = 1, 10_000_000
    if gain <= 0 or smallest_detectable_effect(high, discordant=PLANNED_DISCORDANT) > gain:
        return None
    while low < high:
        middle = (low + high) // 2
        if smallest_detectable_effect(middle, discordant=PLANNED_DISCORDANT) <= gain:
            high = middle
        else:
            low = middle + 1
    return low


def _beside(line: str, why: str) -> str:
    return f"{line:36}  {_comment(why)}" if why else line


def _comment(text: str, indent: str = "") -> str:
    """One line of comment that YAML reads as such, whatever the text holds."""
    return f"{indent}# " + re.sub("[\ufeff\ufffe\uffff]", "", printable(text))


def _number(value: float) -> str:
    """A number as YAML reads it back: 0.05, 50000."""
    dumped: str = yaml.safe_dump(int(value) if float(value).is_integer() else float(value))
    return dumped.split("\n")[0]
