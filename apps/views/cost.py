"""Cost: quality against cost, from which volume on tuning pays, and how long an answer takes."""

from __future__ import annotations

import math

import streamlit as st

from apps.bills import bill_of, break_even_of, cost_spans
from apps.board import (
    diagnostics,
    experiment_of,
    heads,
    higher_is_better,
    level,
    metrics_of,
    priced_evidence,
    signatures,
    summaries,
)
from apps.partial import missing
from apps.picker import chosen
from apps.words import chart, literal, table, tiles
from workbench.card import count, interval, months, number, seconds, usd
from workbench.charts_money import break_even_chart, cost_quality_chart, latency_chart
from workbench.money import Money
from workbench.records import ContenderSummary
from workbench.runs import Run
from workbench.sections import Decision


def show(run: Run) -> None:
    """Draw the page."""
    st.title("Cost", anchor=False)
    metrics = metrics_of(run)
    if not metrics:
        missing(run, "scores")
        return
    metric, apart = metrics[0], diagnostics(run)
    rows = summaries(run, metric)
    _quality(run, rows, metric, apart)
    _break_even(run)
    _latency(run, rows, apart)


# -- quality against cost --------------------------------------------------------------------------------


def _quality(run: Run, rows: list[ContenderSummary], metric: str, apart: list[str]) -> None:
    st.subheader("Quality against cost", anchor=False)
    up = higher_is_better(metric, run)
    spans = cost_spans(run)
    if len(signatures(run, metric)) > 1:
        st.caption("No plot: the metric was computed in different ways, which do not stand on one axis.")
    elif (drawn := _drawn(rows, metric, up, apart, spans)) is not None:
        chart(drawn, name="quality-against-cost")
        st.caption(
            "The dotted line joins the contenders that none beats in both. Bars are intervals: "
            f"95 % of the score, {level(run)} of the cost."
            + (" ■ Diagnostic contenders can neither win nor be an alternative." if apart else "")
        )
    else:
        st.caption("No plot: neither prices nor seconds are known of every contender.")
    cheapest = sorted(rows, key=lambda c: (c.usd_per_1000 is None, c.usd_per_1000 or 0.0))
    span = f"{level(run)} interval"
    table([_row(c, metric, apart, {span: spans.get(c.name)}) for c in cheapest], "cost")


def _drawn(
    rows: list[ContenderSummary],
    metric: str,
    up: bool,
    apart: list[str],
    spans: dict[str, tuple[float, float]],
) -> object | None:
    # Intervals of USD belong to an axis of USD alone.
    priced = all(c.usd_per_1000 is not None for c in rows if c.score is not None)
    return cost_quality_chart(
        rows, metric, higher_is_better=up, diagnostic=apart, spans=spans if priced else None
    )


def _row(
    c: ContenderSummary, metric: str, apart: list[str], spans: dict[str, tuple[float, float] | None]
) -> dict[str, object]:
    return {
        "contender": c.name,
        "kind": f"{c.kind}, diagnostic" if c.name in apart else c.kind,
        "score": "–" if c.score is None else f"{number(c.score, metric)} {interval(c.interval, metric)}",
        "USD / 1,000": usd(c.usd_per_1000),
        **{label: f"[{usd(ends[0])}, {usd(ends[1])}]" if ends else "" for label, ends in spans.items()},
        "tokens / request": None if c.tokens_per_request is None else round(c.tokens_per_request),
        "time / request": seconds(c.seconds_per_request),
    }


# -- break-even ------------------------------------------------------------------------------------------


def _break_even(run: Run) -> None:
    experiment = experiment_of(run)
    evidence = priced_evidence(run, experiment) if experiment else ()
    tuned, others = [e.name for e in evidence if e.tuned], [e.name for e in evidence if not e.tuned]
    if experiment is None or not tuned or not others:
        return
    st.subheader("From which volume does tuning pay?", anchor=False)
    verdict = run.verdict()
    judged = verdict.tuned if verdict and verdict.tuned in tuned else tuned[0]
    named = verdict.difference.against if verdict and verdict.difference else None
    first, second, third, fourth = st.columns(4)
    one = first.selectbox("Tuned", tuned, tuned.index(judged), key=f"{run.name}/cost/tuned")
    other = second.selectbox(
        "against", others, others.index(named) if named in others else 0, key=f"{run.name}/cost/against"
    )
    decision = experiment.decision
    volume = third.number_input(
        "Requests a month", 0.0, value=float(decision.requests_per_month), step=1000.0, format="%.0f",
        key=f"{run.name}/cost/volume",
    )  # fmt: skip
    horizon = fourth.number_input(
        "Horizon, months", 1.0, value=float(decision.horizon_months), step=1.0, format="%g",
        key=f"{run.name}/cost/horizon",
    )  # fmt: skip
    tried = decision.model_copy(update={"requests_per_month": volume, "horizon_months": horizon})
    bill = bill_of(run, one, other, volume, horizon)
    if bill is not None:
        tiles(_bill(bill, tried))
    curve = break_even_of(run, one, other, volume, horizon)
    if not curve:
        st.caption("No curve: a price is unknown. Set a backend's price or decision.costs.gpu_usd_per_hour.")
        return
    chart(break_even_chart(curve, volume=volume, horizon=horizon, against=other), name="break-even")
    st.caption(literal(_crossing(curve, one, other, horizon)))
    st.caption(f"The band is the {level(run)} interval of what a request costs.")


def _bill(bill: Money, decision: Decision) -> list[tuple[str, str, str]]:
    prepared = decision.costs.data_usd + decision.costs.labour_usd
    once = (("data and work", prepared), ("training", bill.training), ("evaluation", bill.evaluation))
    facts = [
        ("once", usd(bill.fixed), ", ".join(f"{usd(spent)} {what}" for what, spent in once if spent)),
        ("hosting a month", usd(bill.hosting_per_month), "as decision.costs says"),
    ]
    if bill.saving_per_month is not None:
        value = bill.value_per_month
        worth = "quality not priced" if value is None else f"and {usd(value)} of quality"
        facts.append(("cheaper a month by", usd(bill.saving_per_month), worth))
        pays, chance = bill.payback_months, bill.payback_probability
        sure = "" if chance is None else f"within {decision.horizon_months:g} months: {chance:.0%}"
        facts.append(("pays back in", "never" if pays is None else months(pays), sure))
    return facts


def _crossing(curve: tuple[dict[str, float], ...], one: str, other: str, horizon: float) -> str:
    """From which volume the line is above zero; it is straight, so two points say it."""
    first, last = curve[0], curve[-1]
    rise = (last["net"] - first["net"]) / (last["volume"] - first["volume"])
    if rise <= 0 and first["net"] <= 0:
        return f"At no volume does {one} pay back against {other}: an answer of it is no cheaper."
    at = first["volume"] - first["net"] / rise if rise else math.inf
    if rise < 0:
        return f"{one} has paid back after {horizon:g} months up to {count(at)} requests a month."
    if first["net"] >= 0:
        return f"{one} has paid back after {horizon:g} months at any volume shown."
    return f"{one} has paid back after {horizon:g} months from {count(at)} requests a month on."


# -- latency ---------------------------------------------------------------------------------------------


def _latency(run: Run, rows: list[ContenderSummary], apart: list[str]) -> None:
    st.subheader("Latency", anchor=False)
    slow = {name: head["operations"].get("seconds_p95") for name, head in heads(run).items()}
    drawn = latency_chart(rows, slow, diagnostic=apart)
    if drawn is None:
        st.caption("Not measured: these answers came without times.")
        return
    chart(drawn, sum(c.seconds_per_request is not None for c in rows), name="latency")
    st.caption("Of a local model: a batch's time divided by its rows. Of a server: the whole request.")


if __name__ == "__main__":
    show(chosen())
