"""Harm: did tuning make it worse anywhere? Slice by slice, and on text that is not the task's.

An average may rise while one kind of customer is served worse. Every slice is compared with the reference
alternative on the same samples, and all intervals hold at once, so that many slices do not make a false
alarm likely.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from metrics import Comparison, Rows
from metrics.multiple import Contrast, simultaneous

from .difference import comparable, gain
from .evidence import Evidence, best_first, pooled_seeds
from .experiment import Experiment
from .forgetting import forgetting_of
from .records import Harm, Sample, SliceChange
from .runs import Run
from .splits import classes_of

Mask = npt.NDArray[np.bool_]

FEWEST_SAMPLES = 10
FEWEST_GROUPS = 5
# Of a tag with more values the most frequent ones are looked at: the others are too small to tell anyhow.
MOST_VALUES = 50
LENGTHS = ("short", "middle", "long")


def harm_of(run: Run, experiment: Experiment, tuned: Evidence, others: Sequence[Evidence]) -> Harm | None:
    """Compare `tuned` with the best of `others` on every slice, and say what was forgotten.

    None where there is neither a slice that both were scored on nor a measurement of forgetting.
    """
    decision, seed = experiment.decision, experiment.data.split.seed
    forgetting = forgetting_of(tuned.info.get("forgetting"), alpha=decision.alpha, seed=seed)
    scored = [o for o in others if o.summary.score is not None]
    higher = experiment.metric(experiment.primary).higher_is_better
    best = best_first(scored, higher)[0] if scored else None
    asked = (experiment.primary, experiment.task, decision.alpha, seed, higher)
    slices = changes_on_slices(run, tuned, best, *asked) if best else ()
    if not slices and forgetting is None:
        return None
    return Harm(against=best.name if best and slices else None, slices=slices, forgetting=forgetting)


@lru_cache(maxsize=16)
def changes_on_slices(
    run: Run, tuned: Evidence, other: Evidence, metric: str, task: str, alpha: float, seed: int, higher: bool
) -> tuple[SliceChange, ...]:
    """What `tuned` gains over `other` on every slice of the test samples on which the metric has a value.

    Intervals, for slices that are large enough, hold together. Empty where the two cannot be compared.
    """
    samples = run.samples()
    if [s.id for s in samples] != tuned.ids or not comparable(tuned, other, metric):
        return ()
    return _changes(slices_of(samples, task), tuned, other, metric, alpha, seed, higher)


def slices_of(samples: Sequence[Sample], task: str) -> dict[str, Mask]:
    """Name → which samples: tags, classes where the references form some, thirds by the question's length.

    What holds for every sample is no slice.
    """
    found: dict[str, Mask] = {}
    for tag in dict.fromkeys(key for s in samples for key in s.tags):
        found |= _by_value(tag, [s.tags.get(tag) for s in samples])
    answers = [s.references[0].strip() for s in samples]
    few = task == "classification" and 1 < len(set(answers)) <= MOST_VALUES
    if few or classes_of(samples) is not None:
        found |= _by_value("class", answers)
    lengths = np.array([len(s.question) for s in samples])
    if len(lengths):
        # Equal lengths stay together, so thirds are thirds only where lengths differ.
        third = np.searchsorted(np.quantile(lengths, [1 / 3, 2 / 3]), lengths)
        found |= _by_value("length", [LENGTHS[i] for i in third], order=LENGTHS)
    return {name: mask for name, mask in found.items() if not mask.all()}


def _by_value(tag: str, values: Sequence[str | None], order: Sequence[str] | None = None) -> dict[str, Mask]:
    known = Counter(v for v in values if v is not None)
    names = order or sorted(v for v, _ in known.most_common(MOST_VALUES))
    column = np.array(values, dtype=object)
    return {f"{tag}={value}": column == value for value in names if known[value]}


def _changes(
    slices: dict[str, Mask],
    tuned: Evidence,
    other: Evidence,
    metric: str,
    alpha: float,
    seed: int,
    higher: bool,
) -> tuple[SliceChange, ...]:
    after, before = (pooled_seeds(e.of_seeds(metric)) for e in (tuned, other))
    both = after.scored & before.scored
    members = {name: mask & both for name, mask in slices.items()}
    estimates = {name: _estimate(mask, after, before) for name, mask in members.items() if mask.any()}
    estimates = {name: value for name, value in estimates.items() if np.isfinite(value)}
    small = {name: _too_small(members[name], tuned.groups) for name in estimates}
    contrasts = [
        Contrast(name, before.stats, after.stats, members[name], after.reduce)
        for name in estimates
        if small[name] is None
    ]
    compared = simultaneous(
        contrasts,
        groups=tuned.groups if any(g is not None for g in tuned.groups) else None,
        alpha=alpha,
        seed=seed,
    )
    found = {contrast.name: one for contrast, one in zip(contrasts, compared, strict=True)}
    return tuple(
        _change(name, int(members[name].sum()), estimates[name], found.get(name), small[name], higher)
        for name in estimates
    )


def _change(
    name: str, n: int, estimate: float, compared: Comparison | None, too_small: str | None, higher: bool
) -> SliceChange:
    """One slice, turned so that more is better."""
    if compared is None:
        return SliceChange(
            slice=name, n=n, estimate=estimate if higher else -estimate, interval=None, reason=too_small
        )
    turned = gain(compared, name, higher)
    reason = None if turned.interval else compared.reason
    return SliceChange(slice=name, n=n, estimate=turned.estimate, interval=turned.interval, reason=reason)


def _estimate(mask: Mask, after: Rows, before: Rows) -> float:
    return float(
        after.reduce(after.stats[mask].mean(axis=0)) - before.reduce(before.stats[mask].mean(axis=0))
    )


def _too_small(mask: Mask, groups: Sequence[str | None]) -> str | None:
    """Why a slice is too small for an interval, else None; failed answers do not count."""
    n, names = int(mask.sum()), [g for g, inside in zip(groups, mask, strict=True) if inside]
    if n < FEWEST_SAMPLES:
        return f"{n} samples, under {FEWEST_SAMPLES}"
    number = len(set(filter(None, names))) + names.count(None)
    return f"{number} groups, under {FEWEST_GROUPS}" if number < FEWEST_GROUPS else None
