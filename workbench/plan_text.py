"""A plan as text for people; what is unknown says so."""

from __future__ import annotations

from collections.abc import Iterator

from metrics.power import PLANNED_ICC

from . import card as words
from .odds import PLANNED_DISCORDANT
from .plan import BackendBudget, Plan, SplitPower
from .plan_training import TrainingPlan


def plan_text(plan: Plan) -> str:
    """The plan as text for people; what is unknown says so."""
    told = [*_head(plan), "", *_table(plan), *_trainings(plan), *_notes(plan), "", *_power(plan.test)]
    return "\n".join([*told, *_designs(plan)])


def _head(plan: Plan) -> Iterator[str]:
    sizes = " · ".join(
        f"{name} {n:,}" + (f" in {words.count(plan.groups[name], 'group')}" if plan.groups else "")
        for name, n in plan.splits.items()
    )
    folds = f"{plan.folds} folds, each of " if plan.folds else ""
    yield f"plan      {plan.experiment} · {folds}{sizes}{' in all' if plan.folds else ''}"
    told = [f"at most about {_time(plan.minutes)} while nothing else runs here"]
    if len(plan.untimed) == len(plan.contenders):
        told = []
    if plan.untimed:
        told.append(f"unknown: {', '.join(plan.untimed)}")
    yield f"time      {'; '.join(told)}"
    budget = "" if plan.budget_usd is None else f" of a budget of {words.usd(plan.budget_usd)}"
    if plan.usd is None:
        yield "cost      unknown: set decision.costs.gpu_usd_per_hour, or a backend's price"
    else:
        over = (
            ", OVER THE BUDGET: lower max_new_tokens, take out contenders or raise it"
            if plan.over_budget
            else ""
        )
        yield f"cost      at most {words.usd(plan.usd)}{budget}{over}"
    for limit in plan.budgets:
        yield f"budget    {_limit(limit)}"


def _limit(limit: BackendBudget) -> str:
    def said(amount: float | None) -> str:
        if limit.unit == "USD":
            return words.usd(amount)
        return "unknown" if amount is None else f"{amount:,.0f} tokens"

    needed = f"{limit.backend} may spend {said(limit.budget)} and needs at most {said(limit.at_most)}"
    if limit.at_most is None or limit.at_most <= limit.budget:
        return needed
    return f"{needed}: what does not fit is asked once budget_{limit.unit.lower()} is raised"


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
                words.usd(c.usd),
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
        times = "" if t.trainings == 1 else f" · {t.trainings:,.3g} of these in all"
        cut = f", {words.count(t.truncated_rows, 'row')} cut at max_length" if t.truncated_rows else ""
        steps = "" if t.steps is None else f"{words.count(t.steps, 'step')}, "
        yield (
            f"training  {c.name}: {words.count(t.rows, 'row')}, {steps}{tokens}{cut}{times} · "
            f"{_time(t.minutes)} · {_memory(t.memory_gb)} · {words.usd(t.usd)}"
        )
        yield from _methods(t)


def _methods(training: TrainingPlan) -> Iterator[str]:
    """One training by each method; the experiment's own is marked."""
    if not training.methods:
        return
    yield f"{'':10}  {'method':<7}{'memory':>10}{'time':>10}{'cost':>10}"
    for m in training.methods:
        fits = {True: "fits", False: "does not fit what is free here", None: ""}[m.fits]
        how = f"{fits}, with {m.sparing}" if m.sparing and m.fits else fits
        yield (
            f"{'':10}{'*' if m.chosen else ' '} {m.method:<7}{_memory(m.memory_gb):>10}{_time(m.minutes):>10}"
            f"{words.usd(m.usd):>10}  {how}"
        ).rstrip()


def _designs(plan: Plan) -> Iterator[str]:
    """Both designs side by side: what more tested samples show, and what they cost."""
    if len(plan.designs) < 2:
        return
    for number, design in enumerate(plan.designs):
        name = f"{design.folds} folds" if design.folds else "one split"
        shown = "" if design.detectable is None else f", show {100 * design.detectable:.1f} points"
        took = f"{_time(design.minutes)} · {words.usd(design.usd)}"
        setting = f" · data.split.folds: {design.folds or 'null'}"
        yield (
            f"{'designs   ' if not number else ' ' * 10}{name}: {design.samples:,} samples tested{shown} · {took}"
            f"{' (this experiment)' if design.chosen else setting}"
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
        yield (
            f"          these samples stand in {words.count(test.groups, 'group')}: alike ones count for less "
            f"(correlation {PLANNED_ICC:g} assumed)"
        )


def _time(minutes: float | None) -> str:
    if minutes is None:
        return "unknown"
    if minutes >= 90:
        return f"{minutes / 60:,.1f} h"
    return f"{minutes:,.1f} min" if minutes >= 1 or minutes == 0 else f"{60 * minutes:,.0f} s"


def _memory(size: float | None) -> str:
    return "–" if size is None else f"{size:,.1f} GB"
