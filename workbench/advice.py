"""What would flip a verdict, and the command to run next. Every flip named here was tried on the table."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from .evidence import Evidence
from .experiment import Experiment
from .margins import high, low
from .money import money
from .runs import Run
from .sections import Decision
from .settings import Brought, Contender, FineTuned, Hosted
from .table import Facts, Finding, judge, promising


def flips(facts: Facts, finding: Finding) -> tuple[str, ...]:
    """What would change the headline: another margin, budget, volume or price, or more training data."""
    found = [
        words
        for words, changes in _candidates(facts, finding)
        if _decided_with(facts, changes).headline != finding.headline
    ]
    if finding.reason == "alternative-suffices" and promising(facts.forecast) and facts.forecast:
        found.append(
            f"{facts.forecast.at:,} training samples (probability {facts.forecast.probability:.2f} by the learning curve)"
        )
    return tuple(found)


def _decided_with(facts: Facts, changes: Mapping[str, Any]) -> Finding:
    """The finding under other decision settings."""
    decision = facts.experiment.decision
    costs = decision.costs.model_copy(update=changes.get("costs", {}))
    settings = decision.model_copy(update={**changes, "costs": costs})
    experiment = facts.experiment.model_copy(update={"decision": settings})
    bills = {o.name: money(facts.tuned, o, experiment) for o in facts.others}
    return judge(replace(facts, experiment=experiment, bills=bills))


def _candidates(facts: Facts, finding: Finding) -> Iterator[tuple[str, dict[str, Any]]]:
    """Changes that may flip it, in words and as settings."""
    decision, gains = facts.experiment.decision, list(facts.gains.values())
    # Named to three digits and tried just beyond, so that what is read is what was tried.
    lowest, least = min(map(low, gains)), min(map(high, gains))
    e = {"equivalent_within": facts.experiment.equivalent_within}
    if finding.reason == "quality" and lowest > 0:
        yield f"worth-it of {lowest:.3g} or more", {"worth_it": _beyond(lowest, 1), **e}
    if finding.headline != "tune" and 0 < lowest < decision.worth_it:
        yield f"worth-it under {lowest:.3g}", {"worth_it": _beyond(lowest, -1), **e}
    if finding.headline == "cant-tell" and decision.worth_it < least < float("inf"):
        yield f"worth-it over {least:.3g}: not worth tuning then", {"worth_it": _beyond(least, 1), **e}
    bill = facts.bills.get(finding.against or "") or facts.bills[facts.others[0].name]
    if finding.reason == "over-budget":
        cents = math.ceil(round(100 * bill.fixed, 6)) / 100
        yield f"a budget of ${cents:,.2f}", {"budget_usd": max(cents, bill.fixed)}
    yield from _volumes(facts, finding, decision)


def _beyond(value: float, side: int) -> float:
    """A little more (or less) than a value as it is shown."""
    shown = float(f"{value:.3g}")
    return max(0.0, shown + side * max(abs(shown) * 0.01, 1e-9))


def _volumes(facts: Facts, finding: Finding, decision: Decision) -> Iterator[tuple[str, dict[str, Any]]]:
    """Requests a month from which tuning pays back within the horizon, or below which it does not."""
    needed = []
    for bill in facts.bills.values():
        if bill.saving_per_month is None:
            return
        monthly = bill.saving_per_month + bill.hosting_per_month
        per_request = monthly / decision.requests_per_month if decision.requests_per_month else 0.0
        if per_request <= 0:
            return
        needed.append((bill.fixed / decision.horizon_months + bill.hosting_per_month) / per_request)
    volume = max(needed)
    if volume <= 0:
        return
    # Beyond the break-even the saving must also be sure: its spread is a matter of a few per cent.
    if finding.headline != "tune" and volume > decision.requests_per_month:
        for factor in (1.0, 1.05, 1.2, 1.5):
            count = volume * factor
            if _decided_with(facts, {"requests_per_month": count * 1.001}).headline == "tune":
                yield (
                    f"{count:,.0f} requests a month (tuning then pays back within the horizon)",
                    {"requests_per_month": count * 1.001},
                )
                return
    if finding.reason == "cheaper" and volume < decision.requests_per_month:
        yield f"fewer than {volume:,.0f} requests a month", {"requests_per_month": volume * 0.98}


def next_step(run: Run, experiment: Experiment, finding: Finding, evidence: Sequence[Evidence]) -> str:
    """The command, or the deed, that follows from the verdict."""
    place = _place(run)
    if finding.headline != "cant-tell" and finding.choice:
        if any(e.name == finding.choice and e.info["kind"] == "predictions" for e in evidence):
            return f"put {finding.choice} to use where its answers came from"
        return f"workbench predict {place} --contender {finding.choice} new.jsonl answers.jsonl"
    if finding.reason == "fix-data":
        return f"workbench lint {_data_files(run)}"
    if finding.reason in ("no-tuned-contender", "no-alternative"):
        wanted = finding.reason == "no-tuned-contender"
        waiting = {c.name for c in experiment.contenders if _is_tuned(c) is wanted and not c.diagnostic}
        if waiting - {e.name for e in evidence}:
            return _again(run)  # it is in the file and has not answered
    foldable = experiment.data.path is not None and experiment.data.split.folds is None
    first = {
        "need-more-eval-data": f"add test data{' (or set data.split.folds: 10)' if foldable else ''}",
        "need-more-training-data": "add training data",
        "no-tuned-contender": _one_tuned(experiment),
        "no-alternative": "add a contender of kind prompting or few-shot",
        "no-signal": _a_signal(experiment),
    }.get(finding.reason, "mend what the reason names")
    return f"{first}, then: {_again(run)}"


def export_step(run: Run, experiment: Experiment, finding: Finding) -> str | None:
    """The command that ships a tuned choice as a folder of its own; None where its weights are not here."""
    chosen = next((c for c in experiment.contenders if c.name == finding.choice), None)
    if finding.headline != "tune" or not isinstance(chosen, FineTuned):
        return None
    return f"workbench export {_place(run)} {run.name}-{chosen.name} --contender {chosen.name}"


def _place(run: Run) -> str:
    """As it was given; where that is from the root, no place of this machine gets into the verdict."""
    return f"{run.folder.parent.name}/{run.name}" if run.folder.is_absolute() else run.folder.as_posix()


def _is_tuned(contender: Contender) -> bool:
    return contender.tuned if isinstance(contender, Brought) else isinstance(contender, FineTuned | Hosted)


def _one_tuned(experiment: Experiment) -> str:
    """Answers brought from elsewhere may be a tuned model's: the file has to say so."""
    brought = any(isinstance(c, Brought) for c in experiment.contenders)
    return f"{'write tuned: true beside the tuned one, or ' if brought else ''}add a contender of kind fine-tuned"


def _a_signal(experiment: Experiment) -> str:
    if experiment.primary == "human" and experiment.ratings is None:
        return "rate the answers (page Rate of workbench app, or ratings: people.csv)"
    return "choose another metrics.primary"


def _again(run: Run) -> str:
    """The command that runs the experiment again, its path as seen from where the run folder's own path starts."""
    origin = run.origin()
    start = run.folder.parent.parent if run.folder.is_absolute() else "."
    path = os.path.relpath(origin, start) if origin else "EXPERIMENT"
    return f"workbench run {'EXPERIMENT' if path.startswith('..') else path}"


def _data_files(run: Run) -> str:
    """All of them: a leak shows only where both of its splits are linted."""
    files = (run.lint() or {}).get("files") or []
    return " ".join(shlex.quote(str(file["path"])) for file in files) or "DATA"
