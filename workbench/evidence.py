"""What a verdict is made from: every contender's scores, costs and state, read from the run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from metrics import Comparison, Rows, compare_paired, score_rows
from metrics.seeds import compare_seeds
from metrics.types import Mask

from .backends import cost_usd
from .experiment import Experiment, asked_of, learns
from .records import ContenderSummary, Difference, Prediction
from .runs import Run
from .scoring import stored_rows
from .settings import Brought, Contender

HOURS_PER_MONTH = 720


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """One scored contender. `usd` holds what each sample cost, None where that is unknown.

    `seed_scores` holds scores.json of each training seed, `scores` first. `rows` and `summary` are means
    over the seeds; `predictions` and `usd` are the first one's.
    """

    name: str
    tuned: bool
    info: dict[str, Any]
    scores: dict[str, Any]
    rows: Rows
    summary: ContenderSummary
    predictions: list[Prediction]
    usd: list[float] | None
    seed_scores: tuple[dict[str, Any], ...] = ()
    training_seconds: float = 0.0
    folds: tuple[int, ...] = ()
    """The fold of each sample, where another fit answered each fold; else empty."""

    @property
    def seeds(self) -> int:
        """Training seeds that were scored; 0 where nothing was trained here, or how is not known."""
        return len(self.info.get("seeds") or ()) or int(bool(self.info.get("training")))

    def of_seeds(self, metric: str) -> tuple[Rows, ...]:
        """The rows of one metric, seed by seed."""
        return tuple(stored_rows(scores, metric) for scores in self.seed_scores or (self.scores,))

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
    fold_of = {sample: fold for fold, ids in enumerate(run.folds()) for sample in ids}
    for settings in experiment.contenders:
        info, scores = run.contender(settings.name), run.scores(settings.name)
        if (
            info is None
            or scores is None
            or info["status"] != "success"
            or not _as_asked(info, settings, experiment)
        ):
            continue
        places = [run, *(run.part("seeds", str(seed)) for seed in (info.get("seeds") or [])[1:])]
        seed_scores = [place.scores(settings.name) or {"metrics": {}} for place in places]
        if any(experiment.primary not in scored["metrics"] for scored in seed_scores):
            continue
        predictions = run.predictions(settings.name)
        usd = _usd_of_each(predictions, settings, experiment)
        rows = pooled_seeds([stored_rows(scores, experiment.primary) for scores in seed_scores])
        found.append(
            Evidence(
                name=settings.name,
                tuned=bool(info["tuned"]),
                info=info,
                scores=scores,
                rows=rows,
                summary=_summary(info, seed_scores, rows, experiment, predictions, usd),
                predictions=predictions,
                usd=usd,
                seed_scores=tuple(seed_scores),
                folds=tuple(fold_of[i] for i in scores["ids"]) if fold_of and learns(settings) else (),
                training_seconds=sum(map(_training_seconds, (p.contender(settings.name) for p in places))),
            )
        )
    return found


def pooled_seeds(rows: Sequence[Rows]) -> Rows:
    """The mean row of each sample over the seeds, scored where every seed was; the first's where they differ in kind."""
    if len({(r.columns, r.signature) for r in rows}) > 1 or len(rows) == 1:
        return rows[0]
    return replace(
        rows[0],
        stats=np.mean([r.stats for r in rows], axis=0),
        scored=np.logical_and.reduce([r.scored for r in rows]),
        reason=next((r.reason for r in rows if r.reason), None),
    )


def _training_seconds(info: dict[str, Any] | None) -> float:
    return ((info or {}).get("training") or {}).get("seconds") or 0.0


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
        return cost_usd(backend, p.prompt_tokens, p.completion_tokens, p.cached_tokens)

    known = [cost for p in answered if (cost := usd(p)) is not None]
    return known if known and len(known) == len(answered) else None


def _summary(
    info: dict[str, Any],
    seed_scores: Sequence[dict[str, Any]],
    rows: Rows,
    experiment: Experiment,
    predictions: Sequence[Prediction],
    usd: list[float] | None,
) -> ContenderSummary:
    score, took = _mean_score(seed_scores, rows, experiment), seed_scores[0]["operations"]
    tokens = (took["prompt_tokens"], took["completion_tokens"])
    return ContenderSummary(
        name=info["name"],
        kind=info["kind"],
        tuned=bool(info["tuned"]),
        score=score["value"],
        interval=tuple(score["interval"]) if score["interval"] else None,
        n=score["n"],
        # What was not rated, or has no likelihood, did not fail.
        errors=sum(p.error is not None for p in predictions),
        reason=score["reason"],
        usd_per_1000=1000 * float(np.mean(usd)) if usd else None,
        seconds_per_request=took["seconds_per_request"],
        tokens_per_request=None if None in tokens else sum(tokens),
    )


def _mean_score(seed_scores: Sequence[dict[str, Any]], rows: Rows, experiment: Experiment) -> dict[str, Any]:
    """The primary score as stored; of several seeds their mean, with the interval of the mean rows."""
    stored = [scores["metrics"][experiment.primary] for scores in seed_scores]
    values = [score["value"] for score in stored]
    if len(stored) == 1 or None in values:
        return dict(stored[values.index(None)] if None in values else stored[0])
    metric, seed = experiment.metric(experiment.primary), experiment.data.split.seed
    pooled = score_rows(metric, rows, groups=seed_scores[0]["groups"], seed=seed).as_dict()
    return pooled | {"value": float(np.mean(values))}


def best_first(evidence: Sequence[Evidence], higher_is_better: bool) -> list[Evidence]:
    """By primary score, the best first; those without a score last."""
    sign = -1 if higher_is_better else 1
    return sorted(evidence, key=lambda e: (e.summary.score is None, sign * (e.summary.score or 0.0), e.name))


def comparable(tuned: Evidence, other: Evidence, metric: str) -> bool:
    """Whether both have the metric, measured alike, on a sample that both answered."""
    return _answered_by_both(tuned.of_seeds(metric), other.of_seeds(metric), tuned, other) is not None


def compare(
    tuned: Evidence,
    other: Evidence,
    experiment: Experiment,
    *,
    metric: str | None = None,
    alpha: float | None = None,
    rows: tuple[Rows, Rows] | None = None,
) -> Comparison | None:
    """Compare `tuned` with `other` over the samples that both answered; the margin counts on the primary metric.

    Where one was trained from several seeds, their means are compared. `rows` of (tuned, other) stand in
    for those of the first seed: what failed answers might have been. None where the metric has no value or
    was measured differently for the two.
    """
    metric = metric or experiment.primary
    b, a = tuned.of_seeds(metric), other.of_seeds(metric)
    if rows is not None:
        b, a = (_stood_in(e, own, new) for e, own, new in zip((tuned, other), (b, a), rows, strict=True))
    both = _answered_by_both(b, a, tuned, other)
    if both is None:
        return None
    options: dict[str, Any] = {
        "groups": [g for g, kept in zip(tuned.groups, both, strict=True) if kept],
        "margin": experiment.decision.worth_it if metric == experiment.primary else 0.0,
        "alpha": alpha or experiment.decision.alpha,
        "seed": experiment.data.split.seed,
        "higher_is_better": experiment.metric(metric).higher_is_better,
        "reduce": a[0].reduce,
    }
    if len(a) == len(b) == 1:
        # Fits of single folds are draws of one procedure: how they differ belongs into the interval.
        folds = tuned.folds or other.folds
        labels = [fold for fold, kept in zip(folds, both, strict=True) if kept] if folds else None
        return compare_paired(a[0].stats[both], b[0].stats[both], folds=labels, **options)
    return compare_seeds([r.stats[both] for r in a], [r.stats[both] for r in b], **options)


def _stood_in(e: Evidence, own: tuple[Rows, ...], new: Rows) -> tuple[Rows, ...]:
    """The rows of each seed, the first's replaced; the mean of all seeds stands for no change."""
    return own if new is e.rows else (new, *own[1:])


def _answered_by_both(
    tuned_rows: Sequence[Rows], other_rows: Sequence[Rows], tuned: Evidence, other: Evidence
) -> Mask | None:
    """Which samples both have a score for, from every seed; None where there is none, or nothing compares."""
    rows = [*other_rows, *tuned_rows]
    kinds = {(r.signature, r.stats.shape) for r in rows}
    if any(r.reason for r in rows) or len(kinds) > 1 or tuned.ids != other.ids:
        return None
    both: Mask = np.logical_and.reduce([r.scored for r in rows])
    return both if both.any() else None


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
