"""The runs that were started from the app: how far each is, and the ways to stop it, go on, and see its verdict."""

from __future__ import annotations

import os
from pathlib import Path

import streamlit as st

from apps import picker
from apps.jobs import Job, JobError, jobs, last_words, progress, run_of, start, stop
from apps.reading import ReadOnce
from apps.words import literal
from workbench.runs import Run

ALLOW_VARIABLE = "WORKBENCH_ALLOW_RUN"
# Seconds between two looks at a run that is going on.
EVERY = 2.0


def allowed() -> bool:
    """Whether the app was started with --allow-run."""
    return os.environ.get(ALLOW_VARIABLE) == "1"


def job_list(root: Path) -> None:
    """Draw the started runs; while one is going on they are drawn anew every two seconds."""
    if not allowed():
        return
    going = any(job.pid is not None for job in jobs(root))
    st.fragment(_list, run_every=EVERY if going else None)(root, going)


def _list(root: Path, going: bool) -> None:
    found = jobs(root)
    if going and all(job.pid is None for job in found):
        st.rerun()  # the whole page: the pages of a run that has just ended show its verdict
    runs = ReadOnce.all(root)
    for job in found:
        _card(job, run_of(job, list(runs)))


def _card(job: Job, run: Run | None) -> None:
    words, pid = last_words(job), job.pid
    status = str(picker.meta_or_damage(run)["status"]) if run else "not begun"
    with st.container(border=True, key=f"job-{job.name}"):
        left, right = st.columns([3, 2], vertical_alignment="center")
        left.markdown(
            f"**{literal(job.name)}** · {literal('running' if pid else _ENDED.get(status, status))}"
        )
        with right.container(horizontal=True, horizontal_alignment="right"):
            _buttons(job, run, pid, status)
        if pid is not None and (step := progress(words)) is not None:
            st.progress(step[1], literal(step[0]))
        with st.expander("What it says", expanded=pid is not None or status != "success"):
            st.code("\n".join(words) or "nothing yet", language=None, wrap_lines=True)
            st.caption("The same in a shell:")
            st.code(job.command, language="bash")


_ENDED = {
    "success": "done",
    "cancelled": "stopped; going on redoes nothing that is finished",
    "started": "stopped; going on redoes nothing that is finished",
    "error": "broke off",
}


def _buttons(job: Job, run: Run | None, pid: int | None, status: str) -> None:
    if pid is not None:
        # The first stop is Ctrl-C, which a step of training may take its time to hear; the second does not ask.
        again = st.session_state.get(_asked(job)) == pid
        st.button(
            "Stop now" if again else "Stop",
            key=f"stop-{job.name}",
            icon=":material/stop:",
            on_click=_stop,
            args=(job, pid, again),
        )
        return
    label = "Run again" if status == "success" else "Go on" if run else "Run"
    if st.button(label, key=f"start-{job.name}", icon=":material/play_arrow:"):
        try:
            start(job)
        except JobError as error:
            st.error(literal(str(error)))
            return
        st.rerun()
    if run is not None and run.report_path("html").exists():
        opened = st.button(
            "See the verdict", key=f"open-{job.name}", type="primary", on_click=picker.take, args=(run.name,)
        )
        if opened:
            st.switch_page("views/decision.py")


def _stop(job: Job, pid: int, again: bool) -> None:
    if job.pid == pid:
        stop(job, kill=again)
        st.session_state[_asked(job)] = pid


def _asked(job: Job) -> str:
    """Where a session keeps which process it has asked to stop."""
    return f"stopping-{job.name}"
