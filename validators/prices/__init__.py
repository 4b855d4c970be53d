"""The dated registry of hosted models: training price, token limit, and how long each can be tuned and served.

What nobody could be found to state is null, never a guess. One JSON file a provider.
"""

from __future__ import annotations

from datetime import date
from functools import cache
from importlib.resources import files
from typing import Literal

import msgspec

PROVIDERS = ("openai", "fireworks", "together")
# A price older than this is shown as stale.
STALE_DAYS = 90

Certainty = Literal["documented", "stored copy", "third party", "disputed", "unknown"]
State = Literal["open", "closing", "closed", "retired", "unknown"]


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model: USD per million training tokens (billed over all epochs), its limits and its dates.

    `as_of` is the day the price was stated, None where its source carries no date. `tunable_until` is
    the last day of new jobs, `served_until` the last day of answers; None is not known to end.
    """

    model: str
    aliases: tuple[str, ...]
    tokenizer: str | None
    max_example_tokens: int | None
    limit_source: str | None
    training_usd_per_million: float | None
    source: str | None
    as_of: date | None
    certainty: Certainty
    note: str | None
    tunable_until: date | None
    served_until: date | None
    status_source: str | None
    status_as_of: date | None
    status_certainty: Certainty
    status_note: str | None

    def state(self, today: date) -> State:
        """Whether the model can be tuned on a day: closing means yes, until a date that is known."""
        if self.served_until is not None and today > self.served_until:
            return "retired"
        if self.tunable_until is not None:
            return "closed" if today > self.tunable_until else "closing"
        return "unknown" if self.status_as_of is None else "open"

    def is_stale(self, today: date) -> bool:
        """Whether the price is older than STALE_DAYS, or of no known date."""
        if self.training_usd_per_million is None:
            return False
        return self.as_of is None or (today - self.as_of).days > STALE_DAYS


class _Provider(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    provider: str
    title: str
    read: date
    models: tuple[Price, ...]


@cache
def load_prices() -> dict[str, Price]:
    """All models of the registry by name and alias."""
    prices: dict[str, Price] = {}
    for provider in PROVIDERS:
        source = (files(__package__) / f"{provider}.json").read_bytes()
        for price in msgspec.json.decode(source, type=_Provider).models:
            prices |= dict.fromkeys((price.model, *price.aliases), price)
    return prices
