"""The chart of a data set: how long its rows are, and what a limit would cut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .charts import ALTERNATIVE, INK, TUNED, _altair

# About as many bars as the eye takes in at once.
_BARS = 40
_STEPS = (1, 2, 5)


def lengths_chart(tokens: np.ndarray, *, title: str, limit: int | None = None, width: int = 400) -> Any:
    """Histogram of lengths in tokens, bars from zero; what reaches over the limit is of the other colour.

    A bar that the limit parts is drawn in two.
    """
    alt = _altair()
    rows = [
        {
            "from": low,
            "to": high,
            "rows": n,
            "kind": kind,
            "label": f"{low:,} to {high - 1:,} tokens: {n:,} rows",
        }
        for low, high, n, kind in bars(tokens, limit)
    ]
    x = alt.X(
        "from:Q",
        title=title,
        scale=alt.Scale(zero=True, nice=False),
        axis=alt.Axis(format=",d", tickMinStep=1),
    )
    kinds = ["kept whole", "cut"] if limit is not None else ["kept whole"]
    scale = alt.Scale(domain=kinds, range=[ALTERNATIVE, TUNED][: len(kinds)])
    legend = alt.Legend(title=None, orient="top", direction="horizontal") if limit is not None else None
    drawn = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(stroke="white", strokeWidth=0.5)
        .encode(
            x=x,
            x2="to:Q",
            y=alt.Y(
                "rows:Q", title="rows", scale=alt.Scale(zero=True), axis=alt.Axis(tickMinStep=1, format=",d")
            ),
            y2=alt.Y2Datum(0),
            color=alt.Color("kind:N", scale=scale, legend=legend),
            tooltip=[alt.Tooltip("label:N", title="length")],
        )
    )
    if limit is None:
        return drawn.properties(width=width, height=220)
    line = alt.Chart(alt.Data(values=[{"from": limit, "words": f"limit {limit:,}"}])).encode(x="from:Q")
    rule = line.mark_rule(color=INK, strokeDash=[5, 4], strokeWidth=1.5)
    words = line.mark_text(color=INK, fontSize=11, align="left", dx=5, baseline="top").encode(
        text="words:N", y=alt.value(0)
    )
    return alt.layer(drawn, rule, words).properties(width=width, height=220)


def bars(tokens: np.ndarray, limit: int | None) -> Iterator[tuple[int, int, int, str]]:
    """(from, to, rows, kind) of each bar that holds a row, `to` exclusive; the limit ends a bar."""
    longest = int(tokens.max(initial=0))
    step = _step(longest)
    # Rows of exactly `limit` tokens are whole, so a bar ends behind it.
    inner = [] if limit is None or limit >= longest else [limit + 1]
    edges = np.unique([*range(0, longest + step + 1, step), *inner])
    counts, _ = np.histogram(tokens, bins=edges)
    for low, high, n in zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True):
        if n:
            yield low, high, n, "cut" if limit is not None and low > limit else "kept whole"


def _step(longest: int) -> int:
    """A round width that gives no more than the usual number of bars."""
    size = 1
    while True:
        for step in _STEPS:
            if longest <= step * size * _BARS:
                return step * size
        size *= 10
