"""The charts of the Scores page: a forest of differences, slices, and which label is taken for which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .card import metric_label, plain
from .charts import ALTERNATIVE, INK, _altair, _forest, _gain, _roles, _worth
from .records import Difference

# Labels beyond so many make squares that nobody can read.
MOST_SQUARES = 40


def forest_chart(
    gains: Mapping[str, Difference],
    roles: Mapping[str, str],
    metric: str,
    *,
    baseline: str,
    margin: float = 0.0,
    higher_is_better: bool = True,
    width: int = 400,
) -> Any:
    """What each contender gains over `baseline` on the same samples, the best on top; lines at 0 and the margin.

    `roles` are tuned, alternative or diagnostic, by name.
    """
    best_on_top = sorted(gains.items(), key=lambda item: -item[1].estimate)
    rows = [_gain(plain(name), roles.get(name, "alternative"), d, metric) for name, d in best_on_top]
    title = f"gain over {baseline} in {metric_label(metric, higher_is_better)}"
    return _forest(rows, title, _worth(margin, metric, INK), width, _roles(rows))


def confusion_chart(labels: Sequence[str], counts: Sequence[Sequence[int]], *, width: int = 400) -> Any:
    """Squares of true against answered labels: the share of the true label by shade, the count in figures.

    `counts` is `[true, answered + none of them]`; a last column without a count is left out.
    """
    alt = _altair()
    true = [plain(label) for label in labels]
    said = [*true, "(no label)"]
    rows = [
        {"true": true[i], "answered": said[j], "n": n, "share": n / max(1, sum(row))}
        for i, row in enumerate(counts)
        for j, n in enumerate(row)
        if j < len(true) or any(one[-1] for one in counts)
    ]
    # Labels that nobody answered have their column too: the diagonal holds what is right.
    shown = [name for name in said if any(row["answered"] == name for row in rows)]
    axis = alt.Axis(labelLimit=140, labelAngle=-40, labelOverlap=False)
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("answered:N", title="answered", scale=alt.Scale(domain=shown), axis=axis),
        y=alt.Y(
            "true:N",
            title="true",
            scale=alt.Scale(domain=true),
            axis=alt.Axis(labelLimit=140, labelOverlap=False),
        ),
    )
    shade = alt.Color(
        "share:Q",
        title="share of the true label",
        scale=alt.Scale(domain=[0, 1], range=["#f3f5f7", ALTERNATIVE]),
        legend=alt.Legend(orient="top", format="%"),
    )
    tips = [alt.Tooltip(f"{field}:N", title=field) for field in ("true", "answered", "n")]
    squares = base.transform_filter("datum.n > 0").mark_rect().encode(color=shade, tooltip=tips)
    # On a shade, so never in the inks that a dark page turns.
    words = (
        base.transform_filter("datum.n > 0")
        .mark_text(fontSize=10)
        .encode(
            text="n:Q",
            color=alt.condition("datum.share > 0.5", alt.value("#ffffff"), alt.value("#15181b")),
        )
    )
    return (squares + words).properties(width=width, height=max(160, 24 * len(true)))
