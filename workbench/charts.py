"""The charts of the report and the app, as Altair charts.

Tuned contenders are vermilion diamonds, alternatives blue circles, diagnostic ones grey squares: told apart by
shape as well as by colours that are safe for the colour-blind (Okabe and Ito 2008). Charts carry no theme, so the app's own applies; `svg`
gives them the report's. Altair is imported when a chart is drawn: a report without it has tables.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from .card import best_first, gap, metric_label, number, plain
from .records import ContenderSummary, Difference, SliceChange

TUNED, ALTERNATIVE = "#d55e00", "#0072b2"
INK, MUTED, RULE = "#1b1f24", "#5b6470", "#d5dae1"

_ROLES = ("tuned", "alternative")
_MARKS = {
    "tuned": (TUNED, "diamond"),
    "alternative": (ALTERNATIVE, "circle"),
    "diagnostic": (MUTED, "square"),
}
_ROW = 36  # pixels of height for one line of a chart
_TALL = 220
_LABEL = 11


class ChartsMissing(RuntimeError):
    """The packages that draw are not installed; the message says how to get them."""


def scores_chart(
    contenders: Sequence[ContenderSummary],
    metric: str,
    *,
    higher_is_better: bool = True,
    diagnostic: Collection[str] = (),
    width: int = 400,
) -> Any:
    """Scores with their intervals, the best on top. Who has no score is left out."""
    alt = _altair()
    rows = [
        {
            "name": c.name,
            "role": "diagnostic" if c.name in diagnostic else _role(c.tuned),
            "score": c.score,
            **_ends(c.interval),
            "label": number(c.score, metric),
        }
        for c in best_first(contenders, higher_is_better)
        if c.score is not None
    ]
    title = metric_label(metric, higher_is_better)
    base = alt.Chart(alt.Data(values=rows)).encode(y=_lines(alt, rows))
    return (
        (
            _bars(alt, base, title, roles=_roles(rows))
            + _points(alt, base, "score", title, "name", "label", "role", roles=_roles(rows))
        )
        + base.mark_text(dy=-13, fontSize=_LABEL).encode(x="score:Q", text="label:N")
    ).properties(width=width, height=_height(rows))


def differences_chart(
    differences: Sequence[Difference],
    metric: str,
    *,
    tuned: str,
    margin: float,
    higher_is_better: bool = True,
    width: int = 400,
) -> Any:
    """Forest plot: what `tuned` gains over each alternative, the hardest first, with lines at 0 and the margin."""
    hardest_first = sorted(differences, key=lambda d: d.estimate)
    rows = [_gain(f"over {d.against}", "tuned", d, metric) for d in hardest_first]
    title = f"gain of {tuned} in {metric_label(metric, higher_is_better)}"
    return _forest(rows, title, _worth(margin, metric, TUNED), width)


def slices_chart(
    slices: Sequence[SliceChange], metric: str, *, tuned: str, higher_is_better: bool = True, width: int = 400
) -> Any | None:
    """Forest plot of the gain of `tuned` on every slice that has an interval, the worst first; None for none."""
    worst_first = sorted(slices, key=lambda s: s.estimate)
    rows = [_gain(plain(s.slice), "tuned", s, metric) for s in worst_first if s.interval is not None]
    if not rows:
        return None
    return _forest(rows, f"gain of {tuned} in {metric_label(metric, higher_is_better)}", [], width)


def loss_chart(rows: Sequence[Mapping[str, Any]], *, best_step: int | None = None, width: int = 400) -> Any:
    """Training and dev loss by step; a rule marks the step that was kept (else the lowest dev loss)."""
    alt = _altair()
    train = [
        {"step": r["step"], "loss": r["loss"], "split": "train"} for r in rows if r.get("loss") is not None
    ]
    dev = [
        {"step": r["step"], "loss": r["dev_loss"], "split": "dev"}
        for r in rows
        if r.get("dev_loss") is not None
    ]
    if best_step is None and dev:
        best_step = min(dev, key=lambda r: (r["loss"], r["step"]))["step"]
    split = {"domain": ["train", "dev"], "range": [MUTED, TUNED]}
    base = alt.Chart(alt.Data(values=[*train, *dev])).encode(
        x=alt.X("step:Q", title="step", axis=alt.Axis(tickMinStep=1)),
        y=alt.Y("loss:Q", title="loss (nats per trained token)", scale=alt.Scale(zero=False)),
        color=alt.Color("split:N", scale=alt.Scale(**split), legend=_legend(alt)),
    )
    lines = base.mark_line(strokeWidth=2).encode(
        strokeDash=alt.StrokeDash("split:N", scale=alt.Scale(domain=["train", "dev"], range=[[1, 0], [6, 3]]))
    )
    layers = [
        lines,
        base.transform_filter("datum.split == 'dev'").mark_point(size=50, filled=True, opacity=1),
    ]
    if best_step is not None:
        layers.insert(
            0, _rule_at(alt, float(best_step), f"kept: step {best_step}", INK, [3, 3], field="step")
        )
    return alt.layer(*layers).properties(width=width, height=_TALL)


def svg(chart: Any) -> str:
    """Draw a chart as SVG text: no script, no network, the system's sans-serif. Raises ChartsMissing."""
    try:
        import vl_convert
    except ImportError:
        raise ChartsMissing(_CURE) from None
    return str(vl_convert.vegalite_to_svg(chart.to_dict(), config=_THEME, allowed_base_urls=[]))


def png(chart: Any) -> bytes:
    """Draw a chart as a PNG on white at twice its size, in the report's inks. Raises ChartsMissing."""
    try:
        import vl_convert
    except ImportError:
        raise ChartsMissing(_CURE) from None
    paper = _THEME | {"background": "#ffffff", "padding": 16}
    return bytes(vl_convert.vegalite_to_png(chart.to_dict(), scale=2, config=paper, allowed_base_urls=[]))


_CURE = "Charts need altair and vl-convert-python: pip install 'decide-before-you-tune[app]'"

_TEXT = {"labelColor": MUTED, "titleColor": MUTED, "labelFontSize": 11, "titleFontSize": 11}
_THEME: dict[str, Any] = {
    "aria": False,  # the figure around it is described in words; thousands of part labels would hide that
    "background": "transparent",
    "font": "sans-serif",
    "padding": {"left": 8, "right": 8, "top": 4, "bottom": 4},  # the reader's sans-serif may run wider
    "view": {"stroke": None},
    "text": {"color": INK},
    "axis": {
        **_TEXT,
        "titleFontWeight": "normal",
        "titlePadding": 10,
        "labelPadding": 6,
        "gridColor": RULE,
        "domain": False,
        "ticks": False,
    },
    "axisBand": {"grid": False, "labelColor": INK, "labelFontSize": 12},
    "legend": {**_TEXT, "symbolSize": 80},
}


def _altair() -> Any:
    try:
        import altair
    except ImportError:
        raise ChartsMissing(_CURE) from None
    return altair


def _gain(name: str, role: str, found: Difference | SliceChange, metric: str) -> dict[str, Any]:
    """One line of a forest plot."""
    ends, label = _ends(found.interval), gap(found.estimate, metric)
    return {"name": name, "role": role, "gain": found.estimate, **ends, "label": label}


def _worth(margin: float, metric: str, colour: str) -> list[Any]:
    """The line from which a gain is worth it; none for a margin of 0, where the line at 0 says it."""
    if not margin:
        return []
    return [_rule_at(_altair(), margin, f"worth it from {gap(margin, metric)}", colour, [5, 4])]


def _forest(
    rows: Sequence[Mapping[str, Any]],
    title: str,
    lines: Sequence[Any],
    width: int,
    roles: tuple[str, ...] | None = None,
) -> Any:
    """Gains with their intervals over a line at 0 and others; a legend of the `roles`, where they differ."""
    alt = _altair()
    base = alt.Chart(alt.Data(values=rows)).encode(y=_lines(alt, rows))
    shown: dict[str, Any] = {"legend": roles is not None, "roles": roles or _ROLES}
    told = ("name", "label", "role") if roles else ("name", "label")
    marks = _bars(alt, base, title, **shown) + _points(alt, base, "gain", title, *told, **shown)
    labels = base.mark_text(dy=-13, fontSize=_LABEL).encode(x="gain:Q", text="label:N")
    zero = _rule_at(alt, 0.0, "", INK, [1, 0])
    return alt.layer(zero, *lines, marks, labels).properties(width=width, height=_height(rows))


def _role(tuned: bool) -> str:
    return _ROLES[0] if tuned else _ROLES[1]


def _ends(interval: tuple[float, float] | None) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {"low": low, "high": high}


def _height(rows: Sequence[Any]) -> int:
    return _ROW * max(1, len(rows))


def _lines(alt: Any, rows: Sequence[Mapping[str, Any]]) -> Any:
    return alt.Y(
        "name:N", title=None, sort=[r["name"] for r in rows], axis=alt.Axis(labelLimit=220, labelPadding=10)
    )


def _roles(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The roles of a legend: a diagnostic one only where there is one."""
    return tuple(r for r in _MARKS if r in _ROLES or any(row["role"] == r for row in rows))


def _bars(alt: Any, base: Any, title: str, *, legend: bool = True, roles: tuple[str, ...] = _ROLES) -> Any:
    """Error bars of the rows that have an interval."""
    x = alt.X("low:Q", title=title, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=6))
    shown = base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=2.5)
    return shown.encode(x=x, x2="high:Q", color=_colour(alt, legend, roles))


def _points(
    alt: Any,
    base: Any,
    field: str,
    title: str,
    *tooltip: str,
    legend: bool = True,
    roles: tuple[str, ...] = _ROLES,
) -> Any:
    return base.mark_point(size=130, filled=True, opacity=1).encode(
        x=alt.X(f"{field}:Q", title=title),
        color=_colour(alt, legend, roles),
        shape=_shape(alt, legend, roles),
        tooltip=_tooltip(alt, *tooltip),
    )


def _rule_at(
    alt: Any, place: float, text: str, colour: str, dash: list[int], field: str = "place", align: str = "left"
) -> Any:
    """A vertical line across the chart with its words at the top, to the right of it or (`align`) the left."""
    base = alt.Chart(alt.Data(values=[{field: place, "words": text}])).encode(x=f"{field}:Q")
    line = base.mark_rule(color=colour, strokeDash=dash, strokeWidth=1)
    words = base.mark_text(color=colour, fontSize=_LABEL, baseline="bottom", align=align, dx=-1)
    return line + words.encode(text="words:N", y=alt.value(-6))


def _legend(alt: Any, symbol: str | None = None) -> Any:
    shape = {} if symbol is None else {"symbolType": symbol, "symbolStrokeWidth": 2, "symbolSize": 400}
    return alt.Legend(title=None, orient="top", direction="horizontal", **shape)


def _colour(alt: Any, legend: bool = True, roles: tuple[str, ...] = _ROLES) -> Any:
    scale = alt.Scale(domain=list(roles), range=[_MARKS[role][0] for role in roles])
    return alt.Color("role:N", scale=scale, legend=_legend(alt) if legend else None)


def _shape(alt: Any, legend: bool = True, roles: tuple[str, ...] = _ROLES) -> Any:
    scale = alt.Scale(domain=list(roles), range=[_MARKS[role][1] for role in roles])
    return alt.Shape("role:N", scale=scale, legend=_legend(alt) if legend else None)


def _tooltip(alt: Any, *fields: str) -> list[Any]:
    return [alt.Tooltip(f"{field}:N", title=field) for field in fields]
