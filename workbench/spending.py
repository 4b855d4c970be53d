"""The bill of a run: every request and training that was paid for, told apart from answers known from before."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from .amounts import total
from .records import Judgement, Prediction
from .runs import Run


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """What all starts of a run paid to servers, and what it needed not pay for.

    Requests are those on record in `spending.jsonl`: of answers that were lost, forgotten or asked again too,
    and the judge's. `unsure` of them count at their most, for their answer or its usage was lost. A sum is None
    where the price of a part is unknown; `kept_usd` is what the answers from before would take today.
    """

    requests: int = 0
    usd: float | None = 0.0
    unsure: int = 0
    trainings: int = 0
    trainings_usd: float | None = 0.0
    kept: int = 0
    kept_usd: float | None = 0.0


def bill_of(run: Run) -> Bill:
    """The bill of a run folder, further seeds and folds with it."""
    paid = list(run.payments())
    kept = [row.usd for row in _answers(run) if row.reused]
    trained = list(_trained(run))
    return Bill(
        requests=len(paid),
        usd=total(payment.usd for payment in paid),
        unsure=sum(bool(payment.lost) for payment in paid),
        trainings=len(trained),
        trainings_usd=total(trained),
        kept=len(kept),
        kept_usd=total(kept),
    )


def _contenders(run: Run) -> Iterator[tuple[Run, str, dict[str, object]]]:
    """(place, name, contender.json) of whatever was asked; of folds, the run itself holds copies."""
    for place in (run, *run.parts()):
        for name in place.contenders():
            info = place.contender(name) or {}
            if not info.get("folds"):
                yield place, name, info


def _answers(run: Run) -> Iterator[Prediction | Judgement]:
    for place, name, _ in _contenders(run):
        for split in place.answered(name):
            yield from place.predictions(name, split)
        for split in ("test", "dev"):
            yield from place.judgements(name, split)


def _trained(run: Run) -> Iterator[float | None]:
    """USD of each training at a provider."""
    for _, _, info in _contenders(run):
        training = info.get("training")
        if info["kind"] == "hosted" and isinstance(training, dict):
            yield training["usd"]
