"""A proposal → an experiment file that has been read back and split as `run` will; what `init` and the app write."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from validators.linter import lint, lint_rows
from validators.reading import Row, to_chat

from .data import Dataset, prepare
from .experiment import Experiment
from .gates import blocking
from .proposal import Proposal
from .proposal_text import describe, experiment_yaml


def run_command(target: Path) -> str:
    """The command that runs an experiment file."""
    return f"workbench run {shlex.quote(str(target))}"


def draft(p: Proposal, rows: Sequence[Row], target: Path) -> tuple[str, Dataset]:
    """The text for the file `target`, and its rows divided. Raises ExperimentError, DataError."""
    text = experiment_yaml(p, run_command(target))
    experiment = Experiment.parse(text, path=target)
    if p.columns is not None:
        rows = [Row(row.line, to_chat(row.value, **p.columns.model_dump())) for row in rows]
    return text, prepare(experiment, {"all": rows}, {})


def told(p: Proposal, dataset: Dataset, data: Path) -> list[str]:
    """What is proposed and why, what the test split can show, and whether the rows of `data` would stop the run."""
    report = lint([data]) if p.columns is None else lint_rows(dataset.rows["all"], str(data))
    errors = [found.code for found in report.findings if blocking(found.code, found.severity)]
    if errors:
        codes = ", ".join(sorted(set(errors)))
        warning = f"{len(errors)} error{'s' * (len(errors) > 1)} in the data ({codes}) will stop the run: workbench lint {shlex.quote(str(data))}"
        p = replace(p, warnings=(*p.warnings, warning))
    groups = len({s.group for s in dataset.test}) if p.group_by else None
    sizes = {"train": len(dataset.train), "dev": len(dataset.dev), "test": len(dataset.test)}
    return describe(p, sizes, groups)
