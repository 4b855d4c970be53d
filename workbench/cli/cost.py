"""`workbench cost`: tokens, epochs and the price of a tuning job, and of a month's serving."""

from __future__ import annotations

import json
import tempfile
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from workbench.cli.lint import Form, source_of
from workbench.cli.tables import columns_of

if TYPE_CHECKING:
    from validators.charges import Charge, Serving
    from validators.cost import Cost

# What a line of the bill is called on a terminal.
LABELS = {
    "training": "training",
    "validation": "validation",
    "input_per_month": "prompts",
    "cached_input_per_month": "cached",
    "output_per_month": "answers",
    "hosting_per_month": "hosting",
}


def cost(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="Training files, folders, globs; - reads standard input."),
    ],
    model: Annotated[
        str | None, typer.Option(help="What would be tuned: a hosted model, a folder, a hub id.")
    ] = None,
    epochs: Annotated[str | None, typer.Option(help="auto (default), or a number.")] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Count with this one instead of the model's own.")
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(min=1, help="Token limit of an example instead of the model's.")
    ] = None,
    validation: Annotated[list[str] | None, typer.Option(help="Validation file (repeatable).")] = None,
    evaluations: Annotated[
        int | None, typer.Option(min=0, help="How often the validation file is run (default: once an epoch).")
    ] = None,
    requests: Annotated[int | None, typer.Option(min=0, help="Requests a month: adds serving.")] = None,
    prompt_tokens: Annotated[
        float | None, typer.Option(min=0, help="Tokens of a prompt, few-shot and context included.")
    ] = None,
    completion_tokens: Annotated[float | None, typer.Option(min=0, help="Tokens of an answer.")] = None,
    cached: Annotated[
        float, typer.Option(min=0, max=1, help="Share of prompt tokens found in the prompt cache.")
    ] = 0.0,
    hosting_hours: Annotated[
        float, typer.Option(min=0, max=744, help="Hours a month the model is deployed.")
    ] = 720,
    tokens_per_second: Annotated[
        float | None, typer.Option(min=0.001, help="Speed of training on your hardware.")
    ] = None,
    gpu_usd_per_hour: Annotated[
        float | None, typer.Option(min=0, help="Price of an hour of your hardware.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="Turn table rows into chats: input=question,output=answer.")
    ] = None,
    template: Annotated[
        str | None, typer.Option(help="The prompt of a table row: 'Is {text} spam?'.")
    ] = None,
    prices: Annotated[Path | None, typer.Option(help="Your own prices, over the built-in registry.")] = None,
    format: Annotated[Form, typer.Option(help="How to print.")] = Form.text,
) -> None:
    """Count the tokens of a tuning job and price it from the dated registry.

    What nobody states is said to be unknown: no price is guessed. Defaults can stand in pyproject.toml
    under [tool.workbench.cost], or in workbench.toml under [cost]; flags win.

    \b
    workbench cost train.jsonl --model gpt-4o-mini
    workbench cost train.jsonl --model gpt-4o-mini --validation dev.jsonl --requests 50000 --cached 0.5
    workbench cost train.jsonl --model smollm2-135m-instruct --tokens-per-second 400 --gpu-usd-per-hour 0.3
    workbench cost train.jsonl --model fireworks/up-to-16b --tokenizer Qwen/Qwen3-8B --prices ours.json
    """
    from validators.assets import AssetError
    from validators.charges import Hardware, Serving
    from validators.config import cost_settings
    from validators.cost import estimate_cost
    from validators.prices import load_prices, with_own
    from validators.tokens import TokenizerError

    try:
        given = {"model": model, "epochs": epochs, "tokenizer": tokenizer, "max_length": max_length}
        settings = cost_settings([Path(path) for path in paths], given | {"prices": prices})
        if settings.model is None:
            raise ValueError("name what would be tuned: --model gpt-4o-mini, a folder, a hub id.")
        serving: Serving | None = None
        if requests is not None:
            serving = Serving(requests, prompt_tokens, completion_tokens, cached, hosting_hours)
        with tempfile.TemporaryDirectory() as spool:
            bill = estimate_cost(
                [source_of(path, Path(spool)) for path in paths],
                settings.model,
                epochs=_epochs(str(settings.epochs)),
                tokenizer=settings.tokenizer,
                max_length=settings.max_length,
                today=date.today(),
                validation=validation or None,
                evaluations=evaluations,
                serving=serving,
                hardware=Hardware(tokens_per_second, gpu_usd_per_hour),
                prices=load_prices() if settings.prices is None else with_own(settings.prices),
                columns=columns_of(columns, template),
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
        f"model       {bill.model} ({bill.state}{_dates(bill)})",
        *_access(bill),
        f"tokens      {about}{bill.total:,} by {bill.tokenizer} in {_count(bill.examples, 'example')}, "
        f"{bill.trained:,} of them trained{cut}",
        f"billable    {bill.billable_tokens:,} over {_count(bill.epochs, 'epoch')}",
    ]
    if bill.prompt_tokens is not None:
        lines.append(
            f"request     {bill.prompt_tokens:,.0f} prompt tokens, {bill.completion_tokens:,.0f} of the answer"
        )
    sources: dict[str, int] = {}
    for charge in bill.charges:
        lines.append(_charge(bill, charge, sources))
    if any(charge.name.endswith("_per_month") for charge in bill.charges):
        month = bill.usd_per_month
        lines.append(f"a month     {'unknown' if month is None else money(month)}")
    return [*lines, *(f"[{number}] {source}" for source, number in sources.items())]


def _charge(bill: Cost, charge: Charge, sources: dict[str, int]) -> str:
    """A line of the bill; its rate's source goes to the foot, numbered."""
    label = f"{LABELS[charge.name]:<12}"
    amount = "" if charge.quantity is None else f"{_quantity(charge.quantity)} {charge.unit}"
    if charge.usd is None:
        return f"{label}unknown: {charge.reason}" + (f" ({amount})" if amount else "")
    line = f"{label}{money(charge.usd)} for {amount}"
    fact = charge.fact
    if fact is None:
        return line
    if isinstance(fact.value, float):
        line += f" at ${fact.value:,.2f} {'a million' if charge.unit == 'tokens' else 'an hour'}"
    age = f"as of {fact.as_of}" if fact.as_of else f"undated, read {fact.read}"
    note = f" {fact.note}" if fact.note else ""
    number = sources.setdefault(f"{fact.source} ({age}, {fact.certainty}).{note}", len(sources) + 1)
    stale = " *stale*: check it before you rely on it" if charge.is_stale(bill.today) else ""
    return f"{line} [{number}]{stale}"


def money(usd: float) -> str:
    """USD with cents, or with four decimals where it is less than one."""
    return f"${usd:,.{2 if usd >= 1 or usd == 0 else 4}f}"


def _quantity(quantity: float) -> str:
    return f"{quantity:,.0f}" if quantity >= 100 or quantity == int(quantity) else f"{quantity:,.2g}"


def _access(bill: Cost) -> list[str]:
    """Who can tune it, where, and under which terms, as far as that is known."""
    lines = []
    for name, label in (("tunable", "access"), ("region", "region"), ("licence", "licence")):
        fact = bill.price.facts.get(name) if bill.price else None
        if fact is None:
            continue
        told = fact.value if fact.value is not None else f"unknown: see {fact.source}"
        note = f". {fact.note}" if fact.note else ""
        sure = f" ({fact.certainty})" if fact.value is not None else ""
        lines.append(f"{label:<12}{told}{note}{sure}")
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
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"--epochs is 'auto' or a whole number from 1 on, not '{text}'.")
    return int(text)
