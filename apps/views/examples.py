"""Examples: what the contenders said to each test sample, side by side, and where one did better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import streamlit as st

from apps.board import higher_is_better, metrics_of
from apps.cases import OUTCOMES, Cases, Numbers, Outcome, SearchError, cases, outcomes, values
from apps.partial import missing
from apps.picker import chosen
from apps.sample import example, sign
from apps.words import literal, table
from workbench.card import metric_label, seconds, usd
from workbench.runs import Run

PAGE_SIZE = 10
ABREAST = 4
# What of the filters stands in the address, beside the run and the sample.
ADDRESS = ("contender", "against", "outcomes")
Places = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Filters:
    """What the reader asked to see: `shown` contenders, of which the first is held against the second."""

    shown: tuple[str, ...]
    metric: str | None
    outcomes: tuple[Outcome, ...] = ()
    words: str = ""
    pattern: bool = False
    part: str | None = None
    different: bool = True


def show(run: Run) -> None:
    """Draw the page."""
    st.title("Examples", anchor=False)
    every, names = cases(run), run.contenders()
    if not every.ids or all((said.rows < 0).all() for said in every.said.values()):
        missing(run, "answers")
        return
    filters, how = _filters(run, every, names)
    scored = values(run, filters.metric) if filters.metric else {}
    kept = _kept(every, filters, how)
    _tally(every, kept, filters)
    shown = _page(run, kept)
    if len(shown):
        _table(run, every, shown, filters, scored)
    else:
        st.info("No sample passes these filters. Take one away to see more.")
    at = _selected(run, every, shown)
    if at is not None:
        _detail(run, every, at, kept, filters, scored)


# -- filters ---------------------------------------------------------------------------------------------


def _key(run: Run, widget: str) -> str:
    """Widgets belong to one run: another run has other contenders and samples."""
    return f"{run.name}/{widget}"


def _pick(run: Run, sample: str | None) -> None:
    st.session_state[_key(run, "sample")] = sample


def _forget(run: Run) -> None:
    """Other filters show other samples: begin with their first."""
    _pick(run, None)
    st.session_state.pop(_key(run, "page"), None)


def _filters(run: Run, every: Cases, names: list[str]) -> tuple[Filters, npt.NDArray[np.str_]]:
    """Draw the filters; what was asked, and how the first contender did against the second on each sample."""
    ask: dict[str, Any] = {"on_change": _forget, "args": (run,)}
    first, second, third, fourth = st.columns(4)
    _from_address(run, names)
    one = first.selectbox("Contender", names, key=_key(run, "contender"), **ask)
    other = second.selectbox("against", names, key=_key(run, "against"), **ask)
    rest = [name for name in names if name not in (one, other)]
    beside = third.multiselect(
        "and beside them",
        rest,
        default=rest[: ABREAST - 2],
        max_selections=ABREAST - 2,
        key=_key(run, f"beside {one} {other}"),
        **ask,
    )
    known = metrics_of(run)
    metric = fourth.selectbox("by", known, format_func=metric_label, key=_key(run, "metric"), **ask)
    how = _outcomes(run, metric, one, other, len(every.ids))
    left, middle, right = st.columns([2, 1, 1], vertical_alignment="bottom")
    words = left.text_input(
        "Find", key=_key(run, "words"), placeholder="in questions, references and answers", **ask
    )
    pattern = middle.toggle("Regular expression", key=_key(run, "pattern"), **ask)
    part = right.selectbox(
        "Slice",
        [None, *every.slices],
        format_func=lambda name: "all samples" if name is None else f"{name} ({every.slices[name].sum():,})",
        key=_key(run, "slice"),
        **ask,
    )
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    words_of = {
        "win": f"{one} better",
        "loss": f"{other} better",
        "tie": "level",
        "error": "failed or not scored",
    }
    picked = left.pills(
        "Outcome",
        OUTCOMES,
        selection_mode="multi",
        format_func=lambda o: literal(f"{words_of[o]} · {(how == o).sum():,}"),
        key=_key(run, "outcomes"),
        **ask,
    )
    different = right.toggle("Only where these two differ", value=True, key=_key(run, "different"), **ask)
    shown = tuple(dict.fromkeys([one, other, *beside]))
    _to_address(run, {"contender": one, "against": other, "outcomes": ",".join(picked)})
    return Filters(shown, metric, tuple(picked), words.strip(), pattern, part, different), how


def _from_address(run: Run, names: list[str]) -> None:
    """Set the widgets as a link asks, once: from then on the address follows them."""
    for widget, name in zip(("contender", "against"), _sides(run, names), strict=True):
        st.session_state.setdefault(_key(run, widget), name)
    asked = {widget: st.query_params[widget] for widget in ADDRESS if widget in st.query_params}
    if not asked or asked == st.session_state.get(_key(run, "address")):
        return
    for widget in ("contender", "against"):
        if asked.get(widget) in names:
            st.session_state[_key(run, widget)] = asked[widget]
    wanted = asked.get("outcomes", "").split(",")
    st.session_state[_key(run, "outcomes")] = [o for o in OUTCOMES if o in wanted]
    st.session_state.pop(_key(run, "page"), None)
    st.session_state.pop(_key(run, "sample"), None)  # the address may name another


def _to_address(run: Run, told: dict[str, str]) -> None:
    told = {widget: value for widget, value in told.items() if value}
    for widget in ADDRESS:
        if widget not in told:
            st.query_params.pop(widget, None)
    st.query_params.update(told)
    st.session_state[_key(run, "address")] = told


def _sides(run: Run, names: list[str]) -> tuple[str, str]:
    """Whom to look at first: the tuned contender against the best alternative."""
    verdict = run.verdict()
    racing = [n for n in names if not (run.contender(n) or {}).get("diagnostic")] or names
    tuned = verdict.tuned if verdict else None
    against = verdict.difference.against if verdict and verdict.difference else None
    return tuned if tuned in names else racing[-1], against if against in names else racing[0]


def _outcomes(run: Run, metric: str | None, one: str, other: str, size: int) -> npt.NDArray[np.str_]:
    scored = values(run, metric) if metric else {}
    unknown = np.full(size, np.nan)
    up = higher_is_better(metric, run) if metric else True
    return outcomes(scored.get(one, unknown), scored.get(other, unknown), better_up=up)


def _kept(every: Cases, filters: Filters, how: npt.NDArray[np.str_]) -> Places:
    """The places of the samples that pass."""
    mask = np.ones(len(every.ids), dtype=bool)
    if filters.different and len(filters.shown) > 1:
        mask &= every.different(filters.shown[:2])
    if filters.outcomes:
        mask &= np.isin(how, filters.outcomes)
    if filters.part in every.slices:
        mask &= every.slices[filters.part]
    if filters.words:
        try:
            mask &= every.holding(filters.words, filters.shown, pattern=filters.pattern)
        except SearchError as error:
            st.warning(literal(f"Not searched: {error}."))
    return np.flatnonzero(mask)


def _tally(every: Cases, kept: Places, filters: Filters) -> None:
    """How many are shown, and what their answers cost."""
    bills = []
    for name in filters.shown:
        said = every.said[name]
        cost, took = _total(said.usd[kept]), _total(said.seconds[kept])
        parts = [usd(cost)] if cost is not None else []
        parts += [seconds(took)] if took is not None else []
        bills += [f"{name} {', '.join(parts)}"] if parts else []
    st.caption(literal(f"{len(kept):,} of {len(every.ids):,} samples shown"))
    if bills and len(kept):
        st.caption(literal(f"What these answers took: {' · '.join(bills)}"))


def _total(numbers: Numbers) -> float | None:
    """The sum of what is known; None where nothing is."""
    return None if np.isnan(numbers).all() else float(np.nansum(numbers))


# -- the table -------------------------------------------------------------------------------------------


def _page(run: Run, kept: Places) -> Places:
    pages = -(-len(kept) // PAGE_SIZE)
    if pages <= 1:
        return kept
    page = min(st.session_state.get(_key(run, "page"), 1), pages)
    widget = _key(run, f"pages {page}")

    def turn() -> None:
        _forget(run)
        st.session_state[_key(run, "page")] = st.session_state[widget]

    st.pagination(pages, default=page, key=widget, on_change=turn)
    return kept[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]


def _table(run: Run, every: Cases, shown: Places, filters: Filters, scored: dict[str, Numbers]) -> None:
    held = filters.shown[:2]  # who stands beside them is read below: more columns would leave no room
    priced = [name for name in held if not np.isnan(every.said[name].usd[shown]).all()]
    rows = [
        {
            "#": at + 1,
            "question": every.questions[at],
            "reference": every.references[at],
            **{name: _cell(every, at, name, scored, filters.metric) for name in held},
            **{f"USD, {name}": _known(every.said[name].usd[at]) for name in priced},
        }
        for at in shown.tolist()
    ]
    # Other rows make another table, so a tick never stays on a row that was not picked.
    key = _key(run, f"table {filters.shown} {shown.tolist()}")

    def pick() -> None:
        picked = st.session_state[key]["selection"]["rows"]
        if picked:
            _pick(run, every.ids[shown[picked[0]]])

    number = st.column_config.NumberColumn
    table(
        rows,
        "examples",
        key=key,
        on_select=pick,
        selection_mode="single-row",
        column_config={
            "#": number("#", width=50),
            "question": st.column_config.TextColumn("question", width=280),
            **{name: st.column_config.TextColumn(name, width=120) for name in held},
            **{f"USD, {name}": number(f"USD, {name}", format="%.6f") for name in priced},
        },
    )


def _cell(every: Cases, at: int, name: str, scored: dict[str, Numbers], metric: str | None) -> str:
    said = every.said[name]
    if said.rows[at] < 0:
        return "– not answered yet"
    if said.errors[at] is not None:
        return "! failed"
    return f"{sign(_score(scored, name, at), metric)} {said.texts[at]}".strip()


def _score(scored: dict[str, Numbers], name: str, at: int) -> float | None:
    return _known(scored[name][at]) if name in scored else None


def _known(number: float) -> float | None:
    return None if np.isnan(number) else float(number)


# -- one sample ------------------------------------------------------------------------------------------


def _selected(run: Run, every: Cases, shown: Places) -> int | None:
    """The sample picked in the table or named in the address, else the first shown."""
    key = _key(run, "sample")
    if key not in st.session_state:
        asked = st.query_params.get("sample")
        if asked is not None and asked not in every.place:
            st.warning(f"This run has no sample {literal(asked)}.")
        st.session_state[key] = asked
    at = every.place.get(st.session_state[key] or "", int(shown[0]) if len(shown) else None)
    if at is not None:
        st.query_params["sample"] = every.ids[at]
    return at


def _detail(
    run: Run, every: Cases, at: int, kept: Places, filters: Filters, scored: dict[str, Numbers]
) -> None:
    st.divider()
    title, back, on = st.columns([6, 1, 1], vertical_alignment="bottom")
    title.subheader(f"Sample {at + 1}", anchor=False)
    before = int(np.searchsorted(kept, at)) - 1
    after = int(np.searchsorted(kept, at, side="right"))
    with back:
        _step(run, every, "Previous", "K", kept, before)
    with on:
        _step(run, every, "Next", "J", kept, after)
    example(run, every, at, filters.shown, {n: _score(scored, n, at) for n in filters.shown}, filters.metric)


def _step(run: Run, every: Cases, label: str, key: str, kept: Places, target: int) -> None:
    there = 0 <= target < len(kept)

    def go() -> None:
        _pick(run, every.ids[kept[target]])
        st.session_state[_key(run, "page")] = target // PAGE_SIZE + 1

    st.button(label, on_click=go, disabled=not there, width="stretch", shortcut=key, key=_key(run, label))


if __name__ == "__main__":
    show(chosen())
