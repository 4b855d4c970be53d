"""`workbench run`: an experiment to its verdict."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .lint import Form

if TYPE_CHECKING:
    from ..experiment import Experiment

# Verdicts that say the experiment itself is at fault.
FAULTY = ("fix-data", "invalid-comparison")


def run(
    experiment: Annotated[Path, typer.Argument(metavar="EXPERIMENT", help="The experiment file (YAML).")],
    only: Annotated[
        list[str] | None, typer.Option(help="Run only these contenders (comma-separated).")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan (tokens, USD, memory, time), run nothing.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Forget earlier answers (of --only, where given) and start over.")
    ] = False,
    runs: Annotated[Path, typer.Option(help="The folder that holds run folders.")] = Path("runs"),
    offline: Annotated[bool, typer.Option("--offline", help="Open no connection.")] = False,
    format: Annotated[Form, typer.Option(help="How to print the verdict.")] = Form.text,
) -> None:
    """Lint, split, let every contender answer the test split, and reach a verdict.

    Finished answers are kept: after an interruption the same command goes on where it was.

    \b
    workbench run sample_data/triage/experiment.yaml
    workbench run experiment.yaml --dry-run
    workbench run experiment.yaml --only zero-shot,few-shot
    """
    from ..experiment import Experiment, read_text
    from ..runner import Session
    from ..runner import run as run_experiment
    from .progress import Progress

    text = read_text(experiment)
    parsed = Experiment.parse(text, path=experiment)
    chosen = _chosen(parsed, only or [])
    if dry_run:
        return _plan(parsed, offline, format)
    with Progress() as progress:
        session = Session(
            experiment=parsed,
            path=experiment,
            text=text,
            runs=runs,
            report=progress,
            now=lambda: datetime.now(UTC).isoformat(timespec="seconds"),
            today=datetime.now(UTC).date(),
            offline=offline,
        )
        folder, verdict = run_experiment(session, only=chosen, fresh=fresh)
    if format is Form.json:
        typer.echo((folder.folder / "verdict.json").read_text(encoding="utf-8"), nl=False)
    else:
        from ..card import card_text

        typer.echo(card_text(verdict, report=str(folder.report_path("html"))), nl=False)
    raise typer.Exit(1 if verdict.reason in FAULTY else 0)


def _chosen(experiment: Experiment, only: list[str]) -> list[str]:
    """The names of --only, checked."""
    from validators.suggest import did_you_mean

    known = [c.name for c in experiment.contenders]
    names = [name.strip() for part in only for name in part.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise typer.BadParameter(
                f"no contender is called {name!r}.{did_you_mean(name, known)} There are: {', '.join(known)}",
                param_hint="--only",
            )
    return names


def _plan(experiment: Experiment, offline: bool, format: Form) -> None:
    from ..data import read_files
    from ..plan import plan
    from ..plan_text import plan_text

    made = plan(experiment, *read_files(experiment), offline=offline)
    typer.echo(
        json.dumps(made.as_dict(), indent=1, sort_keys=True) if format is Form.json else plan_text(made)
    )
