"""Rate: which of two answers is better, asked blind; kept in the run folder, counted as the metric `human`."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

import numpy as np
import streamlit as st

from apps.board import experiment_of
from apps.cases import Cases, cases, text_of
from apps.partial import missing
from apps.picker import chosen
from apps.words import literal, model_text, table
from workbench.blind import BLOCK, Pair, Side, agreements, chosen_by, pairs, tally, upcoming
from workbench.card import interval, number
from workbench.experiment import Experiment
from workbench.human import HUMAN
from workbench.ratings import Said, about, kind_of, latest, people, rate, unchanged
from workbench.records import Rating
from workbench.runs import Run

LONGEST_NAME = 60
# Label, key, and what it says.
CHOICES: tuple[tuple[str, str, Side], ...] = (
    ("Left is better", "1", "left"),
    ("Tie", "2", "tie"),
    ("Right is better", "3", "right"),
)


def show(run: Run) -> None:
    """Draw the page."""
    st.title("Rate", anchor=False)
    every, experiment = cases(run), experiment_of(run)
    names = [name for name, said in every.said.items() if (said.rows >= 0).any()]
    if len(names) < 2 or experiment is None:
        missing(run, "pair of contenders that have answered")
        return
    rated = _rated(run, every)
    given = people(run, experiment, rated)
    if given and kind_of(given) == "scale":
        st.error("People rated these answers on a scale, and choices between two do not average with that.")
        st.caption(
            literal(
                f"They stand in {experiment.ratings or 'ratings.jsonl'}; the metric human is made of them."
            )
        )
        return
    rater, both = _who_and_what(run, names)
    alike = _alike(every, both)
    if not rater:
        st.info("Write your name to begin: ratings are kept under it, and are yours to take back.")
    else:
        mine = _mine(run, rated, both, rater)
        _ask(run, every, both, alike, rater, mine)
    _say_what_it_does(experiment)
    said = st.expander(
        "What people said so far (shows who is who)", on_change="rerun", key=f"{run.name}/said"
    )
    if said.open:
        with said:
            _results(every, both, alike, given)


def _who_and_what(run: Run, names: list[str]) -> tuple[str, tuple[str, str]]:
    verdict = run.verdict()
    tuned = verdict.tuned if verdict and verdict.tuned in names else names[-1]
    against = verdict.difference.against if verdict and verdict.difference else None
    other = against if against in names and against != tuned else next(n for n in names if n != tuned)
    first, second, third = st.columns(3)
    rater = first.text_input("Your name", key="rater", max_chars=LONGEST_NAME).strip()
    one = second.selectbox("Rate", names, index=names.index(tuned), key=f"{run.name}/rate one")
    rest = [name for name in names if name != one]
    place = rest.index(other) if other in rest else 0
    return rater, (one, third.selectbox("against", rest, index=place, key=f"{run.name}/rate against {one}"))


def _alike(every: Cases, both: tuple[str, str]) -> set[str]:
    """Samples that both answered with the same text."""
    one, other = (every.said[name].texts for name in both)
    same = (one == other).fill_null(False).to_numpy()
    return {every.ids[at] for at in np.flatnonzero(same)}


# -- asking ----------------------------------------------------------------------------------------------


def _ask(
    run: Run,
    every: Cases,
    both: tuple[str, str],
    alike: Collection[str],
    rater: str,
    mine: list[Rating],
) -> None:
    answered = [every.said[name].texts.is_not_null().to_numpy() for name in both]
    ids = [every.ids[at] for at in np.flatnonzero(np.logical_and(*answered))]
    order, done = pairs(ids, alike, both, rater), {r.id for r in mine}
    level, pair = upcoming(order, done)
    after, further = upcoming(order, done)
    level += after if further is None else []
    asked = [r for r in mine if r.id not in alike]
    left, right = st.columns([5, 1], vertical_alignment="bottom")
    of_all = len(ids) - sum(sample in alike for sample in ids)
    told = f"{len(asked):,} of {of_all:,} pairs rated by you"
    left.progress(len(asked) % BLOCK / BLOCK if pair else 1.0, text=told)
    right.button(
        "Undo",
        shortcut="U",
        disabled=not asked,
        width="stretch",
        key="undo",
        on_click=_undo,
        args=(run, every, asked),
    )
    if passed := len(mine) - len(asked):
        st.caption(f"{passed:,} pairs that read alike count as ties and were not asked.")
    if pair is None:
        st.success(
            "You have rated every pair of these two. Thank you."
            if asked
            else "These two always said the same."
        )
        return
    _show_pair(every, pair)
    for place, (label, key, side) in zip(st.columns(3), CHOICES, strict=True):
        place.button(
            label,
            shortcut=key,
            width="stretch",
            key=side,
            type="primary" if side != "tie" else "secondary",
            on_click=_choose,
            args=(run, every, [*level, pair], side, rater),
        )


def _show_pair(every: Cases, pair: Pair) -> None:
    at = every.place[pair.id]
    sample = every.sample(at)
    with st.container(border=True, gap="xsmall"):
        st.caption("Question")
        model_text(sample.question)
    for place, side, name in zip(st.columns(2), ("Left", "Right"), (pair.left, pair.right), strict=True):
        with place.container(border=True, gap="xsmall", height="stretch"):
            st.caption(side)
            if (answer := every.answer(at, name)) is not None:
                model_text(text_of(answer))
    with st.expander("Reference"):
        for reference in sample.references:
            model_text(reference)


def _mine(run: Run, rated: Said, both: tuple[str, str], rater: str) -> list[Rating]:
    """The rater's choices between these two that count, in the order given."""
    given = [r for r in run.ratings() if r.rater == rater and {r.a, r.b} == set(both)]
    return chosen_by(latest(unchanged(given, rated)), both, rater)


def _rated(run: Run, every: Cases) -> Said:
    """The answers that people have rated, as they are now."""
    found: Said = {}
    ratings = run.ratings()
    for names in {frozenset(about(r)) for r in ratings}:
        ids = {r.id for r in ratings if about(r) == names}
        found = {**found, **_said(every, ids, names & every.said.keys())}
    return found


def _said(every: Cases, ids: Collection[str], names: Collection[str]) -> Said:
    """What these contenders answered to these samples."""
    found: dict[tuple[str, str], str | None] = {}
    for sample in ids:
        for name in names:
            answer = every.answer(every.place[sample], name) if sample in every.place else None
            found |= {(name, sample): answer.prediction} if answer is not None else {}
    return found


def _choose(run: Run, every: Cases, asked: list[Pair], side: Side, rater: str) -> None:
    """Keep the choice on the last pair; the others read alike."""
    now, last = datetime.now(UTC).isoformat(timespec="seconds"), asked[-1]
    ratings = [pair.rating("tie" if pair is not last else side, rater, now) for pair in asked]
    _keep(run, ratings, _said(every, {p.id for p in asked}, {last.left, last.right}))


def _undo(run: Run, every: Cases, asked: list[Rating]) -> None:
    """Take the last choice back."""
    last = asked[-1]
    now = datetime.now(UTC).isoformat(timespec="seconds")
    back = Rating(id=last.id, a=last.a, b=last.b, rater=last.rater, time=now, withdrawn=True)
    _keep(run, [back], _said(every, {last.id}, {str(last.a), str(last.b)}))


def _keep(run: Run, ratings: list[Rating], said: Said) -> None:
    try:
        rate(run, *ratings, said=said)
    except OSError as error:
        st.error(literal(f"Not saved, so this pair is asked again: {error.strerror}, {error.filename}"))


# -- what came of it -------------------------------------------------------------------------------------


def _say_what_it_does(experiment: Experiment) -> None:
    if experiment.primary == HUMAN.name:
        st.caption("These ratings decide: the page Decision, and `workbench decide`, follow each of them.")
    elif HUMAN.name in experiment.metric_names:
        st.caption("These ratings are the metric `human` of this run; another metric decides.")
    else:
        st.caption(
            "This experiment does not measure people's ratings. With `metrics: {primary: human}` they decide."
        )


def _results(every: Cases, both: tuple[str, str], alike: Collection[str], given: list[Rating]) -> None:
    there = {r.id for r in given if r.id in every.place}
    counted = tally(given, both, {sample: every.sample(every.place[sample]).group for sample in there})
    if counted is None:
        st.caption("Nothing yet.")
        return
    one, other = both
    rate_ = counted.rate
    span = interval(rate_.interval, HUMAN.name) or "no interval"
    value = "no value" if rate_.value is None else number(rate_.value, HUMAN.name)
    st.markdown(f"**{literal(one)}** wins against **{literal(other)}**: {literal(f'{value} {span}')}")
    st.caption(
        literal(
            f"{counted.wins} won · {counted.ties} level · {counted.losses} lost, on {rate_.n} samples; a tie counts half. "
            "95 % interval."
        )
    )
    rows = [
        {
            "raters": f"{a} and {b}",
            "pairs": found.n,
            "same choice": found.exact,
            "interval": interval(found.exact_interval, HUMAN.name),
            "Cohen's kappa": found.kappa,
            "why not": found.reason,
        }
        for (a, b), found in agreements(given, both, alike).items()
    ]
    if rows:
        table(rows, "agreement")
    else:
        st.caption("Agreement shows once two raters have rated some of the same pairs.")


if __name__ == "__main__":
    show(chosen())
