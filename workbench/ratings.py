"""People's ratings: from the file that an experiment names and from the run folder, where the app writes.

A file is CSV, JSONL, a JSON array or Parquet. Its rows hold either

    id or input, contender, rating, [scale], [rater], [time]      one answer on a scale
    id or input, a, b, winner, [rater], [time]                    a choice: winner is a, b or tie

`input` is the question's text. `scale` is 0-1 (where not given), 1-5 or 1-10; the last two are mapped to
0–1, so 4 of 1-5 is 0.75. A rating over 1 without its scale is refused: nobody should guess. A rater's later
row replaces the earlier one, and the run folder's own rows come after the file's; rows without a rater
each count. Ratings on a scale and choices do not average: an experiment has one kind.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, Final, Literal, cast

import msgspec

from validators.reading import DataError, Row, read_rows
from validators.suggest import did_you_mean

from .experiment import Experiment, settings_hash
from .records import Rating, Sample
from .runs import Run, RunError

Ratings = dict[str, dict[str, list[float]]]
"""Contender → sample id → one value a rater, 0–1."""
Choices = dict[tuple[str, str, str], list[float]]
"""(sample id, a, b) → one value a rater: 1 where a is better, 0.5 for a tie; both directions are there."""
Said = Mapping[tuple[str, str], str | None]
"""(contender, sample id) → the answer."""

SCALES: Final[dict[str, tuple[float, float]]] = {"0-1": (0.0, 1.0), "1-5": (1.0, 5.0), "1-10": (1.0, 10.0)}
WINS: Final[dict[str, float]] = {"a": 1.0, "tie": 0.5, "b": 0.0}
SHOWN_FAULTS = 20


class RatingsError(RunError):
    """Ratings that cannot be used; the message names each place, fault and cure."""


def rate(run: Run, *ratings: Rating, said: Said | None = None) -> None:
    """Keep ratings in the run folder, each with a mark of the answers that were rated.

    Where an answer changes later, the mark no longer fits and the rating no longer counts. `said` are the
    answers that the rater saw, where the caller has them at hand; else they are read.
    """
    seen = said if said is not None else _said(run, {name for r in ratings for name in about(r)})
    run.append_ratings(msgspec.structs.replace(r, answers=_mark(seen, r)) for r in ratings)


def people(run: Run, experiment: Experiment, said: Said | None = None) -> list[Rating]:
    """All ratings that count now, by sample id: of the file first, then the folder's own.

    Beside the run folder's copy of the experiment stands a copy of the file's ratings. `said` are the answers
    to what was rated, where the caller has them at hand. Raises RatingsError for faults of the file (all at
    once), and where scales and choices are mixed.
    """
    names = [c.name for c in experiment.contenders]
    own = [r for r in run.ratings() if about(r) <= set(names)]
    seen = said if said is not None else _said(run, {name for r in own for name in about(r)})
    own = unchanged(own, seen)
    kept = latest([*_given(run, experiment, names), *own])
    if len({r.winner is None for r in kept}) > 1:
        raise RatingsError(
            f"{experiment.ratings or 'ratings.jsonl'} and the run folder's ratings.jsonl hold ratings on a scale "
            "and choices between two answers; they do not average. Keep one kind."
        )
    return kept


def unchanged(ratings: Iterable[Rating], said: Said) -> list[Rating]:
    """The ratings of answers that still say what was rated."""
    return [r for r in ratings if r.answers in (None, _mark(said, r))]


def latest(ratings: Iterable[Rating]) -> list[Rating]:
    """The last word of each rater on each answer or pair, in the order given; what was taken back is gone."""
    found: dict[object, Rating] = {}
    for number, rating in enumerate(ratings):
        key = (rating.rater or number, rating.id, *sorted(about(rating)))
        found.pop(key, None)
        if not rating.withdrawn:
            found[key] = rating
    return list(found.values())


def keep_given(run: Run, experiment: Experiment) -> None:
    """Copy what the experiment's ratings file holds into the run folder. Raises RatingsError."""
    run.write_given_ratings(_given(run, experiment, [c.name for c in experiment.contenders]))


def ratings_of(run: Run, experiment: Experiment) -> Ratings:
    """What people gave each answer, for the metric `human`. Raises RatingsError."""
    return values_of(people(run, experiment))


def values_of(ratings: Sequence[Rating]) -> Ratings:
    """Ratings by contender and sample; a choice is 1 for the winner and 0 for the loser."""
    found: Ratings = defaultdict(lambda: defaultdict(list))
    for r in ratings:
        if r.winner is None:
            found[str(r.contender)][r.id].append(float(r.rating or 0.0))
        else:
            found[str(r.a)][r.id].append(WINS[r.winner])
            found[str(r.b)][r.id].append(1.0 - WINS[r.winner])
    return {name: dict(by_id) for name, by_id in found.items()}


def choices_of(ratings: Sequence[Rating]) -> Choices:
    """Who was chosen over whom; from ratings on a scale, by the means that two answers got."""
    found: Choices = defaultdict(list)
    scaled: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for r in ratings:
        if r.winner is None:
            scaled[r.id][str(r.contender)].append(float(r.rating or 0.0))
        else:
            found[r.id, str(r.a), str(r.b)].append(WINS[r.winner])
            found[r.id, str(r.b), str(r.a)].append(1.0 - WINS[r.winner])
    for sample, given in scaled.items():
        means = {name: fmean(values) for name, values in given.items()}
        for a in means:
            for b in means:
                if a != b:
                    found[sample, a, b].append(preferred(means[a], means[b]))
    return dict(found)


def preferred(a: float, b: float) -> float:
    """1 where a is rated higher, 0 where b is, 0.5 for a tie."""
    return 0.5 if abs(a - b) < 1e-9 else float(a > b)


def kind_of(ratings: Sequence[Rating]) -> Literal["scale", "choice"]:
    """Whether people rated answers on a scale, or chose between two."""
    return "choice" if any(r.winner is not None for r in ratings) else "scale"


def about(rating: Rating) -> set[str]:
    """The contenders whose answers were rated."""
    return {name for name in (rating.contender, rating.a, rating.b) if name is not None}


def _said(run: Run, names: set[str]) -> Said:
    """What each contender answered to each sample."""
    return {(name, p.id): p.prediction for name in names for p in run.predictions(name)}


def _mark(said: Said, rating: Rating) -> str:
    return settings_hash([(name, said.get((name, rating.id))) for name in sorted(about(rating))])[:12]


# -- the file ------------------------------------------------------------------------------------------


def _given(run: Run, experiment: Experiment, names: Sequence[str]) -> list[Rating]:
    if experiment.ratings is None:
        return []
    if experiment.folder == run.folder:
        given = run.given_ratings()
        if given is None:
            raise RatingsError(
                f"{run.folder} does not hold what {experiment.ratings} said. Run the experiment again; nothing is "
                "asked twice."
            )
        return [r for r in given if about(r) <= set(names)]
    return _from_file(experiment, run.samples(), names)


def _from_file(experiment: Experiment, samples: Sequence[Sample], names: Sequence[str]) -> list[Rating]:
    path = experiment.resolve(str(experiment.ratings))
    try:
        rows = list(read_rows(path))
    except DataError as error:
        raise RatingsError(f"ratings: {error}") from None
    by_id = {s.id for s in samples}
    by_question: dict[str, list[str]] = defaultdict(list)
    for s in samples:
        by_question[s.question.strip()].append(s.id)
    found, faults = [], []
    for row in rows:
        try:
            found.append(_rating(row, _sample_of(row, by_id, by_question), names))
        except ValueError as error:
            faults.append(f"ratings: {path.name}:{row.line}: {error}")
    if faults:
        more = f"\n… and {len(faults) - SHOWN_FAULTS} more" if len(faults) > SHOWN_FAULTS else ""
        raise RatingsError("\n".join(faults[:SHOWN_FAULTS]) + more)
    return found


def _sample_of(row: Row, by_id: set[str], by_question: Mapping[str, list[str]]) -> str:
    wanted = _cell(row, "id")
    if wanted is not None:
        if wanted not in by_id:
            raise ValueError(
                f"no test sample has the id {wanted!r}; the run folder's samples.jsonl lists them"
            )
        return wanted
    asked = _cell(row, "input")
    if asked is None:
        raise ValueError("a row needs `id`, or `input` with the question's text")
    matches = by_question.get(asked.strip(), [])
    if len(matches) != 1:
        told = f"{len(matches)} test samples ask" if matches else "no test sample asks"
        raise ValueError(
            f"{told} {asked[:60]!r}; the run folder's samples.jsonl lists every question with its id"
        )
    return matches[0]


def _rating(row: Row, sample: str, names: Sequence[str]) -> Rating:
    about: dict[str, Any] = {"id": sample, "rater": _cell(row, "rater"), "time": _cell(row, "time")}
    winner = _cell(row, "winner")
    if winner is None:
        return Rating(contender=_contender(row, "contender", names), rating=_number(row), **about)
    if winner.lower() not in WINS:
        raise ValueError(f"winner is {winner!r}: write a, b or tie")
    a, b = _contender(row, "a", names), _contender(row, "b", names)
    if a == b:
        raise ValueError(f"a and b are both {a!r}: a choice is between two contenders")
    return Rating(a=a, b=b, winner=cast(Literal["a", "b", "tie"], winner.lower()), **about)


def _contender(row: Row, column: str, names: Sequence[str]) -> str:
    name = _cell(row, column)
    if name is None:
        raise ValueError(f"a row needs `{column}` with a contender's name")
    if name not in names:
        raise ValueError(
            f"no contender is called {name!r}.{did_you_mean(name, names)} There are: {', '.join(names)}"
        )
    return name


def _number(row: Row) -> float:
    text, scale = _cell(row, "rating"), _cell(row, "scale") or "0-1"
    if text is None:
        raise ValueError("a row needs `rating`, or `winner` with `a` and `b`")
    if scale not in SCALES:
        raise ValueError(f"scale is {scale!r}: write one of {', '.join(SCALES)}")
    low, high = SCALES[scale]
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        cure = (
            "" if "scale" in row.value else "; for ratings up to 5 or 10 add a column scale with 1-5 or 1-10"
        )
        raise ValueError(f"rating {text!r} is no number from {low:g} to {high:g}{cure}")
    return (value - low) / (high - low)


def _cell(row: Row, column: str) -> str | None:
    """A cell as text; None where it is missing or empty."""
    value = row.value.get(column)
    return None if value is None or value == "" else str(value)
