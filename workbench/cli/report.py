"""`workbench report`: the decision report of a run folder, as HTML and Markdown."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    redact: Annotated[
        bool, typer.Option("--redact", help="Mask personal data; the files are report.redacted.html and .md.")
    ] = False,
) -> None:
    """Write report.html and report.md into a run folder; print where they are.

    Ratings that people gave since the run count.

    \b
    workbench report runs/triage-1f2e9a07
    workbench report runs/triage-1f2e9a07 --redact     # to be shown to others
    """
    from workbench.experiment import ExperimentError
    from workbench.report import write_report
    from workbench.runs import Run, RunError
    from workbench.verdict import standing

    try:
        opened = Run.open(run)
        verdict = standing(opened, today=datetime.now(UTC).date())
        paths = write_report(opened, redact=redact, verdict=verdict)
    except (RunError, ExperimentError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    for path in paths:
        typer.echo(str(path))
