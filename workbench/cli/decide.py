"""`workbench decide`: the verdict again from the files, with other margins and prices; or over files made elsewhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .lint import Form

if TYPE_CHECKING:
    from ..records import Verdict
    from ..runs import Run
    from ..sections import Decision

# Flags of this verb → keys of the experiment's decision section; the rest are its costs.
COSTS = ("data_usd", "labour_usd", "gpu_usd_per_hour", "hosting_usd_per_hour")


def decide(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN | NAME=FILE...",
            help="A run folder; or files of answers, one a contender, with names.",
        ),
    ],
    worth_it: Annotated[
        float | None, typer.Option(help="The smallest gain that would justify tuning.")
    ] = None,
    equivalent_within: Annotated[float | None, typer.Option(help="How close counts as the same.")] = None,
    requests_per_month: Annotated[float | None, typer.Option(help="Volume.")] = None,
    horizon_months: Annotated[
        float | None, typer.Option(help="Months within which it should pay back.")
    ] = None,
    budget_usd: Annotated[float | None, typer.Option(help="What tuning may cost.")] = None,
    value_per_point: Annotated[
        float | None, typer.Option(help="USD a month that a point of the metric is worth.")
    ] = None,
    data_usd: Annotated[float | None, typer.Option(help="What the data costs.")] = None,
    labour_usd: Annotated[float | None, typer.Option(help="What the work costs.")] = None,
    gpu_usd_per_hour: Annotated[float | None, typer.Option(help="Price of the machine's hour.")] = None,
    hosting_usd_per_hour: Annotated[float | None, typer.Option(help="Price of keeping the model up.")] = None,
    day: Annotated[
        str | None, typer.Option("--date", help="The day the decision is for, YYYY-MM-DD.")
    ] = None,
    tuned: Annotated[
        list[str] | None, typer.Option(help="With NAME=FILE: which of them is tuned (repeatable).")
    ] = None,
    metric: Annotated[str | None, typer.Option(help="With NAME=FILE: the metric that decides.")] = None,
    out: Annotated[
        Path, typer.Option(help="With NAME=FILE: where experiment and run folder are written.")
    ] = Path("decided"),
    format: Annotated[Form, typer.Option(help="How to print the verdict.")] = Form.text,
) -> None:
    """Reach the verdict of a run again from its files; nothing is asked, trained or written.

    With other margins, prices or volumes it is a what-if, and says so. With NAME=FILE arguments, answers that were
    made elsewhere (this tool's, lm-evaluation-harness, promptfoo, Inspect, CSV) become a run of their own.

    \b
    workbench decide runs/triage-1f2e9a07
    workbench decide runs/triage-1f2e9a07 --worth-it 0.1 --requests-per-month 500000
    workbench decide base=samples_base.jsonl lora=samples_lora.jsonl --tuned lora --metric exact_match --worth-it 0.03
    """
    changes = {
        "worth_it": worth_it,
        "equivalent_within": equivalent_within,
        "requests_per_month": requests_per_month,
        "horizon_months": horizon_months,
        "budget_usd": budget_usd,
        "value_per_point": value_per_point,
        "date": day,
        "costs": {
            name: value
            for name, value in zip(
                COSTS, (data_usd, labour_usd, gpu_usd_per_hour, hosting_usd_per_hour), strict=True
            )
            if value is not None
        },
    }
    changes = {name: value for name, value in changes.items() if value not in (None, {})}
    today = datetime.now(UTC).date()
    made_elsewhere = any("=" in one for one in runs) and not (len(runs) == 1 and Path(runs[0]).exists())
    if made_elsewhere:
        run, verdict = _of_files(runs, tuned or [], metric, changes, out)
    elif len(runs) > 1 or tuned or metric:
        raise typer.BadParameter(
            "give one run folder; or NAME=FILE for every contender, with --tuned and --metric",
            param_hint="RUN",
        )
    else:
        run, verdict = _again(Path(runs[0]), changes, today)
    _show(run, verdict, format, {} if made_elsewhere else changes)


def _again(folder: Path, changes: dict[str, Any], today: date) -> tuple[Run, Verdict]:
    """The verdict of a run folder under changed settings."""
    from ..runs import Run
    from ..verdict import decide as decide_run
    from ..verdict import deciding_experiment

    run = Run.open(folder)
    decision = deciding_experiment(run).decision
    return run, decide_run(run, decision=_changed(decision, changes), today=today)


def _changed(decision: Decision, changes: dict[str, Any]) -> Decision:
    """Decision settings with some replaced, checked as if they stood in the file."""
    from pydantic import ValidationError

    old = decision.model_dump(mode="json")
    new = {**old, **changes, "costs": {**old["costs"], **changes.get("costs", {})}}
    try:
        return type(decision).model_validate(new)
    except ValidationError as error:
        first = error.errors()[0]
        flag = "--" + str(first["loc"][-1]).replace("_", "-")
        raise typer.BadParameter(str(first["msg"]).removeprefix("Value error, "), param_hint=flag) from None


def _of_files(
    arguments: Sequence[str],
    tuned: Sequence[str],
    metric: str | None,
    changes: dict[str, Any],
    out: Path,
) -> tuple[Run, Verdict]:
    """A run of answers made elsewhere."""
    from ..answers import read_answers
    from ..answers_run import experiment_of
    from ..experiment import Experiment, read_text
    from ..runner import run as run_experiment
    from .progress import Progress
    from .sessions import session_of

    named: dict[str, str] = {}
    for argument in arguments:
        name, separator, file = argument.partition("=")
        if not (separator and name and file) or name in named:
            raise typer.BadParameter(
                f"{argument!r}: give every contender once, as NAME=FILE", param_hint="RUN"
            )
        named[name] = file
    for name in tuned:
        if name not in named:
            raise typer.BadParameter(f"{name!r} is none of {', '.join(named)}", param_hint="--tuned")
    path = experiment_of(
        {name: read_answers(file) for name, file in named.items()}, tuned, metric, changes, out
    )
    text = read_text(path)
    with Progress() as progress:
        parsed = Experiment.parse(text, path=path)
        return run_experiment(session_of(parsed, path, text, out / "runs", progress, offline=True))


def _show(run: Run, verdict: Verdict, format: Form, changes: dict[str, Any]) -> None:
    import msgspec

    from ..card import card_text
    from .run import FAULTY

    if format is Form.json:
        from ..records import SCHEMAS

        plain = {**msgspec.to_builtins(verdict), "schema": SCHEMAS["verdict"]}
        typer.echo(json.dumps(plain, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False))
    else:
        flat = {**{k: v for k, v in changes.items() if k != "costs"}, **changes.get("costs", {})}
        if flat:
            typer.echo("what if   " + " · ".join(f"{name} {value}" for name, value in flat.items()))
        report = None if flat else str(run.report_path("html"))
        typer.echo(card_text(verdict, report=report), nl=False)
    raise typer.Exit(1 if verdict.reason in FAULTY else 0)
