"""How long the training rows are, and a slider for where they are cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from apps.reading import derived
from apps.words import chart, literal, tiles
from workbench.card import count
from workbench.charts_data import lengths_chart
from workbench.lengths import Lengths
from workbench.runs import Run


@derived
def _lengths(run: Run) -> Lengths | None:
    rows = run.lengths()
    return Lengths(rows) if rows else None


def limit(run: Run, cost: Mapping[str, Any] | None) -> None:
    """Draw the histograms, and what a limit of so many tokens would cost in rows and trained tokens."""
    lengths = _lengths(run)
    if lengths is None or cost is None:
        st.caption("No lengths: this run did not measure them; running it again does.")
        return
    of, n = cost["examples"], len(lengths.tokens)
    rows = count(n, "training row") if n == of else f"{n:,} evenly spaced rows of {of:,} for training"
    st.caption(literal(f"{rows}, counted by {cost['tokenizer']}, template included"))
    # A row is at least a few tokens long, and a slider needs two ends.
    most = max(lengths.longest, 2)
    at = st.slider(
        "Cut rows after so many tokens",
        1,
        most,
        min(_usual(run) or most, most),
        help="max_length of a fine-tuned contender; lint and the bill of a hosted one have limits of their own",
    )
    cut = lengths.cut(at)
    total, trained = int(lengths.tokens.sum()), int(lengths.trained.sum())
    tiles(
        [
            ("rows cut", count(cut.rows), _share(cut.rows, n, "of the rows")),
            ("trained tokens cut", count(cut.trained), _share(cut.trained, trained, "of those that train")),
            ("tokens cut", count(cut.tokens), _share(cut.tokens, total, "of all")),
            ("rows left with nothing to learn", count(cut.emptied), "everything that trains is cut"),
        ]
    )
    left, right = st.columns(2, gap="large")
    with left:
        st.caption("Tokens of a row")
        chart(lengths_chart(lengths.tokens, title="tokens of a row", limit=at), name="row-lengths")
    with right:
        st.caption("Tokens of a row that train")
        chart(lengths_chart(lengths.trained, title="trained tokens of a row"), name="trained-lengths")


def _usual(run: Run) -> int | None:
    """The limit that a contender of this run was trained with."""
    settings = ((run.contender(name) or {}).get("settings") or {} for name in run.contenders())
    return next((s["max_length"] for s in settings if s.get("max_length")), None)


def _share(part: int, whole: int, of: str) -> str:
    return f"{part / whole:.1%} {of}" if whole else of
