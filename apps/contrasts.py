"""Contenders against a chosen one: whole, and slice by slice; derived from the folder, no Streamlit in here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from apps.board import experiment_of, gain, higher_is_better, pairs, priced_evidence
from apps.reading import derived
from workbench.difference import compare
from workbench.evidence import Evidence, pooled_seeds
from workbench.harm import changes_on_slices, slices_of
from workbench.human import HUMAN, rated_here
from workbench.records import Difference, SliceChange
from workbench.runs import Run

_TURNED = {"better": "worse", "worse": "better"}


@dataclass(frozen=True, slots=True)
class Contrast:
    """What one contender gains over the baseline on the same samples, positive where it is better."""

    name: str
    gain: Difference
    conclusion: str
    n: int
    p_holm: float | None


@derived
def contrasts(run: Run, metric: str, baseline: str) -> tuple[Contrast, ...]:
    """Every contender against `baseline` on one metric, the best first.

    Read from comparison.json where the pair stands there, else compared now by the same function; those that
    were measured otherwise, or on other samples, are left out.
    """
    found = _stored(run, metric, baseline)
    for name, one in _evidence(run).items():
        if name != baseline and name not in found:
            compared = _compared(run, metric, one, baseline)
            if compared is not None:
                found[name] = compared
    return tuple(sorted(found.values(), key=lambda c: -c.gain.estimate))


def _stored(run: Run, metric: str, baseline: str) -> dict[str, Contrast]:
    up = higher_is_better(metric, run)
    found = {}
    for pair in pairs(run, metric):
        won = gain(pair.difference, up)
        if pair.difference.against == baseline:
            found[pair.tuned] = Contrast(pair.tuned, won, pair.conclusion, pair.n, pair.p_holm)
        elif pair.tuned == baseline:
            conclusion = _TURNED.get(pair.conclusion, pair.conclusion)
            name = pair.difference.against
            found[name] = Contrast(name, gain(won, False), conclusion, pair.n, pair.p_holm)
    return found


def _evidence(run: Run) -> dict[str, Evidence]:
    experiment = experiment_of(run)
    if experiment is None:
        return {}
    return {
        e.name: e
        for diagnostic in (False, True)
        for e in priced_evidence(run, experiment, diagnostic=diagnostic)
    }


def _compared(run: Run, metric: str, one: Evidence, baseline: str) -> Contrast | None:
    experiment, base = experiment_of(run), _evidence(run).get(baseline)
    if experiment is None or base is None or any(metric not in e.scores["metrics"] for e in (one, base)):
        return None
    compared = compare(one, base, experiment, metric=metric)
    if compared is None:
        return None
    won = Difference(
        against=baseline,
        estimate=compared.difference,
        interval=compared.interval,
        p=compared.p,
        method=compared.method,
    )
    up = experiment.metric(metric).higher_is_better
    return Contrast(one.name, gain(won, up), compared.conclusion, compared.n, None)


# -- slices ----------------------------------------------------------------------------------------------


@derived
def slice_masks(run: Run) -> dict[str, npt.NDArray[np.bool_]]:
    """Name → which test samples: tags, classes, thirds by length."""
    return slices_of(run.samples(), str(run.meta().get("task", "")))


@dataclass(frozen=True, slots=True)
class SliceScore:
    """One contender on one slice; no value where none of its samples was scored."""

    slice: str
    name: str
    value: float | None
    n: int


@derived
def slice_scores(run: Run, metric: str) -> tuple[SliceScore, ...]:
    """Every scored contender's value on every slice, diagnostic ones too."""
    found = []
    masks = slice_masks(run)
    for name, one in _evidence(run).items():
        if metric not in one.scores["metrics"]:
            continue
        rows = pooled_seeds(one.of_seeds(metric))
        for label, mask in masks.items():
            members = mask & rows.scored if len(mask) == len(rows.scored) else np.zeros(0, dtype=bool)
            n = int(members.sum())
            value = float(rows.reduce(rows.stats[members].mean(axis=0))) if n else None
            finite = value is not None and bool(np.isfinite(value))
            found.append(SliceScore(label, name, value if finite else None, n))
    return tuple(found)


@derived
def slice_changes(run: Run, metric: str, one: str, baseline: str) -> tuple[SliceChange, ...]:
    """What `one` gains over `baseline` on every slice; the intervals hold together. Empty where nothing compares."""
    experiment, known = experiment_of(run), _evidence(run)
    if experiment is None or one not in known or baseline not in known:
        return ()
    if any(metric not in known[name].scores["metrics"] for name in (one, baseline)):
        return ()
    return changes_on_slices(
        run,
        known[one],
        known[baseline],
        metric,
        experiment.task,
        experiment.decision.alpha,
        experiment.data.split.seed,
        experiment.metric(metric).higher_is_better,
    )


def told_slices(run: Run, metric: str, one: str, baseline: str) -> tuple[SliceChange, ...] | None:
    """`slice_changes` where the verdict holds them already; else None."""
    verdict, experiment = run.verdict(), experiment_of(run)
    harm = verdict.harm if verdict else None
    if verdict is None or harm is None:
        return None
    if metric == HUMAN.name and experiment is not None and rated_here(run, experiment):
        return None
    return harm.slices if (verdict.metric, verdict.tuned, harm.against) == (metric, one, baseline) else None
