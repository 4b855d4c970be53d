"""`workbench init`: a data file in, a commented experiment that runs out."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from validators.reading import Row

    from ..proposal import Proposal, Wishes
    from ..sections import Columns

T = TypeVar("T")


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where experiment.yaml is written.")],
    data: Annotated[
        Path, typer.Option(metavar="PATH", help="Your rows: chat JSONL, a JSON array, CSV, TSV or Parquet.")
    ],
    name: Annotated[str | None, typer.Option(help="The experiment's name instead of the folder's.")] = None,
    task: Annotated[
        str | None, typer.Option(help="classification, extraction, qa, generation or tools.")
    ] = None,
    metric: Annotated[str | None, typer.Option(help="The metric that decides.")] = None,
    worth_it: Annotated[
        float | None,
        typer.Option(min=0, help="The smallest gain that justifies tuning, in the metric's unit."),
    ] = None,
    requests_per_month: Annotated[
        float | None, typer.Option(min=0, help="How often the model will be asked.")
    ] = None,
    group_by: Annotated[
        str | None, typer.Option(help="Column whose equal values stay on one side of the split.")
    ] = None,
    corpus: Annotated[Path | None, typer.Option(help="Documents for RAG: a folder or a JSONL file.")] = None,
    input: Annotated[str | None, typer.Option(metavar="COLUMN", help="The table's question column.")] = None,
    output: Annotated[str | None, typer.Option(metavar="COLUMN", help="The table's answer column.")] = None,
    goal: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="What should get better; repeatable.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing, take what is proposed.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an experiment.yaml.")] = False,
) -> None:
    """Propose an experiment for your data and write it, commented, ready to run.

    On a terminal it asks what the data cannot tell; flags answer ahead.

    \b
    workbench init triage --data tickets.jsonl
    workbench init faq --data faq.csv --input Frage --output Antwort --corpus handbook/
    workbench init triage --data tickets.jsonl --worth-it 0.03 --group-by customer --yes
    """
    from validators.findings import printable
    from validators.reading import DataError

    from ..draft import draft, run_command, told
    from ..experiment import ExperimentError
    from ..proposal import Wishes
    from ..proposal_columns import ProposalError
    from ..retrieval.corpus import CorpusError

    asking = not yes and _at_terminal()
    wishes = Wishes(task, metric, worth_it, group_by, None, requests_per_month, tuple(goal or ()))
    try:
        target = _target(folder, force)
        for flag, number in (("--worth-it", worth_it), ("--requests-per-month", requests_per_month)):
            if number is not None and not isfinite(number):
                raise ProposalError(f"{flag}: {number} is no number to plan with.")
        rows, columns = _read(data, input, output, asking)
        wishes = replace(wishes, corpus=_corpus(corpus, folder))
        proposal = _propose(rows, columns, wishes, data, folder, name)
        if asking:
            proposal = _ask(proposal, wishes)
        text, dataset = draft(proposal, rows, target)
        lines = told(proposal, dataset, data)
        _write(target, text)
    except (DataError, ExperimentError, ProposalError, CorpusError) as error:
        typer.echo(f"init: {error}", err=True)
        raise typer.Exit(2) from error
    except OSError as error:
        typer.echo(f"init: {error.filename or folder}: {error.strerror}", err=True)
        raise typer.Exit(2) from error
    for line in [*lines, f"{'wrote':12}{target}", f"{'next':12}{run_command(target)}"]:
        typer.echo(printable(line))


def _at_terminal() -> bool:
    return sys.stdin.isatty()


def _target(folder: Path, force: bool) -> Path:
    """The file to write. Raises ProposalError where that would destroy something."""
    from ..proposal_columns import ProposalError

    target = folder / "experiment.yaml"
    if folder.exists() and not folder.is_dir():
        raise ProposalError(f"{folder}: this is a file; name a folder for the experiment.")
    if target.is_dir():
        raise ProposalError(f"{target}: a folder of this name is in the way.")
    if target.exists() and not force:
        raise ProposalError(f"{target} is there already. --force overwrites it, another DIR keeps it.")
    return target


def _read(
    data: Path, input: str | None, output: str | None, asking: bool
) -> tuple[list[Row], Columns | None]:
    """All rows, and which columns are question and answer: found, told, or asked for."""
    from validators.reading import read_rows
    from validators.suggest import did_you_mean

    from ..proposal_columns import ColumnsUnknown, find_columns

    rows = list(read_rows(data))
    try:
        return rows, find_columns(rows, input, output)
    except ColumnsUnknown as unknown:
        if not asking:
            raise
        names = unknown.names
        typer.echo(str(unknown), err=True)

    def known(text: str) -> str:
        if text not in names:
            raise typer.BadParameter(f"there is no such column.{did_you_mean(text, names)}")
        return text

    input = input or _prompt("Which column holds the question?", None, known)
    output = output or _prompt("Which column holds the answer?", None, known)
    return rows, find_columns(rows, input, output)


def _corpus(corpus: Path | None, folder: Path) -> str | None:
    from ..retrieval.corpus import load_corpus

    if corpus is None:
        return None
    load_corpus(corpus)
    return _relative(corpus, folder)


def _propose(
    rows: Sequence[Row], columns: Columns | None, wishes: Wishes, data: Path, folder: Path, name: str | None
) -> Proposal:
    from validators.findings import printable

    from ..proposal import propose
    from ..proposal_columns import ProposalError
    from ..settings import NAME_PATTERN

    if name is not None and not re.fullmatch(NAME_PATTERN, name):
        raise ProposalError(
            f"--name {name!r}: a name has up to 64 letters a-z, digits and . _ + -, and begins with one of the first two."
        )
    plain = re.sub(r"[^A-Za-z0-9._+-]+", "-", folder.absolute().name).strip("._+-")[:64]
    return propose(
        rows,
        columns,
        wishes,
        name=name or plain or "experiment",
        path=_relative(data, folder),
        source=printable(str(data)),
    )


def _relative(path: Path, folder: Path) -> str:
    """The path as the experiment file names it: from its own folder."""
    base = os.path.realpath(folder)
    relative = os.path.relpath(os.path.join(os.path.realpath(path.parent), path.name), base)  # noqa: PTH118
    # A leading ~ would be read as somebody's home.
    return f"../{Path(base).name}/{relative}" if relative.startswith("~") else relative


def _ask(p: Proposal, wishes: Wishes) -> Proposal:
    """The lesson's questions: use case, alternatives, benefits, costs. What a flag has answered is not asked."""
    from ..proposal import margin_for
    from ..proposal_columns import ProposalError

    def margin(text: str) -> float:
        try:
            return margin_for(p.metric, _amount(text), [])
        except ProposalError as error:
            raise typer.BadParameter(str(error)) from error

    typer.echo(
        f"{p.rows:,} rows; this looks like {p.task}: {p.reasons['task']}. Enter takes what is in brackets.",
        err=True,
    )
    goals = p.goals or (_prompt("What should get better?", f"{p.metric} in {p.task}", str),)
    tried = _prompt("Were prompting and RAG tried, and how did they do?", "not yet", str)
    worth_it = p.worth_it
    if wishes.worth_it is None:
        worth_it = _prompt(f"What gain in {p.metric} would justify tuning?", p.worth_it, margin)
    requests = p.requests_per_month
    if wishes.requests_per_month is None:
        requests = _prompt("How many requests a month?", p.requests_per_month, _amount)
    return replace(
        p,
        goals=goals,
        tried=tried,
        worth_it=worth_it,
        requests_per_month=requests,
        data_usd=_prompt("What will data cost, in USD?", 0.0, _amount),
        labour_usd=_prompt("What will labour cost, in USD?", 0.0, _amount),
        gpu_usd_per_hour=_prompt("What does an hour of GPU cost, in USD?", 0.0, _amount),
    )


def _prompt(question: str, default: T | None, parse: Callable[[str], T]) -> T:
    answer: T = typer.prompt(question, default=default, value_proc=parse, err=True)
    return answer


def _amount(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not (isfinite(number) and number >= 0):
        raise typer.BadParameter("a number from 0 on is needed, such as 0.05")
    return number


def _write(target: Path, text: str) -> None:
    from ..files import write_atomic

    write_atomic(target, text)
