"""Which run is shown: a list in the sidebar, and `?run=` in the address."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import streamlit as st

from apps.words import STATUS_SIGNS, ago, literal
from workbench.runs import Run, RunError

ROOT_VARIABLE = "WORKBENCH_RUNS"
_KEY = "run_name"


def root() -> Path:
    """The folder of run folders, handed over by `workbench app`."""
    return Path(os.environ.get(ROOT_VARIABLE) or "runs")


def choose(runs: list[Run]) -> Run:
    """Draw the list of runs and return the chosen one. A name that is not in the list opens nothing."""
    by_name = {run.name: run for run in runs}
    _take_from_address(by_name)
    metas = {name: meta_or_damage(run) for name, run in by_name.items()}
    with st.sidebar:
        name = st.selectbox(
            "Run",
            list(by_name),
            key=_KEY,
            format_func=lambda n: f"{STATUS_SIGNS.get(metas[n]['status'], '?')} {n}",
        )
        _describe(metas[name])
    if st.query_params.get("run", name) != name:
        st.query_params.pop("sample", None)  # it was one of the other run
    st.query_params["run"] = name
    st.session_state["run"] = by_name[name]
    return by_name[name]


def chosen() -> Run:
    """The run that the sidebar shows; pages call this."""
    run: Run = st.session_state["run"]
    return run


def take(name: str) -> None:
    """Choose a run before the page is drawn: a button's callback."""
    st.session_state[_KEY] = name


def meta_or_damage(run: Run) -> dict[str, Any]:
    """run.json, or what is wrong with it, so that one damaged folder leaves the others in reach."""
    try:
        return {"status": "?", **run.meta()}
    except RunError as error:
        return {"status": "damaged", "error": str(error)}


def _take_from_address(by_name: dict[str, Run]) -> None:
    if st.session_state.get(_KEY) in by_name:
        return
    asked = st.query_params.get("run")
    if asked is not None and asked not in by_name:
        st.warning(f"There is no run called {literal(asked)} here. The newest is shown instead.")
    st.session_state[_KEY] = asked if asked in by_name else next(iter(by_name))


def _describe(meta: dict[str, Any]) -> None:
    status = str(meta["status"])
    when = ago(meta.get("updated"), datetime.now(UTC))
    lines = [" · ".join(filter(None, [f"{STATUS_SIGNS.get(status, '?')} {status}", when]))]
    if meta.get("task"):
        rows = meta.get("dataset", {}).get("rows")
        lines.append(f"{meta['task']} · {rows:,} rows" if isinstance(rows, int) else str(meta["task"]))
    with st.container(gap="xxsmall"):
        for line in lines:
            st.caption(literal(line))
