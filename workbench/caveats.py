"""What a sceptic should know before acting on a verdict: one small rule a caveat, in the order they are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from .card import count
from .evidence import Evidence
from .experiment import Experiment
from .gates import CUT_SHARE, blocking, is_leak
from .licence import licence_caveat
from .runs import Run
from .settings import retrieves

FEW_SAMPLES = 50
# From so many trainings on their spread is inside the interval.
ENOUGH_SEEDS = 3


@dataclass(frozen=True, slots=True)
class Case:
    """What caveats look at; `racing` are the contenders whose models are still served."""

    run: Run
    experiment: Experiment
    evidence: Sequence[Evidence]
    racing: Sequence[Evidence]

    @property
    def tuned(self) -> list[Evidence]:
        """The tuned contenders."""
        return [e for e in self.evidence if e.tuned]


def caveats(
    run: Run, experiment: Experiment, evidence: Sequence[Evidence], racing: Sequence[Evidence]
) -> tuple[str, ...]:
    """Every caveat of a run, none twice."""
    case = Case(run, experiment, evidence, racing)
    return tuple(dict.fromkeys(told for rule in RULES for told in rule(case)))


def _seeds(case: Case) -> Iterator[str]:
    numbers = [e.seeds for e in case.tuned if e.seeds]
    if numbers and min(numbers) < ENOUGH_SEEDS:
        yield (
            "one training seed"
            if min(numbers) == 1
            else "two training seeds: their spread is not in the interval"
        )


def _dev(case: Case) -> Iterator[str]:
    primary = case.experiment.primary
    silent = [
        e.name
        for e in case.tuned
        if (dev := e.info.get("dev") or {}).get("metric") != primary or dev.get("value") is None
    ]
    if len(case.tuned) < 2 or not silent:
        return
    if len(silent) == len(case.tuned):
        yield "several tuned contenders and no dev score: the first was judged"
    else:
        yield f"no dev score, so not judged: {', '.join(silent)}"


def _gone(case: Case) -> Iterator[str]:
    for e in case.evidence:
        if e not in case.racing:
            ended = "served or can be tuned" if e.tuned else "served"
            yield f"{e.name} left the race: its model is {ended} no more"


def _small(case: Case) -> Iterator[str]:
    if case.evidence and len(case.evidence[0].ids) < FEW_SAMPLES:
        yield f"only {len(case.evidence[0].ids)} test samples"


def _answers(case: Case) -> Iterator[str]:
    for e in case.evidence:
        if e.summary.errors:
            yield f"{count(e.summary.errors, 'answer')} of {e.name} failed and {'is' if e.summary.errors == 1 else 'are'} not scored"
        unscored = int((~e.rows.scored).sum()) - e.summary.errors
        if 0 < unscored < len(e.ids):
            yield f"{unscored} of {len(e.ids)} answers of {e.name} have no {case.experiment.primary}"
        cut = _into_the_limit(e)
        if cut > CUT_SHARE * len(e.ids):
            yield f"{cut} of {len(e.ids)} answers of {e.name} ran into the token limit"


def _empty_retrieval(case: Case) -> Iterator[str]:
    retrieving = {c.name for c in case.experiment.contenders if retrieves(c)}
    for e in (e for e in case.evidence if e.name in retrieving):
        if empty := _without_passages(case.run, e):
            yield f"{e.name} retrieved nothing for {empty} of {count(len(e.ids), 'question')}"


@lru_cache(maxsize=64)
def _into_the_limit(e: Evidence) -> int:
    return max(sum(p.finish_reason == "length" for p in answers) for answers in e.answers)


@lru_cache(maxsize=16)
def _without_passages(run: Run, e: Evidence) -> int:
    """Prompts are long and what-ifs do not change them: read once."""
    return sum(not prompt.passages for prompt in run.prompts(e.name))


def _judge(case: Case) -> Iterator[str]:
    if "judge" in case.experiment.metric_names:
        for e in case.evidence:
            yield from (e.scores.get("judge") or {}).get("caveats", ())


def _missing(case: Case) -> Iterator[str]:
    scored = {e.name for e in case.evidence}
    missing = [c.name for c in case.experiment.contenders if c.name not in scored and not c.diagnostic]
    if missing:
        yield f"not scored: {', '.join(missing)}"


def _data(case: Case) -> Iterator[str]:
    data = case.experiment.data
    errors = [f for f in case.run.findings() if f["severity"] == "error"]
    leaked = [f for f in errors if is_leak(f["code"], f["severity"])]
    if leaked and data.split.drop_leaked:
        yield f"{sum(f['path'] == data.test for f in leaked)} leaked test rows were left out"
    others = [f for f in errors if f not in leaked and not blocking(f["code"], f["severity"])]
    if others:
        yield f"{len(others)} other lint errors ({', '.join(sorted({f['code'] for f in others}))})"


def _costs(case: Case) -> Iterator[str]:
    if case.evidence and all(e.summary.usd_per_1000 is None for e in case.evidence):
        if all(e.info["kind"] == "predictions" for e in case.evidence):
            yield "costs are unknown: give each contender usd_per_1000, or its rows usd"
        else:
            yield "costs are unknown: set decision.costs.gpu_usd_per_hour or a backend's price"


def _trained_elsewhere(case: Case) -> Iterator[str]:
    """Where money is weighed, a training that nobody priced must not pass for a free one."""
    if case.experiment.decision.costs.labour_usd:
        return
    for e in case.tuned:
        if e.info["kind"] == "predictions" and e.summary.usd_per_1000 is not None:
            yield f"{e.name} was tuned elsewhere: what that took counts as $0, set decision.costs.labour_usd"
        if e.info["kind"] == "hosted" and (e.info.get("training") or {}).get("usd") is None:
            yield f"what tuning {e.name} cost is not known and counts as $0: set its training_price"


def _licence(case: Case) -> Iterator[str]:
    for e in case.tuned:
        told = licence_caveat(e)
        if told is not None:
            yield told


RULES: tuple[Callable[[Case], Iterator[str]], ...] = (
    _seeds,
    _dev,
    _gone,
    _small,
    _answers,
    _empty_retrieval,
    _judge,
    _missing,
    _data,
    _costs,
    _trained_elsewhere,
    _licence,
)
