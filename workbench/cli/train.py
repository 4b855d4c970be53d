"""`workbench train`: train the fine-tuned contenders of an experiment, and only those."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import typer

from validators.findings import printable

from .run import chosen_of, show_plan

if TYPE_CHECKING:
    from ..runs import Run


def train(
    experiment: Annotated[Path, typer.Argument(metavar="EXPERIMENT", help="The experiment file (YAML).")],
    only: Annotated[
        list[str] | None, typer.Option(help="Train only these contenders (comma-separated).")
    ] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Train although no untuned contender has been scored.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what training would take, train nothing.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Forget earlier trainings of these contenders and start over.")
    ] = False,
    runs: Annotated[Path, typer.Option(help="The folder that holds run folders.")] = Path("runs"),
    offline: Annotated[bool, typer.Option("--offline", help="Open no connection.")] = False,
) -> None:
    """Train the fine-tuned contenders; `workbench run` then finds them trained and scores them.

    Shows the first batch as the model sees it, before the first step. An interrupted training goes on
    where it was with the same command.

    \b
    workbench run experiment.yaml --only zero-shot
    workbench train experiment.yaml
    """
    from ..experiment import Experiment, read_text
    from ..training.xray import x_ray_text
    from ..tuning import train as train_contenders
    from ..tuning import trainings_of
    from .progress import Progress
    from .sessions import session_of

    text = read_text(experiment)
    parsed = Experiment.parse(text, path=experiment)
    chosen = trainings_of(parsed, chosen_of(parsed, only or []))
    if dry_run:
        show_plan(parsed.model_copy(update={"contenders": tuple(chosen)}), offline=offline)
        return
    with Progress() as progress:
        session = session_of(parsed, experiment, text, runs, progress, offline=offline)
        coloured = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
        trained = train_contenders(
            session,
            chosen,
            fresh=fresh,
            anyway=anyway,
            first_batch=lambda batch: progress.show(x_ray_text(batch, colour=coloured)),
        )
    for name, place in trained:
        for line in summary(name, place):
            typer.echo(printable(line))
    typer.echo(f"next      workbench run {shlex.quote(str(experiment))}{session.runs_flag}")


def summary(name: str, place: Run) -> Iterator[str]:
    """What a training did, and what the doctor finds in its log."""
    from .. import card as words
    from ..checkup import examine

    info: Mapping[str, Any] = place.contender(name) or {}
    training, log = info["training"], place.training(name)
    part = "" if place.whole is None else f" ({place.folder.relative_to(place.whole)})"
    told = [
        words.count(training["steps"], "step"),
        f"{training['tokens']:,} tokens, {training['trained_tokens']:,} of them trained",
        f"{training['seconds']:,.0f} s",
    ]
    if speeds := [row["tokens_per_second"] for row in log if row.get("tokens_per_second")]:
        told.append(f"{median(speeds):,.0f} tokens/s")
    if memory := [row["memory_mb"] for row in log if row.get("memory_mb")]:
        told.append(f"{max(memory) / 1024:,.1f} GiB at most")
    yield f"trained   {name}{part}: {words.DOT.join(told)}"
    best = [f"dev loss {training['dev_loss']:.3f}"] if training["dev_loss"] is not None else []
    if training.get("dev_score") is not None:
        best.append(f"dev score {training['dev_score']:.3f}")
    kept = (
        f"best step {training['best_step']}: {', '.join(best)}"
        if best
        else "no dev rows: the last step is kept"
    )
    processes = training.get("processes", 1)
    shared = [f"{processes} processes"] if processes > 1 else []
    yield f"          {words.DOT.join([kept, training['packing'], *shared])}"
    symptoms = examine(log, info)
    for symptom in symptoms:
        yield f"doctor    {symptom}"
    if not symptoms:
        yield "doctor    finds nothing wrong"
