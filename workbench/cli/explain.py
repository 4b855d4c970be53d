"""`workbench explain`: a rule's page, a family's table, or all of them."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from .lint import Form


def complete_rules(incomplete: str) -> list[str]:
    """Codes and families for the shell."""
    from validators.rules import FAMILIES, RULES

    names = (*FAMILIES, *(rule.code for rule in RULES))
    return [name for name in names if name.startswith(incomplete.upper())]


def explain(
    code: Annotated[
        str | None,
        typer.Argument(metavar="[CODE]", help="A rule or a family.", autocompletion=complete_rules),
    ] = None,
    all: Annotated[bool, typer.Option("--all", help="Every page, as Markdown.")] = False,
    format: Annotated[Form, typer.Option(help="How to print.")] = Form.text,
) -> None:
    """Say what a rule finds, why that hurts, and show a row that fires it and one that does not.

    \b
    workbench explain MSG012
    workbench explain DUP
    workbench explain --all > docs/rules.md
    """
    from validators.rules import FAMILIES, RULES, RuleError, choose_rules
    from validators.rules.manual import as_dict, index, manual
    from validators.rules.manual import explain as page_of

    name = code.strip().upper() if code else None
    try:
        rules = RULES if name is None else choose_rules((name,))
    except RuleError as error:
        typer.echo(f"explain: {error}", err=True)
        raise typer.Exit(2) from error
    if format is Form.json:
        pages = [as_dict(rule) for rule in rules]
        found = pages[0] if name is not None and name not in FAMILIES else pages
        typer.echo(json.dumps(found, ensure_ascii=False, indent=2, sort_keys=True))
    elif all:
        typer.echo(manual(), nl=False)
    elif name is None or name in FAMILIES:
        typer.echo(index(name))
    else:
        typer.echo(page_of(rules[0]))
