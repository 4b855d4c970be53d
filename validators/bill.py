"""The bill of a tuning job, and its JSON."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

import msgspec

from .charges import Charge
from .prices import Price, State


class Cost(msgspec.Struct, frozen=True):
    """The bill of one tuning job. Counts are over one epoch but for `billable_tokens`.

    `truncated` are the tokens cut off at the limit, `trained` those the loss counts (an estimate where
    the tokenizer is not exact). `charges` are its lines, training first; each has its USD or a reason.
    `prompt_tokens` and `completion_tokens` are those of a request where serving was asked for.
    """

    model: str
    tokenizer: str
    exact: bool
    examples: int
    total: int
    trained: int
    truncated: int
    epochs: int
    charges: tuple[Charge, ...]
    price: Price | None
    state: State | Literal["local"]
    today: date
    validation_tokens: int | None = None
    prompt_tokens: float | None = None
    completion_tokens: float | None = None

    @property
    def billable_tokens(self) -> int:
        """Epochs times the tokens left after cutting each example at the limit."""
        return self.epochs * (self.total - self.truncated)

    @property
    def usd_training(self) -> float | None:
        """USD of the training itself; None where it is not known."""
        return self.charges[0].usd

    @property
    def reason(self) -> str | None:
        """Why the training's price is not known."""
        return self.charges[0].reason

    @property
    def usd_per_month(self) -> float | None:
        """USD of a month's serving; None where it was not asked for or a part of it is not known."""
        monthly = [charge.usd for charge in self.charges if charge.name.endswith("_per_month")]
        known = [usd for usd in monthly if usd is not None]
        return sum(known) if known and len(known) == len(monthly) else None

    @property
    def stale(self) -> bool:
        """Whether a price of the bill is older than 90 days, or of unknown age."""
        return any(charge.is_stale(self.today) for charge in self.charges)

    def as_dict(self) -> dict[str, Any]:
        """The bill as the `workbench.cost/1` object."""
        usd = {charge.name: charge.usd for charge in self.charges}
        if any(name.endswith("_per_month") for name in usd):
            usd["per_month"] = self.usd_per_month
        unknown = {charge.name: charge.reason for charge in self.charges if charge.reason}
        bill: dict[str, Any] = {
            "schema": "workbench.cost/1",
            "model": self.model,
            "tokenizer": self.tokenizer,
            "exact": self.exact,
            "examples": self.examples,
            "tokens": {"total": self.total, "trained": self.trained, "truncated": self.truncated},
            "epochs": self.epochs,
            "billable_tokens": self.billable_tokens,
            "usd": None if all(amount is None for amount in usd.values()) else usd,
            "price": self._price(),
            "charges": [self._charge(charge) for charge in self.charges],
            "status": self.state,
            **self._status(),
        }
        if self.validation_tokens is not None:
            bill["tokens"]["validation"] = self.validation_tokens
        if self.prompt_tokens is not None:
            bill["request"] = {
                "prompt_tokens": self.prompt_tokens,
                "completion_tokens": self.completion_tokens,
            }
        return bill | ({"reason": " ".join(unknown.values()), "unknown": unknown} if unknown else {})

    def _price(self) -> dict[str, Any]:
        fact = self.charges[0].fact
        known = fact is not None and fact.value is not None
        return {
            "as_of": fact.as_of.isoformat() if fact is not None and known and fact.as_of else None,
            "read": fact.read.isoformat() if fact is not None else None,
            "source": fact.source if fact is not None and known else None,
            "certainty": fact.certainty if fact is not None else "unknown",
            "training_usd_per_million": fact.value if fact is not None else None,
            "stale": self.stale,
        }

    def _charge(self, charge: Charge) -> dict[str, Any]:
        fact = charge.fact
        return {
            "name": charge.name,
            "quantity": charge.quantity,
            "unit": charge.unit,
            "usd": charge.usd,
            "reason": charge.reason,
            "rate": None
            if fact is None
            else msgspec.to_builtins(fact) | {"stale": fact.is_stale(self.today)},
        }

    def _status(self) -> dict[str, Any]:
        names = ("tunable", "tunable_until", "served_until", "region", "licence")
        return {name: msgspec.to_builtins(self.price.value(name)) if self.price else None for name in names}
