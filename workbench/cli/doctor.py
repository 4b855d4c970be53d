"""`workbench doctor`: what this machine can do, and the command for what it cannot."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Annotated

import typer

from .lint import Form

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.text import Text

    from ..doctor import Check, Diagnosis

_STYLES = {"ok": "green", "missing": "bold red", "too old": "bold red", "note": "cyan"}


def doctor(
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Fetch the embedded models and vocabularies.")
    ] = False,
    format: Annotated[Form, typer.Option(help="How to print.")] = Form.text,
    offline: Annotated[bool, typer.Option("--offline", help="Open no connection.")] = False,
) -> None:
    """Show device, memory, packages and offline assets, and what cures each lack.

    Exit status 2 when something that the core needs is missing; an extra you don't use may be.

    \b
    workbench doctor
    workbench doctor --fetch
    workbench doctor --format json
    """
    from validators.assets import AssetError

    from ..doctor import diagnose, fetch_missing

    if fetch and offline:
        raise typer.BadParameter(
            "--offline opens no connection, so nothing can be fetched; leave one of them out."
        )
    failed = False
    if fetch:
        try:
            fetch_missing(lambda line: typer.echo(line, err=True))
        except AssetError as error:
            typer.echo(f"doctor: {error}", err=True)
            failed = True
    found = diagnose(os.environ)
    if format is Form.json:
        typer.echo(json.dumps(found.as_dict(), ensure_ascii=False, indent=2, sort_keys=True))
    else:
        _print(found)
    raise typer.Exit(0 if found.works and not failed else 2)


def _print(found: Diagnosis) -> None:
    """A topic's checks under its heading; what is wrong has its cure below."""
    from rich.console import Console
    from rich.text import Text

    # Text, not markup: a path may hold brackets. Long lines are the terminal's to wrap.
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    width = max(len(c.name) for c in found.checks)
    topic = None
    for check in found.checks:
        if check.topic != topic:
            topic = check.topic
            console.print(Text(topic, style="bold"))
        for line in _lines(check, width):
            console.print(line)
    lacks = sum(c.status in ("missing", "too old") for c in found.checks)
    if found.works:
        rest = f"; {lacks} optional {'thing is' if lacks == 1 else 'things are'} missing" if lacks else ""
        console.print(Text(f"The core works{rest}.", style="bold green"))
    else:
        console.print(Text("The core does not work: cure what is marked as needed.", style="bold red"))


def _lines(check: Check, width: int) -> Iterator[Text]:
    from rich.text import Text

    needed = " (needed)" if check.needed and check.status in ("missing", "too old") else ""
    style = _STYLES[check.status] if needed or check.status in ("ok", "note") else "yellow"
    yield Text.assemble(
        f"  {check.name:<{width}}  ", (f"{check.status:<8}", style), f"{check.detail}{needed}"
    )
    if check.cure:
        yield Text(f"  {'':<{width}}  {'':<8}{check.cure}", style="dim")
