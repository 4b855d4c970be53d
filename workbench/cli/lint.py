"""`workbench lint`: findings and statistics of data files."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from validators.linter import LintReport
    from validators.ranges import Source


class Form(StrEnum):
    """How results are printed."""

    text = "text"
    json = "json"


class Level(StrEnum):
    """From which severity on the exit status is 1."""

    error = "error"
    warning = "warning"
    info = "info"


def lint(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Data files; - reads standard input.")
    ],
    target: Annotated[
        str, typer.Option(help="Where the data is going: generic, openai, azure, together, …")
    ] = "generic",
    input_format: Annotated[
        str, typer.Option(help="Format of the rows, where their keys do not tell.")
    ] = "auto",
    model: Annotated[str | None, typer.Option(help="Count tokens for this model and use its limit.")] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Count tokens with this one (encoding, folder, hub id).")
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(min=1, help="Where training cuts an example, in tokens.")
    ] = None,
    select: Annotated[
        list[str] | None, typer.Option(help="Only these codes or families: MSG,FMT007.")
    ] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="Not these codes or families.")] = None,
    against: Annotated[list[str] | None, typer.Option(help="Further files to find leaks from.")] = None,
    format: Annotated[Form, typer.Option(help="How to print.")] = Form.text,
    max_findings: Annotated[int, typer.Option(min=0, help="How many findings are printed; 0: all.")] = 1000,
    exit_zero: Annotated[bool, typer.Option("--exit-zero", help="Exit 0 whatever is found.")] = False,
    fail_on: Annotated[Level, typer.Option(help="Exit 1 from this severity on.")] = Level.error,
) -> None:
    """Find what is wrong with training data before it costs money.

    Several files are taken for splits of one dataset: rows that stand in two of them are leaks.

    \b
    workbench lint train.jsonl
    workbench lint train.jsonl test.jsonl --target together
    workbench lint train.jsonl --model gpt-4o-mini --format json
    cat train.jsonl | workbench lint - --select MSG --ignore MSG011
    """
    with tempfile.TemporaryDirectory() as spool:
        report = _report(
            [_source(path, Path(spool)) for path in paths],
            target=target,
            input_format=input_format,
            model=model,
            tokenizer=tokenizer,
            max_length=max_length,
            select=tuple(select or ()),
            ignore=tuple(ignore or ()),
            against=tuple(against or ()),
        )
    if format is Form.json:
        typer.echo(json.dumps(report.as_dict(max_findings), ensure_ascii=False, indent=2, sort_keys=True))
    else:
        _print(report, max_findings)
    reached = list(Level)[: list(Level).index(fail_on) + 1]
    if not exit_zero and any(report.count(level.value) for level in reached):
        raise typer.Exit(1)


def _report(
    sources: list[Source],
    *,
    target: str,
    input_format: str,
    model: str | None,
    tokenizer: str | None,
    max_length: int | None,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    against: tuple[str, ...],
) -> LintReport:
    """Lint, or end with exit status 2 and the reason."""
    from validators.assets import AssetError
    from validators.linter import lint as lint_files
    from validators.prices import load_prices
    from validators.tokens import TokenizerError

    price = load_prices().get(model) if model else None
    try:
        if price and not price.tokenizer and not tokenizer:
            raise ValueError(
                f"{model} stands for many models: name the base model's tokenizer with --tokenizer."
            )
        return lint_files(
            sources,
            target=target,
            input_format=input_format,
            select=select,
            ignore=ignore,
            against=against,
            tokenizer=tokenizer or (price.tokenizer if price and price.tokenizer else model),
            max_length=max_length or (price.max_example_tokens if price else None),
        )
    except (AssetError, TokenizerError, ValueError) as error:
        typer.echo(f"lint: {error}", err=True)
        raise typer.Exit(2) from error


def _source(path: str, spool: Path) -> Source:
    """A file by its name; standard input is written to a file first, so that it can be read by ranges."""
    from validators.ranges import Source

    if path != "-":
        return Source(Path(path), path)
    copy = spool / "stdin.jsonl"
    with copy.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return Source(copy, "-")


def _print(report: LintReport, limit: int) -> None:
    from rich.console import Console

    from validators.lint_text import render_text

    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    for text in render_text(report, limit):
        console.print(text)
