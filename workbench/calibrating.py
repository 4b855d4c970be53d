"""The judge held against people: how well they agree, and what people would have said of a difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from metrics.calibration import FEW_RATED, judge_correction
from metrics.raters import agreement

from .experiment import Experiment
from .judge_facts import judge_facts
from .judging import held_against, judged_values
from .ratings import choices_of, kind_of, people, preferred
from .records import Rating
from .runs import Run

Means = Mapping[str, Mapping[str, float]]
"""Contender → sample id → mean rating by the judge."""


def judge_scores(experiment: Experiment, place: Run, name: str) -> dict[str, Any]:
    """What a contender's scores.json holds of the judge, under the key `judge`; nothing where none judged."""
    facts = judge_facts(experiment, place, name)
    if facts is None:
        return {}
    checked = calibration(experiment, place, name) if place.whole is None else None
    if checked is None:
        return {"judge": facts | {"calibration": None}}
    return {"judge": facts | {"calibration": checked, "caveats": facts["caveats"] + checked.pop("caveats")}}


def calibration(experiment: Experiment, run: Run, name: str) -> dict[str, Any] | None:
    """What people's ratings say of the judge, for scores.json; None where people rated nothing.

    `agreement` is over all answers (or pairs of answers) that both rated, whoever gave them: it is the
    judge's. `corrected` holds this contender's judged difference from each other one as people would
    have found it.
    """
    given = people(run, experiment)
    if not given:
        return None
    contenders = [c.name for c in experiment.contenders]
    judged = {c: {s: fmean(v) for s, v in judged_values(experiment, run, c).items()} for c in contenders}
    by_judge, by_people, of = shared(judged, given, held_against(experiment))
    found: dict[str, Any] = {"what": of, "shared": len(by_judge), "agreement": None, "caveats": []}
    if by_judge:
        found["agreement"] = agreement(by_judge, by_people).as_dict()
    if len(by_judge) < FEW_RATED:
        found["caveats"].append(
            f"the judge was checked against people on {len(by_judge)} {of} only: {FEW_RATED} or more tell how far to trust it"
        )
    groups = {p.id: p.group for p in run.predictions(name)}
    found["corrected"] = [
        corrected(judged, given, name, other, held_against(experiment), groups, experiment.decision.alpha)
        for other in contenders
        if other != name and judged[other] and judged[name]
    ]
    return found


def shared(
    judged: Means, given: Sequence[Rating], against: str | None
) -> tuple[list[float], list[float], str]:
    """The judge's and people's ratings of what both rated, in one order, and what was rated.

    Answers where both rated on a scale. Else pairs of answers: 1 where the first is better, 0 where the
    second is, 0.5 for a tie; the judge's choice between two rated alone is the higher rating.
    """
    if against is None and kind_of(given) == "scale":
        both = [(judged[c][s], mean) for (c, s), mean in _scaled(given).items() if s in judged.get(c, {})]
        return [j for j, _ in both], [p for _, p in both], "answers"
    by_judge, by_people = [], []
    for (sample, a, b), values in choices_of(given).items():
        # Each pair once: named from the contender that all are held against, else in the order of names.
        one_way = b == against if against is not None else a < b
        if one_way and sample in judged.get(a, {}) and sample in judged.get(b, {}):
            mine, other = judged[a][sample], judged[b][sample]
            by_judge.append(mine if against is not None else preferred(mine, other))
            by_people.append(fmean(values))
    return by_judge, by_people, "pairs of answers"


def corrected(
    judged: Means,
    given: Sequence[Rating],
    name: str,
    other: str,
    against: str | None,
    groups: Mapping[str, str | None],
    alpha: float,
) -> dict[str, Any]:
    """The judged difference name − other corrected by people's ratings, on the judge's own scale."""
    ids = [s for s in judged[name] if s in judged[other]]
    differences = [judged[name][s] - judged[other][s] for s in ids]
    if (against is None) != (kind_of(given) == "scale") or against not in (None, name, other):
        how = "on a scale" if against is None else f"as choices against {against}"
        found = {
            "reason": f"the judge rated {how} and people did not, so their differences have no common unit"
        }
        empty = dict.fromkeys(("estimate", "interval", "shift", "rated"))
        return {"against": other, "n": len(ids), **empty, **found}
    if against is None:
        means = _scaled(given)
        human = [
            means[name, s] - means[other, s] if (name, s) in means and (other, s) in means else None
            for s in ids
        ]
    else:
        choices = choices_of(given)
        human = [fmean(choices[s, name, other]) - 0.5 if (s, name, other) in choices else None for s in ids]
    result = judge_correction(differences, human, groups=[groups.get(s) for s in ids], alpha=alpha)
    return {"against": other, **asdict(result)}


def _scaled(given: Sequence[Rating]) -> dict[tuple[str, str], float]:
    """People's mean rating of each answer, by contender and sample."""
    values: dict[tuple[str, str], list[float]] = {}
    for r in given:
        values.setdefault((str(r.contender), r.id), []).append(float(r.rating or 0.0))
    return {key: fmean(v) for key, v in values.items()}
