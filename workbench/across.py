"""Runs side by side: in what they differ, and how the scores moved from one to the other.

Scores of different test samples, or of another way to measure, are not compared: they stand side by side,
with the reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrics import Comparison, compare_paired

from .experiment import Experiment, stored_experiment
from .experiment_file import ExperimentError
from .human import scores_now
from .runs import Run, RunError
from .scoring import stored_rows

# Contenders and backends are known by their names, whatever their place in the file.
_NAMED = ("contenders",)
_UNSAID = "–"
# Of a hash so many digits are shown.
_SHA256, _MARK = re.compile(r"[0-9a-f]{64}"), 12


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting in which runs differ: its place in the experiment, and its value in each run as text."""

    place: str
    values: tuple[str, ...]


def settings_apart(runs: Sequence[Run]) -> list[Setting]:
    """Where the experiments, the data, the models and the versions of these runs differ. Raises RunError."""
    facts = [_facts(run) for run in runs]
    places = dict.fromkeys(place for found in facts for place in found)
    apart = [Setting(place, tuple(found.get(place, _UNSAID) for found in facts)) for place in places]
    return [setting for setting in apart if len(set(setting.values)) > 1]


def _facts(run: Run) -> dict[str, str]:
    """Place → value of all that a run's scores depend on."""
    meta, splits = run.meta(), run.splits() or {}
    found: dict[str, Any] = {
        "data file": meta.get("dataset", {}).get("files", {}),
        "data rows": meta.get("dataset", {}).get("rows"),
        "samples": {name: len(ids) for name, ids in splits.items()},
        "version": meta.get("versions", {}),
    }
    for name in run.contenders():
        info = run.contender(name) or {}
        kept = {key: info.get(key) for key in ("model", "template", "adapter", "hardware")}
        found[f"made by {name}"] = kept
    found |= _experiment(run)
    return {place: value for key, tree in found.items() for place, value in _flat(key, tree).items()}


def _experiment(run: Run) -> dict[str, Any]:
    if run.experiment_text() is None:
        return {}
    tree = parsed(run).model_dump(mode="json")
    return tree | {name: {part["name"]: part for part in tree[name]} for name in _NAMED}


def parsed(run: Run) -> Experiment:
    """The experiment of a run. Raises RunError where it has none that this version reads."""
    try:
        if (experiment := stored_experiment(run)) is not None:
            return experiment
        told = f"{run.folder} holds no experiment.yaml"
    except ExperimentError as error:
        told = str(error)
    raise RunError(f"{run.name}: its experiment cannot be read ({told})")


def _flat(place: str, value: Any) -> dict[str, str]:
    """A tree as place → text of its leaves; what is not set is left out."""
    if isinstance(value, Mapping):
        return {k: v for key, below in value.items() for k, v in _flat(f"{place}.{key}", below).items()}
    if value is None or value == []:
        return {}
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return {place: text[:_MARK] if _SHA256.fullmatch(text) else text}


# -- scores ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Moved:
    """One contender in several runs on one metric: its scores, and what changed against the first run.

    `scores` holds the metric's entry of scores.json a run, None where there is none. `changes` begin with the
    second run: later − first on the same samples, or None with its reason in `reasons`.
    """

    contender: str
    scores: tuple[dict[str, Any] | None, ...]
    changes: tuple[Comparison | None, ...]
    reasons: tuple[str | None, ...]


def scores_moved(runs: Sequence[Run], metric: str) -> list[Moved]:
    """Every contender of these runs on one metric, the first run being what the others are held against."""
    scored = [dict(scores_now(run, parsed(run))) for run in runs]
    names = dict.fromkeys(name for found in scored for name in found)
    return [_moved(name, [found.get(name) for found in scored], metric) for name in names]


def _moved(name: str, scored: Sequence[Mapping[str, Any] | None], metric: str) -> Moved:
    entries = [s["metrics"].get(metric) if s is not None else None for s in scored]
    changes, reasons = [], []
    for after in scored[1:]:
        reason = why_not(scored[0], after, metric)
        reasons.append(reason)
        changes.append(None if reason or not scored[0] or not after else _change(scored[0], after, metric))
    return Moved(name, tuple(entries), tuple(changes), tuple(reasons))


def why_not(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, metric: str) -> str | None:
    """Why the scores of one contender in two runs do not compare; None where they do."""
    if before is None or after is None or not all(metric in s["metrics"] for s in (before, after)):
        return "not scored in both runs"
    if sorted(before["ids"]) != sorted(after["ids"]):
        both = len(set(before["ids"]) & set(after["ids"]))
        return f"other test samples ({both:,} of {len(after['ids']):,} are the same): not comparable"
    entries = [s["metrics"][metric] for s in (before, after)]
    if len({entry["signature"] for entry in entries}) > 1:
        return "measured in another way: not comparable"
    missing = next((str(entry["reason"]) for entry in entries if entry["value"] is None), None)
    if missing is None and not _both(before, after, metric)[2].any():
        return "no sample was scored in both runs"
    return missing


def _both(before: Mapping[str, Any], after: Mapping[str, Any], metric: str) -> tuple[Any, Any, Any]:
    """The rows of both in one order, and which samples both have a score for."""
    a, b = stored_rows(before, metric), stored_rows(after, metric)
    place = {sample: at for at, sample in enumerate(after["ids"])}
    order = np.array([place[sample] for sample in before["ids"]], dtype=np.intp)
    return a, b.stats[order], a.scored & b.scored[order]


def _change(before: Mapping[str, Any], after: Mapping[str, Any], metric: str) -> Comparison:
    a, later, both = _both(before, after, metric)
    return compare_paired(
        a.stats[both],
        later[both],
        groups=[group for group, kept in zip(before["groups"], both, strict=True) if kept],
        higher_is_better=bool(after["metrics"][metric]["higher_is_better"]),
        reduce=a.reduce,
    )
