"""Decision: the verdict, its card, what would change it, and the questions to answer before tuning."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import groupby

import streamlit as st

from apps.board import experiment_of
from apps.checklist import Point, checklist
from apps.partial import missing
from apps.picker import chosen
from apps.reading import derived
from apps.whatif import CONTROLS, changed, command, settings_of, what_if
from apps.words import chart, facts_list, literal, tiles
from workbench.card import (
    DOT,
    best_first,
    card,
    count,
    gap,
    headline,
    interval,
    metric_label,
    months,
    number,
    p_value,
    seconds,
    subtitle,
    usd,
)
from workbench.charts import differences_chart, scores_chart
from workbench.records import ContenderSummary, Verdict
from workbench.runs import Run
from workbench.sections import Decision
from workbench.verdict import standing

# Number inputs: least value, step and form; else from 0 in steps of 1, as cents.
_INPUTS = {
    "worth_it": (0.0, 0.01, "%.3f"),
    "requests_per_month": (0.0, 1000.0, "%.0f"),
    "horizon_months": (1.0, 1.0, "%g"),
}


def show(run: Run) -> None:
    """Draw the page."""
    today = datetime.now(UTC).date()
    filed = derived(standing)(run, today=today)
    if filed is None:
        st.title("Decision")
        missing(run, "verdict")
        return
    top = st.container()  # what the controls below it say stands above them
    verdict = _turn(run, filed, today)
    with top:
        _head(verdict)
    _evidence(run, verdict)
    st.subheader("In words", anchor=False)
    facts_list((label, text) for label, text in card(verdict) if label != "next")
    if points := checklist(run, verdict):
        st.subheader("Before tuning: is every question answered?", anchor=False)
        _checklist(points)
    st.subheader("Next", anchor=False)
    if verdict.next.startswith("workbench "):
        st.code(verdict.next, language="bash")
    else:
        st.text(verdict.next)


def _head(verdict: Verdict) -> None:
    with st.container(key=f"verdict-{verdict.headline}", gap="xsmall"):
        st.caption(literal(subtitle(verdict)))
        st.title(literal(headline(verdict)), anchor=False)
        st.text(verdict.sentence)
    st.space("small")
    tiles(_facts(verdict))
    if further := _further(verdict):
        tiles(further)


# -- what if ---------------------------------------------------------------------------------------------


def _turn(run: Run, filed: Verdict, today: date) -> Verdict:
    """Draw the controls; the verdict under them, which is the one on file while none was turned."""
    experiment = experiment_of(run)
    if experiment is None:
        return filed
    with st.expander("What if… the margin, a price or the volume were another?", icon=":material/tune:"):
        changes = changed(experiment.decision, _controls(run, experiment.decision))
        if not changes:
            st.caption("Turn a number and the card above follows at once. Nothing is written.")
            return filed
        try:
            with st.spinner("Deciding again…"):
                verdict = what_if(run, tuple(sorted(changes.items())), today)
        except ValueError as error:
            st.error(literal(str(error)))
            return filed
        same = "It stays" if headline(verdict) == headline(filed) else "On file it is"
        st.info(literal(f"What if: the card above is not on file. {same}: {headline(filed)}"))
        st.code(command(run, changes), language="bash")
    return verdict


def _controls(run: Run, decision: Decision) -> dict[str, float | None]:
    own = settings_of(decision)

    def key(name: str) -> str:
        return f"{run.name}/what-if/{name}"

    def reset() -> None:
        for name in own:
            st.session_state.pop(key(name), None)

    found: dict[str, float | None] = {}
    columns = st.columns(5, vertical_alignment="bottom")
    for place, control in enumerate(CONTROLS):
        least, step, form = _INPUTS.get(control.key, (0.0, 1.0, "%.2f"))
        value = own[control.key]
        found[control.key] = columns[place % 5].number_input(
            f"{control.label}, {control.unit}" if control.unit else control.label,
            min_value=least,
            value=None if value is None else float(value),
            step=step,
            format=form,
            placeholder="not set",
            help=control.help,
            key=key(control.key),
        )
    columns[len(CONTROLS) % 5].button(
        "As in the file", on_click=reset, width="stretch", key=key("reset"), icon=":material/undo:"
    )
    return found


# -- figures ---------------------------------------------------------------------------------------------


def _facts(verdict: Verdict) -> list[tuple[str, str, str]]:
    named = {c.name: c for c in verdict.contenders}
    tuned = named.get(verdict.tuned or "")
    d = verdict.difference
    other = named.get(d.against) if d else None
    shown = [c for c in (tuned, other) if c] or best_first(verdict.contenders, verdict.higher_is_better)[:2]
    facts = [_score_fact(verdict, c) for c in shown]
    if d is not None and tuned is not None:
        span = interval(d.interval, verdict.metric, signed=True) or "no interval"
        told = DOT.join(filter(None, [span, p_value(d.p)]))
        facts.append((f"gain over {d.against}", gap(d.estimate, verdict.metric), told))
    if shown:
        facts.append(_cost_fact(verdict, shown))
    return facts


def _further(verdict: Verdict) -> list[tuple[str, str, str]]:
    """What the test could show, and when tuning pays back."""
    parts = [count(verdict.groups, "group")] if verdict.groups else ["independent samples"]
    parts += [count(verdict.seeds, "training seed")] if verdict.seeds else []
    facts = [("test samples", count(verdict.n), DOT.join(parts))]
    effect, margin = verdict.smallest_detectable_effect, gap(verdict.margin, verdict.metric)
    if effect is not None:
        facts.append(("could detect", gap(effect, verdict.metric), f"or more; worth it from {margin}"))
    else:
        facts.append(("worth it from", margin, "no smallest detectable effect for this metric"))
    if verdict.costs.get("saving_usd_per_month") is not None:
        pays, chance = verdict.payback_months, verdict.costs.get("payback_probability")
        horizon = verdict.costs.get("horizon_months")
        sure = f"within {horizon:g} months: {chance:.0%}" if chance is not None and horizon else ""
        facts.append(("pays back in", "never" if pays is None else months(pays), sure))
    best = max(verdict.if_you_must.items(), key=lambda i: i[1]["probability_best"], default=None)
    if best is not None:
        chance = best[1]["probability_best"]
        facts.append(("most likely the best", best[0], f"in {chance:.0%} of resamples"))
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
        volume = verdict.costs.get("requests_per_month")
        below = "" if volume is None else f"{count(volume)} requests a month"
        return f"1,000 requests · {names}", " / ".join(usd(c.usd_per_1000) for c in shown), below
    return (
        f"one request · {names}",
        " / ".join(seconds(c.seconds_per_request) for c in shown),
        "no prices known",
    )


def _evidence(run: Run, verdict: Verdict) -> None:
    up, tuned = verdict.higher_is_better, verdict.tuned
    compared = bool(verdict.differences and tuned)
    left, *right = st.columns(1 + compared, gap="large")
    with left:
        st.caption("All contenders, with 95 % intervals")
        scores = scores_chart(verdict.contenders, verdict.metric, higher_is_better=up)
        chart(scores, len(verdict.contenders), name="scores")
    if tuned and right:
        with right[0]:
            st.caption("Paired gain on the same samples: this interval decides")
            gains = differences_chart(
                verdict.differences, verdict.metric, tuned=tuned, margin=verdict.margin, higher_is_better=up
            )
            chart(gains, len(verdict.contenders), name="gains")
        _to_samples(run, tuned, [d.against for d in verdict.differences])


def _to_samples(run: Run, tuned: str, others: list[str]) -> None:
    """Links to the samples that speak against the tuned contender."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(literal(f"Read the samples where {tuned} did worse than"), width="content")
        for other in others:
            st.page_link(
                "views/examples.py",
                label=literal(other),
                icon=":material/compare:",
                query_params={"run": run.name, "contender": tuned, "against": other, "outcomes": "loss"},
            )


def _checklist(points: tuple[Point, ...]) -> None:
    topics = [(topic, list(group)) for topic, group in groupby(points, key=lambda p: p.topic)]
    for column, (topic, group) in zip(st.columns(len(topics), gap="medium"), topics, strict=True):
        column.markdown(f"**{literal(topic)}**")
        for point in group:
            sign = "✓" if point.answer and not point.missing else "◐" if point.answer else "○"
            with column.container(gap="xxsmall"):
                st.caption(literal(f"{sign} {point.question}"))
                if point.answer:
                    st.text(point.answer)
                if point.missing:
                    st.caption(literal(point.missing))


if __name__ == "__main__":
    show(chosen())
