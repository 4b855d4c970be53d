"""What more training data would bring: the learning curve of the tuned contender, read from the run folder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrics import Rows
from metrics.learning_curve import fit_curve
from metrics.types import bounds

from .designs import curve_contender, curve_points
from .evidence import Evidence, as_asked
from .experiment import Experiment
from .records import Forecast
from .runs import Run
from .scoring import stored_rows
from .settings import FineTuned

# Forecasts reach this far beyond the training split.
TIMES = 2


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """The primary metric of one contender at several sizes of its training split: `runs[size][seed]`."""

    sizes: tuple[int, ...]
    runs: tuple[tuple[Rows, ...], ...]

    @property
    def scores(self) -> tuple[float, ...]:
        """The mean score over seeds at each size."""
        return tuple(float(np.mean([_value(rows) for rows in runs])) for runs in self.runs)


@dataclass(frozen=True, slots=True)
class Course:
    """A learning curve to be drawn: (examples, score) of every training, and (examples, score, low, high) of the band.

    The band is where the score of one more training on so many rows would lie; empty, with the reason, where
    the points tell no curve.
    """

    points: tuple[tuple[int, float], ...]
    band: tuple[tuple[float, float, float, float], ...]
    reason: str | None = None


def course_of(run: Run, experiment: Experiment) -> Course | None:
    """The learning curve of a run, from its smallest size to twice its largest; None where none was measured."""
    settings = curve_contender(run, experiment)
    curve = learning_curve(run, experiment, settings) if settings is not None else None
    if settings is None or curve is None:
        return None
    points = tuple(
        (size, _value(rows)) for size, runs in zip(curve.sizes, curve.runs, strict=True) for rows in runs
    )
    every = [rows for runs in curve.runs for rows in runs]
    kept = np.logical_and.reduce([rows.scored for rows in every])
    metric = experiment.metric(experiment.primary)
    groups = (run.scores(settings.name) or {})["groups"]
    low, high = bounds(metric.scale)
    try:
        fitted = fit_curve(
            curve.sizes,
            [[rows.stats[kept] for rows in runs] for runs in curve.runs],
            groups=[group for group, on in zip(groups, kept, strict=True) if on],
            reduce=every[0].reduce,
            higher_is_better=metric.higher_is_better,
            alpha=experiment.decision.alpha,
        )
        ahead = np.linspace(curve.sizes[0], TIMES * curve.sizes[-1], 25).tolist()
        band = [(f.at, f.value, *f.interval) for f in map(fitted.forecast, ahead)]
    except ValueError as error:
        return Course(points, (), str(error))
    inside = np.clip(np.array(band), [0, low, low, low], [math.inf, high, high, high]).tolist()
    return Course(points, tuple((n, value, a, b) for n, value, a, b in inside), fitted.reason)


def forecast_of(
    run: Run, experiment: Experiment, tuned: Evidence, others: Sequence[Evidence]
) -> Forecast | None:
    """Forecast the tuned contender at twice the training rows; None where no curve was asked for.

    The probability is a lower bound (Bonferroni) of that the gain over every alternative exceeds the margin.
    """
    settings = curve_contender(run, experiment)
    if experiment.learning_curve is None or settings is None:
        return None
    if settings.name != tuned.name:
        return _none(f"the learning curve is that of {settings.name}")
    curve = learning_curve(run, experiment, settings)
    if curve is None:
        return _none("not every training of the learning curve has been scored yet")
    return _forecast(curve, tuned, others, experiment)


def learning_curve(run: Run, experiment: Experiment, settings: FineTuned) -> LearningCurve | None:
    """The curve as it was measured, the smallest size first; None while a training is missing."""
    examples: dict[float, list[int]] = {}
    runs: dict[float, list[Rows]] = {}
    for point in curve_points(run, experiment, settings):
        info, scores = point.place.contender(settings.name), point.place.scores(settings.name)
        if not info or not info.get("training") or not _as_asked(info, point.settings, experiment):
            return None
        if experiment.primary not in (scores or {}).get("metrics", {}):
            return None
        examples.setdefault(point.fraction, []).append(info["training"]["examples"])
        runs.setdefault(point.fraction, []).append(stored_rows(scores or {}, experiment.primary))
    # Whole clusters are taken, so seeds may differ by a row or two.
    sizes = tuple(round(float(np.mean(found))) for found in examples.values())
    return LearningCurve(sizes, tuple(tuple(found) for found in runs.values()))


def _as_asked(info: dict[str, Any], settings: FineTuned, experiment: Experiment) -> bool:
    """Whether a training was finished under today's recipe; its place says its seed."""
    seed = {"seed": settings.seed, "seeds": settings.seeds}
    now = {**info, "settings": {**info["settings"], **seed}}
    return info["status"] == "success" and as_asked(now, settings, experiment)


def _forecast(
    curve: LearningCurve, tuned: Evidence, others: Sequence[Evidence], experiment: Experiment
) -> Forecast:
    every = [*(rows for runs in curve.runs for rows in runs), *(other.rows for other in others)]
    if reason := next((rows.reason for rows in every if rows.reason), None):
        return _none(reason)
    if len({(rows.signature, rows.stats.shape) for rows in every}) > 1:
        return _none("the metric was measured differently for the trainings and an alternative")
    kept = np.logical_and.reduce([rows.scored for rows in every])
    if not kept.any():
        return _none("no sample was answered by every training and every alternative")
    metric = experiment.metric(experiment.primary)
    options: dict[str, Any] = {
        "groups": [group for group, on in zip(tuned.groups, kept, strict=True) if on],
        "reduce": tuned.rows.reduce,
        "higher_is_better": metric.higher_is_better,
        "alpha": experiment.decision.alpha,
    }
    runs = [[rows.stats[kept] for rows in found] for found in curve.runs]
    at, margin = TIMES * curve.sizes[-1], experiment.decision.worth_it
    try:
        fitted = fit_curve(curve.sizes, runs, **options)
        expected = fitted.forecast(at)
        gains = [fit_curve(curve.sizes, runs, against=o.rows.stats[kept], **options) for o in others]
        chances = [gain.forecast(at, margin=margin).probability or 0.0 for gain in gains]
    except ValueError as error:
        return _none(str(error), curve)

    def inside(value: float) -> float:
        low, high = bounds(metric.scale)
        return min(high, max(low, value))

    return Forecast(
        sizes=curve.sizes,
        scores=curve.scores,
        at=at,
        value=inside(expected.value),
        interval=(inside(expected.interval[0]), inside(expected.interval[1])),
        slope_interval=fitted.slope_interval,
        probability=max(0.0, 1 - sum(1 - chance for chance in chances)) if chances else None,
        reason=fitted.reason,
    )


def _value(rows: Rows) -> float:
    return float(rows.reduce(rows.stats[rows.scored].mean(axis=0)))


def _none(reason: str, curve: LearningCurve | None = None) -> Forecast:
    """No forecast, and why; what was measured is told anyway."""
    return Forecast(
        sizes=curve.sizes if curve else (),
        scores=curve.scores if curve else (),
        at=TIMES * curve.sizes[-1] if curve else 0,
        value=None,
        interval=None,
        slope_interval=None,
        probability=None,
        reason=reason,
    )
