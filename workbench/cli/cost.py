"""`workbench cost`: tokens, epochs and the price of a tuning job."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from workbench.cli.lint import Form

if TYPE_CHECKING:
    from validators.cost import Cost


def cost(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Training files of chat rows.")],
    model: Annotated[str, typer.Option(help="What would be tuned: a hosted model, a folder, a hub id.")],
    epochs: Annotated[str, typer.Option(help="auto, or a number.")] = "auto",
    tokenizer: Annotated[
        str | None, typer.Option(help="Count with this one instead of the model's own.")
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(min=1, help="Token limit of an example instead of the model's.")
    ] = None,
    format: Annotated[Form, typer.Option(help="How to print.")] = Form.text,
) -> None:
    """Count the tokens of a tuning job and price it from the dated registry.

    What nobody states is said to be unknown: no price is guessed.

    \b
    workbench cost train.jsonl --model gpt-4o-mini
    workbench cost train.jsonl --model smollm2-135m-instruct --epochs 2
    workbench cost train.jsonl --model fireworks/up-to-16b --tokenizer Qwen/Qwen3-8B
    """
    from validators.assets import AssetError
    from validators.cost import estimate_cost
    from validators.tokens import TokenizerError

    try:
        bill = estimate_cost(
            paths,
            model,
            epochs=_epochs(epochs),
            tokenizer=tokenizer,
            max_length=max_length,
            today=date.today(),
        )
    except (AssetError, TokenizerError, ValueError) as error:
        typer.echo(f"cost: {error}", err=True)
        raise typer.Exit(2) from error
    if format is Form.json:
        typer.echo(json.dumps(bill.as_dict(), ensure_ascii=False, indent=2, sort_keys=True))
        return
    for line in describe(bill):
        typer.echo(line)


def describe(bill: Cost) -> list[str]:
    """The bill as lines of text."""
    about = "" if bill.exact else "about "
    cut = f", {bill.truncated:,} cut off at the limit" if bill.truncated else ""
    lines = [
        f"model     {bill.model} ({bill.state}{_dates(bill)})",
        f"tokens    {about}{bill.total:,} by {bill.tokenizer} in {_count(bill.examples, 'example')}, "
        f"{bill.trained:,} of them trained{cut}",
        f"billable  {bill.billable_tokens:,} over {_count(bill.epochs, 'epoch')}",
    ]
    if bill.state == "closing" and bill.price is not None and bill.price.status_note:
        lines.insert(1, f"access    {bill.price.status_note} ({bill.price.status_certainty})")
    if bill.usd_training is None:
        return [*lines, f"training  unknown: {bill.reason}"]
    lines.append(f"training  ${bill.usd_training:,.{2 if bill.usd_training >= 1 else 4}f}")
    price = bill.price
    if price is not None:
        age = f"as of {price.as_of}" if price.as_of else "undated"
        stale = ", *stale*: check it before you rely on it" if bill.stale else ""
        lines.append(f"price     ${price.training_usd_per_million:,.2f} a million tokens, {age}{stale}")
        lines.append(f"source    {price.source} ({price.certainty})")
        lines += [f"note      {price.note}"] if price.note else []
    return lines


def _dates(bill: Cost) -> str:
    price = bill.price
    if price is None:
        return ""
    until = f", last new job {price.tunable_until}" if price.tunable_until else ""
    return until + (f", served until {price.served_until}" if price.served_until else "")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _epochs(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"--epochs is 'auto' or a whole number from 1 on, not '{text}'.")
    return int(text)
