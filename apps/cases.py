"""Test samples with every contender's answer, in columns that filters run over; no Streamlit in here.

Of 100,000 samples only what is searched and compared lies in memory; the rest of a row is read from the run
folder when that row is looked at.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from apps.board import experiment_of
from apps.reading import derived
from workbench.card import plain
from workbench.evidence import price_of
from workbench.experiment import Experiment
from workbench.files import StoredRows
from workbench.harm import slices_of
from workbench.human import HUMAN, scores_now
from workbench.records import Prediction, Prompt, Sample
from workbench.runs import Run
from workbench.scoring import stored_rows

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float64]
Outcome = Literal["win", "loss", "tie", "error"]
OUTCOMES: tuple[Outcome, ...] = ("win", "loss", "tie", "error")

# A search that takes longer is refused; a part of so many rows at a time is searched.
MOST_SECONDS = 2.0
PART = 5_000
MOST_PATTERN = 500


class SearchError(ValueError):
    """A pattern that cannot be searched for; the message says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """One contender's answers, one place a sample; None, NaN and −1 where there is none."""

    texts: pl.Series
    """The answer with its tool calls."""
    errors: pl.Series
    usd: Numbers
    seconds: Numbers
    rows: npt.NDArray[np.int64]
    """The row of predictions.jsonl."""


@dataclass(frozen=True, slots=True, eq=False)
class Cases:
    """The test samples of a run, in order."""

    ids: tuple[str, ...]
    place: dict[str, int]
    questions: pl.Series
    references: pl.Series
    said: dict[str, Said]
    slices: dict[str, Mask]
    samples: StoredRows[Sample]
    answers: dict[str, StoredRows[Prediction]]

    def sample(self, at: int) -> Sample:
        """All of a sample."""
        return self.samples[at]

    def answer(self, at: int, name: str) -> Prediction | None:
        """All of an answer; None where there is none yet."""
        row = int(self.said[name].rows[at])
        return None if row < 0 else self.answers[name][row]

    def different(self, names: Sequence[str]) -> Mask:
        """Where two of these contenders said different things, or one failed."""
        texts = [self.said[name].texts for name in names]
        frame = pl.DataFrame({str(i): text for i, text in enumerate(texts)})
        apart = frame.select(pl.max_horizontal(pl.all()) != pl.min_horizontal(pl.all())).to_series()
        found: Mask = np.logical_or.reduce([_mask(apart), *(self.failed(name) for name in names)])
        return found

    def failed(self, name: str) -> Mask:
        """Where the contender's request failed."""
        return ~_mask(self.said[name].errors.is_null())

    def holding(self, words: str, names: Sequence[str], *, pattern: bool = False) -> Mask:
        """Where the id, question, a reference, or what one of these contenders said holds some words (case ignored).

        A `pattern` is a regular expression without look-around and back-references, so that it takes time in
        proportion to the text. Raises SearchError for one that is wrong or takes too long all the same.
        """
        searched = [pl.Series(self.ids), self.questions, self.references]
        searched += [column for name in names for column in (self.said[name].texts, self.said[name].errors)]
        if len(words) > MOST_PATTERN:
            raise SearchError(f"more than {MOST_PATTERN} characters are searched for")
        return _search(searched, words if pattern else _quoted(words), len(self.ids))


def _mask(series: pl.Series) -> Mask:
    found: Mask = series.fill_null(False).to_numpy()
    return found


def _quoted(words: str) -> str:
    """Words as a pattern that finds them to the letter."""
    return "".join(c if c.isalnum() else f"\\x{{{ord(c):x}}}" for c in words)


def _search(columns: Sequence[pl.Series], pattern: str, size: int) -> Mask:
    found, begun = np.zeros(size, dtype=bool), time.monotonic()
    for start in range(0, size, PART):
        if time.monotonic() - begun > MOST_SECONDS:
            raise SearchError(f"the search took over {MOST_SECONDS:g} s: make the pattern simpler")
        for column in columns:
            part = column[start : start + PART]
            try:
                found[start : start + PART] |= _mask(part.str.contains(f"(?i){pattern}"))
            except pl.exceptions.ComputeError as error:
                raise SearchError(_fault(str(error))) from None
    return found


def _fault(told: str) -> str:
    """What the engine says is wrong, without where in the engine it said it."""
    words = told.partition("This error occurred")[0].strip()
    return plain(words.rpartition("error: ")[2])


# -- one metric --------------------------------------------------------------------------------------------


def outcomes(one: Numbers, other: Numbers, *, better_up: bool) -> npt.NDArray[np.str_]:
    """How `one` did against `other` on each sample, by their scores; "error" where one has none."""
    with np.errstate(invalid="ignore"):
        better, worse = (one > other, one < other) if better_up else (one < other, one > other)
    unknown = np.isnan(one) | np.isnan(other)
    return np.select([unknown, better, worse], ["error", "win", "loss"], "tie")


@derived
def values(run: Run, metric: str) -> dict[str, Numbers]:
    """Each contender's own score of each test sample: the metric's reduction of that sample's row alone."""
    place = cases(run).place
    experiment = experiment_of(run) if metric == HUMAN.name else None
    rated = dict(scores_now(run, experiment)) if experiment else {}
    found = {}
    for name in run.contenders():
        scores = rated.get(name) or run.scores(name)
        found[name] = np.full(len(place), np.nan)
        if scores is None or metric not in scores["metrics"]:
            continue
        rows = stored_rows(scores, metric)
        with np.errstate(all="ignore"):
            each = np.asarray(rows.reduce(rows.stats), dtype=np.float64)
        each[~rows.scored | ~np.isfinite(each)] = np.nan
        for sample, value in zip(scores["ids"], each, strict=True):
            if sample in place:
                found[name][place[sample]] = value
    return found


# -- all samples -------------------------------------------------------------------------------------------


@derived
def cases(run: Run) -> Cases:
    """Every test sample in order, with what each contender that has begun said."""
    samples = run.samples()
    place = {sample.id: at for at, sample in enumerate(samples)}
    experiment, names = experiment_of(run), run.contenders()
    return Cases(
        ids=tuple(place),
        place=place,
        questions=pl.Series([s.question for s in samples], dtype=pl.String),
        references=pl.Series([" | ".join(s.references) for s in samples], dtype=pl.String),
        said={name: _said(run.predictions(name), place, _price(name, experiment)) for name in names},
        slices=slices_of(samples, experiment.task) if experiment and samples else {},
        samples=run.stored_samples(),
        answers={name: run.stored_predictions(name) for name in names},
    )


@derived
def prompts(run: Run, name: str) -> tuple[StoredRows[Prompt], dict[str, int]]:
    """What a contender sent, and which row is which sample's."""
    return run.stored_prompts(name), {prompt.id: row for row, prompt in enumerate(run.prompts(name))}


def prompt_of(run: Run, name: str, sample: str) -> Prompt | None:
    """What a contender sent for a sample; None where nothing is kept."""
    stored, rows = prompts(run, name)
    return stored[rows[sample]] if sample in rows else None


def _price(name: str, experiment: Experiment | None) -> Callable[[Prediction], float | None]:
    settings = next((c for c in experiment.contenders if c.name == name), None) if experiment else None
    return price_of(settings, experiment) if settings and experiment else lambda p: p.usd


def _said(
    predictions: Sequence[Prediction],
    place: dict[str, int],
    usd: Callable[[Prediction], float | None],
) -> Said:
    texts: list[str | None] = [None] * len(place)
    errors: list[str | None] = [None] * len(place)
    costs, times = np.full(len(place), np.nan), np.full(len(place), np.nan)
    rows = np.full(len(place), -1, dtype=np.int64)
    for row, p in enumerate(predictions):
        at = place.get(p.id)
        if at is None:
            continue
        # A row that comes later stands for the same sample's earlier one.
        rows[at], errors[at] = row, p.error
        texts[at] = text_of(p) if p.error is None else None
        costs[at], times[at] = _number(usd(p)), _number(p.seconds)
    return Said(pl.Series(texts, dtype=pl.String), pl.Series(errors, dtype=pl.String), costs, times, rows)


def text_of(prediction: Prediction) -> str:
    """An answer as it reads: its text, and its tool calls where it made some."""
    calls: list[dict[str, Any]] = list(prediction.tool_calls)
    lines = [json.dumps(call, ensure_ascii=False, sort_keys=True) for call in calls]
    return "\n".join(filter(None, [prediction.prediction, *lines]))


def _number(value: float | None) -> float:
    return math.nan if value is None else value
