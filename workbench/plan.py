"""The plan before any spending: what a run would send, take and cost, and what its test split can show.

Nothing is downloaded, no weights are loaded, nobody is asked: tokens are counted on the real rows,
time comes from the models' size and a short measurement (see estimates).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from metrics import METRICS, smallest_detectable_effect

from .data import SPLITS, Dataset
from .estimates import measured_speed
from .experiment import Experiment, settings_hash
from .means import Means, Speed, means_of
from .odds import PLANNED_DISCORDANT
from .plan_contender import ContenderPlan, plan_brought, plan_contender
from .records import Sample
from .settings import Brought, HfBackend

# Beyond this many test samples the margin is too small for any test.
MOST_SAMPLES = 10_000_000


class PlanError(ValueError):
    """The plan cannot check the budget; the message says which price to add."""


@dataclass(frozen=True, slots=True)
class SplitPower:
    """What the test split can show, at `PLANNED_DISCORDANT` of disagreement and 80 % power.

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
class Plan:
    """Splits, contenders, sums, and what the test split can show.

    `minutes` (of what can be estimated) and `usd` are at most; `untimed` names the contenders whose
    time is not among them: a server's speed is unknown. `usd` is None where a part is unknown.
    """

    experiment: str
    splits: dict[str, int]
    groups: dict[str, int] | None
    contenders: tuple[ContenderPlan, ...]
    minutes: float
    untimed: tuple[str, ...]
    usd: float | None
    budget_usd: float | None
    over_budget: bool | None
    test: SplitPower

    def as_dict(self) -> dict[str, Any]:
        """The plan as the `workbench.plan/1` object."""
        return {"schema": "workbench.plan/1", **asdict(self)}


def plan(
    experiment: Experiment, dataset: Dataset, *, offline: bool = False, speed: Speed = measured_speed
) -> Plan:
    """Plan a run. `speed(device, dtype)` gives the FLOP/s of a matrix product (measured by default).

    `usd` holds data and labour too, as the verdict counts them. Raises PlanError where a budget is set
    and a price is missing, CorpusError where the corpus cannot be read.
    """
    planned = _contenders(experiment, dataset, offline, speed)
    costs, budget = experiment.decision.costs, experiment.decision.budget_usd
    parts = [part for c in planned for part in (c, c.training) if part is not None]
    spent = _sum(part.usd for part in parts)
    if budget is not None and spent is None:
        raise PlanError(_ask_for_prices(experiment, planned, budget))
    usd = None if spent is None else spent + costs.data_usd + costs.labour_usd
    splits = {name: getattr(dataset, name) for name in SPLITS}
    grouped = any(s.group is not None for samples in splits.values() for s in samples)
    return Plan(
        experiment=experiment.name,
        splits={name: len(samples) for name, samples in splits.items()},
        groups={name: _groups(samples) for name, samples in splits.items()} if grouped else None,
        contenders=tuple(planned),
        minutes=float(sum(part.minutes or 0.0 for part in parts)),
        untimed=tuple(
            c.name for c in planned if c.minutes is None or (c.training and c.training.minutes is None)
        ),
        usd=usd,
        budget_usd=budget,
        over_budget=None if budget is None or usd is None else usd > budget,
        test=split_power(experiment, len(dataset.test), _groups(dataset.test) if grouped else None),
    )


def split_power(experiment: Experiment, samples: int, groups: int | None) -> SplitPower:
    """What `samples` test samples could show of the primary metric."""
    metric, margin, alpha = experiment.primary, experiment.decision.worth_it, experiment.decision.alpha

    def effect(n: int, beyond: float = 0.0) -> float:
        return smallest_detectable_effect(n, discordant=PLANNED_DISCORDANT, margin=beyond, alpha=alpha)

    if METRICS[metric].scale != "0-1" or margin >= 1:
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


def _contenders(experiment: Experiment, dataset: Dataset, offline: bool, speed: Speed) -> list[ContenderPlan]:
    """Plan them all, looking at each backend and measuring each device once."""
    backends: dict[str, Means] = {}
    speeds: dict[tuple[str, str], float] = {}

    def once(device: str, dtype: str) -> float:
        if (device, dtype) not in speeds:
            speeds[device, dtype] = speed(device, dtype)
        return speeds[device, dtype]

    planned = []
    for settings in experiment.contenders:
        if isinstance(settings, Brought):
            planned.append(plan_brought(settings, dataset))
            continue
        backend = experiment.backend_of(settings)
        key = settings_hash(backend)
        if key not in backends:
            backends[key] = means_of(backend, base=experiment.folder, offline=offline, speed=once)
        planned.append(plan_contender(settings, experiment, dataset, backends[key]))
    return planned


def _ask_for_prices(experiment: Experiment, planned: Sequence[ContenderPlan], budget: float) -> str:
    """Which prices are missing for the budget, and where each is written."""
    cures: dict[str, None] = {}
    for contender, part in zip(experiment.contenders, planned, strict=True):
        if part.usd is not None and (part.training is None or part.training.usd is not None):
            continue
        backend = experiment.backend_of(contender)
        name = contender.backend or next(iter(experiment.backends))
        price = f"backends.{name}.price: [prompt, completion] (USD per million tokens of {backend.model}; [0, 0]: free)"
        if not isinstance(backend, HfBackend):
            cures[f"set {price}"] = None
        elif "gpu_usd_per_hour" not in experiment.decision.costs.model_fields_set:
            cures["set decision.costs.gpu_usd_per_hour (this machine's hour; 0: free)"] = None
        else:
            cures[f"the time of {backend.model} cannot be estimated: {'; '.join(part.notes)}"] = None
    return f"decision.budget_usd is {budget:g}, but what the run costs is unknown:\n" + "\n".join(
        f"  {cure}" for cure in cures
    )


def _groups(samples: Iterable[Sample]) -> int:
    """Groups in which samples stand; a sample without one stands alone."""
    samples = list(samples)
    return len({s.group for s in samples if s.group is not None}) + sum(s.group is None for s in samples)


def _sum(values: Iterable[float | None]) -> float | None:
    """The sum, unknown where a part is."""
    known = list(values)
    return None if None in known else float(sum(v for v in known if v is not None))


# -- text --------------------------------------------------------------------------------------------


def plan_text(plan: Plan) -> str:
    """The plan as text for people; what is unknown says so."""
    return "\n".join(
        [*_head(plan), "", *_table(plan), *_trainings(plan), *_notes(plan), "", *_power(plan.test)]
    )


def _head(plan: Plan) -> Iterator[str]:
    sizes = " · ".join(
        f"{name} {n:,}" + (f" in {_count(plan.groups[name], 'group')}" if plan.groups else "")
        for name, n in plan.splits.items()
    )
    yield f"plan      {plan.experiment} · {sizes}"
    told = [f"at most about {_time(plan.minutes)} while nothing else runs here"]
    if len(plan.untimed) == len(plan.contenders):
        told = []
    if plan.untimed:
        told.append(f"unknown: {', '.join(plan.untimed)}")
    yield f"time      {'; '.join(told)}"
    budget = "" if plan.budget_usd is None else f" of a budget of {_usd(plan.budget_usd)}"
    if plan.usd is None:
        yield "cost      unknown: set decision.costs.gpu_usd_per_hour, or a backend's price"
    else:
        over = (
            ", OVER THE BUDGET: lower max_new_tokens, take out contenders or raise it"
            if plan.over_budget
            else ""
        )
        yield f"cost      at most {_usd(plan.usd)}{budget}{over}"


def _table(plan: Plan) -> Iterator[str]:
    rows = [("contender", "requests", "prompt", "answer", "tokens", "time", "memory", "cost")]
    for c in plan.contenders:
        rows.append(
            (
                c.name,
                f"{c.requests:,}",
                "–" if c.prompt_tokens is None else f"{'' if c.exact else '~'}{c.prompt_tokens:,.0f}",
                "–" if c.completion_tokens is None else f"≤{c.completion_tokens:,}",
                "–" if c.total_tokens is None else f"{'' if c.exact else '~'}{c.total_tokens:,}",
                _time(c.minutes),
                _memory(c.memory_gb),
                _usd(c.usd),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        yield "  ".join(cells)


def _trainings(plan: Plan) -> Iterator[str]:
    for c in plan.contenders:
        if (t := c.training) is None:
            continue
        tokens = (
            "tokens unknown"
            if t.tokens is None
            else f"{t.tokens:,} tokens, {t.trained_tokens:,} of them trained"
        )
        cut = f", {_count(t.truncated_rows, 'row')} cut at max_length" if t.truncated_rows else ""
        yield (
            f"training  {c.name}: {_count(t.rows, 'row')}, {_count(t.steps, 'step')}, {tokens}{cut} · "
            f"{_time(t.minutes)} · {_memory(t.memory_gb)} · {_usd(t.usd)}"
        )


def _notes(plan: Plan) -> Iterator[str]:
    told: dict[str, list[str]] = {}
    for c in plan.contenders:
        for note in c.notes:
            told.setdefault(note, []).append(c.name)
    for note, names in told.items():
        yield f"note      {', '.join(names)}: {note}"


def _power(test: SplitPower) -> Iterator[str]:
    if test.detectable is None or test.surely is None:
        yield f"test      {test.reason}"
        return
    margin = f"{100 * test.margin:.3g} points"
    yield (
        f"test      {test.samples:,} samples show a true gain of {100 * test.detectable:.1f} points of {test.metric} "
        f"in 4 of 5 tests"
    )
    # Contenders that far apart differ on more samples than planned for.
    differing = max(PLANNED_DISCORDANT, test.detectable)
    yield f"          (where two contenders differ on {differing:.0%} of the samples)"
    yield f"          to be told that tuning is worth it (+{margin}), the true gain must be about {100 * test.surely:.1f}"
    if test.needed is None:
        yield f"          no test size shows a gain as small as the margin, {margin}"
    else:
        enough = "; this test split has them" if test.needed <= test.samples else ""
        yield f"          a gain as small as the margin takes {test.needed:,} test samples{enough}"
    if test.groups is not None and test.groups < test.samples:
        yield f"          optimistic: these samples stand in {_count(test.groups, 'group')}, and alike ones count for less"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _usd(value: float | None) -> str:
    if value is None:
        return "unknown"
    return f"${value:,.2f}" if value >= 1 or value == 0 else f"${value:,.4f}"


def _time(minutes: float | None) -> str:
    if minutes is None:
        return "unknown"
    if minutes >= 90:
        return f"{minutes / 60:,.1f} h"
    return f"{minutes:,.1f} min" if minutes >= 1 or minutes == 0 else f"{60 * minutes:,.0f} s"


def _memory(size: float | None) -> str:
    return "–" if size is None else f"{size:,.1f} GB"
