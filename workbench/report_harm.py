"""The report's section on harm: slices that got worse or better, and what was forgotten."""

from __future__ import annotations

from collections.abc import Iterator

from . import card as words
from .document import Beside, Block, Cell, Table, Text
from .records import SliceChange, Verdict
from .report_figures import figures


def harm_blocks(verdict: Verdict | None) -> Iterator[Block]:
    """Every slice against the reference alternative, and bits per byte of a general text."""
    harm = verdict.harm if verdict else None
    if verdict is None or harm is None:
        return
    metric, tuned = verdict.metric, verdict.tuned or "tuned"
    if harm.slices:
        head = ("slice", "samples", f"gain over {harm.against}", "")
        yield Table(head, tuple(_slice_row(s, metric) for s in harm.slices))
        points = (
            lambda c: c.slices_chart(
                harm.slices, metric, tuned=tuned, higher_is_better=verdict.higher_is_better
            ),
            f"What {tuned} gains over {harm.against} on each slice; left of the line it is worse.",
        )
        yield Beside(figures(points))
        yield Text(
            "All intervals hold together in 95 % of cases: a slice is called worse where its whole interval "
            "lies below zero. Slices are the data's tags, the classes, and thirds by the question's length.",
            "note",
        )
    if harm.forgetting is not None:
        f = harm.forgetting
        ends = [words.percent(end) for end in f.interval or ()]
        span = f"[{', '.join(ends)}]" if ends else "no interval"
        yield Table(
            ("general text", ""),
            (
                ("bits per byte before", f"{f.before:.3f}"),
                ("bits per byte after", f"{f.after:.3f}"),
                ("change", f"{words.percent(f.change)} {span}"),
                ("passages", words.count(f.passages)),
            ),
        )


def _slice_row(change: SliceChange, metric: str) -> tuple[str | Cell, ...]:
    surely = change.interval is not None and (change.interval[1] < 0) - (change.interval[0] > 0)
    return (
        change.slice,
        f"{change.n:,}",
        Cell(
            words.gap(change.estimate, metric, 3),
            words.interval(change.interval, metric, 3, signed=True) or change.reason or "no interval",
        ),
        {1: "worse", -1: "better"}.get(int(surely), ""),
    )
