"""What a verdict is made from: every contender's scores, costs and state, read from the run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrics import METRICS, Comparison, Rows, compare_paired

from .backends import cost_usd
from .experiment import Experiment, asked_of
from .records import ContenderSummary, Difference, Prediction
from .runs import Run
from .scoring import stored_rows
from .settings import Brought, Contender

HOURS_PER_MONTH = 720


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """One scored contender. `usd` holds what each sample cost, None where that is unknown."""

    name: str
    tuned: bool
    info: dict[str, Any]
    scores: dict[str, Any]
    rows: Rows
    summary: ContenderSummary
    predictions: list[Prediction]
    usd: list[float] | None

    @property
    def ids(self) -> list[str]:
        """Ids of the answered samples, in order."""
        return list(self.scores["ids"])

    @property
    def groups(self) -> list[str | None]:
        """The group of each sample."""
        return list(self.scores["groups"])


def gather(run: Run, experiment: Experiment) -> list[Evidence]:
    """Every contender of the experiment that has answered and been scored, in the experiment's order."""
    found = []
    for settings in experiment.contenders:
        info, scores = run.contender(settings.name), run.scores(settings.name)
        if (
            info is None
            or scores is None
            or info["status"] != "success"
            or not _as_asked(info, settings, experiment)
        ):
            continue
        if experiment.primary not in scores["metrics"]:
            continue
        predictions = run.predictions(settings.name)
        usd = _usd_of_each(predictions, settings, experiment)
        found.append(
            Evidence(
                name=settings.name,
                tuned=bool(info["tuned"]),
                info=info,
                scores=scores,
                rows=stored_rows(scores, experiment.primary),
                summary=_summary(settings.name, info, scores, experiment.primary, usd),
                predictions=predictions,
                usd=usd,
            )
        )
    return found


def _as_asked(info: dict[str, Any], settings: Contender, experiment: Experiment) -> bool:
    """Whether the answers were made under the settings that the experiment has now (`--only` leaves others alone)."""
    if not isinstance(settings, Brought) and info["backend"]:
        asked = asked_of(experiment.backend_of(settings))
        if any(info["backend"].get(key) != value for key, value in asked.items()):
            return False
    unimportant = {"name", "backend"}
    now = settings.model_dump(mode="json", exclude=unimportant)
    return now == {key: value for key, value in info["settings"].items() if key not in unimportant}


def _usd_of_each(
    predictions: Sequence[Prediction], settings: Contender, experiment: Experiment
) -> list[float] | None:
    """USD of each answered sample by today's prices: tokens, or a local model's seconds; None where one is unknown.

    Answers brought in a file cost what the file says.
    """
    answered = [p for p in predictions if p.error is None]
    backend = None if isinstance(settings, Brought) else experiment.backend_of(settings)
    hourly = experiment.decision.costs.gpu_usd_per_hour

    def usd(p: Prediction) -> float | None:
        if backend is None:
            return p.usd
        if backend.price is None and backend.kind == "hf":
            return p.seconds * hourly / 3600 if hourly and p.seconds is not None else None
        return cost_usd(backend, p.prompt_tokens, p.completion_tokens)

    known = [cost for p in answered if (cost := usd(p)) is not None]
    return known if known and len(known) == len(answered) else None


def _summary(
    name: str, info: dict[str, Any], scores: dict[str, Any], primary: str, usd: list[float] | None
) -> ContenderSummary:
    score, took = scores["metrics"][primary], scores["operations"]
    tokens = (took["prompt_tokens"], took["completion_tokens"])
    return ContenderSummary(
        name=name,
        kind=info["kind"],
        tuned=bool(info["tuned"]),
        score=score["value"],
        interval=tuple(score["interval"]) if score["interval"] else None,
        n=score["n"],
        errors=score["unscored"],
        reason=score["reason"],
        usd_per_1000=1000 * float(np.mean(usd)) if usd else None,
        seconds_per_request=took["seconds_per_request"],
        tokens_per_request=None if None in tokens else sum(tokens),
    )


def best_first(evidence: Sequence[Evidence], higher_is_better: bool) -> list[Evidence]:
    """By primary score, the best first; those without a score last."""
    sign = -1 if higher_is_better else 1
    return sorted(evidence, key=lambda e: (e.summary.score is None, sign * (e.summary.score or 0.0), e.name))


def compare(
    tuned: Evidence,
    other: Evidence,
    experiment: Experiment,
    *,
    metric: str | None = None,
    impute: tuple[float, float] | None = None,
) -> Comparison | None:
    """Compare `tuned` with `other` over the samples that both answered; the margin counts on the primary metric.

    `impute` gives failed answers of (tuned, other) a value instead, for the worst case. None where the
    metric has no value or was measured differently for the two.
    """
    metric = metric or experiment.primary
    a, b = stored_rows(other.scores, metric), stored_rows(tuned.scores, metric)
    if a.reason or b.reason or a.signature != b.signature or tuned.ids != other.ids:
        return None
    stats_a, stats_b, both = a.stats, b.stats, a.scored & b.scored
    if impute is not None:
        stats_b = np.where(b.scored[:, None], b.stats, impute[0])
        stats_a = np.where(a.scored[:, None], a.stats, impute[1])
        both = np.ones_like(both)
    if not both.any():
        return None
    return compare_paired(
        stats_a[both],
        stats_b[both],
        groups=[g for g, kept in zip(tuned.groups, both, strict=True) if kept],
        margin=experiment.decision.worth_it if metric == experiment.primary else 0.0,
        alpha=experiment.decision.alpha,
        seed=experiment.data.split.seed,
        higher_is_better=METRICS[metric].higher_is_better,
        reduce=a.reduce,
    )


def compare_all(evidence: Sequence[Evidence], experiment: Experiment) -> dict[str, Any]:
    """The content of comparison.json: every tuned contender against every other one, on every metric."""
    result: dict[str, list[dict[str, Any]]] = {metric: [] for metric in experiment.metric_names}
    for metric, entries in result.items():
        for tuned in (e for e in evidence if e.tuned):
            for other in (e for e in evidence if e is not tuned):
                compared = compare(tuned, other, experiment, metric=metric)
                if compared is None:
                    continue
                plain = compared.as_dict()
                difference = {key: plain[key] for key in ("interval", "p", "method")}
                entries.append(
                    {
                        "tuned": tuned.name,
                        "against": other.name,
                        "difference": {"estimate": plain["difference"], **difference},
                        **{key: plain[key] for key in ("conclusion", "n", "groups")},
                    }
                )
    return {"metrics": result}


def gain(comparison: Comparison, against: str, higher_is_better: bool) -> Difference:
    """A comparison turned so that more is better."""
    interval = comparison.interval
    if not higher_is_better and interval is not None:
        interval = (-interval[1], -interval[0])
    return Difference(
        against=against,
        estimate=comparison.difference if higher_is_better else -comparison.difference,
        interval=interval,
        p=comparison.p,
        method=comparison.method,
    )
