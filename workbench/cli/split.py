"""`workbench split`: one data file into train, dev and test files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.lint import Form

if TYPE_CHECKING:
    from workbench.splitting import Divided


def split(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A JSON Lines file.")],
    out: Annotated[Path, typer.Option(help="The folder to write; new or empty.")],
    dev: Annotated[float, typer.Option(min=0, max=1, help="Share of the rows to choose on.")] = 0.1,
    test: Annotated[float, typer.Option(min=0, max=1, help="Share of the rows to test on.")] = 0.2,
    group_by: Annotated[
        str | None, typer.Option(help="Rows that share this never part: metadata.customer.")
    ] = None,
    folds: Annotated[
        int | None, typer.Option(min=2, max=20, help="So many folders, each row tested once.")
    ] = None,
    stratify: Annotated[bool, typer.Option(help="Spread classes evenly.")] = True,
    seed: Annotated[int, typer.Option(help="Another seed, another split.")] = 7,
    format: Annotated[Form, typer.Option(help="How to print.")] = Form.text,
) -> None:
    """Divide a file by group and class, duplicates together; each row is copied byte for byte.

    It is the split that `workbench run` makes of the same file with the same shares and seed.

    \b
    workbench split rows.jsonl --out parts
    workbench split rows.jsonl --out parts --group-by metadata.customer --dev 0 --test 0.3
    workbench split rows.jsonl --out parts --folds 5
    """
    from workbench.sections import Split
    from workbench.splitting import split_file

    if test <= 0 or dev + test >= 1:
        typer.echo(
            f"split: --dev {dev} and --test {test} must leave rows to train on, and some to test on.",
            err=True,
        )
        raise typer.Exit(2)
    settings = Split(dev=dev, test=test, group_by=group_by, folds=folds, stratify=stratify, seed=seed)
    done = split_file(path, out, settings)
    if format is Form.json:
        parts = {
            f"{folder}/{name}".lstrip("/"): n for folder, p in done.parts.items() for name, n in p.items()
        }
        report = {"schema": "workbench.split/1", "rows": parts, "blank": done.blank, "seed": seed}
        typer.echo(json.dumps(report, ensure_ascii=False, indent=2, sort_keys=True))
        return
    for line in describe(done, out):
        typer.echo(line)


def describe(done: Divided, out: Path) -> list[str]:
    """What was written, as lines of text."""
    from validators.findings import printable

    lines = [
        f"{printable(str(out / folder / name))}.jsonl  {rows:,} row{'' if rows == 1 else 's'}"
        for folder, parts in done.parts.items()
        for name, rows in parts.items()
    ]
    return lines + ([f"left out: {done.blank:,} blank"] if done.blank else [])
