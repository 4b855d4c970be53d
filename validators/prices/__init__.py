"""The dated registry of hosted models: prices, limits, who can still tune them and how long they are served.

Every entry is a fact with its source, the day it was read and how sure it is; what nobody could be found
to state is null with certainty "unknown", never a guess. One JSON file a provider; a user's own file of
the same form adds models or replaces facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import msgspec

from ..suggest import did_you_mean

PROVIDERS = ("openai", "azure", "fireworks", "together", "gemini", "mistral")
# A price older than this is shown as stale.
STALE_DAYS = 90

# "own" is for a user's own file: a contract, an invoice.
Certainty = Literal["documented", "own", "stored copy", "third party", "disputed", "inferred", "unknown"]
State = Literal["open", "closing", "closed", "retired", "unknown"]
Tunable = Literal["open", "existing customers", "closed"]

# What each fact is. USD a million tokens, USD an hour, tokens, dates of the last day.
FACTS: dict[str, Any] = {
    "training_usd_per_million": float,
    "validation_billed": bool,
    "input_usd_per_million": float,
    "cached_input_usd_per_million": float,
    "output_usd_per_million": float,
    "hosting_usd_per_hour": float,
    "max_example_tokens": int,
    "tunable": Tunable,
    "tunable_until": date,
    "served_until": date,
    "region": str,
    "licence": str,
}


class PriceError(ValueError):
    """A price file is wrong; says where and what to do."""


class Fact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One fact: what, from where, read when, how sure. `as_of` is the day its source states it for.

    A value is None exactly where certainty is "unknown"; `source` then says where it was looked for.
    """

    value: Any
    source: str
    read: date
    certainty: Certainty
    as_of: date | None = None
    note: str | None = None

    def is_stale(self, today: date) -> bool:
        """Whether the fact is older than STALE_DAYS; a second-hand page without a date is of unknown age."""
        if self.value is None:
            return False
        firsthand = self.certainty in ("documented", "own")
        stated = self.as_of or (self.read if firsthand else None)
        return stated is None or (today - stated).days > STALE_DAYS


class Price(msgspec.Struct, frozen=True):
    """One model of the registry: its facts by the names of FACTS."""

    model: str
    provider: str
    aliases: tuple[str, ...]
    tokenizer: str | None
    facts: dict[str, Fact]

    def value(self, name: str) -> Any:
        """A fact's value; None where it is not known."""
        fact = self.facts.get(name)
        return None if fact is None else fact.value

    @property
    def max_example_tokens(self) -> int | None:
        """Where the provider cuts an example."""
        limit: int | None = self.value("max_example_tokens")
        return limit

    @property
    def tunable_until(self) -> date | None:
        """The last day of new tuning jobs; None is not known to end."""
        day: date | None = self.value("tunable_until")
        return day

    @property
    def served_until(self) -> date | None:
        """The last day of answers; None is not known to end."""
        day: date | None = self.value("served_until")
        return day

    def state(self, today: date) -> State:
        """Whether the model can be tuned on a day: closing means yes, until a date that is known."""
        if self.served_until is not None and today > self.served_until:
            return "retired"
        if self.tunable_until is not None:
            return "closed" if today > self.tunable_until else "closing"
        tunable: Tunable | None = self.value("tunable")
        return "unknown" if tunable is None else "closed" if tunable == "closed" else "open"


class _Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    model: str
    aliases: tuple[str, ...] = ()
    tokenizer: str | None = None
    facts: dict[str, Fact] = {}


class _Provider(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A provider's file; `facts` are those that hold for all its models."""

    provider: str
    title: str
    models: tuple[_Model, ...]
    facts: dict[str, Fact] = {}


@cache
def load_prices() -> Mapping[str, Price]:
    """All models of the registry by name and alias."""
    prices: dict[str, Price] = {}
    for provider in PROVIDERS:
        name = f"{provider}.json"
        prices |= _by_name(_decode((files(__package__) / name).read_bytes(), name), {})
    return prices


def with_own(path: str | Path) -> Mapping[str, Price]:
    """The registry with a user's file over it: its facts replace those of a model of the same name.

    Raises PriceError for a file that cannot be read, an unknown fact, a value of the wrong kind, or an entry
    without source, read date or certainty.
    """
    try:
        source = Path(path).read_bytes()
    except OSError as error:
        raise PriceError(f"{path}: the price file cannot be read: {error.strerror}.") from error
    known = load_prices()
    return {**known, **_by_name(_decode(source, str(path)), known)}


def _by_name(provider: _Provider, known: Mapping[str, Price]) -> dict[str, Price]:
    prices: dict[str, Price] = {}
    for entry in provider.models:
        before = known.get(entry.model)
        price = Price(
            entry.model if before is None else before.model,
            provider.provider,
            entry.aliases if before is None else (*before.aliases, *entry.aliases),
            entry.tokenizer or (before.tokenizer if before else None),
            {**(before.facts if before else {}), **provider.facts, **entry.facts},
        )
        prices |= dict.fromkeys((price.model, *price.aliases), price)
    return prices


def _decode(source: bytes, name: str) -> _Provider:
    try:
        provider = msgspec.json.decode(source, type=_Provider)
    except ValueError as error:
        raise PriceError(
            f"{name}: not a price file: {error}. Every fact needs value, source, read and certainty."
        ) from error
    models = tuple(
        msgspec.structs.replace(m, facts=_typed(m.facts, f"{name}: {m.model}")) for m in provider.models
    )
    return msgspec.structs.replace(provider, models=models, facts=_typed(provider.facts, name))


def _typed(facts: dict[str, Fact], place: str) -> dict[str, Fact]:
    """The facts with their values checked and in their own types."""
    typed = {}
    for name, fact in facts.items():
        if name not in FACTS:
            raise PriceError(
                f"{place}: unknown fact '{name}': known are {', '.join(FACTS)}.{did_you_mean(name, FACTS)}"
            )
        if (fact.value is None) != (fact.certainty == "unknown") or not fact.source.strip():
            raise PriceError(
                f"{place}: {name}: the value is null exactly where the certainty is 'unknown', and every fact names "
                "a source (for an unknown one, where it was looked for)."
            )
        try:
            value = None if fact.value is None else msgspec.convert(fact.value, FACTS[name])
        except ValueError as error:
            raise PriceError(f"{place}: {name}: {error}.") from error
        if isinstance(value, (int, float)) and value < 0:
            raise PriceError(f"{place}: {name}: {value} is negative.")
        typed[name] = msgspec.structs.replace(fact, value=value)
    return typed
