"""`workbench compare`: files of answers, or runs, paired by sample."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from .lint import Form

if TYPE_CHECKING:
    from ..answers import Answers


def compare(
    answers: Annotated[
        list[str], typer.Argument(metavar="A B...", help="Files or runs; FILE#NAME where one holds several.")
    ],
    metric: Annotated[
        str, typer.Option(help="A metric, or a score that the files hold (given:NAME where both exist).")
    ] = "exact_match",
    margin: Annotated[
        float, typer.Option(min=0, help="The smallest difference that matters, in the metric's unit.")
    ] = 0.0,
    alpha: Annotated[float, typer.Option(help="Intervals have level 1 - alpha.")] = 0.05,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the resampling.")] = 0,
    lower_is_better: Annotated[
        bool, typer.Option("--lower-is-better", help="For a score that the files hold.")
    ] = False,
    format: Annotated[Form, typer.Option(help="How to print.")] = Form.text,
) -> None:
    """Is B better than A on the same samples, and by how much?

    Reads rows with id, prediction and reference (JSONL, JSON, CSV), run folders, samples of
    lm-evaluation-harness, results of promptfoo and logs of Inspect. Of more than two, each is compared with
    the first.

    \b
    workbench compare before.jsonl after.jsonl --metric token_f1 --margin 0.02
    workbench compare runs/triage-1f2e9a07#few-shot runs/triage-1f2e9a07#lora
    workbench compare samples_base.jsonl samples_tuned.jsonl --metric acc
    workbench compare results.json#gpt-4o-mini results.json#ours --metric score
    workbench compare base.eval tuned.eval --metric match --format json
    """
    from ..answers import read_answers
    from ..compare import compare_answers
    from ..compare_text import compared_text

    if len(answers) < 2:
        raise typer.BadParameter(
            "give two files at least, the one to compare with first", param_hint="A B..."
        )
    if not 0 < alpha < 0.5:
        raise typer.BadParameter(f"{alpha} does not lie between 0 and 0.5", param_hint="--alpha")
    named: dict[str, Answers] = {}
    for text, label in zip(answers, _labels(answers), strict=True):
        named[label] = read_answers(text)
    found = compare_answers(
        named, metric, margin=margin, alpha=alpha, seed=seed, lower_is_better=lower_is_better
    )
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    if format is Form.json:
        typer.echo(json.dumps(found.as_dict(), indent=1, sort_keys=True, allow_nan=False))
    else:
        typer.echo(compared_text(found), nl=False)


def _labels(answers: list[str]) -> list[str]:
    """What each is called: as it was typed; a file given twice is told apart by its place."""
    return [f"{text} ({i})" if answers.count(text) > 1 else text for i, text in enumerate(answers, 1)]
