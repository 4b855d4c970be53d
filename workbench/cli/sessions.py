"""A session as a command begins it: with the clock of this machine."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..experiment import Experiment
from ..session import Reporter, Session


def session_of(
    experiment: Experiment, path: Path, text: str, runs: Path, report: Reporter, **more: Any
) -> Session:
    """`more` are other fields of a session, by name."""
    return Session(
        experiment=experiment,
        path=path,
        text=text,
        runs=runs,
        report=report,
        now=lambda: datetime.now(UTC).isoformat(timespec="seconds"),
        today=datetime.now(UTC).date(),
        **more,
    )
