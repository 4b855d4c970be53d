"""Decision: the verdict, its card, and the figures that carry it."""

from __future__ import annotations

import streamlit as st

from apps.partial import missing
from apps.picker import chosen
from apps.words import chart, facts_list, literal, tiles
from workbench.card import (
    best_first,
    card,
    gap,
    headline,
    interval,
    metric_label,
    months,
    number,
    seconds,
    subtitle,
    usd,
)
from workbench.charts import differences_chart, scores_chart
from workbench.records import ContenderSummary, Verdict
from workbench.runs import Run


def show(run: Run) -> None:
    """Draw the page."""
    verdict = run.verdict()
    if verdict is None:
        st.title("Decision")
        missing(run, "verdict")
        return
    with st.container(key=f"verdict-{verdict.headline}", gap="xsmall"):
        st.caption(literal(subtitle(verdict)))
        st.title(literal(headline(verdict)), anchor=False)
        st.text(verdict.sentence)
    st.space("small")
    tiles(_facts(verdict))
    _evidence(verdict)
    st.subheader("In words", anchor=False)
    facts_list((label, text) for label, text in card(verdict) if label != "next")
    st.subheader("Next", anchor=False)
    st.code(verdict.next, language="bash")


def _facts(verdict: Verdict) -> list[tuple[str, str, str]]:
    named = {c.name: c for c in verdict.contenders}
    tuned = named.get(verdict.tuned or "")
    d = verdict.difference
    other = named.get(d.against) if d else None
    shown = [c for c in (tuned, other) if c] or best_first(verdict.contenders, verdict.higher_is_better)[:2]
    facts = [_score_fact(verdict, c) for c in shown]
    if d is not None and tuned is not None:
        span = interval(d.interval, verdict.metric, signed=True) or "no interval"
        facts.append((f"gain over {d.against}", gap(d.estimate, verdict.metric), span))
    if shown:
        facts.append(_cost_fact(verdict, shown))
    return facts


def _score_fact(verdict: Verdict, c: ContenderSummary) -> tuple[str, str, str]:
    label = f"{c.name} · {metric_label(verdict.metric, verdict.higher_is_better)}"
    if c.score is None:
        return label, "no score", c.reason or "not scored"
    failed = f" · {c.errors} failed" if c.errors else ""
    return label, number(c.score, verdict.metric), f"{interval(c.interval, verdict.metric)}{failed}"


def _cost_fact(verdict: Verdict, shown: list[ContenderSummary]) -> tuple[str, str, str]:
    names = " / ".join(c.name for c in shown)
    if any(c.usd_per_1000 is not None for c in shown):
        pays = verdict.payback_months
        below = "" if pays is None else f"pays back in {months(pays)}"
        return f"1,000 requests · {names}", " / ".join(usd(c.usd_per_1000) for c in shown), below
    return (
        f"one request · {names}",
        " / ".join(seconds(c.seconds_per_request) for c in shown),
        "no prices known",
    )


def _evidence(verdict: Verdict) -> None:
    left, right = st.columns(2, gap="large")
    up, tuned = verdict.higher_is_better, verdict.tuned
    with left:
        st.caption("All contenders, with 95 % intervals")
        chart(scores_chart(verdict.contenders, verdict.metric, higher_is_better=up), len(verdict.contenders))
    if verdict.differences and tuned:
        with right:
            st.caption("Paired gain on the same samples: this interval decides")
            gains = differences_chart(
                verdict.differences, verdict.metric, tuned=tuned, margin=verdict.margin, higher_is_better=up
            )
            chart(gains, len(verdict.contenders))


if __name__ == "__main__":
    show(chosen())
