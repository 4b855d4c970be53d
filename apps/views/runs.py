"""Compare runs: what differs in their settings, and how the scores moved."""

from __future__ import annotations

import streamlit as st

from apps.board import higher_is_better, metrics_of
from apps.picker import chosen, root
from apps.reading import ReadOnce, derived
from apps.words import chart, literal, table
from workbench.across import Moved, Setting, scores_moved, settings_apart
from workbench.card import gap, interval, metric_label, number, p_value
from workbench.charts_runs import runs_chart
from workbench.runs import Run, RunError

FEWEST, MOST = 2, 6


def show(run: Run) -> None:
    """Draw the page."""
    st.title("Compare runs", anchor=False)
    there = {other.name: other for other in ReadOnce.all(root())}
    if len(there) < FEWEST:
        st.info("There is only one run here. Another seed, model or data set makes a second one to compare.")
        st.code("workbench run EXPERIMENT.yaml", language="bash")
        return
    picked = st.multiselect(
        "Runs, the first being what the others are held against",
        list(there),
        default=_usual(run, there),
        max_selections=MOST,
        key=f"{run.name}/compared",
    )
    if len(picked) < FEWEST:
        st.info("Pick a second run.")
        return
    runs = [there[name] for name in picked]
    _scores(runs)
    _settings(runs)


def _usual(run: Run, there: dict[str, Run]) -> list[str]:
    """The run of the sidebar, after the newest other one of the same experiment."""
    family = run.name.rpartition("-")[0]
    others = [name for name in there if name != run.name]
    alike = [name for name in others if name.rpartition("-")[0] == family]
    return [(alike or others)[0], run.name]


@derived
def _apart(run: Run, others: tuple[Run, ...]) -> list[Setting]:
    return settings_apart([run, *others])


@derived
def _moved(run: Run, others: tuple[Run, ...], metric: str) -> list[Moved]:
    return scores_moved([run, *others], metric)


def _settings(runs: list[Run]) -> None:
    st.subheader("What differs", anchor=False)
    apart = _apart(runs[0], tuple(runs[1:]))
    if not apart:
        st.caption("Nothing: the same experiment, data, models and versions.")
        return
    names = [run.name for run in runs]
    table(
        [{"setting": s.place, **dict(zip(names, s.values, strict=True))} for s in apart],
        "settings",
        column_config={"setting": st.column_config.TextColumn("setting", width="medium")},
    )


def _scores(runs: list[Run]) -> None:
    st.subheader("How the scores moved", anchor=False)
    metrics = list(dict.fromkeys(metric for run in runs for metric in metrics_of(run)))
    if not metrics:
        st.caption("None of these runs is scored yet.")
        return
    metric = st.selectbox("Metric", metrics, format_func=metric_label)
    try:
        moved = _moved(runs[0], tuple(runs[1:]), metric)
    except RunError as error:
        st.error(literal(str(error)))
        return
    names = [run.name for run in runs]
    up = higher_is_better(metric, next(run for run in runs if metric in metrics_of(run)))
    st.caption(literal(f"{metric_label(metric, up)}, 95 % intervals"))
    chart(runs_chart(moved, names, metric, higher_is_better=up), 2 * len(moved), "runs")
    table([_row(one, names, metric) for one in moved], "scores")
    apart = {reason for one in moved for reason in one.reasons if reason and "not comparable" in reason}
    for reason in sorted(apart):
        st.warning(literal(f"Scores that stand side by side are no comparison: {reason}."))


def _row(one: Moved, names: list[str], metric: str) -> dict[str, str]:
    row = {"contender": one.contender}
    for at, name in enumerate(names):
        score = one.scores[at]
        if score is None or score["value"] is None:
            row[name] = "no score"
        else:
            row[name] = f"{number(score['value'], metric)} {_span(score['interval'], metric)}".strip()
        if at:
            row[f"change in {name}"] = _change(one, at - 1, metric)
    return row


def _change(one: Moved, at: int, metric: str) -> str:
    found = one.changes[at]
    if found is None:
        return str(one.reasons[at])
    span = interval(found.interval, metric, signed=True)
    return f"{gap(found.difference, metric)} {span} {p_value(found.p)}".strip()


def _span(ends: list[float] | None, metric: str) -> str:
    return interval((ends[0], ends[1]), metric) if ends else ""


if __name__ == "__main__":
    show(chosen())
