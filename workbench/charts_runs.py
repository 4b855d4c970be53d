"""The chart that holds runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .across import Moved
from .card import metric_label, number, plain
from .charts import _altair

# Okabe and Ito (2008), told apart by shape as well.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_SHAPES = ("circle", "diamond", "square", "triangle-up", "cross", "triangle-down")
_ROW = 26


def runs_chart(
    moved: Sequence[Moved],
    runs: Sequence[str],
    metric: str,
    *,
    higher_is_better: bool = True,
    width: int = 620,
) -> Any:
    """Each contender's score in every run with its interval; who has none is left out."""
    alt = _altair()
    rows = [
        {
            "contender": plain(one.contender),
            "run": plain(run),
            "score": score["value"],
            "low": (score["interval"] or [None])[0],
            "high": (score["interval"] or [None])[-1],
            "label": number(score["value"], metric),
        }
        for one in moved
        for run, score in zip(runs, one.scores, strict=True)
        if score is not None and score["value"] is not None
    ]
    names = [plain(run) for run in runs]
    legend = alt.Legend(title=None, orient="top", direction="vertical", labelLimit=0)
    colour = alt.Color(
        "run:N", scale=alt.Scale(domain=names, range=_COLOURS[: len(names)]), sort=names, legend=legend
    )
    shape = alt.Shape(
        "run:N", scale=alt.Scale(domain=names, range=_SHAPES[: len(names)]), sort=names, legend=legend
    )
    title = metric_label(metric, higher_is_better)
    scale = alt.Scale(zero=False, nice=True)
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y("contender:N", title=None, sort=None, axis=alt.Axis(labelLimit=240)),
        yOffset=alt.YOffset("run:N", sort=names),
    )
    bars = (
        base.transform_filter("isValid(datum.low)")
        .mark_rule(strokeWidth=2)
        .encode(x=alt.X("low:Q", title=title, scale=scale), x2="high:Q", color=colour)
    )
    tooltip = [alt.Tooltip(f"{field}:N", title=field) for field in ("contender", "run", "label")]
    points = base.mark_point(size=90, filled=True, opacity=1).encode(
        x=alt.X("score:Q", title=title, scale=scale), color=colour, shape=shape, tooltip=tooltip
    )
    rows_of = max(1, len({row["contender"] for row in rows}))
    return (bars + points).properties(width=width, height=_ROW * len(runs) * rows_of)
