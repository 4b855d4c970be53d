"""The plan before any spending: what a run would send, take and cost, and what its test split can show.

Nothing is downloaded, no weights are loaded, nobody is asked: tokens are counted on the real rows,
time comes from the models' size and a short measurement (see estimates).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from metrics import smallest_detectable_effect
from validators.reading import DataError, Row

from .amounts import total
from .data import Division, crossfit, divide, prepare
from .estimates import measured_speed
from .experiment import Experiment, settings_hash
from .forecast import Pace, Workload
from .means import Means, Measure, Speed, means_of
from .odds import PLANNED_DISCORDANT
from .plan_contender import ContenderPlan, plan_brought, plan_contender
from .plan_training import measured
from .records import Sample
from .settings import Brought, HfBackend, Hosted

# Beyond this many test samples the margin is too small for any test.
MOST_SAMPLES = 10_000_000
# What cross-fitting is shown with where the experiment has one split.
USUAL_FOLDS = 5


class PlanError(ValueError):
    """The plan cannot check the budget; the message says which price to add."""


@dataclass(frozen=True, slots=True)
class SplitPower:
    """What the test split can show, at `PLANNED_DISCORDANT` of disagreement and 80 % power.

    Samples of one group are taken to agree as far as `metrics.power.PLANNED_ICC` says.
    `detectable` is the smallest true gain shown to be above 0; `surely` the one shown to be above the
    margin, as `tune` asks; `needed` the samples that show a gain of the size of the margin. None where
    the metric is no mean on 0–1 (`reason`), or, for `needed`, where no number of samples would do.
    """

    metric: str
    margin: float
    samples: int
    groups: int | None
    detectable: float | None
    surely: float | None
    needed: int | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class DesignPlan:
    """One way to use the rows: a single split, or `folds` of them; `chosen` is the experiment's own.

    `samples` are tested in all; `detectable` and `surely` as in `SplitPower`; `minutes` and `usd` as in `Plan`.
    """

    folds: int | None
    chosen: bool
    samples: int
    detectable: float | None
    surely: float | None
    minutes: float
    usd: float | None


@dataclass(frozen=True, slots=True)
class BackendBudget:
    """What a backend may spend on requests, in USD or tokens, and what it would at most; None is unknown."""

    backend: str
    unit: Literal["USD", "tokens"]
    budget: float
    at_most: float | None


@dataclass(frozen=True, slots=True)
class Plan:
    """Splits, contenders, sums, and what the test split can show.

    `splits` are those of one fold where there are `folds`, but for `test`: that is all rows. `minutes` (of
    what can be estimated) and `usd` are at most; `untimed` names the contenders whose time is not among
    them: a server's speed is unknown. `usd` is None where a part is unknown. `designs` holds this design
    and, where the data allows it, the other one.
    """

    experiment: str
    folds: int | None
    splits: dict[str, int]
    groups: dict[str, int] | None
    contenders: tuple[ContenderPlan, ...]
    minutes: float
    untimed: tuple[str, ...]
    usd: float | None
    budget_usd: float | None
    over_budget: bool | None
    budgets: tuple[BackendBudget, ...]
    test: SplitPower
    designs: tuple[DesignPlan, ...]

    def as_dict(self) -> dict[str, Any]:
        """The plan as the `workbench.plan/1` object."""
        return {"schema": "workbench.plan/1", **asdict(self)}


def plan(
    experiment: Experiment,
    rows: Mapping[str, Sequence[Row]],
    hashes: Mapping[str, str],
    *,
    offline: bool = False,
    speed: Speed = measured_speed,
    pace: Measure = measured,
) -> Plan:
    """Plan a run over what `read_files` gives. `speed(device, dtype)` is a matrix product's FLOP/s (measured by default).

    `pace(folder, workload)` is that of a training (a few steps by default).

    `usd` holds data and labour too, as the verdict counts them. Raises DataError, PlanError where a budget
    is set and a price is missing, CorpusError where the corpus cannot be read.
    """
    division = divide(experiment, rows, hashes)
    means = _means(experiment, offline, speed, pace)
    planned = _contenders(experiment, division, means)
    budget, usd = experiment.decision.budget_usd, _usd_of(planned, experiment)
    if budget is not None and usd is None:
        raise PlanError(_ask_for_prices(experiment, planned, budget))
    fit = division.fits[0]
    splits = {"train": fit.train, "dev": fit.dev, "test": division.whole.test}
    grouped = any(s.group is not None for samples in splits.values() for s in samples)
    own = _design(experiment, division, planned)
    other = _other_division(experiment, rows, hashes)
    return Plan(
        experiment=experiment.name,
        folds=experiment.data.split.folds,
        splits={name: len(samples) for name, samples in splits.items()},
        groups={name: len(_sizes(samples)) for name, samples in splits.items()} if grouped else None,
        contenders=tuple(planned),
        minutes=own.minutes,
        untimed=tuple(
            c.name for c in planned if c.minutes is None or (c.training and c.training.minutes is None)
        ),
        usd=usd,
        budget_usd=budget,
        over_budget=None if budget is None or usd is None else usd > budget,
        budgets=tuple(_budgets(experiment, planned)),
        test=_power(experiment, division),
        designs=(
            own,
            *([_design(experiment, other, _contenders(experiment, other, means))] if other else []),
        ),
    )


def _other_division(
    experiment: Experiment, rows: Mapping[str, Sequence[Row]], hashes: Mapping[str, str]
) -> Division | None:
    """The design that the experiment did not choose: folds for a split, a split for folds; None where it cannot be."""
    if experiment.data.path is None:
        return None
    try:
        if experiment.data.split.folds is None:
            return crossfit(experiment, rows, hashes, USUAL_FOLDS)
        return Division(prepare(experiment, rows, hashes))
    except DataError:
        return None


def _design(experiment: Experiment, division: Division, planned: Sequence[ContenderPlan]) -> DesignPlan:
    """What a design shows and takes."""
    power, folds = _power(experiment, division), len(division.folds) or None
    parts = [part for c in planned for part in (c, c.training) if part is not None]
    return DesignPlan(
        folds=folds,
        chosen=folds == experiment.data.split.folds,
        samples=power.samples,
        detectable=power.detectable,
        surely=power.surely,
        minutes=float(sum(part.minutes or 0.0 for part in parts)),
        usd=_usd_of(planned, experiment),
    )


def _power(experiment: Experiment, division: Division) -> SplitPower:
    tested = division.whole.test
    grouped = any(s.group is not None for s in tested)
    return split_power(experiment, len(tested), _sizes(tested) if grouped else None)


def _usd_of(planned: Sequence[ContenderPlan], experiment: Experiment) -> float | None:
    """Everything that is spent, data and labour too; None where a part is unknown."""
    costs = experiment.decision.costs
    spent = total(part.usd for c in planned for part in (c, c.training) if part is not None)
    return None if spent is None else spent + costs.data_usd + costs.labour_usd


def split_power(experiment: Experiment, samples: int, sizes: Sequence[int] | None) -> SplitPower:
    """What `samples` test samples, in groups of these sizes, could show of the primary metric."""
    metric, margin, alpha = experiment.primary, experiment.decision.worth_it, experiment.decision.alpha
    groups = None if sizes is None else len(sizes)

    def effect(n: int, beyond: float = 0.0) -> float:
        return smallest_detectable_effect(
            n, discordant=PLANNED_DISCORDANT, margin=beyond, alpha=alpha, groups=sizes
        )

    if experiment.metric(metric).scale != "0-1" or margin >= 1:
        reason = f"{metric} is no average on 0–1: what a test split can show of it, only the run can tell"
        return SplitPower(metric, margin, samples, groups, None, None, None, reason)
    enough = (
        bisect_left(range(MOST_SAMPLES), True, lo=1, key=lambda n: effect(n) <= margin)
        if margin
        else MOST_SAMPLES
    )
    return SplitPower(
        metric,
        margin,
        samples,
        groups,
        detectable=effect(samples),
        surely=effect(samples, margin),
        needed=enough if enough < MOST_SAMPLES else None,
    )


def _means(experiment: Experiment, offline: bool, speed: Speed, pace: Measure) -> dict[str, Means]:
    """How each contender answers, by name; each backend is looked at and each device measured once."""
    backends: dict[str, Means] = {}
    speeds: dict[tuple[str, str], float] = {}

    def once(device: str, dtype: str) -> float:
        if (device, dtype) not in speeds:
            speeds[device, dtype] = speed(device, dtype)
        return speeds[device, dtype]

    paces: dict[tuple[Path, Workload], Pace | None] = {}

    def paced(folder: Path, work: Workload) -> Pace | None:
        # Another design has other rows, of which a token takes as long.
        key = folder, replace(work, lengths=(), trained=0)
        if key not in paces:
            paces[key] = pace(folder, work)
        return paces[key]

    found = {}
    for settings in (c for c in experiment.contenders if not isinstance(c, Brought)):
        backend = experiment.backend_of(settings)
        key = settings_hash(backend)
        if key not in backends:
            backends[key] = means_of(backend, base=experiment.folder, offline=offline, speed=once, pace=paced)
        found[settings.name] = backends[key]
    return found


def _contenders(
    experiment: Experiment, division: Division, means: Mapping[str, Means]
) -> list[ContenderPlan]:
    return [
        plan_brought(settings, division)
        if isinstance(settings, Brought)
        else plan_contender(settings, experiment, division, means[settings.name])
        for settings in experiment.contenders
    ]


def _budgets(experiment: Experiment, planned: Sequence[ContenderPlan]) -> Iterator[BackendBudget]:
    for name, backend in experiment.backends.items():
        if backend.kind != "openai":
            continue
        asked = [
            part
            for settings, part in zip(experiment.contenders, planned, strict=True)
            # A tuned model is another model, with as much to spend of its own.
            if not isinstance(settings, Brought | Hosted)
            and (settings.backend or next(iter(experiment.backends))) == name
        ]
        if backend.budget_usd is not None:
            yield BackendBudget(name, "USD", backend.budget_usd, total(part.usd for part in asked))
        if backend.budget_tokens is not None:
            tokens = total(part.total_tokens for part in asked)
            yield BackendBudget(name, "tokens", backend.budget_tokens, tokens)


def _ask_for_prices(experiment: Experiment, planned: Sequence[ContenderPlan], budget: float) -> str:
    """Which prices are missing for the budget, and where each is written."""
    cures: dict[str, None] = {}
    for contender, part in zip(experiment.contenders, planned, strict=True):
        if part.usd is not None and (part.training is None or part.training.usd is not None):
            continue
        backend = experiment.backend_of(contender)
        name = contender.backend or next(iter(experiment.backends))
        price = f"backends.{name}.price: [prompt, completion] (USD per million tokens of {backend.model}; [0, 0]: free)"
        if isinstance(contender, Hosted):
            cures[
                f"set price: [prompt, completion] and training_price (USD per million tokens) beside {contender.name}"
            ] = None
        elif not isinstance(backend, HfBackend):
            cures[f"set {price}"] = None
        elif "gpu_usd_per_hour" not in experiment.decision.costs.model_fields_set:
            cures["set decision.costs.gpu_usd_per_hour (this machine's hour; 0: free)"] = None
        else:
            cures[f"the time of {backend.model} cannot be estimated: {'; '.join(part.notes)}"] = None
    return f"decision.budget_usd is {budget:g}, but what the run costs is unknown:\n" + "\n".join(
        f"  {cure}" for cure in cures
    )


def _sizes(samples: Iterable[Sample]) -> list[int]:
    """The sizes of the groups in which samples stand; a sample without one stands alone."""
    named = [s.group for s in samples]
    return [*Counter(g for g in named if g is not None).values(), *[1] * named.count(None)]
