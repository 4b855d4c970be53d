"""What answering takes, measured on a run's own test questions: tokens a request, and their price."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from validators.charges import Serving, hosted_serving
from validators.prices import load_prices

from .amounts import mean
from .backends import cost_usd
from .experiment import Experiment
from .records import Prediction
from .runs import Run
from .settings import Backend as BackendSettings
from .settings import Brought, Contender

_THOUSAND = 1000
_NO_PRICE = "no price is known for {}: give the backend a price (USD per million tokens in, out)"


def inference(run: Run, experiment: Experiment, today: date) -> list[dict[str, Any]]:
    """For each contender that answered: mean tokens of a request, and USD for a thousand.

    Prompts are as long as they were sent, few-shot examples and retrieved passages included. The price is the
    backend's own, else the dated registry's (tokens alone, no hosting); `usd_per_1000` is None with a reason
    where none is known. No clock is in it: the same answers give the same figures.
    """
    told = []
    for settings in experiment.contenders:
        if (run.contender(settings.name) or {}).get("status") != "success":
            continue
        if answered := [p for p in run.predictions(settings.name) if p.error is None]:
            told.append({"contender": settings.name, **_measured(settings, answered, experiment, today)})
    return told


def _measured(
    settings: Contender, answered: Sequence[Prediction], experiment: Experiment, today: date
) -> dict[str, Any]:
    names = ("prompt_tokens", "cached_tokens", "completion_tokens")
    means = {name: mean(getattr(p, name) for p in answered) for name in names}
    row: dict[str, Any] = {"model": None, "answers": len(answered), **means}
    if isinstance(settings, Brought):
        return row | _usd(mean(p.usd for p in answered), "its file states no price")
    backend = experiment.backend_of(settings)
    row["model"] = backend.model
    if backend.price is not None:
        known = [cost_usd(backend, p.prompt_tokens, p.completion_tokens, p.cached_tokens) for p in answered]
        return row | _usd(mean(known), "the server did not say how many tokens it used")
    if backend.kind == "hf":
        return row | _usd(None, "a local model costs your machine's time, which comparison.json prices")
    return row | _by_registry(backend, means, today)


def _by_registry(backend: BackendSettings, means: dict[str, float | None], today: date) -> dict[str, Any]:
    """The price of the registry's model of that name, with its source and date."""
    price, prompt, completion = (
        load_prices().get(backend.model),
        means["prompt_tokens"],
        means["completion_tokens"],
    )
    if price is None or prompt is None or completion is None:
        return _usd(None, _NO_PRICE.format(backend.model))
    share = (means["cached_tokens"] or 0.0) / prompt if prompt else 0.0
    charges = hosted_serving(price, Serving(_THOUSAND, cached_share=min(1.0, share)), prompt, completion)
    tokens = [charge for charge in charges if charge.unit == "tokens"]
    reasons = [charge.reason for charge in tokens if charge.reason]
    usd = None if reasons else sum(charge.usd or 0.0 for charge in tokens) / _THOUSAND
    sources = sorted(
        {f"{c.fact.source} ({c.fact.as_of or c.fact.read})" for c in tokens if c.fact is not None}
    )
    stale = any(charge.is_stale(today) for charge in tokens)
    return _usd(usd, " ".join(reasons)) | {"sources": sources, "stale": stale}


def _usd(one: float | None, reason: str) -> dict[str, Any]:
    if one is None:
        return {"usd_per_1000": None, "reason": f"{reason}."}
    return {"usd_per_1000": _THOUSAND * one}
