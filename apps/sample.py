"""One test sample: its question, what the contenders said, how they differ, and what they were sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from apps.cases import Cases, prompt_of, text_of
from apps.marking import marked, nearest, word_diff
from apps.words import literal, model_text, verbatim
from workbench.card import number, seconds, usd
from workbench.records import Prediction, Sample
from workbench.runs import Run

_NOTHING, _REFERENCE = "nothing", "the reference"


def example(
    run: Run,
    every: Cases,
    at: int,
    names: Sequence[str],
    scores: Mapping[str, float | None],
    metric: str | None,
) -> None:
    """Draw sample `at` with the answers of these contenders side by side."""
    sample = every.sample(at)
    facts = [f"group {sample.group}"] if sample.group else []
    facts += [f"{key} {value}" for key, value in sample.tags.items()]
    st.caption(literal(" · ".join([*facts, f"line {sample.line}", f"id {sample.id}"])))
    left, right = st.columns([3, 1])
    with left.container(border=True, gap="xsmall", height="stretch"):
        st.caption("Question")
        model_text(sample.question)
    with right.container(border=True, gap="xsmall", height="stretch"):
        st.caption("Reference" if len(sample.references) == 1 else "References: any of these")
        for reference in sample.references:
            model_text(reference)
    answers = {name: every.answer(at, name) for name in names}
    base = st.segmented_control(
        "Mark what differs from",
        [_NOTHING, _REFERENCE, *names],
        default=_REFERENCE,
        required=True,
        key=f"{run.name}/marks {' '.join(names)}",
        format_func=literal,
    )
    st.caption("**bold on green**: said here only · ~~struck through on red~~: missing here")
    for name, place in zip(names, st.columns(max(2, len(names)), border=True), strict=False):
        with place:
            st.markdown(f"**{literal(name)}**{_badge(sign(scores.get(name), metric))}")
            usd_here = float(every.said[name].usd[at])
            _answer(answers[name], _against(base, name, answers, sample), usd_here)
    # Reading prompts takes a while on a large run, so they are read when they are asked for.
    sent = st.expander(
        "Prompts as sent, and retrieved passages", on_change="rerun", key=f"{run.name}/prompts"
    )
    if sent.open:
        for tab, name in zip(sent.tabs([literal(name) for name in names]), names, strict=True):
            with tab:
                _prompt(run, name, sample.id)


def sign(value: float | None, metric: str | None) -> str:
    """A tick, a cross, or the score itself between them."""
    if value is None or metric is None:
        return ""
    return "✓" if value == 1 else "✗" if value == 0 else number(value, metric)


def _badge(shown: str) -> str:
    colour = {"✓": "green", "✗": "red"}.get(shown, "gray")
    return f" :{colour}[{literal(shown)}]" if shown else ""


def _against(
    base: str | None, name: str, answers: Mapping[str, Prediction | None], sample: Sample
) -> str | None:
    """The text that an answer is held against; None for no marks."""
    answer, other = answers[name], answers.get(base or "")
    if answer is None or answer.error is not None or base == name:
        return None
    if base == _REFERENCE:
        return nearest(text_of(answer), sample.references)
    return text_of(other) if other is not None and other.error is None else None


def _answer(answer: Prediction | None, against: str | None, cost: float) -> None:
    if answer is None:
        st.caption("Not answered yet.")
        return
    if answer.error is not None:
        st.caption("The request failed; it is not scored as a wrong answer.")
        model_text(answer.error)
        return
    pieces = None if against is None else word_diff(text_of(answer), against)
    if pieces is None:
        model_text(answer.prediction or "")
    else:
        st.markdown(marked(pieces))
    if answer.tool_calls:
        st.json(list(answer.tool_calls), expanded=False)
    tokens = answer.prompt_tokens is not None
    parts = [f"{answer.prompt_tokens} → {answer.completion_tokens} tokens"] if tokens else []
    parts += [seconds(answer.seconds)] if answer.seconds is not None else []
    parts += [usd(cost)] if cost == cost else []  # NaN where nobody knows
    parts += ["kept from an earlier run"] if answer.reused else []
    parts += ["cut by the token limit"] if answer.finish_reason == "length" else []
    st.caption(literal(" · ".join(parts)))


def _prompt(run: Run, name: str, sample: str) -> None:
    prompt = prompt_of(run, name, sample)
    if prompt is None:
        st.caption("No prompt is kept: the answers were brought along, or nothing was sent yet.")
        return
    for message in prompt.messages:
        st.caption(literal(message.role))
        verbatim(message.text)
    if prompt.tools:
        st.caption("tools offered")
        st.json(list(prompt.tools), expanded=False)
    for rank, passage in enumerate(prompt.passages, 1):
        st.caption(literal(f"Passage {rank} · {passage.document} · score {passage.score:.2f}"))
        verbatim(passage.text)
