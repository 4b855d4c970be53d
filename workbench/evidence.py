"""What a verdict is made from: every contender's scores, costs and state, read from the run folder."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
from pydantic import ValidationError

from metrics import Rows, score_rows

from .backends import cost_usd
from .experiment import Experiment, asked_of
from .human import scores_now
from .records import ContenderSummary, Prediction
from .runs import Run, RunError
from .scoring import stored_rows
from .settings import PRICES, Brought, Contender, learns

HOURS_PER_MONTH = 720
_KEPT = 32


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """One scored contender. `usd` holds what each sample cost, None where that is unknown.

    `seed_scores` holds scores.json of each training seed, `scores` first, `seed_predictions` its answers.
    `rows` and `summary` are means over the seeds; `predictions` and `usd` are the first one's.
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
    seed_predictions: tuple[list[Prediction], ...] = ()
    training_seconds: float = 0.0
    training_usd: float = 0.0
    """What a provider billed for its trainings; its time is not ours to pay."""
    hosting_usd_per_hour: float = 0.0
    """The provider's fee for a deployed model."""
    folds: tuple[int, ...] = ()
    """The fold of each sample, where another fit answered each fold; else empty."""

    @property
    def seeds(self) -> int:
        """Training seeds that were scored; 0 where nothing was trained here, or how is not known."""
        return len(self.info.get("seeds") or ()) or int(bool(self.info.get("training")))

    @property
    def answers(self) -> tuple[list[Prediction], ...]:
        """The answers, seed by seed."""
        return self.seed_predictions or (self.predictions,)

    def of_seeds(self, metric: str) -> tuple[Rows, ...]:
        """The rows of one metric, seed by seed."""
        return _seed_rows(self, metric)

    @property
    def ids(self) -> list[str]:
        """Ids of the answered samples, in order."""
        return list(self.scores["ids"])

    @property
    def groups(self) -> list[str | None]:
        """The group of each sample."""
        return list(self.scores["groups"])


def gather(run: Run, experiment: Experiment, *, diagnostic: bool = False) -> list[Evidence]:
    """Every contender of the experiment that has answered and been scored, in the experiment's order.

    Those that only explain the others' scores (an oracle has seen what no user would have) are no evidence
    for a verdict: with `diagnostic` they come instead.
    """
    found = []
    scored_now = dict(scores_now(run, experiment))
    fold_of = {sample: fold for fold, ids in enumerate(run.folds()) for sample in ids}
    for settings in (c for c in experiment.contenders if c.diagnostic is diagnostic):
        info, scores = run.contender(settings.name), scored_now.get(settings.name)
        if (
            info is None
            or scores is None
            or info["status"] != "success"
            or not as_asked(info, settings, experiment)
        ):
            continue
        places = [run, *(run.part("seeds", str(seed)) for seed in (info.get("seeds") or [])[1:])]
        seed_scores = [scores, *(place.scores(settings.name) or {"metrics": {}} for place in places[1:])]
        if any(experiment.primary not in scored["metrics"] for scored in seed_scores):
            continue
        answers = tuple(_answers(place, settings.name, scores["ids"]) for place in places)
        usd = _usd_of_each(answers[0], settings, experiment)
        rows = pooled_seeds([stored_rows(scores, experiment.primary) for scores in seed_scores])
        found.append(
            Evidence(
                name=settings.name,
                tuned=bool(info["tuned"]),
                info=info,
                scores=scores,
                rows=rows,
                summary=_summary(info, seed_scores, rows, experiment, answers, usd),
                predictions=answers[0],
                usd=usd,
                seed_scores=tuple(seed_scores),
                seed_predictions=answers,
                folds=tuple(fold_of[i] for i in scores["ids"]) if fold_of and learns(settings) else (),
                **_trainings([(place.contender(settings.name) or {}).get("training") for place in places]),
            )
        )
    return found


def _answers(place: Run, name: str, ids: Sequence[str]) -> list[Prediction]:
    """The answers that were scored. Raises RunError where others lie there."""
    answers = place.predictions(name)
    if [p.id for p in answers] != list(ids):
        raise RunError(
            f"{place.contender_folder(name)}: predictions.jsonl does not hold the answers that scores.json is of. "
            "Run the experiment again."
        )
    return answers


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


def _trainings(summaries: Sequence[dict[str, Any] | None]) -> dict[str, float]:
    """What all trainings of a contender took: seconds here, USD and an hour's hosting at a provider."""
    done = [s for s in summaries if s]
    ours, theirs = [s for s in done if "job" not in s], [s for s in done if "job" in s]
    return {
        "training_seconds": sum(s.get("seconds") or 0.0 for s in ours),
        "training_usd": sum(s.get("usd") or 0.0 for s in theirs),
        "hosting_usd_per_hour": max((s.get("hosting_usd_per_hour") or 0.0 for s in theirs), default=0.0),
    }


def as_asked(info: dict[str, Any], settings: Contender, experiment: Experiment) -> bool:
    """Whether the answers were made under the settings that the experiment has now (`--only` leaves others alone)."""
    if not isinstance(settings, Brought) and info["backend"]:
        asked = asked_of(experiment.backend_of(settings))
        if any(info["backend"].get(key) != value for key, value in asked.items()):
            return False
    unimportant = {"name", "backend", *PRICES}
    try:
        # Read as the file's are: a run of before has the defaults of settings that came later.
        before = type(settings).model_validate({**info["settings"], "name": settings.name})
    except ValidationError:
        return False
    return before.model_dump(exclude=unimportant) == settings.model_dump(exclude=unimportant)


def _usd_of_each(
    predictions: Sequence[Prediction], settings: Contender, experiment: Experiment
) -> list[float] | None:
    """USD of each answered sample by today's prices: tokens, or a local model's seconds; None where one is unknown.

    Answers brought in a file cost what the file says.
    """
    answered = [p for p in predictions if p.error is None]
    usd = price_of(settings, experiment)
    known = [cost for p in answered if (cost := usd(p)) is not None]
    return known if known and len(known) == len(answered) else None


def repriced(e: Evidence, experiment: Experiment) -> Evidence:
    """The same answers at the prices that this experiment names."""
    settings = next(c for c in experiment.contenders if c.name == e.name)
    usd = _usd_of_each(e.predictions, settings, experiment)
    return replace(e, usd=usd, summary=msgspec.structs.replace(e.summary, usd_per_1000=_per_1000(usd)))


def _per_1000(usd: list[float] | None) -> float | None:
    return 1000 * float(np.mean(usd)) if usd else None


def price_of(settings: Contender, experiment: Experiment) -> Callable[[Prediction], float | None]:
    """What gives an answer's USD by today's prices: of its tokens, or of a local model's seconds; None where unknown."""
    backend = None if isinstance(settings, Brought) else experiment.backend_of(settings)
    hourly = experiment.decision.costs.gpu_usd_per_hour

    def usd(p: Prediction) -> float | None:
        if backend is None:
            return p.usd
        if backend.price is None and backend.kind == "hf":
            return p.seconds * hourly / 3600 if hourly and p.seconds is not None else None
        return cost_usd(backend, p.prompt_tokens, p.completion_tokens, p.cached_tokens)

    return usd


def _summary(
    info: dict[str, Any],
    seed_scores: Sequence[dict[str, Any]],
    rows: Rows,
    experiment: Experiment,
    answers: Sequence[Sequence[Prediction]],
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
        # What was not rated, or has no likelihood, did not fail. A sample that failed from any seed counts once.
        errors=sum(any(p.error is not None for p in given) for given in zip(*answers, strict=False)),
        reason=score["reason"],
        usd_per_1000=_per_1000(usd),
        seconds_per_request=took["seconds_per_request"],
        tokens_per_request=None if None in tokens else sum(tokens),
    )


def _mean_score(seed_scores: Sequence[dict[str, Any]], rows: Rows, experiment: Experiment) -> dict[str, Any]:
    """The primary score as stored; of several seeds their mean over the samples that every seed was scored on."""
    stored = [scores["metrics"][experiment.primary] for scores in seed_scores]
    values = [score["value"] for score in stored]
    if len(stored) == 1 or None in values:
        return dict(stored[values.index(None)] if None in values else stored[0])
    metric, seed = experiment.metric(experiment.primary), experiment.data.split.seed
    pooled = score_rows(metric, rows, groups=seed_scores[0]["groups"], seed=seed).as_dict()
    if pooled["value"] is None:
        return pooled
    means = [
        stored_rows(scores, experiment.primary).stats[rows.scored].mean(axis=0) for scores in seed_scores
    ]
    return pooled | {"value": float(np.mean([rows.reduce(mean) for mean in means]))}


def best_first(evidence: Sequence[Evidence], higher_is_better: bool) -> list[Evidence]:
    """By primary score, the best first; those without a score last."""
    sign = -1 if higher_is_better else 1
    return sorted(evidence, key=lambda e: (e.summary.score is None, sign * (e.summary.score or 0.0), e.name))


def on_dev(info: Mapping[str, Any], experiment: Experiment) -> float:
    """How a tuned contender stood on dev, more being better; minus infinity where nobody measured it there."""
    dev = info.get("dev") or {}
    value = dev.get("value") if dev.get("metric") == experiment.primary else None
    higher = experiment.metric(experiment.primary).higher_is_better
    return -math.inf if value is None else (value if higher else -value)


# A what-if asks again with the same evidence.
@lru_cache(maxsize=_KEPT)
def _seed_rows(e: Evidence, metric: str) -> tuple[Rows, ...]:
    return tuple(stored_rows(scores, metric) for scores in e.seed_scores or (e.scores,))
