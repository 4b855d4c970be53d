"""`workbench predict`: use a contender of a finished run, usually the verdict's choice."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    source: Annotated[
        str, typer.Argument(metavar="IN", help="Questions: a data file, or one prompt as text.")
    ],
    out: Annotated[
        Path | None, typer.Argument(metavar="OUT", help="Answers as JSONL; else standard output.")
    ] = None,
    contender: Annotated[
        str | None, typer.Option(help="Which contender answers; default: the verdict's choice.")
    ] = None,
    experiment: Annotated[
        Path | None,
        typer.Option(help="The experiment file, where the run folder's copy cannot find its data."),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Open no connection.")] = False,
) -> None:
    """Answer new questions with a contender just as it was scored.

    Answers to a file appear as {"line", "input", "prediction", …} rows; what is already there is not asked again.

    \b
    workbench predict runs/triage-1f2e9a07 new.jsonl answers.jsonl --contender few-shot
    workbench predict runs/triage-1f2e9a07 "my pump is silent"
    """
    from ..predictor import predict_file, predict_text
    from .progress import Progress

    if out is None and not _names_a_file(source):
        typer.echo(
            predict_text(run, source, contender=contender, experiment_path=experiment, offline=offline)
        )
        return
    with Progress() as progress:
        progress.stage(contender or "predict", str(source))
        count, errors = predict_file(
            run,
            Path(source),
            out,
            contender=contender,
            experiment_path=experiment,
            offline=offline,
            step=progress.step,
        )
    print(f"{count} answers{f', {errors} failed' if errors else ''}", file=sys.stderr)
    raise typer.Exit(1 if errors else 0)


def _names_a_file(source: str) -> bool:
    """Whether IN is a file: it is there, or is called like a data file (a mistyped name is no question)."""
    from validators.reading import SUFFIXES

    try:
        return Path(source).exists() or (
            Path(source).suffix.lower() in SUFFIXES and not any(map(str.isspace, source))
        )
    except OSError:  # a prompt may be longer than any name
        return False
