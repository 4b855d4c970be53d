"""`workbench app`: the comparison app in a browser, on this machine only."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

MISSING = "The app needs streamlit: pip install 'decide-before-you-tune[app]'"


def command(main: Path, port: int) -> list[str]:
    """The command line that serves the app: bound to this machine, guarded, silent about usage."""
    settings = {
        "server.address": "127.0.0.1",
        "server.port": str(port),
        "server.headless": "true",
        "server.enableXsrfProtection": "true",
        "server.enableCORS": "true",
        "server.maxUploadSize": "50",
        "server.enableStaticServing": "false",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
    }
    flags = [part for name, value in settings.items() for part in (f"--{name}", value)]
    return [sys.executable, "-m", "streamlit", "run", str(main), *flags]


def app(
    runs: Annotated[
        Path, typer.Argument(help="The folder that holds run folders, or one run folder.")
    ] = Path("runs"),
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where the app listens on 127.0.0.1.")] = 8501,
    allow_run: Annotated[
        bool,
        typer.Option(
            "--allow-run",
            help="Let the Start page write experiments and run them, with your rights, for anyone who reaches the port.",
        ),
    ] = False,
) -> None:
    """Open the comparison app: decision, scores, examples, cost, training, data, ratings; a form to start from.

    It reads run folders and writes ratings; with --allow-run also experiments, under RUNS/experiments.

    \b
    workbench app
    workbench app runs/triage-1f2e9a07 --port 8600
    workbench app --allow-run
    """
    spec = importlib.util.find_spec("apps") if importlib.util.find_spec("streamlit") else None
    if spec is None or not spec.submodule_search_locations:
        typer.echo(MISSING, err=True)
        raise typer.Exit(2)
    if runs.exists() and not runs.is_dir():
        typer.echo(f"{runs}: not a folder. Give the folder that holds run folders, or one of them.", err=True)
        raise typer.Exit(2)
    root, address = _root_and_address(runs, port)
    main = Path(next(iter(spec.submodule_search_locations))) / "main.py"
    typer.echo(f"Serving {root} on {address} (Ctrl-C ends it)", err=True)
    sys.stderr.flush()
    # In place of this process, so that whoever ends the command ends the server.
    settings = {"WORKBENCH_RUNS": str(root), "WORKBENCH_ALLOW_RUN": str(int(allow_run))}
    os.execve(sys.executable, command(main, port), {**os.environ, **settings})


def _root_and_address(runs: Path, port: int) -> tuple[Path, str]:
    """The folder of run folders and the address to open; one run folder opens with itself chosen."""
    from workbench.runs import Run, RunError

    address = f"http://127.0.0.1:{port}"
    try:
        run = Run.open(runs)
    except RunError:
        return runs, address
    return run.folder.absolute().parent, f"{address}/?run={quote(run.name)}"
