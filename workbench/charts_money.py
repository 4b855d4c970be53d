"""The charts of money and time: quality against cost, break-even over the volume, and latency."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from .card import metric_label, number, seconds, usd
from .charts import (
    _LABEL,
    _TALL,
    INK,
    MUTED,
    TUNED,
    _altair,
    _colour,
    _ends,
    _height,
    _lines,
    _role,
    _roles,
    _shape,
    _tooltip,
)
from .records import ContenderSummary


def cost_quality_chart(
    contenders: Sequence[ContenderSummary],
    metric: str,
    *,
    higher_is_better: bool = True,
    diagnostic: Collection[str] = (),
    spans: Mapping[str, tuple[float, float]] | None = None,
    width: int = 400,
) -> Any | None:
    """Score against what 1,000 requests cost: USD where every price is known, else seconds of the machine.

    A line joins the contenders that none other beats in both (diagnostic ones left out). `spans` are intervals of
    the cost in its own unit. None where neither was measured for every scored contender: half a picture would mislead.
    """
    scored = [c for c in contenders if c.score is not None]
    unit, show = "USD", usd
    costs = _known({c.name: c.usd_per_1000 for c in scored})
    if costs is None:
        unit, show = "seconds", seconds
        costs = _known({c.name: c.seconds_per_request and c.seconds_per_request * 1000 for c in scored})
    if not costs:
        return None
    rows = [
        {
            "name": c.name,
            "role": "diagnostic" if c.name in diagnostic else _role(c.tuned),
            "cost": costs[c.name],
            "score": c.score,
            **_ends(c.interval),
            **dict(zip(("least", "most"), (spans or {}).get(c.name, ()), strict=False)),
            "label": f"{c.name}: {number(c.score, metric)} for {show(costs[c.name])}",
        }
        for c in scored
        if c.score is not None
    ]
    return _cost_quality(rows, unit, metric, higher_is_better, width)


def _cost_quality(
    rows: Sequence[Mapping[str, Any]], unit: str, metric: str, higher_is_better: bool, width: int
) -> Any:
    alt = _altair()
    title = metric_label(metric, higher_is_better)
    # Room on the right for the names beside the points.
    reach = 1.2 * max(row["cost"] for row in rows) or 1.0
    scale = alt.Scale(domain=[0, reach], nice=False)
    x = alt.X("cost:Q", title=f"{unit} per 1,000 requests", scale=scale, axis=alt.Axis(tickCount=6))
    y_scale = alt.Scale(zero=False)
    base = alt.Chart(alt.Data(values=rows)).encode(x=x)
    colour = _colour(alt, roles=_roles(rows))
    bars = (
        base.transform_filter("isValid(datum.low)")
        .mark_rule(strokeWidth=2)
        .encode(y=alt.Y("low:Q", title=title, scale=y_scale), y2="high:Q", color=colour)
    )
    wide = (
        base.transform_filter("isValid(datum.least)")
        .mark_rule(strokeWidth=2)
        .encode(x="least:Q", x2="most:Q", y="score:Q", color=colour)
    )
    points = base.mark_point(size=120, filled=True, opacity=1).encode(
        y=alt.Y("score:Q", title=title, scale=y_scale),
        color=colour,
        shape=_shape(alt, roles=_roles(rows)),
        tooltip=_tooltip(alt, "label", "role"),
    )
    names = base.mark_text(dx=11, dy=-9, align="left", fontSize=_LABEL).encode(y="score:Q", text="name:N")
    front = alt.Chart(alt.Data(values=_front(rows, higher_is_better))).mark_line(
        color=MUTED, strokeDash=[2, 3], strokeWidth=1.5
    )
    line = front.encode(x="cost:Q", y="score:Q", order="cost:Q")
    return (line + bars + wide + points + names).properties(width=width, height=_TALL)


def _front(rows: Sequence[Mapping[str, Any]], higher_is_better: bool) -> list[dict[str, float]]:
    """The contenders that no cheaper one equals: what each step up in quality costs at least."""
    sign = 1 if higher_is_better else -1
    racing = sorted(
        (r for r in rows if r["role"] != "diagnostic"), key=lambda r: (r["cost"], -sign * r["score"])
    )
    front: list[dict[str, float]] = []
    for row in racing:
        if not front or sign * row["score"] > sign * front[-1]["score"]:
            front.append({"cost": row["cost"], "score": row["score"]})
    return front


def _known(costs: Mapping[str, float | None]) -> dict[str, float] | None:
    """The costs, or None where one of them is not known."""
    known = {name: cost for name, cost in costs.items() if cost is not None}
    return known if len(known) == len(costs) else None


def break_even_chart(
    curve: Sequence[Mapping[str, float]], *, volume: float, horizon: float, against: str, width: int = 400
) -> Any:
    """What tuning has brought by the horizon's end, in USD, over requests a month; a line at zero and at the volume.

    `curve` has rows of `volume`, `net`, `low` and `high`.
    """
    alt = _altair()
    title = f"USD after {horizon:g} months, against {against}"
    base = alt.Chart(alt.Data(values=list(curve))).encode(
        x=alt.X("volume:Q", title="requests a month", axis=alt.Axis(tickCount=6, format="~s"))
    )
    y = alt.Y("net:Q", title=title, axis=alt.Axis(format="$~s"))
    band = base.mark_area(opacity=0.18, color=TUNED).encode(
        y=alt.Y("low:Q", title=title, axis=alt.Axis(format="$~s")), y2="high:Q"
    )
    line = base.mark_line(color=TUNED, strokeWidth=2.5).encode(
        y=y, tooltip=[alt.Tooltip("volume:Q", format=",.0f"), alt.Tooltip("net:Q", format="$,.2f")]
    )
    zero = alt.Chart(alt.Data(values=[{"net": 0}])).mark_rule(color=INK, strokeWidth=1).encode(y="net:Q")
    here = alt.Chart(alt.Data(values=[{"volume": volume, "words": "this volume"}])).encode(x="volume:Q")
    rule = here.mark_rule(color=MUTED, strokeDash=[5, 4])
    words = here.mark_text(color=MUTED, fontSize=_LABEL, baseline="bottom", align="left", dx=-1)
    return alt.layer(band, line, zero, rule, words.encode(text="words:N", y=alt.value(-6))).properties(
        width=width, height=_TALL
    )


def latency_chart(
    contenders: Sequence[ContenderSummary],
    slow: Mapping[str, float | None],
    *,
    diagnostic: Sequence[str] = (),
    width: int = 400,
) -> Any | None:
    """Mean seconds of a request and, as a tick, the time that 95 of 100 stay under (`slow`); None without a time."""
    rows = [
        {
            "name": c.name,
            "role": "diagnostic" if c.name in diagnostic else _role(c.tuned),
            "mean": c.seconds_per_request,
            "p95": slow.get(c.name),
        }
        for c in sorted(contenders, key=lambda c: c.seconds_per_request or 0.0)
        if c.seconds_per_request is not None
    ]
    if not rows:
        return None
    alt = _altair()
    title = "seconds a request: mean, and | 95 of 100 under"
    base = alt.Chart(alt.Data(values=rows)).encode(y=_lines(alt, rows))
    look = {"title": title, "scale": alt.Scale(domainMin=0), "axis": alt.Axis(tickCount=8)}
    colour = _colour(alt, roles=_roles(rows))
    known = base.transform_filter("isValid(datum.p95)")
    lines = known.mark_rule(strokeWidth=1.5, opacity=1).encode(
        x=alt.X("mean:Q", **look), x2="p95:Q", color=colour
    )
    ticks = known.mark_tick(thickness=2.5, size=16, opacity=1).encode(x=alt.X("p95:Q", **look), color=colour)
    points = base.mark_point(size=130, filled=True, opacity=1).encode(
        x=alt.X("mean:Q", **look),
        color=colour,
        shape=_shape(alt, roles=_roles(rows)),
        tooltip=[
            alt.Tooltip("name:N"),
            alt.Tooltip("mean:Q", format=".3f"),
            alt.Tooltip("p95:Q", format=".3f"),
        ],
    )
    return alt.layer(lines, ticks, points).properties(width=width, height=_height(rows))
