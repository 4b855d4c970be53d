"""Runs that the app started: an experiment's folder, one process each, and the lock by which it is known.

The process holds a lock on `run.pid` from its first moment to its last, whoever else starts, stops or reloads.
While the lock is held the number in that file is the process's; once it is free, the number means nothing, so
nothing is ever stopped but what was started here. No Streamlit in here.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from validators.findings import printable
from workbench.files import write_atomic
from workbench.runs import Run, RunError
from workbench.settings import NAME_PATTERN

# Beside the run folders, so that what the app writes stays in the folder it was given.
EXPERIMENTS = "experiments"

# A server that was started in the background ignores Ctrl-C, and its children inherit that.
_LAUNCH = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from workbench.cli import main; main()"
)
_STEP = re.compile(r"  (?P<stage>\S.*?) (?P<done>\d+)/(?P<total>\d+)(?:,|\s·|$)")


class JobError(ValueError):
    """A run cannot be saved, started or stopped; the message says why."""


@dataclass(frozen=True, slots=True)
class Job:
    """An experiment that the app saved under a folder of runs."""

    root: Path
    name: str

    @property
    def folder(self) -> Path:
        """Where its data and its experiment file lie."""
        return self.root / EXPERIMENTS / self.name

    @property
    def experiment(self) -> Path:
        """Its experiment file."""
        return self.folder / "experiment.yaml"

    @property
    def log(self) -> Path:
        """What the process said, all of its starts in one file."""
        return self.folder / "run.log"

    @property
    def command(self) -> str:
        """The same run from a shell."""
        return f"workbench run {shlex.quote(str(self.experiment))} --runs {shlex.quote(str(self.root))}"

    @property
    def pid(self) -> int | None:
        """The process that runs it now; None where none does."""
        try:
            with self._lock_file.open("r+") as file:
                try:
                    # Shared: two who look at once must not take each other for the process.
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return int(file.read() or 0) or None
        except (FileNotFoundError, ValueError):
            return None
        return None

    @property
    def _lock_file(self) -> Path:
        return self.folder / "run.pid"


def jobs(root: Path) -> list[Job]:
    """The experiments saved by the app, the one touched last first."""
    found = [p.parent for p in (root / EXPERIMENTS).glob("*/experiment.yaml")]
    named = [p for p in found if re.fullmatch(NAME_PATTERN, p.name)]
    return [Job(root, p.name) for p in sorted(named, key=lambda p: -_touched(p))]


def _touched(folder: Path) -> int:
    return max((path.stat().st_mtime_ns for path in folder.iterdir() if path.is_file()), default=0)


def save(root: Path, name: str, text: str, data: str, blob: bytes) -> Job:
    """Write an experiment and its data into a folder of their own.

    A folder of this name is taken again only with the same data. Raises JobError.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise JobError(
            f"{name!r} is no name: up to 64 letters a-z, digits and . _ + -, beginning with a letter or digit."
        )
    job = Job(root, name)
    if job.pid is not None:
        raise JobError(f"{name} is running; stop it first, or choose another name.")
    place = job.folder / data
    if job.folder.is_symlink() or place.is_symlink() or place.parent != job.folder:
        raise JobError(f"{place}: not a place for a data file.")
    if job.experiment.exists() and not (place.exists() and place.read_bytes() == blob):
        raise JobError(f"an experiment called {name} is there already, with other data. Choose another name.")
    try:
        job.folder.mkdir(parents=True, exist_ok=True)
        partial = job.folder / f".{data}.partial"
        partial.write_bytes(blob)
        partial.replace(place)
        write_atomic(job.experiment, text)
    except OSError as error:
        raise JobError(f"{error.filename or place}: {error.strerror}") from error
    return job


def start(job: Job) -> int:
    """Start it in a session of its own, so that it outlives the page, and return its process. Raises JobError."""
    try:
        return _started(job)
    except OSError as error:
        raise JobError(f"{error.filename or job.folder}: {error.strerror}") from error


def _started(job: Job) -> int:
    with job._lock_file.open("a+") as lock, job.log.open("ab") as log:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JobError(f"{job.name} is running already.") from None
        lock.truncate(0)  # until the new process is known there is no number to stop
        process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, "run", str(job.experiment), "--runs", str(job.root)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
            pass_fds=(lock.fileno(),),
        )
        lock.write(str(process.pid))
        lock.flush()
    threading.Thread(target=process.wait, daemon=True).start()
    return process.pid


def stop(job: Job, *, kill: bool = False) -> None:
    """Interrupt it as Ctrl-C does, or end it on the spot; finished answers are kept either way."""
    if (pid := job.pid) is not None:
        with contextlib.suppress(ProcessLookupError):  # it ended by itself meanwhile
            os.killpg(pid, signal.SIGKILL if kill else signal.SIGINT)


def run_of(job: Job, runs: list[Run]) -> Run | None:
    """The newest run folder that this experiment has made; None before there is one."""
    here = job.experiment.resolve()
    for run in runs:
        try:
            origin = run.origin()
        except RunError:
            continue
        if origin is not None and origin.resolve() == here:
            return run
    return None


def last_words(job: Job, lines: int = 12) -> list[str]:
    """The end of its log, fit to be shown."""
    try:
        with job.log.open("rb") as file:
            file.seek(max(0, job.log.stat().st_size - 65_536))
            said = file.read().decode("utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    return [printable(line) for line in said[-lines:]]


def progress(words: list[str]) -> tuple[str, float] | None:
    """The stage that the last line of progress tells of, and the share of it that is done."""
    return next(_steps(words), None)


def _steps(words: list[str]) -> Iterator[tuple[str, float]]:
    for line in reversed(words):
        if found := _STEP.match(line):
            yield found["stage"], min(1.0, int(found["done"]) / max(1, int(found["total"])))
        elif line and not line.startswith(" "):
            return  # a later stage has begun, and has not said how far it is
