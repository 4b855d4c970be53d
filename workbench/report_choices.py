"""What the report says beside the scores: how options were chosen on dev, and where retrieval or generation fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from . import card as words
from .choosing import said
from .document import Block, Cell, Table, Text
from .runs import Run


def choice_blocks(run: Run) -> Iterator[Block]:
    """Every option that answered dev, how it did there, and which was kept; fold by fold where there are folds."""
    rows: list[tuple[str | Cell, ...]] = []
    for name in run.contenders():
        for choice in (run.contender(name) or {}).get("choices") or ():
            where = f", fold {choice['fold']}" if "fold" in choice else ""
            for number, option in enumerate(choice["options"]):
                kept = "kept" if number == choice["kept"] else ""
                rows.append((f"{name}{where}", said(option), *_tried(option, choice["metric"]), kept))
    if not rows:
        return
    head = ("contender", "option", "on dev", "samples", "failed", "tokens a request", "")
    yield Table(head, tuple(rows), numeric=2)
    yield Text(
        "Options were tried on the dev split alone, by the primary metric; of equal ones the cheapest is kept. The best of "
        "several looks better on dev than it is: the test split, which no option has seen, tells how good it is.",
        "note",
    )


def _tried(option: Mapping[str, Any], metric: str) -> tuple[str | Cell, ...]:
    value, tokens = option["value"], option["tokens_per_request"]
    score = (
        Cell("no score", option["reason"] or "no reason given")
        if value is None
        else Cell(words.number(value, metric, 3), words.interval(option["interval"], metric, 3))
    )
    return (
        score,
        f"{option['n']:,}",
        f"{option['failed']:,}",
        "unknown" if tokens is None else f"{tokens:,.0f}",
    )


def diagnostic_blocks(run: Run, primary: str | None) -> Iterator[Block]:
    """Contenders that no verdict counts: with the right documents, or with none."""
    infos = {name: run.contender(name) or {} for name in run.contenders()}
    arms = [name for name, info in infos.items() if info.get("diagnostic")]
    found = {name: scores for name in arms if (scores := run.scores(name)) is not None}
    if not found or primary is None:
        return
    rows = []
    for name, scores in found.items():
        score = scores["metrics"].get(primary) or {"value": None, "interval": None, "n": 0}
        value = "no score" if score["value"] is None else words.number(score["value"], primary, 3)
        cell = Cell(value, words.interval(score["interval"], primary, 3))
        rows.append((name, _CONTEXTS[infos[name]["settings"]["context"]], cell, f"{score['n']:,}"))
    yield Table(("contender", "its passages", words.metric_label(primary), "scored"), tuple(rows), numeric=2)
    gaps = (run.comparison() or {}).get("diagnostics") or []
    told = tuple((_meaning(gap), _gap(gap["difference"], primary)) for gap in gaps)
    if told:
        yield Table(("difference", words.metric_label(primary)), told, numeric=1)
    yield Text(
        "These contenders explain the others and can neither win nor be an alternative: no user would be told which "
        "documents answer, and one without any is no RAG.",
        "note",
    )


_CONTEXTS = {"oracle": "the documents that answer", "none": "none"}


def _meaning(gap: Mapping[str, Any]) -> Cell:
    arm, against = gap["arm"], gap["against"]
    if gap["context"] == "oracle":
        return Cell(
            f"{arm} {words.MINUS} {against}", "what is lost because retrieval missed the right documents"
        )
    return Cell(f"{against} {words.MINUS} {arm}", "what the retrieved passages bring")


def _gap(difference: Mapping[str, Any], metric: str) -> Cell:
    span = words.interval(difference["interval"], metric, 3, signed=True)
    return Cell(words.gap(difference["estimate"], metric, 3), span or "no interval")
