"""`workbench export`: a tuned contender as a folder that works without the run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write; it must be new.")],
    contender: Annotated[
        str | None, typer.Option(help="A fine-tuned contender; default: the verdict's choice.")
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="The adapter merged into its base, held against what was scored.")
    ] = False,
    experiment: Annotated[
        Path | None,
        typer.Option(help="The experiment file, where the run folder's copy cannot find its model."),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Open no connection.")] = False,
    format: Annotated[Literal["text", "json"], typer.Option(help="How the result is printed.")] = "text",
) -> None:
    """Write a tuned contender as it was scored: weights, tokenizer, chat template, origin and model card.

    With --merge the folder holds a whole model; one whose answers are no longer the scored ones is refused.

    \b
    workbench export runs/triage-1f2e9a07 triage-lora
    workbench export runs/triage-1f2e9a07 triage-model --merge
    """
    from ..export import as_json
    from ..export import export as write

    done = write(run, out, contender=contender, merged=merge, experiment_path=experiment, offline=offline)
    if done.choice != done.contender:
        chosen = f"chose {done.choice}" if done.choice else "chose nothing"
        print(f"note: the verdict {chosen}, not {done.contender}", file=sys.stderr)
    if format == "json":
        typer.echo(json.dumps(as_json(done), indent=1, sort_keys=True))
        return
    typer.echo(f"{done.folder}: {done.kind}, {done.contender} on {done.base}, {done.size / 2**20:.1f} MB")
    if drift := done.drift:
        typer.echo(
            f"against what was scored: {drift.same_answers} of {drift.answers} answers the same, logits differ by "
            f"{drift.mean:.3g} in the mean, {drift.largest:.3g} at most (they spread by {drift.spread:.3g})"
        )
    typer.echo(f"next: {done.folder / 'README.md'} says how to load it")
