"""What tuning takes and brings, as rows of the report."""

from __future__ import annotations

from collections.abc import Iterator

from . import card as words
from .records import Verdict


def money_rows(verdict: Verdict) -> Iterator[tuple[str, str]]:
    """Label and amount: what is spent once, what comes every month, and when it has paid back."""
    for key, value in verdict.costs.items():
        if key in ("payback_months_low", "payback_months_high"):
            continue  # said beside the payback itself
        parts = key.split("_")
        label = " ".join(part for part in parts if part != "usd")
        if value is None or "usd" in parts:
            yield label, words.usd(value)
        else:
            yield label, f"{value:.2f}" if parts[-1] == "probability" else words.count(value)
    yield "pays back in", _payback(verdict)
    if verdict.usd_per_point is not None:
        yield "each point costs a month", words.usd(verdict.usd_per_point)


def _payback(verdict: Verdict) -> str:
    if verdict.costs.get("saving_usd_per_month") is None:
        return "unknown: a price is missing"
    payback = verdict.payback_months
    told = "never" if payback is None else words.months(payback)
    if verdict.costs.get("payback_probability") is None:
        return told
    low, high = (verdict.costs.get(f"payback_months_{end}") for end in ("low", "high"))
    if low is None:
        return told
    return f"{told} ({words.months(low)} to {'never' if high is None else words.months(high)})"
