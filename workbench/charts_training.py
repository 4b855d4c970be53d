"""The charts of trainings: loss, one other measure over the steps, and the learning curve with its forecast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .card import metric_label, plain
from .charts import INK, MUTED, TUNED, _altair, _legend, _rule_at
from .curve import Course

# Okabe and Ito 2008, without the two that are too pale for lines; dashes tell lines apart without colours.
COLOURS = (TUNED, "#0072b2", "#009e73", "#cc79a7", "#e69f00", MUTED)
_DASHES = ((1, 0), (8, 3), (2, 2), (8, 3, 2, 3), (12, 4), (4, 4))
_TALL = 220


@dataclass(frozen=True, slots=True)
class Line:
    """One training: what it is called, the rows of its train.jsonl, the step that was kept."""

    name: str
    log: Sequence[Mapping[str, Any]]
    best_step: int | None = None


def losses_chart(lines: Sequence[Line], *, width: int = 400) -> Any:
    """Training loss as lines, dev loss as points joined by a dashed line; a ring on the dev loss that was kept.

    One training has a colour for each split, several have one each.
    """
    alt = _altair()
    several = len(lines) > 1
    rows = [
        {
            "training": plain(line.name),
            "split": split,
            "step": row["step"],
            "loss": row[key],
            "kept": split == "dev" and row["step"] == line.best_step,
        }
        for line in lines
        for split, key in (("train", "loss"), ("dev", "dev_loss"))
        for row in line.log
        if row.get(key) is not None
    ]
    splits = alt.Scale(domain=["train", "dev"], range=[[1, 0], [6, 3]])
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=_steps(alt),
        y=alt.Y("loss:Q", title="loss (nats per trained token)", scale=alt.Scale(zero=False)),
        color=_by_training(alt, lines)
        if several
        else alt.Color(
            "split:N",
            scale=alt.Scale(domain=["train", "dev"], range=[MUTED, TUNED]),
            legend=_legend(alt, "stroke"),
        ),
        tooltip=[*_tooltip(alt), "split:N", alt.Tooltip("loss:Q", format=".4f")],
    )
    dashes = alt.StrokeDash("split:N", scale=splits, legend=_legend(alt, "stroke"))
    dev = base.transform_filter("datum.split == 'dev'")
    kept = dev.transform_filter("datum.kept").mark_point(size=190, strokeWidth=2, opacity=1)
    layers = [
        base.mark_line(strokeWidth=2).encode(strokeDash=dashes, detail=["training:N", "split:N"]),
        dev.mark_point(size=45, filled=True, opacity=1),
        kept,
    ]
    if not several and lines[0].best_step is not None:
        best = lines[0].best_step
        late = 2 * best > max((row["step"] for row in rows), default=best)
        words = f"kept: step {best}"
        layers.insert(
            0, _rule_at(alt, float(best), words, INK, [3, 3], field="step", align="right" if late else "left")
        )
    return alt.layer(*layers).properties(width=width, height=_TALL)


def course_chart(
    lines: Sequence[Line], key: str, title: str, *, zero: bool = True, scale: float = 1.0, width: int = 400
) -> Any | None:
    """One measure of train.jsonl (times `scale`) over the steps; None where no training has it."""
    rows = [
        {"training": plain(line.name), "step": row["step"], "value": row[key] * scale}
        for line in lines
        for row in line.log
        if row.get(key) is not None
    ]
    if not rows:
        return None
    alt = _altair()
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=_steps(alt),
        y=alt.Y("value:Q", title=title, scale=alt.Scale(zero=zero)),
        color=_by_training(alt, lines) if len(lines) > 1 else alt.value(TUNED),
        tooltip=[*_tooltip(alt), alt.Tooltip("value:Q", title=title, format=",.4~g")],
    )
    dashes = alt.StrokeDash(
        "training:N", scale=alt.Scale(domain=_names(lines), range=[list(d) for d in _DASHES]), legend=None
    )
    return base.mark_line(strokeWidth=2).encode(strokeDash=dashes).properties(width=width, height=_TALL)


def learning_curve_chart(
    course: Course, metric: str, *, higher_is_better: bool = True, width: int = 400
) -> Any:
    """Scores of trainings on parts of the training split, and the band in which one more training would score."""
    alt = _altair()
    title = metric_label(metric, higher_is_better)
    x = alt.X("examples:Q", title="training rows", scale=alt.Scale(zero=True), axis=alt.Axis(format=",d"))
    points = [{"examples": n, "score": value, "what": "measured"} for n, value in course.points]
    band = [
        {"examples": n, "score": value, "low": low, "high": high, "what": "forecast"}
        for n, value, low, high in course.band
    ]
    y_scale = alt.Scale(zero=False)
    drawn = alt.Chart(alt.Data(values=points)).encode(
        x=x,
        y=alt.Y("score:Q", title=title, scale=y_scale),
        tooltip=[
            alt.Tooltip("examples:Q", title="training rows", format=","),
            alt.Tooltip("score:Q", format=".3f"),
        ],
    )
    marks = drawn.mark_point(size=90, filled=True, opacity=1, color=TUNED, shape="diamond")
    if not band:
        return marks.properties(width=width, height=_TALL)
    ahead = alt.Chart(alt.Data(values=band)).encode(x=x)
    area = ahead.mark_area(color=TUNED, opacity=0.15).encode(
        y=alt.Y("low:Q", title=title, scale=y_scale), y2="high:Q"
    )
    line = ahead.mark_line(color=TUNED, strokeDash=[6, 3]).encode(y=alt.Y("score:Q", scale=y_scale))
    largest = max(n for n, _ in course.points)
    here = _rule_at(alt, float(largest), "all rows", MUTED, [3, 3], field="examples")
    return alt.layer(area, line, here, marks).properties(width=width, height=_TALL)


def _names(lines: Sequence[Line]) -> list[str]:
    return [plain(line.name) for line in lines]


def _steps(alt: Any) -> Any:
    axis = alt.Axis(tickMinStep=1, tickCount=8, format=",d")
    return alt.X("step:Q", title="step", scale=alt.Scale(domainMin=0), axis=axis)


def _by_training(alt: Any, lines: Sequence[Line]) -> Any:
    return alt.Color(
        "training:N",
        scale=alt.Scale(domain=_names(lines), range=list(COLOURS)),
        legend=_legend(alt, "stroke"),
    )


def _tooltip(alt: Any) -> list[Any]:
    return [alt.Tooltip("training:N"), alt.Tooltip("step:Q", format=",")]
