"""The judge's stage of a run: every answer that was given is judged once, and what was judged is kept.

A judgement is asked again only where something that it depends on has changed: the answer, the one it is
held against, the rubric or the judge.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from statistics import fmean

import msgspec

from .backends import DRAWING, Backend, open_backend
from .backends.cached import Answers, kept
from .contenders import is_tuned
from .experiment import Experiment
from .human import rated_by_people
from .judge import JUDGE_TOKENS, RUBRIC, Judge, put, questions
from .ratings import keep_given, people
from .records import Judgement, Prediction, Sample
from .runs import Run
from .scoring import Rated
from .settings import Backend as BackendSettings

Step = Callable[[int, int, str], None]


def check_ratings(experiment: Experiment, run: Run, *, offline: bool = False) -> None:
    """Find what would stop judge or people's ratings before anything is spent; what people gave is kept.

    Raises RatingsError, BackendError, AssetError.
    """
    if judges(experiment):
        _judge_of(experiment, run, offline=offline)[1].close()
    if experiment.ratings is not None:
        keep_given(run, experiment)
        people(run, experiment)


def judge_run(
    experiment: Experiment,
    run: Run,
    places: Sequence[tuple[Run, str]],
    step: Step,
    *,
    offline: bool = False,
    answers: Answers | None = None,
) -> None:
    """Judge every answer of the contenders in `places` (with their names); judgements are kept as they come.

    A pair's other answer is the one in the run itself. Raises BackendError, AssetError.
    """
    if not judges(experiment):
        return
    judge, backend = _judge_of(experiment, run, offline=offline, answers=answers)
    samples = {s.id: s for s in run.samples()}
    try:
        for place, name in places:
            others = {p.id: p for p in run.predictions(judge.against)} if judge.against else {}
            _judge_contender(judge, backend, place, name, samples, others, step)
    finally:
        backend.close()


def judge_dev(
    experiment: Experiment,
    run: Run,
    places: Sequence[tuple[Run, Sequence[Sample]]],
    step: Step,
    *,
    offline: bool = False,
    answers: Answers | None = None,
) -> None:
    """Judge the dev answers of several tuned contenders: which of them is judged on test is chosen there.

    `places` are where contenders were fitted, each with its dev samples; the mean over them is kept. Answers
    are judged alone, in a pairwise experiment too: nobody else answered the dev samples.
    """
    names = [c.name for c in experiment.contenders if is_tuned(c)]
    fitted = [(n, [(p, dev) for p, dev in places if p.predictions(n, "dev")]) for n in names]
    if experiment.primary != "judge" or not any(there for _, there in fitted):
        return
    judge, backend = _judge_of(experiment, run, offline=offline, answers=answers)
    alone = msgspec.structs.replace(judge, mode="pointwise", against=None)
    try:
        for name, there in fitted:
            means = []
            for place, dev in there:
                _judge_contender(alone, backend, place, name, {s.id: s for s in dev}, {}, step, "dev")
                means += [fmean(v) for v in _values(place.judgements(name, "dev")).values()]
            if there:
                value = fmean(means) if means else None
                info = run.contender(name) or {}
                run.write_contender(name, info | {"dev": {"metric": "judge", "value": value}})
    finally:
        backend.close()


def judged_values(experiment: Experiment, run: Run, name: str) -> dict[str, list[float]]:
    """The judge's ratings of a contender, 0–1, by sample: one a repeat, each over both orders of a pair.

    Samples whose judgement is missing in an order are not there. In a pairwise run the contender that
    all are held against is level with itself: 0.5 on every answer.
    """
    if held_against(experiment) == name:
        return {p.id: [0.5] for p in run.predictions(name) if p.error is None}
    return _values(run.judgements(name))


def _values(judgements: Sequence[Judgement]) -> dict[str, list[float]]:
    found: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    orders: dict[str, set[str]] = defaultdict(set)
    for j in judgements:
        orders[j.id].add(j.order)
        if j.rating is not None:
            found[j.id][j.repeat].append(j.rating)
    values = {
        sample: [sum(r) / len(r) for r in repeats.values() if len(r) == len(orders[sample])]
        for sample, repeats in found.items()
    }
    return {sample: v for sample, v in values.items() if v}


def ratings_for(experiment: Experiment, place: Run, name: str) -> dict[str, Rated]:
    """The ratings that a contender's metrics are measured by, of the judge and of people."""
    found = {}
    if judges(experiment):
        found["judge"] = Rated(judge_signature(experiment), judged_values(experiment, place, name))
    if "human" in experiment.metric_names:
        found["human"] = rated_by_people(place, experiment)[name]
    return found


def held_against(experiment: Experiment) -> str | None:
    """The contender that the others are held against; None where answers are judged alone."""
    if experiment.judge is None or experiment.judge.mode == "pointwise":
        return None
    untuned = [c.name for c in experiment.contenders if not is_tuned(c) and not c.diagnostic]
    return experiment.judge.against or (untuned or [experiment.contenders[0].name])[0]


def judge_backend(experiment: Experiment) -> BackendSettings:
    """The judge's backend, with room for a reason before the rating."""
    assert experiment.judge is not None
    settings = experiment.backends[experiment.judge.backend]
    return settings.model_copy(update={"max_new_tokens": max(settings.max_new_tokens, JUDGE_TOKENS)})


def repeats_of(experiment: Experiment) -> int:
    """How often each question is asked: a backend that draws no answers would only repeat itself."""
    assert experiment.judge is not None
    return experiment.judge.repeats if judge_backend(experiment).kind in DRAWING else 1


def judge_signature(experiment: Experiment) -> str:
    """What the judge's ratings depend on: others do not rank against them."""
    assert experiment.judge is not None
    settings, against = judge_backend(experiment), held_against(experiment)
    rubric = sha256((experiment.judge.rubric or RUBRIC).encode()).hexdigest()[:8]
    pair = f" against {against}" if against else ""
    return (
        f"{settings.model}, {experiment.judge.mode}{pair}, rubric {rubric}, repeats {repeats_of(experiment)}"
    )


def judges(experiment: Experiment) -> bool:
    """Whether a judge is asked at all: its section is there and so is its metric."""
    return experiment.judge is not None and "judge" in experiment.metric_names


def _judge_of(
    experiment: Experiment, run: Run, *, offline: bool, answers: Answers | None = None
) -> tuple[Judge, Backend]:
    assert experiment.judge is not None
    settings = judge_backend(experiment)
    opened = open_backend(settings, base=experiment.folder, offline=offline, ledger=run.ledger)
    backend = kept(opened, settings, answers)
    judge = Judge(
        mode=experiment.judge.mode,
        rubric=experiment.judge.rubric or RUBRIC,
        settings=settings,
        identity=backend.identity(),
        repeats=repeats_of(experiment),
        against=held_against(experiment),
    )
    return judge, backend


def _judge_contender(
    judge: Judge,
    backend: Backend,
    run: Run,
    name: str,
    samples: Mapping[str, Sample],
    others: Mapping[str, Prediction],
    step: Step,
    split: str = "test",
) -> None:
    """Ask what was not asked, append each judgement as it comes, compact into sample order at the end."""
    if name == judge.against:
        return
    asked = []
    for p in run.predictions(name, split):
        other = others.get(p.id)
        if p.error is not None or p.id not in samples:
            continue
        if judge.against is None:
            asked += questions(judge, samples[p.id], _shown(p))
        elif other is not None and other.error is None:
            asked += questions(judge, samples[p.id], _shown(p), _shown(other))
    keys = {q.name: q.key for q in asked}
    with run.open_judgements(name, split) as file:
        known = {
            j.name: j for j in run.judgements(name, split) if j.error is None and keys.get(j.name) == j.key
        }
        step(len(known), len(asked), name)
        for judgement in put(judge, backend, asked, done=frozenset(known)):
            known[judgement.name] = judgement
            file.append(judgement)
            step(len(known), len(asked), name)
    run.write_judgements(name, [known[q.name] for q in asked if q.name in known], split)


def _shown(p: Prediction) -> str:
    """An answer as the judge sees it; one that only calls tools is its calls."""
    calls = (
        json.dumps([c.get("function", c) for c in p.tool_calls], ensure_ascii=False) if p.tool_calls else ""
    )
    return "\n".join(filter(None, [p.prediction, calls]))
