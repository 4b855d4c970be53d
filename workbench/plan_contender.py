"""One contender's part of the plan: prompts counted on real rows, time, memory, USD, training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from statistics import fmean

from .backends import cost_usd
from .choosing import options_of
from .contenders import is_tuned
from .data import Dataset, Division
from .estimates import answering_bytes, seconds_to_answer
from .experiment import Experiment
from .hosted import TrainingBill, training_bill
from .means import Means
from .plan_prompts import count_prompts
from .plan_training import TrainingPlan, hours_usd, plan_training
from .settings import (
    Brought,
    FewShot,
    FineTuned,
    HfBackend,
    Hosted,
    OpenAIBackend,
    Rag,
    retrieves,
)
from .settings import Contender as Settings


@dataclass(frozen=True, slots=True)
class ContenderPlan:
    """What one contender would take; None is unknown.

    `prompt_tokens` is a sample's mean, `completion_tokens` the most a sample may get; `total_tokens`,
    `minutes` and `usd` are for all requests, at that most. `exact` tells counted prompts from estimates.
    """

    name: str
    kind: str
    model: str
    requests: int
    prompt_tokens: float | None
    completion_tokens: int | None
    total_tokens: int | None
    exact: bool
    minutes: float | None
    memory_gb: float | None
    usd: float | None
    training: TrainingPlan | None = None
    notes: tuple[str, ...] = ()


def plan_brought(settings: Brought, division: Division) -> ContenderPlan:
    """Answers from a file: nothing is asked and nothing spent."""
    return ContenderPlan(
        settings.name,
        settings.kind,
        ", ".join(settings.paths),
        len(division.whole.test) * len(settings.paths),
        *(None,) * 3,
        True,
        0.0,
        None,
        0.0,
    )


def plan_contender(
    settings: Settings, experiment: Experiment, division: Division, means: Means
) -> ContenderPlan:
    """Plan a contender that asks a backend. Raises CorpusError."""
    backend = experiment.backend_of(settings)
    dataset, folds = division.fits[0], len(division.fits)
    curve = _curve_shares(settings, experiment, division)
    seeds = settings.seeds if isinstance(settings, FineTuned) else 1
    options, notes = options_of(settings, experiment), means.notes
    counted = [count_prompts(o, experiment, dataset, division.whole.test, means) for o in options]
    rounds = seeds + len(curve)
    # Which option is kept is not known yet: the longest prompts are planned for.
    longest = max(counted, key=lambda each: sum(each.tokens))
    prompts, spared = rounds * longest.tokens, rounds * longest.spared
    requests = rounds * len(division.whole.test)
    for option in _tried(settings, experiment, options):
        asked = count_prompts(option, experiment, dataset, dataset.dev, means)
        prompts, spared = prompts + folds * asked.tokens, spared + folds * asked.spared
        requests += folds * len(dataset.dev)
    if len(options) > 1:
        notes += (f"{len(options)} options are tried on {len(dataset.dev)} dev samples, the best is kept",)
    if refused := requests - len(prompts):
        notes += (f"the chat template refuses {refused} of {requests} prompts: their answers will be errors",)
    new = None if means.model_free else backend.max_new_tokens
    planned = ContenderPlan(
        name=settings.name,
        kind=settings.kind,
        model=means.model,
        requests=requests,
        prompt_tokens=fmean(prompts) if prompts else None,
        completion_tokens=new,
        total_tokens=round(sum(prompts)) + (new or 0) * len(prompts),
        exact=means.exact and not isinstance(settings, FewShot | Rag) and not retrieves(settings),
        minutes=0.0 if means.model_free else None,
        memory_gb=None,
        usd=0.0 if means.model_free else cost_usd(backend, round(sum(prompts)), (new or 0) * len(prompts)),
        notes=notes,
    )
    if isinstance(backend, HfBackend):
        planned = _on_this_machine(planned, prompts, spared, backend, experiment, means)
    if isinstance(settings, FineTuned) and settings.adapter is None:
        training = plan_training(settings, experiment, dataset, means)
        planned = replace(planned, training=_times(training, folds * seeds + sum(curve)))
    if isinstance(settings, Hosted):
        bill = _bill(settings, experiment, dataset)
        planned = replace(
            planned, training=_times(_as_training(bill), folds), notes=(*planned.notes, *bill.lines)
        )
    return planned


def _tried(settings: Settings, experiment: Experiment, options: Sequence[Settings]) -> Sequence[Settings]:
    """The options that answer dev: several of them, or one of several tuned contenders, of which one is judged."""
    tuned = isinstance(settings, FineTuned | Hosted) and sum(map(is_tuned, experiment.contenders)) > 1
    return options if tuned or len(options) > 1 else ()


def _curve_shares(settings: Settings, experiment: Experiment, division: Division) -> list[float]:
    """The shares of the training split that a learning curve trains on, beside the contender's own seeds.

    It is drawn for one contender, the best on dev: which one is not known yet, so the first is planned for.
    """
    curve = experiment.learning_curve
    trained = [c for c in experiment.contenders if isinstance(c, FineTuned) and c.adapter is None]
    if curve is None or division.folds or not trained or settings != trained[0]:
        return []
    return [
        fraction
        for fraction in curve.fractions
        for number in range(curve.seeds)
        if fraction < 1 or number >= trained[0].seeds
    ]


def _times(training: TrainingPlan, trainings: float) -> TrainingPlan:
    """What that many trainings take."""
    return replace(
        training,
        trainings=trainings,
        minutes=None if training.minutes is None else training.minutes * trainings,
        usd=None if training.usd is None else training.usd * trainings,
    )


def _on_this_machine(
    planned: ContenderPlan,
    prompts: Sequence[float],
    spared: float,
    backend: HfBackend,
    experiment: Experiment,
    means: Means,
) -> ContenderPlan:
    """Memory and minutes of a local model, and their USD where tokens have no price; `spared` tokens are not computed."""
    if means.size is None or not prompts:
        return planned
    memory = answering_bytes(
        means.size,
        means.dtype,
        rows=min(backend.batch_size, len(prompts)),
        longest=math.ceil(max(prompts)),
        new_tokens=backend.max_new_tokens,
    )
    planned = replace(planned, memory_gb=memory / 1e9)
    if means.speed is None:
        return planned
    seconds = seconds_to_answer(
        means.size,
        means.speed,
        prompt_tokens=sum(prompts) - spared,
        requests=len(prompts),
        batch_size=backend.batch_size,
        new_tokens=backend.max_new_tokens,
    )
    usd = planned.usd if planned.usd is not None else hours_usd(seconds, experiment)
    return replace(planned, minutes=seconds / 60, usd=usd)


# -- training ----------------------------------------------------------------------------------------


def _bill(settings: Hosted, experiment: Experiment, dataset: Dataset) -> TrainingBill:
    """What a provider would bill for one training. Raises HostedError for a model that ends."""
    backend = experiment.backend_of(settings)
    assert isinstance(backend, OpenAIBackend), "the experiment file is checked for it"
    train, dev = (
        [dataset.conversations[s.id] for s in split if s.id in dataset.conversations]
        for split in (dataset.train, dataset.dev)
    )
    return training_bill(settings, backend, train, dev, today=date.today(), offline=True)


def _as_training(bill: TrainingBill) -> TrainingPlan:
    """A provider's training: it tells neither steps nor time beforehand."""
    cost = bill.cost
    return TrainingPlan(
        rows=cost.examples,
        steps=None,
        tokens=cost.billable_tokens,
        trained_tokens=cost.epochs * cost.trained,
        usd=bill.usd,
    )
