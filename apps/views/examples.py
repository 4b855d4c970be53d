"""Examples: what every contender said to each test sample, side by side."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from apps.board import OUTCOMES, Case, cases, higher_is_better, metrics_of
from apps.partial import missing
from apps.picker import chosen
from apps.words import literal, model_text, verbatim
from validators.examples import Message
from workbench.card import metric_label, number, seconds
from workbench.records import Prediction
from workbench.runs import Run

PAGE_SIZE = 10
_ABREAST = 4


@dataclass(frozen=True, slots=True)
class Filters:
    """What the reader asked to see."""

    one: str
    other: str
    outcomes: tuple[str, ...]
    words: str
    different: bool

    def keep(self, case: Case, up: bool) -> bool:
        """Whether a case is to be shown."""
        if self.different and not case.different:
            return False
        if self.outcomes and case.outcome(self.one, self.other, up) not in self.outcomes:
            return False
        return not self.words or case.holds(self.words)


def _key(run: Run, widget: str) -> str:
    """Widgets belong to one run: another run has other contenders and samples."""
    return f"{run.name}/{widget}"


def _pick(run: Run, sample: str | None) -> None:
    st.session_state[_key(run, "sample")] = sample


def show(run: Run) -> None:
    """Draw the page."""
    st.title("Examples", anchor=False)
    metric = next(iter(metrics_of(run)), None)
    every = cases(run, metric)
    names = run.contenders()
    if not every or not any(case.answers for case in every):
        missing(run, "answers")
        return
    up = higher_is_better(metric) if metric else True
    filters = _filters(run, names)
    kept = [case for case in every if filters.keep(case, up)]
    _tally(every, kept, filters, up, metric)
    shown = _page(run, kept)
    if shown:
        _table(run, shown, names, metric)
    else:
        st.info("No sample passes these filters. Take one away to see more.")
    if (case := _selected(run, every, shown)) is not None:
        _detail(run, case, kept, names, metric)


def _filters(run: Run, names: list[str]) -> Filters:
    verdict = run.verdict()
    racing = [n for n in names if not (run.contender(n) or {}).get("diagnostic")] or names
    tuned = (verdict.tuned if verdict else None) or racing[-1]
    against = verdict.difference.against if verdict and verdict.difference else racing[0]

    def forget() -> None:
        _pick(run, None)

    first, second, third = st.columns([1, 1, 2])
    one = first.selectbox(
        "Compare", names, index=_place(names, tuned), key=_key(run, "one"), on_change=forget
    )
    other = second.selectbox(
        "with", names, index=_place(names, against), key=_key(run, "other"), on_change=forget
    )
    words = third.text_input(
        "Find text",
        key=_key(run, "words"),
        on_change=forget,
        placeholder="in questions, references and answers",
    )
    left, right = st.columns([2, 2], vertical_alignment="bottom")
    outcomes = left.pills(
        literal(f"Outcome of {one} against {other}"),
        list(OUTCOMES),
        selection_mode="multi",
        format_func=lambda o: OUTCOMES[o],
        key=_key(run, "outcomes"),
        on_change=forget,
    )
    different = right.toggle(
        "Only where answers differ", value=True, key=_key(run, "different"), on_change=forget
    )
    return Filters(one, other, tuple(outcomes), words.strip(), different)


def _place(names: list[str], name: str) -> int:
    return names.index(name) if name in names else 0


def _tally(every: list[Case], kept: list[Case], filters: Filters, up: bool, metric: str | None) -> None:
    found = [case.outcome(filters.one, filters.other, up) for case in every]
    counts = " · ".join(f"{found.count(o)} {words}" for o, words in OUTCOMES.items())
    by = f" by {metric_label(metric)}" if metric else ""
    st.caption(
        literal(
            f"{len(kept)} of {len(every)} samples shown. {filters.one} against {filters.other}{by}: {counts}"
        )
    )


def _page(run: Run, kept: list[Case]) -> list[Case]:
    pages = -(-len(kept) // PAGE_SIZE)
    if pages <= 1:
        return kept
    key = _key(run, "page")
    if st.session_state.get(key, 1) > pages:
        st.session_state[key] = 1
    page = st.pagination(pages, key=key, on_change=lambda: _pick(run, None))
    return kept[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]


def _table(run: Run, shown: list[Case], names: list[str], metric: str | None) -> None:
    rows = [
        {
            "#": case.number,
            "question": case.sample.question,
            "reference": " | ".join(case.sample.references),
            **{name: _cell(case, name, metric) for name in names},
        }
        for case in shown
    ]

    # Other rows make another table, so a tick never stays on a row that was not picked.
    key = _key(run, f"table {' '.join(str(case.number) for case in shown)}")

    def pick() -> None:
        picked = st.session_state[key]["selection"]["rows"]
        if picked:
            _pick(run, shown[picked[0]].sample.id)

    st.dataframe(
        rows,
        hide_index=True,
        key=key,
        on_select=pick,
        selection_mode="single-row",
        column_config={
            "#": st.column_config.NumberColumn("#", width=50),
            "question": st.column_config.TextColumn("question", width="medium"),
            **{name: st.column_config.TextColumn(name, width="small") for name in names},
        },
    )


def _cell(case: Case, name: str, metric: str | None) -> str:
    answer = case.answers.get(name)
    if answer is None:
        return "– not answered yet"
    if answer.error is not None:
        return "! failed"
    return f"{_sign(case.values.get(name), metric)} {answer.prediction}".strip()


def _sign(value: float | None, metric: str | None) -> str:
    """A tick, a cross, or the score itself between them."""
    if value is None or metric is None:
        return ""
    return "✓" if value == 1 else "✗" if value == 0 else number(value, metric)


def _selected(run: Run, every: list[Case], shown: list[Case]) -> Case | None:
    """The case picked in the table or named in the address, else the first shown."""
    by_id = {case.sample.id: case for case in every}
    key = _key(run, "sample")
    if key not in st.session_state:
        asked = st.query_params.get("sample")
        if asked is not None and asked not in by_id:
            st.warning(f"This run has no sample {literal(asked)}.")
        st.session_state[key] = asked
    case = by_id.get(st.session_state[key] or "") or next(iter(shown), None)
    if case is not None:
        st.query_params["sample"] = case.sample.id
    return case


def _detail(run: Run, case: Case, kept: list[Case], names: list[str], metric: str | None) -> None:
    sample = case.sample
    st.divider()
    title, back, on = st.columns([6, 1, 1], vertical_alignment="bottom")
    title.subheader(f"Sample {case.number}", anchor=False)
    _step(run, back, "Previous", [c for c in kept if c.number < case.number][-1:])
    _step(run, on, "Next", [c for c in kept if c.number > case.number][:1])
    facts = [f"group {sample.group}"] if sample.group else []
    facts += [f"{key} {value}" for key, value in sample.tags.items()] + [
        f"line {sample.line}",
        f"id {sample.id}",
    ]
    st.caption(literal(" · ".join(facts)))
    left, right = st.columns([3, 1])
    with left.container(border=True, gap="xsmall", height="stretch"):
        st.caption("Question")
        model_text(sample.question)
    with right.container(border=True, gap="xsmall", height="stretch"):
        st.caption("Reference" if len(sample.references) == 1 else "References: any of these")
        for reference in sample.references:
            model_text(reference)
    for start in range(0, len(names), _ABREAST):
        row = names[start : start + _ABREAST]
        for place, name in zip(st.columns(_ABREAST, border=True), row, strict=False):
            with place:
                _answer(name, case.answers.get(name), case.values.get(name), metric)
    _prompts(run, case, names)


def _step(run: Run, place: st.delta_generator.DeltaGenerator, label: str, target: list[Case]) -> None:
    def go() -> None:
        _pick(run, target[0].sample.id)

    place.button(label, on_click=go, disabled=not target, width="stretch", key=_key(run, label))


def _answer(name: str, answer: Prediction | None, value: float | None, metric: str | None) -> None:
    sign = _sign(value, metric)
    colour = {"✓": "green", "✗": "red"}.get(sign, "gray")
    st.markdown(f"**{literal(name)}**" + (f" :{colour}[{literal(sign)}]" if sign else ""))
    if answer is None:
        st.caption("Not answered yet.")
        return
    if answer.error is not None:
        st.caption("The request failed; it is not scored as a wrong answer.")
        model_text(answer.error)
        return
    model_text(answer.prediction or "")
    if answer.tool_calls:
        st.json(list(answer.tool_calls), expanded=False)
    parts = (
        [f"{answer.prompt_tokens} → {answer.completion_tokens} tokens"]
        if answer.prompt_tokens is not None
        else []
    )
    parts += [seconds(answer.seconds)] if answer.seconds is not None else []
    parts += ["cut by the token limit"] if answer.finish_reason == "length" else []
    st.caption(literal(" · ".join(parts)))


def _prompts(run: Run, case: Case, names: list[str]) -> None:
    with st.expander("Prompts as sent, and retrieved passages"):
        for tab, name in zip(st.tabs([literal(name) for name in names]), names, strict=True):
            with tab:
                prompt = next((p for p in run.prompts(name) if p.id == case.sample.id), None)
                if prompt is None:
                    st.caption("No prompt is kept: the answers were brought along, or nothing was sent yet.")
                    continue
                for message in prompt.messages:
                    _message(message)
                for rank, passage in enumerate(prompt.passages, 1):
                    st.caption(literal(f"Passage {rank} · {passage.document} · score {passage.score:.2f}"))
                    verbatim(passage.text)


def _message(message: Message) -> None:
    st.caption(literal(message.role))
    verbatim(message.text)


if __name__ == "__main__":
    show(chosen())
