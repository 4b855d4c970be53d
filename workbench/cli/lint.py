"""`workbench lint`: findings and statistics of data files."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import sys
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from workbench.cli.mend import Wishes, before_lint

if TYPE_CHECKING:
    from validators.config import LintSettings
    from validators.linter import LintReport
    from validators.ranges import Source


class Form(StrEnum):
    """How results are printed."""

    text = "text"
    json = "json"


class Output(StrEnum):
    """How findings are printed: for people, for programs, a line each, for GitHub, for code hosts."""

    text = "text"
    json = "json"
    jsonl = "jsonl"
    github = "github"
    sarif = "sarif"


class Level(StrEnum):
    """From which severity on the exit status is 1."""

    error = "error"
    warning = "warning"
    info = "info"


def complete_targets(incomplete: str) -> list[str]:
    """Targets for the shell."""
    from validators.targets import TARGETS

    return [name for name in TARGETS if name.startswith(incomplete)]


def lint(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="Files, folders, globs; - reads standard input."),
    ],
    target: Annotated[
        str | None,
        typer.Option(
            help="Where the data is going: generic (default), openai, azure, together, …",
            autocompletion=complete_targets,
        ),
    ] = None,
    input_format: Annotated[
        str | None, typer.Option(help="Format of the rows, where their keys do not tell.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Count tokens for this model and use its limit.")] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Count tokens with this one (encoding, folder, hub id).")
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(min=1, help="Where training cuts an example, in tokens.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="Turn table rows into chats: input=question,output=answer.")
    ] = None,
    template: Annotated[
        str | None, typer.Option(help="The prompt of a table row: 'Context: {text} Question: {q}'.")
    ] = None,
    select: Annotated[
        list[str] | None, typer.Option(help="Only these codes or families: MSG,FMT007.")
    ] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="Not these codes or families.")] = None,
    per_file_ignores: Annotated[
        list[str] | None, typer.Option(help="Not these in files of that name: 'test*.jsonl:DUP,MSG011'.")
    ] = None,
    against: Annotated[list[str] | None, typer.Option(help="Further files to find leaks from.")] = None,
    format: Annotated[Output | None, typer.Option(help="How to print (default: text).")] = None,
    max_findings: Annotated[
        int | None, typer.Option(min=0, help="How many findings are printed; 0: all (default: 1000).")
    ] = None,
    statistics: Annotated[
        bool, typer.Option("--statistics", help="Say what the files hold, with a histogram of tokens.")
    ] = False,
    fix: Annotated[
        bool, typer.Option("--fix", help="Mend what can be mended without losing anything.")
    ] = False,
    unsafe_fixes: Annotated[
        bool, typer.Option("--unsafe-fixes", help="Mend also where something is lost (rows, keys).")
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Show what mending would change; write nothing.")
    ] = False,
    redact: Annotated[
        Path | None,
        typer.Option(metavar="OUT", help="Write a copy with placeholders for secrets and personal data."),
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes (default: one a core).")] = None,
    exit_zero: Annotated[bool, typer.Option("--exit-zero", help="Exit 0 whatever is found.")] = False,
    fail_on: Annotated[
        Level | None, typer.Option(help="Exit 1 from this severity on (default: error).")
    ] = None,
) -> None:
    """Find what is wrong with training data before it costs money.

    Several files are taken for splits of one dataset: rows that stand in two of them are leaks. Defaults can
    stand in pyproject.toml under [tool.workbench.lint], or in workbench.toml under [lint]; flags win.

    \b
    workbench lint train.jsonl
    workbench lint train.jsonl test.jsonl --target together
    workbench lint train.jsonl --model gpt-4o-mini --statistics
    workbench lint data/ --select FMT,MSG --per-file-ignores 'old*:MSG011' --format sarif > lint.sarif
    workbench lint train.jsonl --diff && workbench lint train.jsonl --fix
    cat train.jsonl | workbench lint - --ignore MSG011
    """
    given = {
        "target": target,
        "input_format": input_format,
        "model": model,
        "tokenizer": tokenizer,
        "max_length": max_length,
        "select": _flag(select),
        "ignore": _flag(ignore),
        "format": format,
        "max_findings": max_findings,
        "jobs": jobs,
        "exit_zero": exit_zero or None,
        "fail_on": fail_on,
    }
    with tempfile.TemporaryDirectory() as spool:
        settings, report = _report(
            paths,
            Path(spool),
            given,
            per_file_ignores=per_file_ignores or [],
            columns=(columns, template),
            wishes=Wishes(fix, unsafe_fixes, diff, redact),
            against=tuple(against or ()),
        )
    _print(report, Output(settings.format), settings.max_findings, statistics)
    reached = list(Level)[: list(Level).index(Level(settings.fail_on)) + 1]
    if not settings.exit_zero and any(report.count(level.value) for level in reached):
        raise typer.Exit(1)


def _flag(values: list[str] | None) -> tuple[str, ...] | None:
    return tuple(values) if values else None


def _report(
    paths: list[str],
    spool: Path,
    given: dict[str, Any],
    *,
    per_file_ignores: list[str],
    columns: tuple[str | None, str | None],
    wishes: Wishes,
    against: tuple[str, ...],
) -> tuple[LintSettings, LintReport]:
    """Lint, or end with exit status 2 and the reason."""
    from validators.assets import AssetError
    from validators.config import lint_settings
    from validators.ignoring import parse_ignores
    from validators.inputs import sources
    from validators.linter import lint as lint_files
    from validators.prices import load_prices
    from validators.tokens import TokenizerError

    from .tables import check_columns, columns_of

    try:
        settings = lint_settings([Path(path) for path in paths], given)
        if settings.max_length and not (settings.model or settings.tokenizer):
            raise ValueError("max-length counts tokens: say whose with --tokenizer or --model.")
        price = load_prices().get(settings.model) if settings.model else None
        if price and not price.tokenizer and not settings.tokenizer:
            raise ValueError(
                f"{settings.model} stands for many models: name the base model's tokenizer with --tokenizer."
            )
        ignores = parse_ignores(per_file_ignores, Path.cwd()) if per_file_ignores else settings.ignores
        files = before_lint(
            sources([source_of(path, spool) for path in paths]),
            wishes,
            ignores,
            target=settings.target,
            input_format=settings.input_format,
            select=settings.select,
            ignore=settings.ignore,
        )
        table = columns_of(*columns)
        if table is not None:
            check_columns([source.path for source in files], table)
        report = lint_files(
            files,
            target=settings.target,
            input_format=settings.input_format,
            select=settings.select,
            ignore=settings.ignore,
            ignores=ignores,
            against=against,
            tokenizer=settings.tokenizer
            or (price.tokenizer if price and price.tokenizer else settings.model),
            max_length=settings.max_length,
            token_limit=price.max_example_tokens if price else None,
            columns=table,
            jobs=settings.jobs,
            keep=settings.max_findings,
            hashes=settings.format == "json",
        )
    except (AssetError, TokenizerError, ValueError) as error:
        typer.echo(f"lint: {error}", err=True)
        raise typer.Exit(2) from error
    return settings, report


def source_of(path: str, spool: Path) -> str | Source:
    """A file by its name; what comes through a pipe is written to a file first, so that it can be read by ranges."""
    from validators.ranges import Source

    if path != "-" and not ("\0" not in path and Path(path).is_fifo()):
        return path
    copy = spool / ("stdin.jsonl" if path == "-" else f"pipe-{sum(1 for _ in spool.iterdir())}.jsonl")
    with contextlib.ExitStack() as stack:
        pipe = sys.stdin.buffer if path == "-" else stack.enter_context(Path(path).open("rb"))
        if _is_device(pipe):
            raise ValueError(f"{path}: this is a device, which may have no end. Name a file, or pipe one in.")
        shutil.copyfileobj(pipe, stack.enter_context(copy.open("wb")))
    return Source(copy, path)


def _is_device(stream: BinaryIO) -> bool:
    """Whether a stream comes from a device other than a terminal and the empty one."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    harmless = stream.isatty() or status.st_rdev == Path(os.devnull).stat().st_rdev
    return stat.S_ISCHR(status.st_mode) and not harmless


def _print(report: LintReport, output: Output, limit: int, statistics: bool) -> None:
    from validators.annotations import annotation
    from validators.findings import SEVERITIES
    from validators.sarif import sarif_log

    shown = report.findings[:limit] if limit else report.findings
    omitted = sum(map(report.count, SEVERITIES)) - len(shown)
    if output is Output.text:
        _print_text(report, limit, statistics)
    elif output is Output.json:
        typer.echo(json.dumps(report.as_dict(limit), ensure_ascii=False, indent=2, sort_keys=True))
    elif output is Output.sarif:
        typer.echo(json.dumps(sarif_log(shown, omitted), ensure_ascii=False, indent=2, sort_keys=True))
    else:
        for finding in shown:
            row = annotation(finding)
            if output is Output.jsonl:
                row = json.dumps(finding.as_dict(), ensure_ascii=False, sort_keys=True)
            typer.echo(row)
    if omitted and output is not Output.text:
        typer.echo(f"lint: {omitted:,} more are not shown (--max-findings 0 shows all)", err=True)


def _print_text(report: LintReport, limit: int, statistics: bool) -> None:
    from rich.console import Console

    from validators.lint_text import render_text

    # NO_COLOR means no escapes at all here: bold would be one as well.
    plain = bool(os.environ.get("NO_COLOR"))
    console = Console(
        highlight=False, markup=False, emoji=False, soft_wrap=True, color_system=None if plain else "auto"
    )
    for text in render_text(report, limit, statistics):
        console.print(text)
