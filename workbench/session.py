"""One call of `run`: the experiment, where it goes, the clock, and who is told."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Protocol

from validators.reading import Row

from .consent import Ask
from .data import hash_files, read_files
from .experiment import Experiment, settings_hash
from .runs import Run


class Reporter(Protocol):
    """Told what runs and how far it is."""

    def stage(self, name: str, detail: str = "") -> None:
        """A stage begins."""
        ...

    def step(self, done: int, total: int, detail: str = "") -> None:
        """The stage is `done` of `total` steps far."""
        ...


@dataclass(frozen=True)
class Session:
    """One call of `run`: the experiment, where it goes, and the clock."""

    experiment: Experiment
    path: Path
    text: str
    runs: Path
    report: Reporter
    now: Callable[[], str]
    today: date
    offline: bool = False
    most_usd: float | None = None
    """What hosted fine-tuning may cost; else `ask` puts the bill to a person, and without both nothing is tuned."""
    ask: Ask | None = None

    @cached_property
    def hashes(self) -> dict[str, str]:
        """sha256 of each data file, by role."""
        return hash_files(self.experiment)

    @cached_property
    def rows(self) -> dict[str, list[Row]]:
        """Chat rows by role."""
        return read_files(self.experiment)[0]

    @property
    def runs_flag(self) -> str:
        """What a command needs beside the experiment to find the same runs; "" where they lie where they usually do."""
        return "" if str(self.runs) == "runs" else f" --runs {shlex.quote(str(self.runs))}"

    @cached_property
    def folder(self) -> Run:
        """The run folder: its name is a hash of the question (data, split and seed), not of the contenders."""
        data = self.experiment.data.model_dump(
            mode="json", exclude={"path", "train", "dev", "test", "corpus"}
        )
        redacted = ["redacted"] if self.experiment.personal_data == "redact" else []
        return Run(self.runs / f"{self.experiment.name}-{settings_hash(self.hashes, data, *redacted)[:8]}")
