"""What a tuning job costs: tokens counted as they are billed, times epochs, times a dated price."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .bill import Cost
from .charges import Charge, Hardware, Serving, hosted_serving, hosted_training, local_serving, local_training
from .columns import Columns
from .counting import Count, count_examples
from .examples import Example, ExampleError, parse_example
from .findings import printable
from .inputs import sources
from .parts import Source
from .prices import Price, load_prices
from .reading import read_rows
from .rows import DataError
from .rules.subjects import row_format
from .suggest import did_you_mean

if TYPE_CHECKING:
    from .tokens import Tokenizer

# OpenAI's published rule for the number of epochs when none is asked for.
EPOCHS = 3
MOST_EPOCHS = 25
FEWEST_PASSES = 100
MOST_PASSES = 25_000

__all__ = ["Cost", "CostError", "auto_epochs", "estimate_cost"]

Data = str | Path | Source | Iterable[str | Path | Source] | Iterable[Example]

# Formats whose rows train as the chats they spell.
_SAME_AS_CHATS = ("prompt-completion", "alpaca", "sharegpt")


class CostError(ValueError):
    """The cost cannot be estimated; says why and what to do."""


def auto_epochs(examples: int) -> int:
    """Epochs for a number of examples when none is asked for: 3, more for few rows, fewer for many.

    Raises ValueError for no examples.
    """
    if examples < 1:
        raise ValueError("there are no examples to train on")
    if examples * EPOCHS < FEWEST_PASSES:
        return min(MOST_EPOCHS, FEWEST_PASSES // examples)
    if examples * EPOCHS > MOST_PASSES:
        return max(1, MOST_PASSES // examples)
    return EPOCHS


def estimate_cost(
    data: Data,
    model: str,
    *,
    epochs: int | Literal["auto"] = "auto",
    tokenizer: str | Tokenizer | None = None,
    max_length: int | None = None,
    today: date | None = None,
    validation: Data | None = None,
    evaluations: int | None = None,
    serving: Serving | None = None,
    hardware: Hardware = Hardware(),  # noqa: B008 (frozen)
    prices: Mapping[str, Price] | None = None,
    columns: Columns | None = None,
) -> Cost:
    """Estimate what tuning `model` on data files (or examples) costs, and serving it for a month.

    `model` is one of the registry (`prices`, by default the built-in one), an embedded or local model, a
    folder or a hub id. `tokenizer` overrides the model's own, `max_length` its token limit. `validation` is
    run through `evaluations` times (default: once an epoch). `today` decides what is stale or retired
    (default: the clock). `columns` turn table rows into chats. Raises CostError for an unknown model, and DataError or ExampleError for data
    that cannot be read as chats.
    """
    known = load_prices() if prices is None else prices
    price = known.get(_base_model(model))
    local = price is None and _is_local(model)
    counter = _for_size(_tokenizer(tokenizer, price, model, local, known), data)
    limit = max_length if max_length is not None else price.max_example_tokens if price else None
    count = count_examples(_examples(data, columns), counter, limit, serving is not None)
    if not count.examples:
        raise CostError("there are no examples to train on. Check that the file is the one you meant.")
    rounds = auto_epochs(count.examples) if epochs == "auto" else epochs
    if rounds < 1:
        raise CostError(f"epochs must be at least 1, not {rounds}.")
    checked = None if validation is None else count_examples(_examples(validation, columns), counter, limit)
    held = None if checked is None else checked.billed
    prompt, completion = _request(count, serving)
    billable = rounds * count.billed
    if price is None and not local:
        charges = [Charge("training", billable, "tokens", None, f"no price is known for {model}")]
    else:
        runs = rounds if evaluations is None else evaluations
        charges = _charges(price, hardware, billable, (held, runs), serving, (prompt, completion))
    day = today or date.today()
    return Cost(
        model=price.model if price and not model.startswith("ft:") else model,
        tokenizer=counter.name,
        exact=counter.exact and not count.estimated,
        examples=count.examples,
        total=count.total,
        trained=count.trained,
        truncated=count.truncated,
        epochs=rounds,
        charges=tuple(charges),
        price=price,
        state="local" if local else price.state(day) if price else "unknown",
        today=day,
        validation_tokens=held,
        prompt_tokens=prompt if serving else None,
        completion_tokens=completion if serving else None,
    )


def _charges(
    price: Price | None,
    hardware: Hardware,
    billable: int,
    validation: tuple[int | None, int],
    serving: Serving | None,
    request: tuple[float, float],
) -> list[Charge]:
    """The bill's lines: by the provider's prices, or without one by the hours of one's own machine."""
    if price is None:
        charges = [local_training(hardware, billable)]
        return charges + ([local_serving(hardware, serving)] if serving else [])
    charges = hosted_training(price, billable, *validation)
    return charges + (hosted_serving(price, serving, *request) if serving else [])


def _request(count: Count, serving: Serving | None) -> tuple[float, float]:
    """Mean tokens of a request's prompt and answer: as given, else as in the data."""
    if serving is None:
        return 0.0, 0.0
    prompt, completion = serving.prompt_tokens, serving.completion_tokens
    if (prompt is None or completion is None) and not count.asked:
        raise CostError("no example has a prompt and a reply: give --prompt-tokens and --completion-tokens.")
    return (
        count.prompts / count.asked if prompt is None else prompt,
        count.replies / count.asked if completion is None else completion,
    )


def _base_model(model: str) -> str:
    """A fine-tuned model `ft:base:…` trains further at its base's price."""
    return model.split(":")[1] if model.startswith("ft:") and model.count(":") else model


def _is_local(model: str) -> bool:
    from .assets import ASSETS

    return model in ASSETS or "/" in model or Path(model).expanduser().is_dir()


def _tokenizer(
    given: str | Tokenizer | None, price: Price | None, model: str, local: bool, known: Mapping[str, Price]
) -> Tokenizer:
    from .tokens import load_tokenizer

    if given is not None:
        return load_tokenizer(given) if isinstance(given, str) else given
    if price is not None and price.tokenizer is None:
        raise CostError(
            f"{price.model} stands for many models: name the base model's tokenizer with --tokenizer."
        )
    if price is None and not local:
        raise CostError(
            f"unknown model '{model}': not in the price registry, not an embedded model, not a folder, not a hub id "
            f"of the form owner/name. Name its tokenizer with --tokenizer to count all the same."
            f"{did_you_mean(model, known)}"
        )
    return load_tokenizer(model if price is None or price.tokenizer is None else price.tokenizer)


def _for_size(tokenizer: Tokenizer, data: Data) -> Tokenizer:
    """The tokenizer with the fast counter, where the files are large enough for it."""
    from .tokens import for_input

    paths = (
        [data] if isinstance(data, (str, Path, Source)) else data if isinstance(data, (list, tuple)) else ()
    )
    files = sources([path for path in paths if isinstance(path, (str, Path, Source))])
    return for_input(tokenizer, sum(file.path.stat().st_size for file in files if file.path.is_file()))


def _examples(data: Data, columns: Columns | None) -> Iterator[Example]:
    """Examples as they are; files row by row, each row a chat or turned into one."""
    if isinstance(data, (str, Path, Source)):
        data = [data]
    items = iter(data)
    first = next(items, None)
    if isinstance(first, Example):
        yield first
        yield from (item for item in items if isinstance(item, Example))
    elif first is not None:
        paths = [path for path in chain([first], items) if not isinstance(path, Example)]
        for source in sources(paths):
            yield from _from_file(source, columns)


def _from_file(source: Source, columns: Columns | None) -> Iterator[Example]:
    for row in read_rows(source.path, columns=columns):
        try:
            yield parse_example(_as_chat(row.value), row.line)
        except ExampleError as error:
            cure = (
                "`workbench lint` shows all faults; --columns or --template turn a table's rows into chats."
            )
            place = f"{printable(source.label)}:{row.line}"
            raise DataError(f"{place}: no chat row: {error}. {cure}") from error


def _as_chat(value: dict[str, Any]) -> dict[str, Any]:
    """The row as a chat, where its format says the same in other keys."""
    if row_format(value) not in _SAME_AS_CHATS:
        return value
    from .conversion import convert_row

    return convert_row(value, "chat")[0]
