"""Failed and cut answers: could what they might have been change the verdict?

Nobody knows what a failed answer would have said, so the decision is made again with all of them as good as
can be for one side and as bad as can be for the other, and the other way round. Where the row of the table
that applies stays the same, the failures do not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import msgspec
import numpy as np

from metrics import METRICS, Rows
from metrics.types import Mask, row_mean

from .difference import compare, gain
from .evidence import Evidence
from .experiment import Experiment
from .margins import Row, row_of
from .records import Prediction
from .scoring import measured

# An answer that is surely wrong: it shares no word and no letter with any reference.
NOTHING = "\N{REPLACEMENT CHARACTER}"
# Where a metric can go no lower and no higher.
ENDS = {"0-1": (0.0, 1.0), "0-100": (0.0, 100.0)}


def cut_short(p: Prediction) -> bool:
    """Stopped by the token limit before it was even as long as the longest reference.

    A rambling answer that was cut later has said more than the reference already: going on would not have
    turned it into the reference.
    """
    return p.finish_reason == "length" and len(p.prediction or "") < max(map(len, p.references), default=0)


def undecided(e: Evidence, experiment: Experiment) -> list[bool]:
    """On which samples a contender's answer, from one seed at least, is not known."""
    metric = experiment.metric(experiment.primary)
    return _undecided(e, metric.name, metric.needs)


@lru_cache(maxsize=64)
def _undecided(e: Evidence, metric: str, needs: str) -> list[bool]:
    found: list[bool] = np.logical_or.reduce(_unknown(e, metric, needs)).tolist()
    return found


@lru_cache(maxsize=64)
def _unknown(e: Evidence, metric: str, needs: str) -> tuple[Mask, ...]:
    """Seed by seed: failed answers, those cut short where the text counts, those that the judge could not rate.

    People rate a part on purpose, so what they left out is no failure.
    """
    return tuple(
        np.array(
            [
                p.error is not None or (needs == "text" and cut_short(p)) or (metric == "judge" and not rated)
                for p, rated in zip(answers, rows.scored.tolist(), strict=True)
            ],
            dtype=bool,
        )
        for answers, rows in zip(e.answers, e.of_seeds(metric), strict=True)
    )


def might_change(
    tuned: Evidence, others: Sequence[Evidence], experiment: Experiment, *, cheaper: bool
) -> bool | None:
    """Whether another row of the table applies under some fate of the unknown answers; None where it cannot be told."""
    seen = set()
    for best_for_tuned in (None, True, False):
        row = _row(tuned, others, experiment, cheaper, best_for_tuned)
        if row is None:
            return None
        seen.add(row)
    return len(seen) > 1


def _row(
    tuned: Evidence, others: Sequence[Evidence], experiment: Experiment, cheaper: bool, best: bool | None
) -> Row | None:
    """The row that applies with unknown answers left out (None), best for the tuned one, or worst for it."""
    gains = []
    for other in others:
        rows = None
        if best is not None:
            a, b = filled(tuned, experiment, best=best), filled(other, experiment, best=not best)
            if a is None or b is None:
                return None
            rows = (a, b)
        compared = compare(tuned, other, experiment, rows=rows)
        if compared is not None:
            higher = experiment.metric(experiment.primary).higher_is_better
            gains.append(gain(compared, other.name, higher))
    return row_of(
        gains,
        worth_it=experiment.decision.worth_it,
        equivalent_within=experiment.equivalent_within,
        cheaper=cheaper,
    )


def filled(e: Evidence, experiment: Experiment, *, best: bool) -> tuple[Rows, ...] | None:
    """The primary metric's rows, seed by seed, with every unknown answer as good, or as bad, as it can be.

    None where the metric has no worst value: likelihoods, scores without a scale.
    """
    metric = experiment.metric(experiment.primary)
    if metric.scale in ENDS and all(rows.reduce is row_mean for rows in e.of_seeds(metric.name)):
        value = ENDS[metric.scale][best == metric.higher_is_better]
        return _at_the_end(e, metric.name, metric.needs, value)
    seeds = zip(e.answers, e.of_seeds(metric.name), _unknown(e, metric.name, metric.needs), strict=True)
    found = [_filled(answers, rows, unknown, experiment, best) for answers, rows, unknown in seeds]
    known = tuple(rows for rows in found if rows is not None)
    return known if len(known) == len(found) else None


@lru_cache(maxsize=64)
def _at_the_end(e: Evidence, metric: str, needs: str, value: float) -> tuple[Rows, ...]:
    """Unknown answers of an average of samples, given the lowest or the highest value there is."""
    return tuple(
        _with(rows, np.where(unknown[:, None], value, rows.stats), rows.scored | unknown)
        if unknown.any()
        else rows
        for rows, unknown in zip(e.of_seeds(metric), _unknown(e, metric, needs), strict=True)
    )


def _filled(
    predictions: Sequence[Prediction], rows: Rows, unknown: Mask, experiment: Experiment, best: bool
) -> Rows | None:
    """The rows of one seed. Of a corpus metric a good answer is the reference, a bad one shares nothing with it."""
    metric = experiment.metric(experiment.primary)
    if not unknown.any():
        return rows
    if metric.name not in METRICS or metric.needs != "text":
        return None
    answers = [
        msgspec.structs.replace(
            p,
            prediction=p.references[0] if best else NOTHING,
            tool_calls=(),
            error=None,
            finish_reason="stop",
        )
        if open_
        else p
        for p, open_ in zip(predictions, unknown, strict=True)
    ]
    rows = measured(metric.name, answers, experiment, tokenizer="")
    if metric.name == "cost_of_error" and not best:
        costs = experiment.options_of(metric.name)["costs"]
        dearest = max(float(usd) for row in costs.values() for usd in row.values())
        rows = _with(rows, np.where(unknown[:, None], dearest, rows.stats), rows.scored)
    return rows


def _with(rows: Rows, stats: np.ndarray, scored: np.ndarray) -> Rows:
    """The same rows with other statistics."""
    return Rows(stats, scored, rows.reduce, rows.columns, rows.signature, rows.reason)
