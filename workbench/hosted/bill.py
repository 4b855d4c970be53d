"""What a hosted training will cost, until when its model is of use, and the leave to spend that much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

from validators.assets import AssetError
from validators.bill import Cost
from validators.cost import CostError, estimate_cost
from validators.examples import Example
from validators.prices import Fact, Price
from validators.tokens import Tokenizer, load_tokenizer

from ..amounts import total
from ..hosted_price import base_of, hosting_fact, price_of
from ..settings import Hosted, OpenAIBackend
from .errors import HostedError

# A model that answers for fewer days than this is not worth training.
SOON_DAYS = 90
HOURS_A_MONTH = 720
# Facts that others dispute or that were concluded do not refuse a job; they warn.
FIRM = ("documented", "own", "stored copy")
DOUBTFUL = ("disputed", "inferred")
# What a model of no known tokenizer is counted with.
USUAL_TOKENIZER = "o200k_base"


@dataclass(frozen=True, slots=True)
class TrainingBill:
    """One training: at most `usd` (None: no price is known), then hosting by the hour where there is such a fee.

    Dev tokens count as billed unless the provider is known not to bill them.
    """

    contender: str
    cost: Cost
    usd: float | None
    hosting: Fact | None
    warnings: tuple[str, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """The bill as lines for people."""
        cost, training = self.cost, self.cost.charges[0]
        per_epoch = cost.billable_tokens // cost.epochs
        about = "" if cost.exact else "about "
        told = [
            f"{cost.model}: {cost.examples:,} rows with {about}{per_epoch:,} tokens in all × {cost.epochs} epochs = "
            f"{cost.billable_tokens:,} training tokens"
        ]
        if cost.validation_tokens:
            told.append(f"validation: {cost.validation_tokens:,} tokens × {cost.epochs}, taken as billed too")
        if training.fact is not None and training.fact.value is not None:
            told.append(f"at {_money(training.fact.value)} a million ({_origin(training.fact)})")
        else:
            told.append(
                f"{training.reason or 'the price is not known'} Set training_price (USD a million tokens)."
            )
        if self.hosting is not None:
            told.append(
                f"its deployment costs {_money(self.hosting.value)} an hour until it is deleted, "
                f"{_money(HOURS_A_MONTH * self.hosting.value)} a month ({_origin(self.hosting)})"
            )
        return (*told, *self.warnings)


def training_bill(
    settings: Hosted,
    backend: OpenAIBackend,
    train: Sequence[Example],
    dev: Sequence[Example],
    *,
    today: date,
    offline: bool = False,
) -> TrainingBill:
    """The bill of tuning on `train`, watched on `dev`. Raises HostedError for a model that ends, or cannot be counted."""
    price = price_of(settings, backend, today)
    warnings = tuple(_ends(price, today)) if price else ()
    name = price.model if price else base_of(settings, backend).rpartition("/")[2]
    try:
        cost = estimate_cost(
            train,
            name,
            epochs=settings.epochs,
            tokenizer=_tokenizer(price, offline),
            today=today,
            validation=dev or None,
            prices={name: price} if price else {},
        )
    except (CostError, AssetError) as error:
        raise HostedError(f"contender {settings.name!r}: what it costs cannot be counted: {error}") from None
    return TrainingBill(settings.name, cost, _at_most(cost), hosting_fact(backend), warnings)


def bills_text(bills: Sequence[TrainingBill]) -> str:
    """All bills with their sum."""
    usd = total_usd(bills)
    told = "at a price nobody knows" if usd is None else f"at most {_money(usd)}"
    lines = [f"hosted fine-tuning, {told}:"]
    for bill in bills:
        head = "unknown" if bill.usd is None else _money(bill.usd)
        lines += [f"  {bill.contender}  {head}", *(f"    {line}" for line in bill.lines)]
    return "\n".join(lines)


def total_usd(bills: Sequence[TrainingBill]) -> float | None:
    """The sum of all bills; None where one is unknown."""
    return total(bill.usd for bill in bills)


@dataclass(slots=True)
class Purse:
    """Leave to spend so many USD on training, given once a run; each job takes its bill out of it before it starts."""

    today: date = field(default_factory=date.today)
    left: float | None = None
    """None: nobody has agreed to anything."""

    def take(self, bill: TrainingBill) -> None:
        """Raises HostedError where the bill is more than what is left."""
        usd = bill.usd or 0.0
        if self.left is None or usd > self.left * (1 + 1e-9):
            raise HostedError(
                f"{bills_text([bill])}\nNobody agreed to that: run the experiment (workbench run) and confirm the bill."
            )
        self.left -= usd


def _at_most(cost: Cost) -> float | None:
    training, *others = cost.charges
    if training.usd is None or training.fact is None:
        return None
    unsure = [
        c.quantity * training.fact.value / 1e6 if c.usd is None else c.usd for c in others if c.quantity
    ]
    return training.usd + sum(unsure)


def _tokenizer(price: Price | None, offline: bool) -> Tokenizer:
    return load_tokenizer(price.tokenizer if price and price.tokenizer else USUAL_TOKENIZER, offline=offline)


def _ends(price: Price, today: date) -> list[str]:
    """Warnings about when jobs and answers end, and who may still tune. Raises HostedError for what has ended.

    What ends within SOON_DAYS is refused where the fact is firm.
    """
    told = []
    verbs = (("tunable_until", "takes new jobs only until"), ("served_until", "answers only until"))
    for name, verb in verbs:
        fact = price.facts.get(name)
        if fact is None or fact.value is None:
            continue
        words = f"{price.model} {verb} {fact.value} ({_origin(fact)})"
        days = (fact.value - today).days
        over = days < 0 and fact.certainty not in DOUBTFUL
        soon = name == "served_until" and days < SOON_DAYS and fact.certainty in FIRM
        if over or soon:
            raise HostedError(f"{words}: nothing is trained there. Choose another base model.")
        told.append(f"warning: {words}")
    tunable = price.facts.get("tunable")
    if tunable is not None and tunable.value == "closed" and tunable.certainty not in DOUBTFUL:
        raise HostedError(f"{price.model} takes no new jobs ({_origin(tunable)}). Choose another base model.")
    if tunable is not None and tunable.value == "existing customers":
        told.append(f"warning: {tunable.note or f'{price.model} is tuned for existing customers alone'}")
    return told


def _origin(fact: Fact) -> str:
    day = fact.as_of or fact.read
    note = f"; {fact.note}" if fact.note and fact.certainty in DOUBTFUL else ""
    return f"{fact.certainty}: {fact.source}, {day}{note.rstrip('.')}"


def _money(usd: float) -> str:
    return f"${usd:,.2f}" if usd >= 0.1 or usd == 0 else f"${usd:,.4f}"
