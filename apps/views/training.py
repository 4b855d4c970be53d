"""Training: how tuned contenders learned, what was wrong with it, and what more data would bring."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from apps import picker
from apps.board import experiment_of
from apps.marking import Piece, marked
from apps.partial import missing
from apps.reading import ReadOnce, derived
from apps.words import chart, literal, table, tiles
from metrics import METRICS
from workbench.card import count, seconds
from workbench.charts_training import COLOURS, Line, course_chart, learning_curve_chart, losses_chart
from workbench.checkup import Symptom, examine
from workbench.curve import Course, course_of
from workbench.runs import Run, RunError

# (key in train.jsonl, words, factor): what is drawn over the steps beside the loss.
MEASURES = (
    ("learning_rate", "learning rate", 1.0),
    ("gradient_norm", "gradient norm (before clipping at 1)", 1.0),
    ("tokens_per_second", "tokens per second", 1.0),
    ("memory_mb", "peak memory, GiB", 1 / 1024),
    ("process_mb", "memory of the process, GiB", 1 / 1024),
    ("cpu_percent", "share of all CPU cores, %", 1.0),
    ("gpu_mb", "GPU memory in use, GiB", 1 / 1024),
    ("gpu_percent", "GPU at work, % of the time", 1.0),
    ("dev_score", "primary metric on dev", 1.0),
)
_PARTS = {"folds": "fold", "seeds": "seed", "curve": "part of the data"}


@dataclass(frozen=True, slots=True)
class Training:
    """One training: whose, in which run folder or part of one."""

    place: Run
    contender: str
    title: str

    @property
    def facts(self) -> dict[str, Any]:
        """contender.json."""
        return self.place.contender(self.contender) or {}

    @property
    def line(self) -> Line:
        """As it is drawn."""
        best = (self.facts.get("training") or {}).get("best_step")
        return Line(self.title, self.place.training(self.contender), best)


def show(run: Run) -> None:
    """Draw the page."""
    st.title("Training", anchor=False)
    tuned = [name for name in run.contenders() if (run.contender(name) or {}).get("tuned")]
    if not tuned:
        missing(run, "tuned contender")
        return
    name = tuned[0]
    if len(tuned) > 1:
        name = st.segmented_control("Contender", tuned, default=name, required=True, format_func=literal)
    training = Training(run, name, name)
    facts, log = training.facts, run.training(name)
    if len(tuned) == 1:
        st.subheader(literal(name), anchor=False)
    if summary := facts.get("training"):
        tiles(_tiles(summary, log))
    if not log:
        st.caption(
            "No training log: the adapter or the answers were brought along, or training has not begun."
        )
        return
    _findings(examine(log, facts), done=bool(summary))
    _courses(training)
    _first_batch(run.first_batch(name))
    _learning_curve(run)
    with st.expander("Every logged step"):
        _steps(log)
    with st.expander("Settings"):
        st.json({key: facts.get(key) for key in ("settings", "backend", "model", "hardware")})


def _tiles(summary: Mapping[str, Any], log: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    speeds = [row["tokens_per_second"] for row in log if row.get("tokens_per_second")]
    memory = [row["memory_mb"] for row in log if row.get("memory_mb")]
    speed = f"{count(sum(speeds) / len(speeds))} tokens/s" if speeds else ""
    peak = f"peak {max(memory) / 1024:.1f} GiB" if memory else ""
    kept = summary.get("best_step")
    # A row of the log has a training loss or a dev loss; the last one usually has the latter.
    last = next((row["loss"] for row in reversed(log) if row.get("loss") is not None), None)
    trained, took = summary.get("trained_tokens"), summary.get("seconds")
    return [
        (
            "examples",
            _known(summary.get("examples")),
            "" if trained is None else f"{trained:,} trained tokens",
        ),
        ("steps", _known(summary.get("steps")), "" if kept is None else f"step {kept} kept"),
        ("time", "–" if took is None else seconds(took), speed),
        ("last loss", "–" if last is None else f"{last:.3f}", peak),
    ]


def _known(value: int | None) -> str:
    """A count, or a dash: a provider that tunes doesn't say everything."""
    return "–" if value is None else count(value)


# -- the doctor --------------------------------------------------------------------------------------


def _findings(symptoms: Sequence[Symptom], *, done: bool) -> None:
    """What the training doctor says, each with its evidence and what to do."""
    for symptom in symptoms:
        box, icon = (
            (st.error, ":material/error:")
            if symptom.severity == "error"
            else (st.warning, ":material/warning:")
        )
        name = f"**{literal(symptom.name.capitalize())}**"
        box(f"{name}: {literal(symptom.evidence)}  \n{literal(symptom.cure)}", icon=icon)
    if not symptoms and done:
        st.success(
            "The training doctor found nothing: the loss fell, dev followed, the mask covers answers and their ends.",
            icon=":material/check_circle:",
        )


# -- curves ------------------------------------------------------------------------------------------


def _courses(training: Training) -> None:
    """Loss and other measures over the steps, other trainings laid over where they are asked for."""
    others = {other.title: other for other in _others(training)}
    chosen: list[str] = []
    if others:
        chosen = st.multiselect(
            "Lay over",
            list(others),
            max_selections=len(COLOURS) - 1,
            format_func=str,
            placeholder="other trainings, of this run or another",
            help="Losses compare only between trainings on the same rows with the same tokenizer.",
        )
    lines = [training.line, *(others[title].line for title in chosen)]
    st.caption("Loss on the training and the dev split; the kept step is the one the adapter was taken from")
    chart(losses_chart(lines), name=f"{training.contender}-loss")
    drawn = {
        words: found
        for key, words, scale in MEASURES
        if (found := course_chart(lines, key, words, zero=key != "dev_score", scale=scale)) is not None
    }
    if drawn:
        what = st.selectbox("Beside the loss", list(drawn))
        chart(drawn[what], name=f"{training.contender}-{what.split(',')[0].split(' (')[0]}")


def _others(own: Training) -> Iterator[Training]:
    """Every other training with a log: this run's contenders and parts, then the tuned contenders of other runs."""
    for place in (own.place, *own.place.parts()):
        for name in _tuned(place):
            if (place.folder, name) != (own.place.folder, own.contender):
                part = place.folder.relative_to(own.place.folder)
                told = f" · {_PARTS[part.parts[0]]} {' '.join(part.parts[1:])}" if part.parts else ""
                yield Training(place, name, f"{name}{told}")
    for run in ReadOnce.all(picker.root()):
        if run.folder == own.place.folder:
            continue
        try:
            yield from (Training(run, name, f"{name} · {run.name}") for name in _tuned(run))
        except RunError:
            continue  # a damaged folder must not keep the others out of reach


@derived
def _tuned(place: Run) -> list[str]:
    return [
        name
        for name in place.contenders()
        if (place.contender(name) or {}).get("tuned") and place.training(name)
    ]


# -- the first batch ---------------------------------------------------------------------------------


def _first_batch(batch: Mapping[str, Any] | None) -> None:
    """What the first step saw, as the model sees it: template applied, trained text marked, rows apart."""
    if batch is None:
        return
    sequences = batch["sequences"]
    rows = [row for sequence in sequences for row in sequence["rows"]]
    trained, tokens = (sum(row[key] for row in rows) for key in ("trained", "tokens"))
    with st.expander(f"The first batch: {count(len(rows), 'row')}, {trained:,} of {tokens:,} tokens trained"):
        st.caption(
            literal(f"Batching: {batch['batching']}. Tokenizer: {batch['tokenizer']}. What stands ")
            + marked([Piece("so", "added")])
            + literal(" is trained; all else is read only. Rows in one sequence don't see each other.")
        )
        for number, sequence in enumerate(sequences, 1):
            place = st.container(border=len(sequences) < len(rows), gap="xsmall")
            if len(sequences) < len(rows):
                place.caption(f"sequence {number}: {count(len(sequence['rows']), 'row')} side by side")
            for row in sequence["rows"]:
                place.caption(
                    f"line {row['line']} · {row['tokens']:,} tokens, {row['trained']:,} of them trained"
                )
                pieces = [
                    Piece(piece["text"], "added" if piece["trained"] else "same") for piece in row["pieces"]
                ]
                place.markdown(marked(pieces))


# -- the learning curve ------------------------------------------------------------------------------


@derived
def _course(run: Run) -> Course | None:
    experiment = experiment_of(run)
    return None if experiment is None else course_of(run, experiment)


def _learning_curve(run: Run) -> None:
    """Scores on parts of the training split, and the band that more rows would lie in."""
    course, experiment = _course(run), experiment_of(run)
    if course is None or experiment is None:
        return
    metric = experiment.primary
    st.subheader("What more data would bring", anchor=False)
    higher = (
        METRICS[metric].higher_is_better if metric in METRICS else experiment.metric(metric).higher_is_better
    )
    chart(learning_curve_chart(course, metric, higher_is_better=higher), name=f"{run.name}-learning-curve")
    verdict = run.verdict()
    ahead = verdict.forecast if verdict else None
    told = [
        f"Points are trainings on parts of the training split; one more training scores inside the band with "
        f"{1 - experiment.decision.alpha:.0%} probability."
    ]
    if ahead is not None and ahead.probability is not None:
        told.append(
            f"At {ahead.at:,} rows it beats every alternative by the margin with a probability of at least {ahead.probability:.2f}."
        )
    if course.reason:
        told.append(f"{course.reason[0].upper()}{course.reason[1:]}.")
    st.caption(literal(" ".join(told)))


def _steps(log: Sequence[Mapping[str, Any]]) -> None:
    number = st.column_config.NumberColumn
    table(
        log,
        "training-steps",
        column_order=["step", "epoch", "loss", "dev_loss", "learning_rate", "gradient_norm", "tokens_per_second", "memory_mb", "cpu_percent", "gpu_percent"],
        column_config={
            "epoch": number("epoch", format="%.2f"),
            "loss": number("loss", format="%.4f"),
            "dev_loss": number("dev loss", format="%.4f"),
            "learning_rate": number("learning rate", format="%.2e"),
            "gradient_norm": number("gradient norm", format="%.3f"),
            "tokens_per_second": number("tokens / s", format="%.0f"),
            "memory_mb": number("peak memory, MB", format="%.0f"),
            "cpu_percent": number("CPU, %", format="%.0f"),
            "gpu_percent": number("GPU, %", format="%.0f"),
        },
    )  # fmt: skip


if __name__ == "__main__":
    show(picker.chosen())
