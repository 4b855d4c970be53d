"""Progress on standard error: a live bar on a terminal, sparse plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

import typer

from validators.findings import printable

# Seconds between two plain lines of one stage: a log should show life, not every step.
PLAIN_EVERY = 15.0


class Progress:
    """Shows which stage runs, how far it is, and the time left. Use as a context manager."""

    def __init__(self) -> None:
        self._live: Any = None
        self._task: Any = None
        self._name, self._done = "", 0
        self._begun = self._told = time.monotonic()

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                TextColumn,
                TimeRemainingColumn,
            )
            from rich.progress import Progress as Live

            columns = (
                TextColumn("{task.description:<14}", markup=False),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TimeRemainingColumn(elapsed_when_finished=True),
                TextColumn("{task.fields[detail]}", markup=False),
            )
            self._live = Live(*columns, console=Console(stderr=True))
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, told: str) -> None:
        """Print lines above the bar; they hold no control character but colours of ours."""
        if self._live is not None:
            self._live.stop()
        print(told, file=sys.stderr, flush=True)
        if self._live is not None:
            self._live.start()

    def ask(self, told: str) -> bool:
        """Show a bill and ask for leave; the bar stands still meanwhile, and no is the answer to a bare Enter."""
        if self._live is not None:
            self._live.stop()
        print("\n".join(map(printable, told.splitlines())), file=sys.stderr)
        agreed = typer.confirm("Spend that?", default=False, err=True)
        if self._live is not None:
            self._live.start()
        return agreed

    def stage(self, name: str, detail: str = "") -> None:
        """A stage begins."""
        self._name, self._begun, self._done = name, time.monotonic(), 0
        self._told = self._begun
        if self._live is not None:
            if self._task is not None:
                # A stage without steps is done when the next begins.
                before = self._live.tasks[self._task]
                self._live.update(self._task, total=before.total or 1, completed=before.total or 1, detail="")
            self._task = self._live.add_task(name, total=None, detail=detail)
        else:
            print(f"{name}{' · ' + detail if detail else ''}", file=sys.stderr, flush=True)

    def step(self, done: int, total: int, detail: str = "") -> None:
        """The stage is `done` of `total` steps far."""
        if done < self._done:
            # Training is over and answering begins: its time says nothing about theirs.
            self._begun = time.monotonic()
        self._done = done
        if self._live is not None:
            if detail == "":
                self._live.update(self._task, completed=done, total=total)
            else:
                self._live.update(self._task, completed=done, total=total, detail=detail)
            return
        now = time.monotonic()
        if now - self._told < PLAIN_EVERY and done < total:
            return
        self._told = now
        # Batches arrive in one go: the first row of the first one says nothing about speed.
        left = (now - self._begun) / done * (total - done) if done > 0.05 * total else None
        told = f", {left:.0f} s left" if left and done < total else ""
        print(
            f"  {self._name} {done}/{total}{told}{' · ' + detail if detail else ''}",
            file=sys.stderr,
            flush=True,
        )
