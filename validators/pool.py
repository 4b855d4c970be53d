"""Where tasks run: here, or in processes of this machine. Nothing else in the linter knows."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

from .parts import Part, Settings
from .ranges import Task, lint_task
from .rows import DataError
from .rules import RULES

# Starting a process costs as much as linting about so many bytes.
WORTH_A_PROCESS = 32 * 1024 * 1024
# A task of this size is done in a moment, so that no process is left with a long last one.
TASK_BYTES = 16 * 1024 * 1024

_settings: Settings | None = None


def processes(jobs: int | None) -> int:
    """How many processes to use: as asked for, or (None) one for each processor this process may use."""
    if jobs is not None:
        return max(1, jobs)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pieces_for(size: int, jobs: int) -> int:
    """Into how many ranges to cut a file of so many bytes."""
    return 1 if jobs == 1 or size < WORTH_A_PROCESS else -(-size // TASK_BYTES)


def run(tasks: Sequence[Task], settings: Settings, jobs: int) -> Iterator[Part]:
    """The tasks' parts, in the tasks' order. Raises DataError if a process dies."""
    if jobs == 1 or len(tasks) < 2:
        yield from (lint_task(task, settings) for task in tasks)
        return
    workers = min(jobs, len(tasks))
    # Rules go by their codes: what they are made of need not travel.
    codes = frozenset(rule.code for rule in settings.rules)
    told = (replace(settings, rules=()), codes)
    with ProcessPoolExecutor(workers, _context(), _start, told) as pool:
        waiting: deque[Future[Part]] = deque()
        try:
            for task in tasks:
                waiting.append(pool.submit(_work, task))
                # Parts that wait for an earlier one take memory.
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise DataError(
                "a process of the lint died, most likely for want of memory. Use fewer: --jobs 1."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _context() -> multiprocessing.context.BaseContext:
    """Fork, which spares each process the imports, where no other thread can hold a lock that it would inherit."""
    threads = Path("/proc/self/task")  # those of libraries too; Linux only
    alone = threads.is_dir() and len(list(threads.iterdir())) == 1
    return multiprocessing.get_context("fork" if alone else "spawn")


def _start(settings: Settings, codes: frozenset[str]) -> None:
    global _settings
    _settings = replace(settings, rules=tuple(rule for rule in RULES if rule.code in codes))


def _work(task: Task) -> Part:
    assert _settings is not None
    return lint_task(task, _settings)
