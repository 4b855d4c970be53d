"""Prices of hosted fine-tuning: the registry's entry for what a contender tunes, with the experiment's own facts."""

from __future__ import annotations

import re
from datetime import date

import msgspec

from validators.prices import Fact, Price, load_prices

from .settings import Hosted, OpenAIBackend

# A version after a model's name: the registry may know the family alone.
_VERSION = re.compile(r"-\d{4}-\d{2}-\d{2}$")
OWN = "the experiment file"


def base_of(settings: Hosted, backend: OpenAIBackend) -> str:
    """The model that training starts from: the backend's, or an earlier tuned one."""
    return settings.from_ or backend.model


def price_of(settings: Hosted, backend: OpenAIBackend, today: date | None = None) -> Price | None:
    """The registry's entry of the base model, the experiment's own training price over it; None where neither is."""
    known = _registered(base_of(settings, backend), azure=backend.api_version is not None)
    if settings.training_price is None:
        return known
    own = Fact(settings.training_price, OWN, today or date.today(), "own")
    if known is None:
        return Price(backend.model, "own", (), None, {"training_usd_per_million": own})
    return msgspec.structs.replace(known, facts={**known.facts, "training_usd_per_million": own})


def hosting_fact(backend: OpenAIBackend) -> Fact | None:
    """What an hour of a deployed tuned model costs, where the provider takes such a fee; a fact of Azure as a whole."""
    if backend.api_version is None:
        return None
    prices = load_prices().values()
    return next(p.facts["hosting_usd_per_hour"] for p in prices if p.provider == "azure")


def at_tuned_price(backend: OpenAIBackend, settings: Hosted) -> OpenAIBackend:
    """The backend with the price of the tuned model's tokens: a tuned model's are dearer than its base's.

    Without a price in the contender or the registry it is unknown, whatever the base model's is.
    """
    if settings.price is not None:
        return backend.model_copy(update={"price": settings.price, "cached_price": None})
    known = price_of(settings, backend)
    value = known.value if known else lambda name: None
    pair = (value("input_usd_per_million"), value("output_usd_per_million"))
    cached = value("cached_input_usd_per_million")
    return backend.model_copy(update={"price": None if None in pair else pair, "cached_price": cached})


def _registered(model: str, *, azure: bool) -> Price | None:
    """By its name, an earlier tuned model by its base's: `ft:base:…`, on Azure `base.ft-…`."""
    base = model.split(":")[1] if model.startswith("ft:") and model.count(":") > 1 else model
    base = base.partition(".ft-")[0]
    names = (base, _VERSION.sub("", base))
    prices = load_prices()
    return next(
        (prices[key] for name in names if (key := f"azure/{name}" if azure else name) in prices), None
    )
