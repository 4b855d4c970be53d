"""The bill of a run: what its answers took from servers, told apart from what was known before."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from .records import Judgement, Prediction
from .runs import Run


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """Answers that were asked for in this run and what they took, and those that were kept from before.

    `usd` is None where the price of one is unknown. `kept_usd` is what the kept ones would take today.
    """

    answers: int
    usd: float | None
    kept: int
    kept_usd: float | None


def bill_of(run: Run) -> Bill:
    """The bill of all finished answers of servers that lie in a run folder, judgements too."""
    rows = list(_rows(run))
    asked = [row for row in rows if not row.reused]
    kept = [row for row in rows if row.reused]
    return Bill(answers=len(asked), usd=_sum(asked), kept=len(kept), kept_usd=_sum(kept))


def _rows(run: Run) -> Iterator[Prediction | Judgement]:
    for place in (run, *run.parts()):
        for name in place.contenders():
            info = place.contender(name) or {}
            # Of folds, the run itself holds copies; answers from a file were paid for elsewhere.
            if info["kind"] != "predictions" and not info.get("folds"):
                served = (info["backend"] or {}).get("kind") == "openai"
                for split in place.answered(name):
                    answers = place.predictions(name, split)
                    yield from (p for p in answers if p.error is None and (served or p.usd is not None))
            for split in ("test", "dev"):
                # A judgement without a price was made by a local model, or without asking anyone.
                yield from (j for j in place.judgements(name, split) if j.usd is not None and j.calls)


def _sum(rows: list[Prediction | Judgement]) -> float | None:
    known = [row.usd for row in rows if row.usd is not None]
    return sum(known, 0.0) if len(known) == len(rows) else None


def bill_text(bill: Bill) -> str:
    """The bill in one line; "" where no server was asked."""
    told = []
    if bill.answers:
        told.append(f"{_usd(bill.usd)} for {_count(bill.answers)} asked in this run")
    if bill.kept:
        told.append(f"{_count(bill.kept)} known from before, worth {_usd(bill.kept_usd)}")
    return " · ".join(told)


def _count(number: int) -> str:
    return f"{number:,} answer{'' if number == 1 else 's'}"


def _usd(value: float | None) -> str:
    if value is None:
        return "an unknown sum (a backend has no price)"
    return f"${value:,.2f}" if value >= 1 or value == 0 else f"${value:,.4g}"
