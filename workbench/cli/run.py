"""`workbench run`: an experiment to its verdict."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .lint import Form

if TYPE_CHECKING:
    from ..experiment import Experiment
    from ..spending import Bill

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
    yes_spend: Annotated[
        float | None,
        typer.Option(
            metavar="USD",
            min=0,
            help="Agree to hosted fine-tuning up to this sum; asked for where not given.",
        ),
    ] = None,
    redact: Annotated[
        bool,
        typer.Option("--redact", help="Put placeholders for personal data in the place of it, everywhere."),
    ] = False,
    send_personal_data: Annotated[
        bool,
        typer.Option("--send-personal-data", help="Personal data in the rows may go to servers elsewhere."),
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
    from ..runner import run as run_experiment
    from ..spending import bill_of
    from .progress import Progress
    from .sessions import session_of

    text = read_text(experiment)
    parsed = Experiment.parse(text, path=experiment)
    if redact and send_personal_data:
        raise typer.BadParameter("give one of --redact and --send-personal-data", param_hint="--redact")
    if redact or send_personal_data:
        parsed = parsed.model_copy(update={"personal_data": "redact" if redact else "send"})
    chosen = chosen_of(parsed, only or [])
    if dry_run:
        return show_plan(parsed, chosen, offline, format)
    with Progress() as progress:
        session = session_of(
            parsed,
            experiment,
            text,
            runs,
            progress,
            offline=offline,
            most_usd=yes_spend,
            ask=progress.ask if sys.stdin.isatty() and sys.stderr.isatty() else None,
        )
        folder, verdict = run_experiment(session, only=chosen, fresh=fresh)
    if format is Form.json:
        typer.echo((folder.folder / "verdict.json").read_text(encoding="utf-8"), nl=False)
    else:
        from ..card import card_text

        typer.echo(card_text(verdict, report=str(folder.report_path("html"))), nl=False)
    if told := bill_text(bill_of(folder)):
        typer.echo(f"bill: {told}", err=True)
    raise typer.Exit(1 if verdict.reason in FAULTY else 0)


def bill_text(bill: Bill) -> str:
    """The bill in one line; "" where no server was asked."""
    from .. import card as words

    def usd(value: float | None) -> str:
        return words.usd(value) if value is not None else "an unknown sum (a backend has no price)"

    told = []
    if bill.requests:
        most = "at most " if bill.unsure and bill.usd is not None else ""
        lost = f", {bill.unsure:,} of which lost their answer or its usage" if bill.unsure else ""
        told.append(f"{most}{usd(bill.usd)} for {words.count(bill.requests, 'request')} in this run{lost}")
    if bill.trainings:
        told.append(f"{usd(bill.trainings_usd)} for {words.count(bill.trainings, 'training')} at a provider")
    if bill.kept:
        told.append(f"{words.count(bill.kept, 'answer')} known from before, worth {usd(bill.kept_usd)}")
    return words.DOT.join(told)


def chosen_of(experiment: Experiment, only: list[str]) -> list[str]:
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


def show_plan(
    experiment: Experiment, only: Sequence[str] = (), offline: bool = False, format: Form = Form.text
) -> None:
    """Print the plan, and what would stop the run."""
    from ..data import divide, read_files
    from ..personal_data import LeavingError, check_leaving
    from ..plan import plan
    from ..plan_text import plan_text

    rows, hashes = read_files(experiment)
    made = plan(experiment, rows, hashes, offline=offline)
    typer.echo(
        json.dumps(made.as_dict(), indent=1, sort_keys=True) if format is Form.json else plan_text(made)
    )
    try:
        told = check_leaving(experiment, divide(experiment, rows, hashes), only)
    except LeavingError as error:  # a plan sends nothing: the run would stop here
        told = str(error)
    if told:
        typer.echo(f"\n{told}", err=True)
