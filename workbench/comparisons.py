"""comparison.json: every tuned contender against every other one on every metric, and all pairs on the primary.

The primary metric's intervals and p values stand alone, as the verdict reads them; the secondaries' p values
carry Holm's correction beside them. Claims over all pairs ("RAG beats prompting") take simultaneous intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from metrics import Contrast, holm, simultaneous

from .difference import comparable, compare
from .evidence import Evidence, gather
from .experiment import Experiment
from .human import rated_here
from .runs import Run


def compare_all(evidence: Sequence[Evidence], experiment: Experiment) -> dict[str, Any]:
    """The content of comparison.json."""
    result: dict[str, list[dict[str, Any]]] = {metric: [] for metric in experiment.metric_names}
    for tuned in (e for e in evidence if e.tuned):
        for other in (e for e in evidence if e is not tuned):
            for metric, entry in _one_pair(tuned, other, experiment).items():
                result[metric].append(entry)
    return {"metrics": result, "pairs": all_pairs(evidence, experiment)}


def comparison_now(run: Run, experiment: Experiment) -> dict[str, Any] | None:
    """comparison.json, made again where people have rated answers in the folder; None where there is none yet.

    Raises RatingsError and RunError.
    """
    stored = run.comparison()
    if stored is None or not rated_here(run, experiment):
        return stored
    return stored | compare_all(gather(run, experiment), experiment)


def _one_pair(tuned: Evidence, other: Evidence, experiment: Experiment) -> dict[str, dict[str, Any]]:
    """Metric → comparison of one pair; `p_holm` is adjusted over the pair's secondary metrics."""
    entries = {}
    for metric in experiment.metric_names:
        compared = compare(tuned, other, experiment, metric=metric)
        if compared is None:
            continue
        plain = compared.as_dict()
        difference = {key: plain[key] for key in ("interval", "p", "method")}
        entries[metric] = {
            "tuned": tuned.name,
            "against": other.name,
            "difference": {"estimate": plain["difference"], **difference},
            **{key: plain[key] for key in ("conclusion", "n", "groups")},
        }
    secondary = [metric for metric in entries if metric != experiment.primary]
    for metric, p in zip(secondary, holm([entries[m]["difference"]["p"] for m in secondary]), strict=True):
        entries[metric]["p_holm"] = p
    return entries


def diagnose(
    arms: Sequence[Evidence], evidence: Sequence[Evidence], experiment: Experiment
) -> list[dict[str, Any]]:
    """What separates the contenders that retrieve from the arms that explain them, on the primary metric.

    oracle − retrieving: lost because the right documents were not found; retrieving − none: what the passages bring.
    """
    found = []
    for arm in arms:
        context = arm.info["settings"]["context"]
        for other in (e for e in evidence if e.info["kind"] == "rag"):
            pair = (arm, other) if context == "oracle" else (other, arm)
            compared = compare(*pair, experiment)
            if compared is None:
                continue
            plain = compared.as_dict()
            difference = {
                "estimate": plain["difference"],
                **{k: plain[k] for k in ("interval", "p", "method")},
            }
            entry = {"arm": arm.name, "context": context, "against": other.name}
            found.append({**entry, "difference": difference, "n": plain["n"]})
    return found


def all_pairs(evidence: Sequence[Evidence], experiment: Experiment) -> list[dict[str, Any]]:
    """b − a on the primary metric for every pair, with intervals that hold together."""
    primary = experiment.primary
    usable = [e for e in evidence if e.ids == evidence[0].ids and comparable(e, evidence[0], primary)]
    pairs = [
        (a, b, both)
        for a, b in combinations(usable, 2)
        if comparable(b, a, primary) and (both := a.rows.scored & b.rows.scored).any()
    ]
    if not pairs:
        return []
    found = simultaneous(
        [
            Contrast(f"{b.name} − {a.name}", a.rows.stats, b.rows.stats, both, a.rows.reduce)
            for a, b, both in pairs
        ],
        groups=usable[0].groups,
        alpha=experiment.decision.alpha,
        seed=experiment.data.split.seed,
        higher_is_better=experiment.metric(primary).higher_is_better,
    )
    return [
        {
            "a": a.name,
            "b": b.name,
            "difference": {
                "estimate": one.difference,
                "interval": list(one.interval) if one.interval else None,
                "p": one.p,
                "method": one.method,
            },
            "n": int(np.sum(both)),
        }
        for (a, b, both), one in zip(pairs, found, strict=True)
    ]
