"""Start: a data set in, an experiment out; with `workbench app --allow-run` it runs from here."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast, get_args

import streamlit as st

from apps.job_list import allowed, job_list
from apps.jobs import JobError, save, start
from apps.picker import root
from apps.uploads import MOST_MB, TYPES, Upload, laid_out, safe_name, without_folder
from apps.words import facts_list, literal
from metrics import METRICS
from validators.reading import DataError, Row, read_rows
from workbench.draft import draft, run_command, told
from workbench.experiment import Experiment, ExperimentError, Task
from workbench.proposal import Proposal, Wishes, propose
from workbench.proposal_columns import ColumnsUnknown, ProposalError, find_columns, is_chat
from workbench.sections import Columns
from workbench.settings import NAME_PATTERN

_FAULTS = (DataError, ExperimentError, ProposalError)
_PLAN_SECONDS = 300


def show() -> None:
    """Draw the page."""
    st.title("Start", anchor=False)
    st.text("From your data to an experiment that says whether tuning pays.")
    job_list(root())
    uploaded = st.file_uploader(
        "Your rows: chats, or a table with a question and an answer",
        type=list(TYPES),
        max_upload_size=MOST_MB,
        key="start-upload",
    )
    if uploaded is None:
        st.caption("The same without a browser:")
        st.code("workbench init my-experiment --data DATA.jsonl", language="bash")
        return
    try:
        rows = _rows(uploaded)
        columns = _columns(rows)
        proposal = None if columns == () else _asked(uploaded, rows, columns)
        if proposal is not None:
            _experiment(uploaded, rows, proposal)
    except _FAULTS as error:
        st.error("This does not work yet.")
        st.code(str(error), language=None, wrap_lines=True)


# -- the data --------------------------------------------------------------------------------------------


def _rows(uploaded: Upload) -> list[Row]:
    """The file's rows, read once. Raises DataError."""

    def read() -> list[Row]:
        with laid_out(uploaded) as path:
            try:
                rows = list(read_rows(path))
            except DataError as error:
                raise DataError(without_folder(str(error), path)) from None
        if not rows:
            raise ProposalError(f"{path.name}: there are no rows in it.")
        return rows

    return cast(list[Row], _once("rows", (uploaded.file_id,), read))


def _columns(rows: Sequence[Row]) -> Columns | tuple[()] | None:
    """Which columns of a table are question and answer; None for chats, () while that is not known."""
    if is_chat(rows):
        return None
    names = list(dict.fromkeys(name for row in rows for name in row.value))
    left, right = st.columns(2)
    hint = "found by name where left empty"
    question = left.selectbox("Question column", names, index=None, placeholder=hint)
    answer = right.selectbox("Answer column", names, index=None, placeholder=hint)
    try:
        return find_columns(rows, question, answer)
    except ColumnsUnknown:
        st.info("Which column holds the question, and which the answer? Their names do not tell.")
        return ()


# -- the questions ---------------------------------------------------------------------------------------


def _asked(uploaded: Upload, rows: Sequence[Row], columns: Any) -> Proposal | None:
    """The lesson's questions: use case, alternatives, benefits, costs. None while an answer is no good."""
    source = safe_name(uploaded)
    stem = re.sub(r"[^A-Za-z0-9._+-]+", "-", Path(source).stem).strip("._+-")[:64]
    usual = partial(_proposed, uploaded=uploaded, rows=rows, columns=columns, name=stem or "experiment")
    first = usual("first", wishes=Wishes())
    st.subheader("Questions", anchor=False)
    st.caption(literal(f"{first.rows:,} rows; this looks like {first.task}: {first.reasons['task']}."))
    left, middle, right = st.columns(3)
    name = left.text_input("Name of the experiment", value=first.name, max_chars=64)
    task = middle.selectbox("Task", get_args(Task), index=get_args(Task).index(first.task))
    fitting = list(METRICS).index(usual("task", wishes=Wishes(task=task)).metric)
    metric = right.selectbox("What decides", list(METRICS), index=fitting, key=f"start-metric-{task}")
    wishes = Wishes(task=task, metric=metric)
    margin = left.number_input(
        "Smallest gain that justifies tuning",
        0.0,
        value=usual("margin", wishes=wishes).worth_it,
        format="%.3f",
        key=f"start-margin-{metric}",
    )
    requests = middle.number_input("Requests a month", 0, value=50_000, step=1000)
    group = right.selectbox(
        "Rows that belong together, by column",
        _metadata(rows),
        index=None,
        placeholder=(first.group_by or "none found").removeprefix("metadata."),
    )
    goal = st.text_input("What should get better?", placeholder=f"{metric} in {task}", max_chars=400)
    tried = st.text_input(
        "Were prompting and RAG tried, and how did they do?", placeholder="not yet", max_chars=400
    )
    left, middle, right = st.columns(3)
    data = left.number_input("Data will cost, USD", 0.0, step=10.0)
    labour = middle.number_input("Labour will cost, USD", 0.0, step=10.0)
    gpu = right.number_input("An hour of GPU costs, USD", 0.0, step=0.1)
    if not re.fullmatch(NAME_PATTERN, name):
        st.error("A name has up to 64 letters a-z, digits and . _ + -, and begins with a letter or digit.")
        return None
    goals = (goal,) if goal else ()
    wishes = replace(wishes, worth_it=margin, requests_per_month=requests, group_by=group, goals=goals)
    proposal = _proposed("proposal", uploaded, rows, columns, wishes, name)
    return replace(proposal, tried=tried, data_usd=data, labour_usd=labour, gpu_usd_per_hour=gpu)


def _metadata(rows: Sequence[Row]) -> list[str]:
    """Columns that a split could go by: those of a table, or the metadata of chats."""
    value = rows[0].value
    more = value.get("metadata")
    names: Mapping[str, Any] = more if isinstance(more, Mapping) else value
    return [str(name) for name in names if name != "messages"]


def _proposed(
    slot: str, uploaded: Upload, rows: Sequence[Row], columns: Any, wishes: Wishes, name: str
) -> Proposal:
    source = safe_name(uploaded)

    def make() -> Proposal:
        return propose(rows, columns, wishes, name=name, path=source, source=source)

    return cast(Proposal, _once(slot, (uploaded.file_id, repr(columns), wishes, name), make))


# -- the experiment --------------------------------------------------------------------------------------


def _experiment(uploaded: Upload, rows: Sequence[Row], p: Proposal) -> None:
    def drafted() -> tuple[str, list[str]]:
        with laid_out(uploaded) as path:
            text, dataset = draft(p, rows, Path("experiment.yaml"))
            return text, [without_folder(line, path) for line in told(p, dataset, path)]

    text, lines = _once("draft", (uploaded.file_id, repr(p)), drafted)
    st.subheader("Proposal", anchor=False)
    facts_list((line[:12].strip(), line[12:]) for line in lines)
    st.subheader("The experiment file", anchor=False)
    if allowed():
        text = st.text_area("Change what does not fit", text, height=420, key=f"start-text-{_mark(text)}")
        Experiment.parse(text, path=Path("experiment.yaml"))
    else:
        st.code(text, language="yaml")
    with st.container(horizontal=True):
        go = allowed() and st.button("Save and run", type="primary", icon=":material/play_arrow:")
        plan = st.button("Plan it: tokens, time, cost", icon=":material/calculate:")
        st.download_button(
            "experiment.yaml", text, "experiment.yaml", icon=":material/download:", on_click="ignore"
        )
    _plan(uploaded, text, plan)
    if go:
        _start(uploaded, p.name, text)
    if allowed():
        return
    st.subheader("Next", anchor=False)
    st.text(f"Save the file beside {safe_name(uploaded)}, then:")
    st.code(run_command(Path("experiment.yaml")), language="bash")
    st.caption("`workbench app --allow-run` starts runs from this page.")


def _plan(uploaded: Upload, text: str, asked: bool) -> None:
    """What a run would take, by the command that plans: tokens, time, memory, money, what the test split can show."""
    key = (uploaded.file_id, _mark(text))
    if asked:
        with st.spinner("Counting tokens, timing this machine …"):
            _once("plan", key, lambda: planned(uploaded, text))
    if (said := st.session_state.get("start-plan")) and said[0] == key:
        st.code(said[1], language=None)


def planned(uploaded: Upload, text: str) -> str:
    """What `workbench run --dry-run` says of an experiment; a process of its own, since it may load a model."""
    with laid_out(uploaded) as path, tempfile.TemporaryDirectory() as out:
        experiment = path.parent / "experiment.yaml"
        experiment.write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "workbench", "run", str(experiment), "--dry-run", "--runs", out]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=_PLAN_SECONDS,
                env={**os.environ, "NO_COLOR": "1"},
                stdin=subprocess.DEVNULL,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"Planning took longer than {_PLAN_SECONDS} seconds. Try it in a shell: {run_command(Path('experiment.yaml'))} --dry-run"
    return without_folder(done.stdout or done.stderr, path)


def _start(uploaded: Upload, name: str, text: str) -> None:
    try:
        start(save(root(), name, text, safe_name(uploaded), uploaded.getvalue()))
    except JobError as error:
        st.error(literal(str(error)))
        return
    st.rerun()


def _once(slot: str, key: Any, make: Any) -> Any:
    """What `make` gave for this key the last time; one value a slot and session is kept."""
    kept = st.session_state.get(f"start-{slot}")
    if kept is None or kept[0] != key:
        kept = st.session_state[f"start-{slot}"] = (key, make())
    return kept[1]


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


if __name__ == "__main__":
    show()
