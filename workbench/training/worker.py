"""`python -m workbench.training.worker FOLDER PID`: torch's elastic launcher, and each process of the training it starts."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, launch_agent

from validators.tokens import load_hf_tokenizer

from .job import Job
from .launch import ERROR, FAILED, JOB, TOLD

# The launcher looks ten times a second, and tells of one process alone.
_GONE = 2.0


def main(folder: Path, starter: int) -> None:
    """Start the processes and watch them; leave behind which failed, with its exit code."""
    _end_with(starter)
    settings = Job.read(folder / JOB).settings
    on_cpu = settings.device == "cpu"
    if on_cpu:
        # Imported once for all: they are forks. A fork of a process that has used a GPU could not.
        from . import trainer  # noqa: F401
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=settings.processes,
        run_id="training",
        rdzv_backend="c10d",
        # Files to meet at, here and below: torch's own store would listen on every address of this machine.
        rdzv_endpoint=str(folder / "rendezvous"),
        rdzv_configs={"store_type": "file"},
        max_restarts=0,
        start_method="fork" if on_cpu else "spawn",
        logs_specs=DefaultLogsSpecs(log_dir=str(folder / "logs"), redirects=Std.ALL),
    )
    code = 0
    try:
        launch_agent(config, work, [folder, os.getpid()])
    except ChildFailedError as error:
        codes = {str(rank): failure.exitcode for rank, failure in error.failures.items()}
        (folder / FAILED).write_text(json.dumps(codes), encoding="utf-8")
        code = 1
    os._exit(code)


def work(folder: Path, launcher: int) -> None:
    """Train in one process; the first tells the starter how far it is, any of them why it cannot go on."""
    # The launcher's handlers would wait until this process comes back from a talk with one that is gone.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _end_with(launcher)
    rank = int(os.environ["RANK"])
    try:
        _train(folder, rank)
    except Exception as error:
        ours = type(error).__module__.split(".")[0] in ("workbench", "validators")
        told = str(error) if ours else traceback.format_exception_only(error)[-1].strip()
        (folder / ERROR.format(rank)).write_text(json.dumps({"ours": ours, "told": told}), encoding="utf-8")
        traceback.print_exc()
        sys.stderr.flush()
        if not ours:  # perhaps only because another has gone, which the launcher is to see first
            time.sleep(_GONE)
        # Without goodbyes: the others may be waiting for an answer of this process.
        os._exit(1)


def _train(folder: Path, rank: int) -> None:
    from .trainer import train_job

    job = Job.read(folder / JOB)
    settings = job.settings
    if settings.device != "cpu":
        settings = replace(settings, device=f"cuda:{rank}")
        torch.cuda.set_device(rank)
    torch.distributed.init_process_group(
        "gloo" if settings.device == "cpu" else "nccl",
        init_method=f"file://{(folder / 'meeting').absolute()}",
        rank=rank,
        world_size=settings.processes,
    )
    tell = _Teller(folder / TOLD if rank == 0 else Path(os.devnull))
    logging.getLogger("workbench").addHandler(tell)

    def first_batch(batch: Mapping[str, Any]) -> None:
        tell("first_batch", batch)

    summary = train_job(
        replace(job, settings=settings),
        load_hf_tokenizer(settings.model, settings.folder),
        lambda *step: tell("step", step),
        first_batch,
    )
    tell("summary", summary.as_dict())
    torch.distributed.destroy_process_group()


class _Teller(logging.Handler):
    """Lines on their way to the starter: {kind: value}. Takes warnings as a log handler."""

    def __init__(self, path: Path) -> None:
        super().__init__(logging.WARNING)
        self._file = path.open("a", encoding="utf-8")

    def __call__(self, kind: str, value: Any) -> None:
        self._file.write(json.dumps({kind: value}) + "\n")
        self._file.flush()

    def emit(self, record: logging.LogRecord) -> None:
        """Tell a warning."""
        self("warning", record.getMessage())


def _end_with(parent: int) -> None:
    """End when the parent has: nobody would then hold the run folder against a second start."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
