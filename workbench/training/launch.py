"""Several processes on this machine that train one model, started by torch's elastic launcher.

The starter has encoded the rows; the processes (`worker.py`) read them from one file. A process that dies ends all
others, and so does the end of the starter, whatever ends it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .checkpoints import last_checkpoint
from .job import Job
from .rows import TrainingError
from .settings import TrainingSettings, TrainingSummary
from .sharing import share_of
from .xray import FirstBatch

if TYPE_CHECKING:
    from .log import Progress

log = logging.getLogger("workbench.training")
# Files of the folder that a launch has for itself.
JOB, TOLD, ERROR, FAILED = "job", "told", "error-{}", "failed"
# Seconds between two looks at what the processes have told.
_LOOK = 0.1


def check_launch(settings: TrainingSettings) -> None:
    """Raise TrainingError for what several processes cannot do here."""
    if settings.processes == 1:
        return
    share_of(settings.batch_size, settings.gradient_accumulation, settings.processes)
    asked = f"launch: {settings.processes} processes"
    if settings.stop_on == "primary":
        raise TrainingError(
            f"{asked}: stop_on: primary lets the model in training answer dev, which it cannot in several processes. "
            "Use stop_on: dev_loss, or leave launch out."
        )
    kind, _, number = settings.device.partition(":")
    if kind not in ("cpu", "cuda"):
        raise TrainingError(f"{asked} need GPUs of CUDA or a CPU, not {settings.device}. Leave launch out.")
    if kind == "cuda":
        import torch

        there = torch.cuda.device_count()
        if settings.processes > there:
            raise TrainingError(
                f"{asked}, but this machine has {there} GPU{'s' * (there != 1)}, and each process takes one. "
                f"Set processes: {there}, or device: cpu."
            )
        if number:
            raise TrainingError(f"{asked} take one GPU each: set device: cuda instead of {settings.device}.")


def launch(job: Job, progress: Progress, first_batch: FirstBatch) -> TrainingSummary:
    """Train a job in `processes` processes, and return when all have ended. Raises TrainingError.

    Whatever happens here, no process is left, and no half checkpoint.
    """
    check_launch(job.settings)
    checkpoints = job.run.checkpoint_folder(job.settings.name)
    folder = checkpoints.with_name(".launch")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    summary = None
    try:
        job.write(folder / JOB)
        with _started(folder, job.settings) as agent:
            for kind, value in _told(folder / TOLD, agent):
                if kind == "step":
                    progress(*value)
                elif kind == "first_batch":
                    first_batch(value)
                elif kind == "warning":
                    log.warning("%s", value)
                else:
                    summary = TrainingSummary(**value)
        if agent.returncode != 0:
            summary = None
        if summary is None:
            raise TrainingError(_why(folder, job.settings.processes, agent.returncode))
        return summary
    finally:
        if summary is None:
            last_checkpoint(checkpoints)  # which removes a half one
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _started(folder: Path, settings: TrainingSettings) -> Iterator[subprocess.Popen[bytes]]:
    """The launcher, in a group of its own: Ctrl-C reaches the starter alone. At the end nothing of the group is left."""
    threads = max(1, (os.cpu_count() or 1) // settings.processes)
    # Over the loopback alone: what the processes say to each other is neither secret nor checked.
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    environment = {
        "OMP_NUM_THREADS": str(threads),
        **os.environ,
        "GLOO_SOCKET_IFNAME": loopback,
        "NCCL_SOCKET_IFNAME": loopback,
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    with (folder / "agent.log").open("wb") as output:
        agent = subprocess.Popen(
            # -P: what lies in the folder where this was called is no module.
            [sys.executable, "-P", "-m", "workbench.training.worker", str(folder), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
        )
    try:
        yield agent
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(agent.pid, signal.SIGKILL)
            agent.wait()
            for _ in range(20):  # until all have gone: they may be writing
                os.killpg(agent.pid, 0)
                time.sleep(_LOOK)
        agent.wait()


def _told(path: Path, agent: subprocess.Popen[bytes]) -> Iterator[tuple[str, Any]]:
    """What the first process tells, line by line, until the launcher has ended."""
    rest, place = b"", 0
    while True:
        ended = agent.poll() is not None
        if path.exists():
            with path.open("rb") as file:
                file.seek(place)
                fresh = file.read()
            place += len(fresh)
            *lines, rest = (rest + fresh).split(b"\n")
            for line in lines:
                yield from json.loads(line).items()
        if ended:
            return
        time.sleep(_LOOK)


def _why(folder: Path, processes: int, code: int) -> str:
    """Why a training in several processes broke off, from what they left."""
    failed: dict[str, int] = {}
    with contextlib.suppress(OSError, ValueError):
        failed = json.loads((folder / FAILED).read_text(encoding="utf-8"))
    # One that was killed tells nothing; the others then only tell that it has gone.
    killed = next(((rank, -c) for rank, c in failed.items() if c < 0 and -c != signal.SIGTERM), None)
    if killed is not None:
        return (
            f"process {killed[0]} of {processes} was killed ({signal.Signals(killed[1]).name}; where nobody did it, memory "
            "ran out). The others were ended. The same command goes on from the last checkpoint."
        )
    left = [folder / ERROR.format(rank) for rank in range(processes)]
    # The first in time is the cause; what the others say follows from it.
    errors = sorted((path for path in left if path.exists()), key=lambda path: path.stat().st_mtime_ns)
    if not errors:
        return f"the training in {processes} processes broke off: {_tail(folder, code)}"
    error = json.loads(errors[0].read_text(encoding="utf-8"))
    rank = errors[0].name.removeprefix(ERROR.format(""))
    return (
        str(error["told"]) if error["ours"] else f"process {rank} of {processes} broke off: {error['told']}"
    )


def _tail(folder: Path, code: int) -> str:
    """The last line of what the processes, or else the launcher, wrote."""
    for path in (*sorted(folder.rglob("stderr.log")), folder / "agent.log"):
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else []
        if said := [line.strip() for line in lines if line.strip()]:
            return said[-1][:500]
    return f"exit code {code}"
