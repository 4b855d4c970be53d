"""What a tuning job costs: tokens counted as they are billed, times epochs, times a dated price."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from .examples import Example, ExampleError, parse_example
from .prices import Price, State, load_prices
from .reading import DataError, read_rows
from .suggest import did_you_mean

if TYPE_CHECKING:
    from .tokens import Tokenizer

# OpenAI's published rule for the number of epochs when none is asked for.
EPOCHS = 3
MOST_EPOCHS = 25
FEWEST_PASSES = 100
MOST_PASSES = 25_000

Data = str | Path | Iterable[str | Path] | Iterable[Example]


class CostError(ValueError):
    """The cost cannot be estimated; says why and what to do."""


class Cost(msgspec.Struct, frozen=True):
    """The bill of one tuning job. Counts are over one epoch but for `billable_tokens`.

    `truncated` are the tokens cut off at the limit, `trained` those the loss counts (an estimate where
    the tokenizer is not exact). `usd_training` is None with a `reason`.
    """

    model: str
    tokenizer: str
    exact: bool
    examples: int
    total: int
    trained: int
    truncated: int
    epochs: int
    usd_training: float | None
    reason: str | None
    price: Price | None
    state: State | Literal["local"]
    stale: bool

    @property
    def billable_tokens(self) -> int:
        """Epochs times the tokens left after cutting each example at the limit."""
        return self.epochs * (self.total - self.truncated)

    def as_dict(self) -> dict[str, Any]:
        """The bill as the `workbench.cost/1` object."""
        price = self.price
        as_of = price.as_of.isoformat() if price and price.as_of else None
        bill: dict[str, Any] = {
            "schema": "workbench.cost/1",
            "model": self.model,
            "tokenizer": self.tokenizer,
            "exact": self.exact,
            "examples": self.examples,
            "tokens": {"total": self.total, "trained": self.trained, "truncated": self.truncated},
            "epochs": self.epochs,
            "billable_tokens": self.billable_tokens,
            "usd": None if self.usd_training is None else {"training": self.usd_training},
            "price": {
                "as_of": as_of,
                "source": price.source if price else None,
                "certainty": price.certainty if price else "unknown",
                "training_usd_per_million": price.training_usd_per_million if price else None,
                "stale": self.stale,
            },
            "status": self.state,
            "tunable_until": price.tunable_until.isoformat() if price and price.tunable_until else None,
            "served_until": price.served_until.isoformat() if price and price.served_until else None,
        }
        return bill | ({"reason": self.reason} if self.reason else {})


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
) -> Cost:
    """Estimate what tuning `model` on data files (or examples) costs.

    `model` is one of the registry, an embedded or local model, a folder or a hub id. `tokenizer`
    overrides the model's own, `max_length` its token limit. `today` decides what is stale or retired
    (default: the clock). Raises CostError for an unknown model, and DataError or ExampleError for data
    that cannot be read as chats.
    """
    price = load_prices().get(_base_model(model))
    local = price is None and _is_local(model)
    counter = _tokenizer(tokenizer, price, model, local)
    limit = max_length if max_length is not None else price.max_example_tokens if price else None
    examples = total = trained = truncated = 0
    for example in _examples(data):
        length, learnt = _count(example, counter, limit)
        examples += 1
        total += length
        truncated += max(0, length - limit) if limit is not None else 0
        trained += learnt
    if not examples:
        raise CostError("there are no examples to train on. Check that the file is the one you meant.")
    rounds = auto_epochs(examples) if epochs == "auto" else epochs
    if rounds < 1:
        raise CostError(f"epochs must be at least 1, not {rounds}.")
    rate = price.training_usd_per_million if price else None
    day = today or date.today()
    return Cost(
        model=price.model if price and not model.startswith("ft:") else model,
        tokenizer=counter.name,
        exact=counter.exact,
        examples=examples,
        total=total,
        trained=trained,
        truncated=truncated,
        epochs=rounds,
        usd_training=None if rate is None else rounds * (total - truncated) * rate / 1_000_000,
        reason=_reason(model, price, local),
        price=price,
        state="local" if local else price.state(day) if price else "unknown",
        stale=price.is_stale(day) if price else False,
    )


def _reason(model: str, price: Price | None, local: bool) -> str | None:
    if local:
        return (
            "a local model has no price a token: its cost is time on your hardware. Set "
            "decision.costs.gpu_usd_per_hour in the experiment, and the run prices its measured hours."
        )
    if price is None:
        return f"no price is known for {model}"
    if price.training_usd_per_million is None:
        return f"the training price of {price.model} is not known. {price.note or ''}".strip()
    return None


def _base_model(model: str) -> str:
    """A fine-tuned model `ft:base:…` trains further at its base's price."""
    return model.split(":")[1] if model.startswith("ft:") and model.count(":") else model


def _is_local(model: str) -> bool:
    from .assets import ASSETS

    return model in ASSETS or "/" in model or Path(model).expanduser().is_dir()


def _tokenizer(given: str | Tokenizer | None, price: Price | None, model: str, local: bool) -> Tokenizer:
    from .tokens import load_tokenizer

    if given is not None:
        return load_tokenizer(given) if isinstance(given, str) else given
    if price is not None and price.tokenizer is None:
        raise CostError(
            f"{price.model} stands for many models: name the base model's tokenizer with --tokenizer."
        )
    if price is None and not local:
        known = load_prices()
        raise CostError(
            f"unknown model '{model}': not in the price registry, not an embedded model, not a folder, not a hub id "
            f"of the form owner/name. Name its tokenizer with --tokenizer to count all the same."
            f"{did_you_mean(model, known)}"
        )
    return load_tokenizer(model if price is None or price.tokenizer is None else price.tokenizer)


def _examples(data: Data) -> Iterator[Example]:
    """Examples as they are; files row by row, each row a chat."""
    if isinstance(data, (str, Path)):
        yield from _from_file(Path(data))
        return
    items = iter(data)
    first = next(items, None)
    if isinstance(first, Example):
        yield first
        yield from (item for item in items if isinstance(item, Example))
    elif first is not None:
        for path in chain([first], items):
            assert not isinstance(path, Example)
            yield from _from_file(Path(path))


def _from_file(path: Path) -> Iterator[Example]:
    for row in read_rows(path):
        try:
            yield parse_example(row.value, row.line)
        except ExampleError as error:
            cure = "`workbench lint` shows all faults; a table is turned into chats first."
            raise DataError(f"{path}:{row.line}: no chat row: {error}. {cure}") from error


def _count(example: Example, tokenizer: Tokenizer, limit: int | None) -> tuple[int, int]:
    """Tokens of the whole example, and how many of them train within the limit."""
    from .tokens import HuggingFaceTokenizer

    if isinstance(tokenizer, HuggingFaceTokenizer):
        from .encoding import encode

        encoding = encode(example, tokenizer, limit)
        return len(encoding.ids) + encoding.truncated, encoding.trained
    length = tokenizer.count_example(example)
    replies = sum(
        tokenizer.count_text(message.text)
        + sum(tokenizer.count_text(call.arguments) for call in message.tool_calls)
        for message in example.messages
        if message.role == "assistant" and message.weight != 0
    )
    # What is cut off is cut off the end, where the last reply stands.
    return length, max(0, replies - (max(0, length - limit) if limit is not None else 0))
