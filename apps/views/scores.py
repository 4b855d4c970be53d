"""Scores: every contender on every metric, against each other, slice by slice, label by label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from apps.board import (
    alpha_of,
    diagnostics,
    heads,
    higher_is_better,
    level,
    metrics_of,
    signatures,
    summaries,
)
from apps.contrasts import (
    Contrast,
    contrasts,
    slice_changes,
    slice_masks,
    slice_scores,
    told_slices,
)
from apps.partial import missing
from apps.picker import chosen
from apps.words import chart, literal, table
from workbench.card import best_first, count, gap, interval, metric_label, number, p_value
from workbench.charts import scores_chart, slices_chart
from workbench.charts_scores import MOST_SQUARES, confusion_chart, forest_chart
from workbench.records import ContenderSummary, SliceChange
from workbench.runs import Run

CONCLUSIONS = {
    "better": "▲ better",
    "worse": "▼ worse",
    "equivalent": "= equivalent",
    "inconclusive": "? inconclusive",
}
MARKS = {"tuned": "◆", "alternative": "●", "diagnostic": "■"}
# Intervals of all slices are worked out unasked up to so many samples.
UNASKED = 5_000


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
    up, ways, apart = higher_is_better(metric, run), signatures(run, metric), diagnostics(run)
    rows = summaries(run, metric)
    _alike(run, [c for c in rows if c.name not in apart], metric, up, ways, apart)
    if apart:
        st.caption(
            f"{MARKS['diagnostic']} Diagnostic contenders explain the others: they can neither win nor be an alternative."
        )
    scored = [c.name for c in best_first(rows, up) if c.score is not None]
    roles = {c.name: _role(c, apart) for c in rows}
    if len(scored) > 1:
        _differences(run, metric, up, scored, roles)
        _slices(run, metric, up, scored)
    _confusions(run)


def _role(c: ContenderSummary, apart: list[str]) -> str:
    return "diagnostic" if c.name in apart else "tuned" if c.tuned else "alternative"


# -- whole -----------------------------------------------------------------------------------------------


def _alike(
    run: Run,
    racing: list[ContenderSummary],
    metric: str,
    up: bool,
    ways: dict[str, list[str]],
    apart: list[str],
) -> None:
    """A table and a chart for each way the metric was computed: those of two ways are never in one order."""
    rows = {c.name: c for c in summaries(run, metric)}
    if len(ways) > 1:
        st.warning(
            "Computed in different ways, so kept apart: values of two tables must not be compared.",
            icon=":material/call_split:",
        )
    for signature, who in ways.items() or [("", [])]:
        silent = [n for n, c in rows.items() if not any(n in group for group in ways.values())]
        last = signature == next(reversed(ways), "")
        shown = best_first([rows[n] for n in who], up) + ([rows[n] for n in silent] if last else [])
        _leaderboard(shown, metric, apart, signature)
        direction = "higher is better" if up else "lower is better"
        st.caption(literal(" · ".join(filter(None, [direction, "95 % intervals", signature]))))
        if any(c.score is not None for c in shown):
            drawn = scores_chart(shown, metric, higher_is_better=up, diagnostic=apart)
            chart(drawn, len(shown), name=f"scores-{metric}")
    if not any(c.score is not None for c in racing):
        st.info("No contender has a value of this metric; the notes in the table say why.")


def _leaderboard(rows: list[ContenderSummary], metric: str, apart: list[str], signature: str) -> None:
    shown = [
        {
            "contender": f"{MARKS[_role(c, apart)]} {c.name}",
            "kind": f"{c.kind}, diagnostic" if c.name in apart else c.kind,
            "score": "–" if c.score is None else number(c.score, metric),
            "interval": interval(c.interval, metric),
            "n": c.n,
            "failed": c.errors,
            "usd": c.usd_per_1000,
            "seconds": c.seconds_per_request,
            "tokens": None if c.tokens_per_request is None else round(c.tokens_per_request),
            "note": c.reason or "",
        }
        for c in rows
    ]
    columns = ["contender", "kind", "score", "interval", "n", "failed", "usd", "seconds", "tokens"]
    config: dict[str, Any] = {
        "contender": st.column_config.TextColumn(
            "contender", help="◆ tuned, ● not tuned, ■ diagnostic", pinned=True
        ),
        "score": st.column_config.TextColumn("score", alignment="right"),
        "interval": st.column_config.TextColumn("95 % interval"),
        "n": st.column_config.NumberColumn("n", help="samples scored", format="localized"),
        "failed": st.column_config.NumberColumn(
            "failed", help="requests without an answer; never scored as wrong"
        ),
        "usd": st.column_config.NumberColumn("USD / 1,000", format="$%.2f", help="cost of 1,000 requests"),
        "seconds": st.column_config.NumberColumn("s / request", format="%.3f"),
        "tokens": st.column_config.NumberColumn("tokens / request", format="%.0f", help="prompt and answer"),
    }
    if any(row["note"] for row in shown):
        columns.append("note")
    name = f"leaderboard-{metric}"
    table(shown, name, key=f"{name} {signature}", column_order=columns, column_config=config)


# -- against one -----------------------------------------------------------------------------------------


def _differences(run: Run, metric: str, up: bool, scored: list[str], roles: Mapping[str, str]) -> None:
    st.subheader("Paired differences", anchor=False)
    baseline = st.selectbox(
        "Against",
        scored,
        index=scored.index(_reference(run, scored, roles)),
        key=f"{run.name}/baseline/{metric}",
        width=320,
    )
    found = contrasts(run, metric, baseline)
    if not found:
        st.caption("None: no other contender was scored in the same way on the same samples.")
        return
    margin = _margin(run, metric)
    left, right = st.columns(2, gap="large", vertical_alignment="center")
    with left:
        gains = {c.name: c.gain for c in found}
        drawn = forest_chart(gains, roles, metric, baseline=baseline, margin=margin, higher_is_better=up)
        chart(drawn, len(found), name=f"gains-{metric}-{baseline}")
    with right:
        adjusted = any(c.p_holm is not None for c in found)
        alpha, span = alpha_of(run), f"{level(run)} interval"
        rows = [_row(c, metric, baseline, span, alpha if adjusted else None) for c in found]
        table(rows, f"gains-{metric}-{baseline}")
        if adjusted:
            st.caption(f"p (Holm) is adjusted over the secondary metrics of a pair; ✓ is below {alpha:g}.")
        for method in dict.fromkeys(c.gain.method for c in found):
            st.caption(literal(method))


def _reference(run: Run, scored: list[str], roles: Mapping[str, str]) -> str:
    """The alternative that the verdict speaks of, else the best one."""
    verdict = run.verdict()
    named = verdict.difference.against if verdict and verdict.difference else None
    untuned = [name for name in scored if roles[name] == "alternative"]
    return named if named in scored else next(iter(untuned), scored[0])


def _row(c: Contrast, metric: str, baseline: str, span: str, alpha: float | None) -> dict[str, Any]:
    """`span` names the interval; with `alpha` there is a column of adjusted p values."""
    row = {
        f"over {baseline}": c.name,
        "gain": gap(c.gain.estimate, metric),
        span: interval(c.gain.interval, metric, signed=True),
        "p": p_value(c.gain.p).removeprefix("p ").strip(),
    }
    if alpha is not None:
        sign = " ✓" if c.p_holm is not None and c.p_holm < alpha else ""
        row["p (Holm)"] = p_value(c.p_holm).removeprefix("p ").strip() + sign
    return {**row, "conclusion": CONCLUSIONS.get(c.conclusion, c.conclusion), "n": c.n}


def _margin(run: Run, metric: str) -> float:
    """The margin belongs to the primary metric alone."""
    verdict = run.verdict()
    return verdict.margin if verdict is not None and verdict.metric == metric else 0.0


# -- slice by slice --------------------------------------------------------------------------------------


def _slices(run: Run, metric: str, up: bool, scored: list[str]) -> None:
    values = slice_scores(run, metric)
    if not values:
        return
    st.subheader("Slices", anchor=False)
    verdict, masks = run.verdict(), slice_masks(run)
    tags = list(dict.fromkeys(name.partition("=")[0] for name in masks))
    first, second, third = st.columns([2, 1, 1], vertical_alignment="bottom")
    tag = first.segmented_control(
        "By", tags, default=tags[0], required=True, format_func=literal, key=f"{run.name}/slice-by"
    )
    tuned = verdict.tuned if verdict and verdict.tuned in scored else scored[0]
    against = verdict.harm.against if verdict and verdict.harm else None
    others = [name for name in scored if name != tuned]
    one = second.selectbox("Gain of", scored, scored.index(tuned), key=f"{run.name}/slice-one/{metric}")
    other = third.selectbox(
        "over", scored, scored.index(against if against in others else others[0]),
        key=f"{run.name}/slice-other/{metric}",
    )  # fmt: skip
    changes = None if one == other else _changes(run, metric, one, other, len(next(iter(masks.values()))))
    mine = {c.slice: c for c in changes or () if c.slice.partition("=")[0] == tag}
    rows = []
    for name in (name for name in masks if name.partition("=")[0] == tag):
        here = {v.name: v for v in values if v.slice == name}
        scores = {v.name: None if v.value is None else number(v.value, metric) for v in here.values()}
        row = {str(tag): name.partition("=")[2], "samples": int(masks[name].sum()), **scores}
        if changes is not None:
            row |= _change(mine.get(name), one, other, metric)
        rows.append(row)
    table(rows, f"slices-{metric}-{tag}")
    if mine:
        drawn = slices_chart(list(mine.values()), metric, tuned=one, higher_is_better=up)
        if drawn is not None:
            chart(drawn, sum(c.interval is not None for c in mine.values()), name=f"slices-{metric}-{tag}")
        st.caption(
            "Intervals of the gains hold together over all slices; ▼ is surely worse, ▲ surely better."
        )


def _changes(run: Run, metric: str, one: str, other: str, samples: int) -> tuple[SliceChange, ...] | None:
    """Gains on all slices: as the verdict has them, else worked out; of many samples when asked."""
    told = told_slices(run, metric, one, other)
    if told is not None:
        return told
    asked = f"{run.name}/work-out/{metric}/{one}/{other}"
    if samples > UNASKED and not st.session_state.get(asked):
        label = f"Work out the gains of {one} over {other} with intervals ({count(samples, 'sample')})"
        if not st.button(literal(label), key=f"{asked}/button"):
            return None
        st.session_state[asked] = True
    with st.spinner("Comparing slice by slice…"):
        return slice_changes(run, metric, one, other)


def _change(change: SliceChange | None, one: str, other: str, metric: str) -> dict[str, Any]:
    label = f"{one} − {other}"
    if change is None:
        return {label: None, "interval": ""}
    sign = ""
    if change.interval is not None:
        sign = " ▼" if change.interval[1] < 0 else " ▲" if change.interval[0] > 0 else ""
    span = interval(change.interval, metric, signed=True) or f"too small: {change.reason or 'no interval'}"
    return {label: gap(change.estimate, metric) + sign, "interval": span}


# -- label by label --------------------------------------------------------------------------------------


def _confusions(run: Run) -> None:
    found = {name: head["confusion"] for name, head in heads(run).items() if head["confusion"]}
    if not found:
        return
    st.subheader("Which label is taken for which", anchor=False)
    name = st.segmented_control(
        "Contender",
        list(found),
        default=list(found)[-1],
        required=True,
        format_func=literal,
        key=f"{run.name}/confusion",
    )
    matrix = found[name if name in found else next(iter(found))]
    labels, counts = matrix["labels"], matrix["counts"]
    if len(labels) <= MOST_SQUARES:
        # Room for a line a label, and for the labels below.
        chart(confusion_chart(labels, counts), 3 + len(labels) * 6 // 10, name=f"confusion-{name}")
    left, right = st.columns(2, gap="large")
    with left:
        st.caption("Each label")
        table(
            [
                {
                    "label": one["label"],
                    **{key: _share(one[key]) for key in ("precision", "recall", "f1")},
                    "true": one["support"],
                }
                for one in matrix["per_class"]
            ],
            f"labels-{name}",
        )
    with right:
        st.caption("The most frequent mistakes")
        said = [*labels, "(no label)"]
        wrong = [
            {"true": labels[i], "answered": said[j], "times": n}
            for i, row in enumerate(counts)
            for j, n in enumerate(row)
            if n and i != j
        ]
        table(sorted(wrong, key=lambda w: -w["times"])[:30], f"mistakes-{name}")
    st.caption(literal(f"{count(matrix['unscored'], 'failed answer')} left out · {matrix['signature']}"))


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    show(chosen())
