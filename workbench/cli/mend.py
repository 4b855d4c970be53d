"""What `workbench lint` does to files: --fix, --unsafe-fixes, --diff and --redact."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

if TYPE_CHECKING:
    from validators.ignoring import Ignores
    from validators.mending import Plan
    from validators.parts import Source


class Wishes(NamedTuple):
    """What to do before the lint."""

    fix: bool = False
    unsafe: bool = False
    diff: bool = False
    redact: Path | None = None


def before_lint(
    files: Sequence[Source],
    wishes: Wishes,
    ignores: Ignores,
    *,
    target: str,
    input_format: str,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
) -> Sequence[Source]:
    """Mend the files or write their redacted copies, and return what is to be linted then.

    With `diff` nothing is written, and the program ends: exit status 1 where something would be mended.
    """
    from validators.mending import plan_mending

    def plan(source: Source) -> Plan:
        off = (*ignore, *sorted(ignores.codes(source.label)))
        return plan_mending(
            target=target, select=select, ignore=off, input_format=input_format, unsafe=wishes.unsafe
        )

    if wishes.redact is not None:
        if wishes.fix or wishes.unsafe or wishes.diff:
            raise ValueError(
                "--redact writes a copy, and --fix and --diff are about the file itself: use one."
            )
        return _redact(files, wishes.redact)
    if wishes.diff:
        raise typer.Exit(1 if _show(files, plan) else 0)
    if wishes.fix or wishes.unsafe:
        _mend(files, plan)
    return files


def _mend(files: Sequence[Source], plan: Callable[[Source], Plan]) -> None:
    from validators.findings import printable
    from validators.mending import mend_file, mending_line
    from validators.reading import DataError

    done, failed = [], False
    for source in files:
        try:
            result = mend_file(source, plan(source))
        except (DataError, OSError) as error:  # the other files are mended all the same
            typer.echo(f"lint: {printable(str(error))} Nothing was changed in this file.", err=True)
            failed = True
            continue
        done.append(result)
        if result.refused:
            typer.echo(f"lint: {result.path}: not mended: {result.refused}", err=True)
    typer.echo(mending_line(done), err=True)
    if failed:
        raise typer.Exit(2)


def _show(files: Sequence[Source], plan: Callable[[Source], Plan]) -> bool:
    """Print the difference that mending would make; whether there is one."""
    from validators.diffing import unified_diff
    from validators.findings import printable
    from validators.mending import file_changes, why_not

    differs = False
    terminal = sys.stdout.isatty()
    for source in files:
        if refused := why_not(source):
            typer.echo(f"lint: {printable(source.label)}: not mended: {refused}", err=True)
            continue
        for line in unified_diff(file_changes(source, plan(source)), printable(source.label)):
            differs = True
            if terminal:  # for people: nothing in the data may steer the terminal
                text = line.decode("utf-8", "backslashreplace")
                line = "\n".join(map(printable, text.split("\n"))).encode()
            sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
    return differs


def _redact(files: Sequence[Source], out: Path) -> Sequence[Source]:
    from validators.findings import printable
    from validators.parts import Source
    from validators.redaction import redact_files

    if len(files) > 1 or out.is_dir():
        names = [source.path.name for source in files]
        if len(set(names)) < len(names):
            raise ValueError("two of the files have the same name: redact them one by one.")
        out.mkdir(exist_ok=True)
        copies = [Source(out / name, str(out / name)) for name in names]
        for copy in copies:
            if copy.path.is_symlink():
                raise ValueError(
                    f"{copy.label}: this is a link; a copy is not written through it. Remove it."
                )
    else:
        copies = [Source(out, str(out))]
    done = redact_files(list(zip(files, (copy.path for copy in copies), strict=True)))
    kinds = ", ".join(f"{name} {count:,}" for name, count in done.replaced.items()) or "nothing found"
    typer.echo(f"Redacted to {printable(str(out))}: {kinds}.", err=True)
    return copies
