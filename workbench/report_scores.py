"""The report's scores: a table of contenders by metric, and the charts beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from . import card as words
from .document import Beside, Block, Cell, Table, Text
from .records import ContenderSummary, Verdict
from .report_figures import figures

Scores = dict[str, dict[str, Any]]


def score_blocks(
    scores: Scores, contenders: Sequence[ContenderSummary], primary: str | None, verdict: Verdict | None
) -> Iterator[Block]:
    """Every contender's score by every metric, the best first; charts where they may stand in one line."""
    if not contenders or primary is None:
        return
    higher = higher_is_better(scores, primary, verdict)
    order = words.best_first(contenders, higher)
    columns = _metric_columns(scores, primary)
    head = [words.metric_label(m, higher_is_better(scores, m)) + mark for m, _, mark in columns]
    rows: list[tuple[str | Cell, ...]] = [
        (
            Cell(c.name, _kind(c)),
            *(_score_cell(scores, c, metric, signature) for metric, signature, _ in columns),
            f"{c.n:,}",
            f"{c.errors:,}",
        )
        for c in order
    ]
    yield Table(("contender", *head, "scored", "failed"), tuple(rows))
    if any(mark for _, _, mark in columns):
        listed = "; ".join(f"{words.metric_label(m)}{mark} is {s}" for m, s, mark in columns if mark)
        yield Text(
            f"Columns of one metric with different signatures must not be ranked against each other: {listed}.",
            "note",
        )
    if any(c.score is not None for c in contenders) and not measured_apart(scores, primary):
        points = (
            lambda c: c.scores_chart(contenders, primary, higher_is_better=higher),
            "Scores with 95 % intervals, the best on top.",
        )
        yield Beside(figures(points, *_forest(verdict)))


def _kind(contender: ContenderSummary) -> str:
    tuned = ", tuned" if contender.tuned and contender.kind != "fine-tuned" else ""
    return f"{contender.kind}{tuned}" if contender.kind != contender.name or tuned else ""


def _forest(verdict: Verdict | None) -> Iterator[tuple[Callable[[Any], Any], str]]:
    tuned = verdict.tuned if verdict else None
    if verdict is None or tuned is None or not verdict.differences:
        return
    yield (
        lambda c: c.differences_chart(
            verdict.differences,
            verdict.metric,
            tuned=tuned,
            margin=verdict.margin,
            higher_is_better=verdict.higher_is_better,
        ),
        f"What {tuned} gains over each alternative on the same samples, with intervals. "
        "Tuning is worth it where every interval lies right of the dashed line.",
    )


def measured_apart(scores: Scores, metric: str) -> bool:
    """Whether contenders carry different signatures of a metric: then no chart may line them up."""
    return len({s["metrics"][metric]["signature"] for s in scores.values() if metric in s["metrics"]}) > 1


def _metric_columns(scores: Scores, primary: str) -> list[tuple[str, str, str]]:
    """(metric, signature, mark) of every column; a metric has one for each signature it was measured by."""
    signatures: dict[str, list[str]] = {primary: []}
    for found in scores.values():
        for metric, score in found["metrics"].items():
            known = signatures.setdefault(metric, [])
            if score["signature"] not in known:
                known.append(score["signature"])
    return [
        (metric, signature, f" ({i})" if len(known) > 1 else "")
        for metric, known in signatures.items()
        for i, signature in enumerate(known, 1)
    ]


def _score_cell(scores: Scores, contender: ContenderSummary, metric: str, signature: str) -> Cell:
    score = scores.get(contender.name, {}).get("metrics", {}).get(metric)
    if score is None:
        return Cell("no score", contender.reason or "not scored")
    if score["signature"] != signature:
        return Cell("–", "measured otherwise")
    if score["value"] is None:
        return Cell("no score", score["reason"] or "no reason given")
    return Cell(words.number(score["value"], metric, 3), words.interval(score["interval"], metric, 3))


def higher_is_better(scores: Scores, metric: str, verdict: Verdict | None = None) -> bool:
    """Whether more of a metric is better, as the verdict or the scores say."""
    if verdict is not None and verdict.metric == metric:
        return verdict.higher_is_better
    known = [s["metrics"][metric]["higher_is_better"] for s in scores.values() if metric in s["metrics"]]
    return bool(known[0]) if known else True
