"""The metric `human` as the ratings stand now: people rate after a run too, and then no model need be asked again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from metrics import METRICS

from .experiment import Experiment
from .ratings import kind_of, people, values_of
from .runs import Run
from .scoring import Rated, score_rated

HUMAN = METRICS["human"]


def rated_by_people(run: Run, experiment: Experiment) -> dict[str, Rated]:
    """What people gave each contender's answers. Raises RatingsError.

    They rated the answers of the run itself: those of its parts (further seeds, folds) have none.
    """
    given = people(run, experiment) if run.whole is None else []
    by = "people, choices" if kind_of(given) == "choice" else "people, ratings on a scale"
    values = values_of(given)
    return {c.name: Rated(by, values.get(c.name, {})) for c in experiment.contenders}


def rated_here(run: Run, experiment: Experiment) -> bool:
    """Whether people rated answers in the folder: what its files say of `human` may then be of before."""
    return HUMAN.name in experiment.metric_names and bool(run.ratings())


def scores_now(run: Run, experiment: Experiment) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each scored contender with its scores.json, the metric `human` measured by the ratings that count now.

    One at a time: rows of many samples are large. Raises RatingsError.
    """
    rated = rated_by_people(run, experiment) if rated_here(run, experiment) else None
    for contender in experiment.contenders:
        scores = run.scores(contender.name)
        if scores is None:
            continue
        if rated is not None and HUMAN.name in scores["metrics"]:
            answers, seed = run.predictions(contender.name), experiment.data.split.seed
            score = score_rated(HUMAN, answers, rated[contender.name], seed=seed)
            scores = {**scores, "metrics": {**scores["metrics"], HUMAN.name: score}}
        yield contender.name, scores
