"""`workbench runs`: list the run folders, and prune them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .lint import Form

if TYPE_CHECKING:
    from ..shelf import RunLine


def runs(
    root: Annotated[Path, typer.Argument(help="The folder that holds run folders.")] = Path("runs"),
    keep: Annotated[
        int | None, typer.Option(min=1, help="Remove all but the newest N runs of each experiment.")
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Remove this run (repeatable).")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
    format: Annotated[Form, typer.Option(help="How to print.")] = Form.text,
) -> None:
    """List run folders, the newest first, or remove some of them.

    \b
    workbench runs
    workbench runs --keep 3
    workbench runs --remove triage-1f2e9a07 --yes
    """
    from ..shelf import ShelfError, list_runs, named, surplus

    try:
        lines = list_runs(root)
        chosen = [*named(root, lines, remove or []), *(surplus(lines, keep) if keep else [])]
    except ShelfError as error:
        typer.echo(f"runs: {error}", err=True)
        raise typer.Exit(2) from None
    if keep is None and not remove:
        _show(root, lines, format)
    else:
        _remove(root, list({line.name: line for line in chosen}.values()), yes, format)


def _remove(root: Path, chosen: list[RunLine], yes: bool, format: Form) -> None:
    """Name what would go, ask unless told not to, remove; exit 2 where something could not be removed."""
    from ..shelf import remove_run

    for line in chosen:
        typer.echo(f"{'remove':8}{line.name}  {_size(line.bytes)}", err=True)
    if chosen and not yes:
        if not sys.stdin.isatty():
            typer.echo("runs: nothing was removed. Add --yes to remove without being asked.", err=True)
            raise typer.Exit(2)
        typer.confirm(
            f"Remove {'this run' if len(chosen) == 1 else f'these {len(chosen)} runs'}?", abort=True, err=True
        )
    faults = {line.name: fault for line in chosen if (fault := remove_run(root, line.name))}
    for name, fault in faults.items():
        typer.echo(f"runs: {name}: {fault}", err=True)
    removed = [line for line in chosen if line.name not in faults]
    if format is Form.json:
        answer = {
            "schema": "workbench.removed/1",
            "removed": [line.name for line in removed],
            "faults": faults,
        }
        typer.echo(json.dumps(answer, ensure_ascii=False, indent=2, sort_keys=True))
    else:
        count = f"{len(removed)} run{'' if len(removed) == 1 else 's'}"
        typer.echo(f"removed {count}, {_size(sum(line.bytes for line in removed))}")
    raise typer.Exit(2 if faults else 0)


def _show(root: Path, lines: list[RunLine], format: Form) -> None:
    if format is Form.json:
        answer = {"schema": "workbench.runs/1", "runs": [line.as_dict() for line in lines]}
        typer.echo(json.dumps(answer, ensure_ascii=False, indent=2, sort_keys=True))
        return
    if not lines:
        typer.echo(f"no runs in {root} yet. Make one: workbench run EXPERIMENT", err=True)
        return
    from rich.console import Console
    from rich.text import Text

    rows = [("run", "status", "created", "test", "verdict", "size"), *(_cells(line) for line in lines)]
    widths = [max(len(row[i]) for row in rows) for i in range(6)]
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    for number, row in enumerate(rows):
        # Numbers stand to the right of their column.
        cells = [
            c.rjust(w) if i in (3, 5) else c.ljust(w)
            for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        console.print(Text("  ".join(cells).rstrip(), style="bold" if number == 0 else ""))
        if number and (fault := lines[number - 1].fault):
            console.print(Text(f"    damaged: {_plain(fault)}", style="yellow"))


def _cells(line: RunLine) -> tuple[str, str, str, str, str, str]:
    verdict = f"{line.headline} · {line.reason}" if line.headline else "–"
    test = "–" if line.test_samples is None else f"{line.test_samples:,}"
    created = (line.created or "–")[:16].replace("T", " ")
    parts = (line.name, line.status or "–", created, test, verdict, _size(line.bytes))
    return tuple(map(_plain, parts))  # type: ignore[return-value]


def _plain(text: str) -> str:
    """Text of a file without what could drive the terminal."""
    return "".join(c if c.isprintable() else "·" for c in text)


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count / 1e3:,.1f} kB"
