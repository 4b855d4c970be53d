"""`workbench convert`: a data file in another format, or as a target takes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.lint import Form
from workbench.cli.tables import columns_of


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="JSON Lines, a JSON array, CSV or Parquet.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The JSON Lines file to write.")],
    to: Annotated[
        str,
        typer.Option(
            help="chat, preference, trl-preference, prompt-completion, trl-prompt-completion, alpaca, sharegpt, "
            "text; or a target: openai, azure, together, fireworks, mistral, gemini, trl."
        ),
    ],
    lossy: Annotated[bool, typer.Option("--lossy", help="Convert although something is lost.")] = False,
    columns: Annotated[
        str | None, typer.Option(help="Turn table rows into chats: input=question,output=answer.")
    ] = None,
    template: Annotated[
        str | None, typer.Option(help="The prompt of a table row: 'Is {text} spam?'.")
    ] = None,
    format: Annotated[Form, typer.Option(help="How to print.")] = Form.text,
) -> None:
    """Convert rows between formats and targets; what would be lost is named, and refused without --lossy.

    The format of each row is told by its keys.

    \b
    workbench convert alpaca.json train.jsonl --to chat
    workbench convert train.jsonl gemini.jsonl --to gemini
    workbench convert tickets.csv train.jsonl --to chat --columns input=question,output=answer
    workbench convert pairs.jsonl trl.jsonl --to trl-preference
    """
    from validators.conversion import convert_file, loss_lines
    from validators.findings import printable

    try:
        table = columns_of(columns, template)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--columns") from None
    done = convert_file(source, out, to, lossy=lossy, columns=table)
    if format is Form.json:
        losses = [{"what": name, "rows": count, "line": line} for name, (count, line) in done.losses.items()]
        report = {"schema": "workbench.conversion/1", "rows": done.rows, "losses": losses}
        typer.echo(json.dumps(report, ensure_ascii=False, indent=2, sort_keys=True))
        return
    typer.echo(f"{done.rows:,} row{'' if done.rows == 1 else 's'} written to {printable(str(out))}")
    for line in loss_lines(done.losses):
        typer.echo(f"lost: {line}")
