"""A proposal as text: the commented experiment file, and what is told about it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import yaml

from metrics import METRICS, smallest_detectable_effect
from validators.findings import printable

from .experiment import Columns
from .proposal import DISCORDANT, LEARNING_RATE, BATCH_SIZE, Proposal, samples_to_show

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_-]*(?:[./ ][A-Za-z0-9_-]+)*")


def scalar(value: str) -> str:
    """Any text as one YAML scalar on one line: bare where nothing can misread it, else in double quotes."""
    if _PLAIN.fullmatch(value) and len(value) < 80 and yaml.safe_load(value) == value:
        return value
    dumped: str = yaml.safe_dump(value, default_style='"', allow_unicode=True, width=float("inf"))
    return dumped.rstrip("\n")


def experiment_yaml(p: Proposal, command: str) -> str:
    """The experiment file, headed by the command that runs it."""
    lines = [*_head(p, command), *_data(p), *_backends(p), *_contenders(p), *_decision(p)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _head(p: Proposal, command: str) -> Iterator[str]:
    yield _comment(command)
    yield _comment("Is it worth tuning a model for this, or does prompting do? Proposed by workbench init: change what does not fit.")
    for goal in p.goals:
        yield _comment(f"What should get better: {goal}")
    if p.tried:
        yield _comment(f"Tried before (prompting, RAG): {p.tried}")
    yield f"name: {scalar(p.name)}"
    yield _beside(f"task: {p.task}", p.reasons.get("task", ""))


def _data(p: Proposal) -> Iterator[str]:
    yield "data:"
    yield _beside(f"  path: {scalar(p.path)}", f"{p.rows} rows; the path starts at this file")
    if p.columns is not None:
        yield f"  columns: {_columns(p.columns)}"
    yield _beside(f"  answer: {p.answer}", p.reasons.get("answer", "which assistant turn is asked for: last, all, or an index"))
    if p.references:
        yield _beside(f"  references: {scalar(p.references)}", "further right answers")
    if p.slices:
        yield _beside(f"  slices: [{', '.join(map(scalar_in_flow, p.slices))}]", "harm is looked for in each value")
    if p.corpus:
        yield _beside(f"  corpus: {scalar(p.corpus)}", "the documents that rag searches")
    group = scalar_in_flow(p.group_by) if p.group_by else "null"
    yield _comment(f"  group_by: {p.reasons.get('group_by', '')}", indent="  ")
    yield f"  split: {{dev: 0.1, test: 0.2, group_by: {group}, stratify: true, seed: 7}}"


def scalar_in_flow(value: str) -> str:
    """`scalar` for a place inside braces; the same, since bare scalars hold no separator."""
    return scalar(value)
