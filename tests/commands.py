"""Whole commands for tests: in a process of their own, or in a fork of a clean server that spares the imports.

The server is forked from, never the test process: that one may hold the threads of torch or of a chart
renderer, and a fork of a process with threads can hang.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "NO_COLOR": "1",
}
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        *("tests.commands", "workbench.cli", "workbench.runner", "workbench.predictor", "openai"),
        # Seconds each time that a model is trained; no thread begins before the first product.
        "workbench.training.trainer",
    ]
)


def process(
    folder: Path, *arguments: str, env: Mapping[str, str] = ENVIRONMENT
) -> subprocess.CompletedProcess[str]:
    """One command in a process of its own; whatever happens, a traceback is a bug."""
    done = subprocess.run(
        [sys.executable, "-m", "workbench", *arguments],
        cwd=folder,
        env=dict(env),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def nothing() -> None:
    """Prepare nothing."""


def workbench(
    folder: Path, *arguments: str, prepare: Callable[[], None] = nothing
) -> subprocess.CompletedProcess[str]:
    """One command in a fork of the clean server; `prepare` (a picklable function) may set traps in it."""
    with tempfile.TemporaryDirectory() as spool:
        out, err = Path(spool) / "out", Path(spool) / "err"
        child = SERVER.Process(target=_child, args=(folder, arguments, prepare, out, err))
        child.start()
        child.join(240)
        assert child.exitcode is not None, "the command hangs"
        texts = [path.read_text(encoding="utf-8") if path.exists() else "" for path in (out, err)]
        done = subprocess.CompletedProcess(arguments, child.exitcode, *texts)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def _child(folder: Path, arguments: Sequence[str], prepare: Callable[[], None], out: Path, err: Path) -> None:
    code: Any = 99
    with out.open("w", encoding="utf-8") as sys.stdout, err.open("w", encoding="utf-8") as sys.stderr:
        try:
            from workbench import cli

            os.environ |= {"OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.chdir(folder)
            # Reports go without charts: their renderer takes a second to start, in every process anew.
            sys.modules |= dict.fromkeys(("altair", "vl_convert"), cast("Any", None))
            prepare()
            sys.argv = ["workbench", *arguments]
            cli.main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        except BaseException:
            traceback.print_exc()
    os._exit(code if isinstance(code, int) else 1)


def die_at_write(number: int) -> None:
    """From now on, SIGKILL this process at its `number`-th write: a rename, or half of an appended row."""
    from workbench import files

    count = 0

    def due() -> bool:
        nonlocal count
        count += 1
        return count == number

    replace, append = Path.replace, files.Appender.append

    def dying_replace(self: Path, target: Any) -> Path:
        if due():
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(self, target)

    def dying_append(self: Any, row: Any) -> None:
        if due():
            self._file.write(files.row_text(row)[:-7])
            self._file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        append(self, row)

    Path.replace = dying_replace  # type: ignore[method-assign,assignment]
    files.Appender.append = dying_append  # type: ignore[method-assign]


def interrupt_at_append() -> None:
    """From now on, a Ctrl-C comes when the first row has been appended."""
    from workbench import files

    append = files.Appender.append

    def interrupted(self: Any, row: Any) -> None:
        files.Appender.append = append  # type: ignore[method-assign]
        append(self, row)
        signal.raise_signal(signal.SIGINT)

    files.Appender.append = interrupted  # type: ignore[method-assign]
