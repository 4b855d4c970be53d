"""Scores: every contender on every metric, with intervals and paired differences."""

from __future__ import annotations

from typing import Any

import streamlit as st

from apps.board import Pair, gain, higher_is_better, metrics_of, pairs, signatures, summaries
from apps.partial import missing
from apps.picker import chosen
from apps.words import chart, literal
from workbench.card import best_first, gap, interval, metric_label, number, p_value
from workbench.charts import cost_quality_chart, differences_chart, scores_chart
from workbench.records import ContenderSummary, Difference
from workbench.runs import Run

CONCLUSIONS = {
    "better": "▲ better",
    "worse": "▼ worse",
    "equivalent": "= equivalent",
    "inconclusive": "? inconclusive",
}


def show(run: Run) -> None:
    """Draw the page."""
    st.title("Scores", anchor=False)
    names = metrics_of(run)
    if not names:
        missing(run, "scores")
        return
    metric = st.segmented_control(
        "Metric",
        names,
        default=names[0],
        required=True,
        format_func=lambda m: literal(metric_label(m)),
        key=f"metric of {run.name}",
    )
    metric = metric if metric in names else names[0]
    up = higher_is_better(metric)
    rows = summaries(run, metric)
    ways = signatures(run, metric)
    if len(ways) > 1:
        told = "; ".join(f"{', '.join(who)}: {how}" for how, who in ways.items())
        st.warning(f"Computed in different ways, so not ranked: {literal(told)}")
    else:
        rows = best_first(rows, up)
    _leaderboard(rows, metric)
    for signature in ways if len(ways) == 1 else ():
        direction = "higher is better" if up else "lower is better"
        st.caption(literal(f"{direction} · 95 % intervals · {signature}"))
    _charts(rows, metric, up)
    _differences(pairs(run, metric), metric, up, _margin(run, metric))


def _leaderboard(rows: list[ContenderSummary], metric: str) -> None:
    table = [
        {
            "contender": f"{'◆' if c.tuned else '●'} {c.name}",
            "kind": c.kind,
            "score": "–" if c.score is None else number(c.score, metric),
            "interval": interval(c.interval, metric),
            "n": c.n,
            "failed": c.errors,
            "usd": c.usd_per_1000,
            "seconds": c.seconds_per_request,
            "tokens": c.tokens_per_request,
            "note": c.reason or "",
        }
        for c in rows
    ]
    columns = ["contender", "kind", "score", "interval", "n", "failed", "usd", "seconds", "tokens"]
    config: dict[str, Any] = {
        "contender": st.column_config.TextColumn("contender", help="◆ tuned, ● not tuned", pinned=True),
        "score": st.column_config.TextColumn("score", alignment="right"),
        "interval": st.column_config.TextColumn("95 % interval"),
        "n": st.column_config.NumberColumn("n", help="samples scored", format="%d"),
        "failed": st.column_config.NumberColumn(
            "failed", help="requests without an answer; never scored as wrong"
        ),
        "usd": st.column_config.NumberColumn("USD / 1,000", format="$%.2f", help="cost of 1,000 requests"),
        "seconds": st.column_config.NumberColumn("s / request", format="%.3f"),
        "tokens": st.column_config.NumberColumn("tokens / request", format="%.0f", help="prompt and answer"),
    }
    if any(row["note"] for row in table):
        columns.append("note")
    st.dataframe(table, hide_index=True, column_order=columns, column_config=config)


def _charts(rows: list[ContenderSummary], metric: str, up: bool) -> None:
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Score", anchor=False)
        chart(scores_chart(rows, metric, higher_is_better=up), len(rows))
    against_cost = cost_quality_chart(rows, metric, higher_is_better=up)
    if against_cost is not None:
        with right:
            st.subheader("Quality against cost", anchor=False)
            chart(against_cost)


def _differences(found: list[Pair], metric: str, up: bool, margin: float) -> None:
    st.subheader("Paired differences", anchor=False)
    if not found:
        st.caption(
            "None yet: they need a tuned contender and an untuned one, both scored on the same samples."
        )
        return
    for tuned in dict.fromkeys(pair.tuned for pair in found):
        mine = [(pair, gain(pair.difference, up)) for pair in found if pair.tuned == tuned]
        mine.sort(key=lambda item: item[1].estimate)
        left, right = st.columns(2, gap="large", vertical_alignment="center")
        with left:
            gains = [won for _, won in mine]
            drawn = differences_chart(gains, metric, tuned=tuned, margin=margin, higher_is_better=up)
            chart(drawn, len(mine))
        with right:
            st.dataframe([_difference_row(pair, won, metric) for pair, won in mine], hide_index=True)
            for method in dict.fromkeys(won.method for won in gains):
                st.caption(literal(method))


def _difference_row(pair: Pair, won: Difference, metric: str) -> dict[str, Any]:
    return {
        f"{pair.tuned} over": won.against,
        "gain": gap(won.estimate, metric),
        "95 % interval": interval(won.interval, metric, signed=True),
        "p": p_value(won.p).removeprefix("p ").strip(),
        "conclusion": CONCLUSIONS.get(pair.conclusion, pair.conclusion),
        "n": pair.n,
    }


def _margin(run: Run, metric: str) -> float:
    """The margin belongs to the primary metric alone."""
    verdict = run.verdict()
    return verdict.margin if verdict is not None and verdict.metric == metric else 0.0


if __name__ == "__main__":
    show(chosen())
