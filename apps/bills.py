"""What tuning costs and brings against one alternative, derived from the folder; no Streamlit in here."""

from __future__ import annotations

from apps.board import experiment_of, priced_evidence
from apps.reading import derived
from workbench.evidence import Evidence
from workbench.experiment import Experiment
from workbench.money import Money, break_even, cost_interval, money
from workbench.runs import Run

# A straight line and its band want no more.
POINTS = 25


@derived
def bill_of(run: Run, tuned: str, other: str, volume: float, horizon: float) -> Money | None:
    """`workbench.money.money` of two contenders at this volume (requests a month) over this horizon (months)."""
    found = _asked(run, tuned, other, volume, horizon)
    return None if found is None else money(*found)


@derived
def break_even_of(
    run: Run, tuned: str, other: str, volume: float, horizon: float
) -> tuple[dict[str, float], ...]:
    """What tuning has brought after the horizon over volumes from none to four times this one, or to break-even."""
    found = _asked(run, tuned, other, volume, horizon)
    if found is None:
        return ()
    reach = max(4 * volume, 1000.0)
    ends = break_even(*found, (0.0, reach))
    if len(ends) == 2 and ends[0]["net"] < 0 < ends[1]["net"] - ends[0]["net"]:
        needed = -ends[0]["net"] / (ends[1]["net"] - ends[0]["net"]) * reach
        reach = max(reach, min(1.5 * needed, 1000 * reach))
    return tuple(break_even(*found, (reach * i / (POINTS - 1) for i in range(POINTS))))


@derived
def cost_spans(run: Run) -> dict[str, tuple[float, float]]:
    """The interval of USD per 1,000 requests of each contender whose answers have a price."""
    experiment = experiment_of(run)
    if experiment is None:
        return {}
    found = {
        e.name: cost_interval(e, experiment)
        for diagnostic in (False, True)
        for e in priced_evidence(run, experiment, diagnostic=diagnostic)
    }
    return {name: span for name, span in found.items() if span is not None}


def _asked(
    run: Run, tuned: str, other: str, volume: float, horizon: float
) -> tuple[Evidence, Evidence, Experiment] | None:
    experiment = experiment_of(run)
    known = {e.name: e for e in priced_evidence(run, experiment)} if experiment else {}
    if experiment is None or tuned not in known or other not in known:
        return None
    decision = experiment.decision.model_copy(
        update={"requests_per_month": volume, "horizon_months": horizon}
    )
    return known[tuned], known[other], experiment.model_copy(update={"decision": decision})
