"""What a page says when the run has not come that far, or broke."""

from __future__ import annotations

from typing import Any

import streamlit as st

from apps.words import literal
from workbench.runs import Run

_STATUS_WORDS = {
    "started": "This run is still going, or it was stopped without a word. Running it again picks up where it ended.",
    "trained": "What is tuned here was trained last, and not asked yet. Running it again goes on from there.",
    "cancelled": "This run was cancelled. Running it again picks up where it ended.",
    "damaged": "The record of this run cannot be read; what else lies in the folder is shown as far as it goes.",
    "error": "This run broke off with an error. Mend the cause and run it again: nothing finished is redone.",
}


def missing(run: Run, what: str) -> None:
    """Say that something is not there yet and how to get it."""
    st.info(
        f"**No {literal(what)} yet.** It appears here once the run has come that far.",
        icon=":material/hourglass_empty:",
    )
    experiment = run.meta().get("experiment")
    st.caption(
        literal(f"Run the experiment file of {experiment} again to go on:" if experiment else "To go on:")
    )
    st.code("workbench run EXPERIMENT.yaml", language="bash")


def banner(run: Run, meta: dict[str, Any]) -> None:
    """Above every page of a run that is not complete: its state, its error, what to do."""
    words = _STATUS_WORDS.get(str(meta.get("status")))
    if words is None:
        return
    (st.error if meta["status"] in ("error", "damaged") else st.warning)(words)
    if meta.get("error"):
        st.code(str(meta["error"]), language=None, wrap_lines=True)


def damaged(error: ValueError) -> None:
    """Say what cannot be read."""
    st.error("This part of the run cannot be read.")
    st.code(str(error), language=None, wrap_lines=True)


def no_runs(root: str) -> None:
    """The first screen of somebody who has no run folder."""
    st.title("No runs here yet")
    st.text(f"No run folder lies directly under {root}.")
    st.markdown("Make an experiment from your data and run it:")
    st.code(
        "workbench init my-experiment --data DATA.jsonl\nworkbench run my-experiment/experiment.yaml",
        language="bash",
    )
    st.page_link("views/start.py", label="Or answer a few questions here", icon=":material/add_circle:")
    st.markdown("Runs that lie somewhere else open with their folder:")
    st.code("workbench app PATH/TO/RUNS", language="bash")
