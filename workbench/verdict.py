"""Scores + costs → one verdict: tune, don't tune (and what instead), or can't tell (and what is missing).

Read from the run folder alone, so that anyone can redo it, with other margins and prices too. First the
validity gates in their order, then the decision table; exactly one headline comes out of any run.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from metrics import METRICS, Comparison

from .evidence import Evidence, best_first, compare, gain, gather
from .experiment import Decision, Experiment
from .gates import Gate, decision_day, first_closed_gate, retired
from .margins import high, low, row_of
from .money import Money, money, surely_cheaper
from .odds import caveats, odds_of_best, smallest_effect
from .records import ContenderSummary, Difference, Headline, Verdict
from .runs import Run, RunError

# A test split larger than this is no advice: the truth lies at the margin.
MOST_TEST_SAMPLES = 20_000


@dataclass(frozen=True, slots=True)
class Finding:
    """A headline with its reason, before the figures are put beside it."""

    headline: Headline
    reason: str
    sentence: str
    choice: str | None
    against: str | None


def decide(run: Run, *, decision: Decision | None = None, today: date) -> Verdict:
    """Reach the verdict of a run from its files; `decision` replaces the margins and prices it ran with.

    Settings that differ from those on record before the first answer make the verdict exploratory.
    Raises RunError where the folder holds no experiment.
    """
    text = run.experiment_text()
    if text is None:
        raise RunError(f"{run.folder} holds no experiment.yaml, so nothing can be decided.")
    experiment = Experiment.parse(text, path=run.folder / "experiment.yaml")
    if decision is not None:
        experiment = experiment.model_copy(update={"decision": decision})
    exploratory = experiment.decision.model_dump(mode="json") != _on_record(run)
    evidence = gather(run, experiment)
    tuned, others = _sides(evidence, experiment, decision_day(experiment.decision, today))
    gate = first_closed_gate(run, experiment, evidence, tuned, others, today)
    if gate is None and tuned is not None:
        finding, comparisons, bill = _judge(tuned, others, experiment)
    else:
        finding, comparisons, bill = _closed(gate, evidence, others, experiment), {}, None
    return _verdict(run, experiment, evidence, (tuned, others), finding, comparisons, bill, exploratory)


def _on_record(run: Run) -> dict[str, Any]:
    """The decision settings of before the first answer."""
    meta = run.meta()
    return dict(meta["decision_history"][0]["decision"] if meta["decision_history"] else meta["decision"])


def _sides(
    evidence: Sequence[Evidence], experiment: Experiment, when: date
) -> tuple[Evidence | None, list[Evidence]]:
    """The tuned contender to judge, the best on dev where there are several, and all alternatives still served."""
    higher = METRICS[experiment.primary].higher_is_better
    tuned = [e for e in evidence if e.tuned]
    others = [e for e in evidence if not e.tuned and retired(e, when) is None]

    def on_dev(e: Evidence) -> float:
        dev = e.info.get("dev") or {}
        value = dev.get("value") if dev.get("metric") == experiment.primary else None
        return -math.inf if value is None else (value if higher else -value)

    return (max(tuned, key=on_dev) if tuned else None), best_first(others, higher)


def _closed(
    gate: Gate | None, evidence: Sequence[Evidence], others: Sequence[Evidence], experiment: Experiment
) -> Finding:
    assert gate is not None  # without a tuned contender the last gate is always closed
    best = others[0].name if others and others[0].summary.score is not None else None
    return Finding("cant-tell", gate.reason, gate.sentence, best, None)


def _judge(
    tuned: Evidence, others: Sequence[Evidence], experiment: Experiment
) -> tuple[Finding, dict[str, Comparison], Money | None]:
    """The decision table."""
    comparisons = {o.name: c for o in others if (c := compare(tuned, o, experiment)) is not None}
    seed = experiment.data.split.seed
    bills = {other.name: money(tuned, other, experiment.decision, seed=seed) for other in others}
    finding = table(tuned, others, comparisons, bills, experiment)
    reference = finding.choice if finding.headline == "dont-tune" else finding.against
    return finding, comparisons, bills.get(reference or "") or bills[others[0].name]


def table(
    tuned: Evidence,
    others: Sequence[Evidence],
    comparisons: dict[str, Comparison],
    bills: dict[str, Money],
    experiment: Experiment,
) -> Finding:
    """First row that applies: quality, cheaper, an alternative suffices, more test data."""
    higher = METRICS[experiment.primary].higher_is_better
    m, e = experiment.decision.worth_it, experiment.equivalent_within
    gains = {name: gain(c, name, higher) for name, c in comparisons.items()}
    hardest = min(gains.values(), key=lambda g: (low(g), g.against)).against
    cheaper = surely_cheaper(bills.values())
    match row_of(gains.values(), worth_it=m, equivalent_within=e, cheaper=cheaper):
        case "quality":
            return _worth_it(tuned, hardest, others, bills, experiment)
        case "cheaper":
            sentence = f"{tuned.name} is within {e:g} of every alternative and cheaper over the horizon"
            return Finding("tune", "cheaper", sentence, tuned.name, hardest)
        case "alternative-suffices":
            choice = _cheapest_sufficient(others, experiment).name
            sentence = _how_close(tuned, gains[choice], comparisons[choice], experiment)
            return Finding("dont-tune", "alternative-suffices", sentence, choice, tuned.name)
        case _:
            sentence = _test_size_advice(list(gains.values()), tuned, m)
            return Finding("cant-tell", "need-more-eval-data", sentence, others[0].name, tuned.name)


def _worth_it(
    tuned: Evidence, hardest: str, others: Sequence[Evidence], bills: dict[str, Money], experiment: Experiment
) -> Finding:
    budget, fixed = experiment.decision.budget_usd, bills[hardest].fixed
    if budget is not None and fixed > budget:
        sentence = (
            f"{tuned.name} is better by more than the margin, but tuning took ${fixed:,.2f} of ${budget:,.2f}"
        )
        return Finding("dont-tune", "over-budget", sentence, others[0].name, tuned.name)
    sentence = f"{tuned.name} beats every alternative by more than {experiment.decision.worth_it:g}"
    return Finding("tune", "quality", sentence, tuned.name, hardest)


def _cheapest_sufficient(others: Sequence[Evidence], experiment: Experiment) -> Evidence:
    """The cheapest alternative that is surely within e of the best one (two one-sided tests)."""
    best, e = others[0], experiment.equivalent_within
    enough = [best]
    for other in others[1:]:
        compared = compare(other, best, experiment)
        interval = compared.equivalence_interval if compared else None
        if interval is not None and -e < interval[0] and interval[1] < e:
            enough.append(other)
    for field in ("usd_per_1000", "seconds_per_request", "tokens_per_request"):
        if all(getattr(o.summary, field) is not None for o in enough):
            return min(enough, key=lambda o: (getattr(o.summary, field), o.name))
    return best


def _how_close(tuned: Evidence, difference: Difference, compared: Comparison, experiment: Experiment) -> str:
    """Better, equivalent (two one-sided tests), or close enough; said of the choice."""
    m, e = experiment.decision.worth_it, experiment.equivalent_within
    if high(difference) < 0:
        return f"{difference.against} is better than {tuned.name}"
    inside = compared.equivalence_interval
    if inside is not None and -e < inside[0] and inside[1] < e:
        return f"{difference.against} and {tuned.name} are equivalent within {e:g}"
    if high(difference) < m:
        return f"{tuned.name} gains less over {difference.against} than the {m:g} that would justify tuning"
    return (
        f"{tuned.name} gains less than {m:g} over an alternative; {difference.against} is the cheapest within {e:g} "
        "of the best one"
    )


def _test_size_advice(gains: Sequence[Difference], tuned: Evidence, m: float) -> str:
    """The n at which the margin leaves enough intervals: all of them, or one from below."""
    if all(g.interval is None for g in gains):
        return "no interval can be given for this test split; more independent samples (groups) are needed"
    sizes = {g.against: _test_size(g, len(tuned.ids), m) for g in gains}
    below = [sizes[g.against] for g in gains if g.estimate < m]
    n = min(below) if below else max(sizes.values())
    if n > MOST_TEST_SAMPLES:
        return "the difference lies at the margin itself: no test size will tell"
    return f"about {math.ceil(n / 10) * 10:,} test samples would settle it, if the difference stays as it is"


def _test_size(difference: Difference, n: int, m: float) -> float:
    """How many samples bring the interval's end off the margin, its width falling with the root of n."""
    distance = abs(difference.estimate - m)
    if difference.interval is None or distance == 0:
        return math.inf
    lower, upper = difference.interval
    half = difference.estimate - lower if difference.estimate > m else upper - difference.estimate
    return max(n + 1, n * (half / distance) ** 2)


def _verdict(
    run: Run,
    experiment: Experiment,
    evidence: Sequence[Evidence],
    sides: tuple[Evidence | None, Sequence[Evidence]],
    finding: Finding,
    comparisons: dict[str, Comparison],
    bill: Money | None,
    exploratory: bool,
) -> Verdict:
    tuned, others = sides
    racing = [e for e in evidence if e.tuned or e in others]
    higher = METRICS[experiment.primary].higher_is_better
    differences = tuple(gain(c, name, higher) for name, c in comparisons.items())
    shown = finding.choice if finding.headline == "dont-tune" else finding.against
    difference = next((d for d in differences if d.against == shown), None)
    if difference is None and differences:
        difference = min(differences, key=lambda d: d.estimate)
    groups = {g for e in evidence[:1] for g in e.groups if g is not None}
    return Verdict(
        headline=finding.headline,
        reason=finding.reason,
        sentence=finding.sentence,
        experiment=experiment.name,
        metric=experiment.primary,
        higher_is_better=higher,
        margin=experiment.decision.worth_it,
        equivalent_within=experiment.equivalent_within,
        tuned=tuned.name if tuned else None,
        choice=finding.choice,
        against=finding.against,
        difference=difference,
        differences=differences,
        contenders=_ranked(evidence, higher),
        n=len(evidence[0].ids) if evidence else len(run.samples()),
        groups=len(groups) or None,
        seeds=1 if tuned and tuned.info.get("training") else 0,
        smallest_detectable_effect=smallest_effect(run, experiment, tuned, others),
        costs=bill.as_dict(experiment.decision) if bill else {},
        payback_months=bill.payback_months if bill else None,
        if_you_must=odds_of_best(racing, experiment),
        flips=_flips(finding, differences, bill, experiment),
        caveats=caveats(run, experiment, evidence, racing),
        next=_next(run, finding, evidence),
        exploratory=exploratory,
    )


def _ranked(evidence: Sequence[Evidence], higher: bool) -> tuple[ContenderSummary, ...]:
    return tuple(e.summary for e in best_first(evidence, higher))


def _flips(
    finding: Finding, differences: Sequence[Difference], bill: Money | None, experiment: Experiment
) -> tuple[str, ...]:
    """What would change the answer: another margin, budget or volume."""
    if not differences:
        return ()
    decision, lowest = experiment.decision, min(map(low, differences))
    if finding.reason == "quality":
        return (f"worth-it of {lowest:.3g} or more",)
    if finding.reason == "over-budget" and bill:
        return (f"a budget of ${bill.fixed:,.2f}",)
    flips = [f"worth-it under {lowest:.3g}"] if lowest > 0 and finding.headline != "tune" else []
    # A larger volume can only make the cheaper way pay where the tuned one is as good.
    if finding.headline == "tune" or bill is None or bill.saving_per_month is None or bill.fixed <= 0:
        return tuple(flips)
    per_request = (bill.saving_per_month + bill.hosting_per_month) / max(decision.requests_per_month, 1e-9)
    if per_request > 0 and lowest > -experiment.equivalent_within:
        needed = (bill.fixed / decision.horizon_months + bill.hosting_per_month) / per_request
        if needed > decision.requests_per_month:
            flips.append(f"{needed:,.0f} requests a month (tuning then pays back within the horizon)")
    return tuple(flips)


def _again(run: Run) -> str:
    """The command that runs the experiment again, its path as seen from beside the runs folder."""
    origin = run.origin()
    path = os.path.relpath(origin, run.folder.parent.parent) if origin else "EXPERIMENT"
    return f"workbench run {'EXPERIMENT' if path.startswith('..') else path}"


def _next(run: Run, finding: Finding, evidence: Sequence[Evidence]) -> str:
    place = f"{run.folder.resolve().parent.name}/{run.name}"
    if finding.headline != "cant-tell" and finding.choice:
        if any(e.name == finding.choice and e.info["kind"] == "predictions" for e in evidence):
            return f"put {finding.choice} to use where its answers came from"
        return f"workbench predict {place} --contender {finding.choice} new.jsonl answers.jsonl"
    if finding.reason == "fix-data":
        return f"workbench lint {_data_file(run)}"
    first = {
        "need-more-eval-data": "add test data",
        "no-tuned-contender": "add a contender of kind fine-tuned",
        "no-alternative": "add a contender of kind prompting or few-shot",
        "no-signal": "choose another metrics.primary",
    }.get(finding.reason, "mend what the reason names")
    return f"{first}, then: {_again(run)}"


def _data_file(run: Run) -> str:
    files = (run.lint() or {}).get("files") or []
    return str(files[0]["path"]) if files else "DATA"
