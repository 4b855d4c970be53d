"""The lines of a bill: what each thing costs, at which fact of the registry, or why that is not known."""

from __future__ import annotations

from datetime import date

import msgspec

from .prices import Fact, Price

# A month of 30 days, as providers' own examples count it.
HOURS_A_MONTH = 720.0


class Serving(msgspec.Struct, frozen=True):
    """What answering takes a month. Tokens a request are measured on the data where they are None.

    `cached_share` is the part of the prompt tokens, 0 to 1, that the provider finds in its prompt cache.
    `hours` is how long a month the model is deployed.
    """

    requests: int
    prompt_tokens: float | None = None
    completion_tokens: float | None = None
    cached_share: float = 0.0
    hours: float = HOURS_A_MONTH


class Hardware(msgspec.Struct, frozen=True):
    """A machine of one's own (or rented): how fast it trains, and what an hour costs in USD."""

    tokens_per_second: float | None = None
    usd_per_hour: float | None = None


class Charge(msgspec.Struct, frozen=True):
    """One line: quantity times rate in USD, or None with a reason. `fact` is where the rate comes from."""

    name: str
    quantity: float | None
    unit: str
    usd: float | None
    reason: str | None = None
    fact: Fact | None = None

    def is_stale(self, today: date) -> bool:
        """Whether the rate's fact is too old to rely on."""
        return self.fact is not None and self.fact.is_stale(today)


def hosted_training(price: Price, billable: int, validation: int | None, evaluations: int) -> list[Charge]:
    """Training by the token, and the validation file where there is one; `validation` are its tokens."""
    charges = [_by_token("training", price, "training_usd_per_million", billable)]
    if validation is not None:
        charges.append(_validation(price, validation * evaluations))
    return charges


def hosted_serving(price: Price, serving: Serving, prompt: float, completion: float) -> list[Charge]:
    """A month's prompts, cached prompts, answers, and the deployment's hours."""
    sent = serving.requests * prompt
    cached = sent * serving.cached_share
    charges = [_by_token("input_per_month", price, "input_usd_per_million", sent - cached)]
    if cached:
        charges.append(_by_token("cached_input_per_month", price, "cached_input_usd_per_million", cached))
    charges.append(
        _by_token("output_per_month", price, "output_usd_per_million", serving.requests * completion)
    )
    charges.append(_times("hosting_per_month", price, "hosting_usd_per_hour", serving.hours, "hours", 1))
    return charges


def local_training(hardware: Hardware, billable: int) -> Charge:
    """Training on one's own machine: hours at the measured speed, times the hour's price."""
    if hardware.tokens_per_second is None:
        reason = (
            "a local model has no price a token: its cost is time on your hardware. Give --tokens-per-second (a "
            "run's train.jsonl measures it) and --gpu-usd-per-hour; in an experiment, decision.costs.gpu_usd_per_hour."
        )
        return Charge("training", None, "hours", None, reason)
    hours = billable / hardware.tokens_per_second / 3600
    if hardware.usd_per_hour is None:
        reason = "the hour's price is not known: give --gpu-usd-per-hour (0 where the machine is free)."
        return Charge("training", hours, "hours", None, reason)
    return Charge("training", hours, "hours", hours * hardware.usd_per_hour)


def local_serving(hardware: Hardware, serving: Serving) -> Charge:
    """Serving on one's own machine costs its hours, asked or idle."""
    if hardware.usd_per_hour is None:
        reason = "the hour's price is not known: give --gpu-usd-per-hour (0 where the machine is free)."
        return Charge("hosting_per_month", serving.hours, "hours", None, reason)
    return Charge("hosting_per_month", serving.hours, "hours", serving.hours * hardware.usd_per_hour)


def _validation(price: Price, tokens: int) -> Charge:
    billed = price.facts.get("validation_billed")
    if billed is None or billed.value is None:
        reason = f"whether {price.model} bills validation tokens is not known"
        return Charge("validation", tokens, "tokens", None, reason, billed)
    if billed.value is False:
        return Charge("validation", tokens, "tokens", 0.0, None, billed)
    return _by_token("validation", price, "training_usd_per_million", tokens)


def _by_token(name: str, price: Price, fact_name: str, tokens: float) -> Charge:
    return _times(name, price, fact_name, tokens, "tokens", 1_000_000)


def _times(name: str, price: Price, fact_name: str, quantity: float, unit: str, per: int) -> Charge:
    fact = price.facts.get(fact_name)
    if fact is None or fact.value is None:
        thing = name.removesuffix("_per_month").replace("_", " ")
        note = f" {fact.note}" if fact is not None and fact.note else ""
        return Charge(
            name, quantity, unit, None, f"the {thing} price of {price.model} is not known.{note}", fact
        )
    return Charge(name, quantity, unit, quantity * fact.value / per, None, fact)
