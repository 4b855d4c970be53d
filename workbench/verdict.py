"""Scores + costs → one verdict: tune, don't tune (and what instead), or can't tell (and what is missing).

Read from the run folder alone, so that anyone can redo it, with other margins and prices too. First the
validity gates in their order, then the decision table; exactly one headline comes out of any run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from metrics import METRICS, Comparison

from .evidence import Evidence, best_first, compare, gain, gather
from .experiment import Decision, Experiment
from .gates import Gate, first_closed_gate
from .money import Money, money
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

    Raises RunError where the folder holds no experiment.
    """
    text = run.experiment_text()
    if text is None:
        raise RunError(f"{run.folder} holds no experiment.yaml, so nothing can be decided.")
    experiment = Experiment.parse(text, path=run.folder / "experiment.yaml")
    exploratory = decision is not None and decision != experiment.decision
    if decision is not None:
        experiment = experiment.model_copy(update={"decision": decision})
    evidence = gather(run, experiment)
    tuned, others = _sides(evidence, experiment)
    gate = first_closed_gate(run, experiment, evidence, tuned, others, today)
    if gate is None and tuned is not None:
        finding, comparisons, bill = _judge(tuned, others, experiment)
    else:
        finding, comparisons, bill = _closed(gate, evidence, others, experiment), {}, None
    return _verdict(run, experiment, evidence, tuned, finding, comparisons, bill, exploratory)


def _sides(evidence: Sequence[Evidence], experiment: Experiment) -> tuple[Evidence | None, list[Evidence]]:
    """The tuned contender to judge, the best on dev where there are several, and all alternatives."""
    higher = METRICS[experiment.primary].higher_is_better
    tuned = [e for e in evidence if e.tuned]
    others = [e for e in evidence if not e.tuned]

    def on_dev(e: Evidence) -> float:
        value = (e.info.get("dev") or {}).get("value")
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
    lows = {n: g.interval[0] if g.interval else -math.inf for n, g in gains.items()}
    highs = {n: g.interval[1] if g.interval else math.inf for n, g in gains.items()}
    hardest = min(lows, key=lambda n: (lows[n], n))
    if all(low > m for low in lows.values()):
        return _worth_it(tuned, hardest, bills, experiment)
    cheaper = all((b.cheaper_probability or 0.0) >= 0.9 for b in bills.values())
    if cheaper and all(low > -e for low in lows.values()):
        sentence = f"{tuned.name} is within {e:g} of every alternative and cheaper over the horizon"
        return Finding("tune", "cheaper", sentence, tuned.name, hardest)
    if any(high < m for high in highs.values()):
        choice = _cheapest_sufficient(others, experiment)
        return Finding(
            "dont-tune", "alternative-suffices", _how_close(tuned, gains[choice.name], m, e), choice.name, tuned.name
        )
    best = others[0].name
    return Finding("cant-tell", "need-more-eval-data", _test_size_advice(gains[hardest], tuned, m), best, tuned.name)


def _worth_it(tuned: Evidence, hardest: str, bills: dict[str, Money], experiment: Experiment) -> Finding:
    budget, fixed = experiment.decision.budget_usd, bills[hardest].fixed
    if budget is not None and fixed > budget:
        sentence = f"{tuned.name} is better by more than the margin, but tuning took ${fixed:,.2f} of ${budget:,.2f}"
        return Finding("dont-tune", "over-budget", sentence, hardest, tuned.name)
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


def _how_close(tuned: Evidence, difference: Difference, m: float, e: float) -> str:
    if difference.interval is None:
        return f"{difference.against} is as good for the purpose"
    low, high = difference.interval
    if high < 0:
        return f"{difference.against} is better than {tuned.name}"
    if -e < low and high < e:
        return f"{difference.against} and {tuned.name} are equivalent within {e:g}"
    return f"{tuned.name} gains less over {difference.against} than the {m:g} that would justify tuning"


def _test_size_advice(difference: Difference, tuned: Evidence, m: float) -> str:
    """The n at which the interval's half width falls under the distance from the margin."""
    if difference.interval is None:
        return "no interval can be given for this test split; more independent samples (groups) are needed"
    half = (difference.interval[1] - difference.interval[0]) / 2
    distance = abs(difference.estimate - m)
    n = len(tuned.ids) * (half / distance) ** 2 if distance > 0 else math.inf
    if n > MOST_TEST_SAMPLES:
        return "the difference lies at the margin itself: no test size will tell"
    return f"about {math.ceil(n / 10) * 10:,} test samples would settle it, if the difference stays as it is"


def _verdict(
    run: Run,
    experiment: Experiment,
    evidence: Sequence[Evidence],
    tuned: Evidence | None,
    finding: Finding,
    comparisons: dict[str, Comparison],
    bill: Money | None,
    exploratory: bool,
) -> Verdict:
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
        smallest_detectable_effect=smallest_effect(run, experiment, tuned, evidence),
        costs=bill.as_dict(experiment.decision) if bill else {},
        payback_months=bill.payback_months if bill else None,
        if_you_must=odds_of_best(evidence, experiment),
        flips=_flips(finding, differences, bill, experiment),
        caveats=caveats(run, experiment, evidence, tuned),
        next=_next(run, finding, tuned),
        exploratory=exploratory,
    )


def _ranked(evidence: Sequence[Evidence], higher: bool) -> tuple[ContenderSummary, ...]:
    return tuple(e.summary for e in best_first(evidence, higher))


def _flips(
    finding: Finding, differences: Sequence[Difference], bill: Money | None, experiment: Experiment
) -> tuple[str, ...]:
    """What would change the answer: another margin, another volume."""
    lows = [d.interval[0] for d in differences if d.interval]
    flips = []
    if lows and finding.headline == "tune" and finding.reason == "quality":
        flips.append(f"worth-it of {min(lows):.3g} or more")
    elif lows and min(lows) > 0:
        flips.append(f"worth-it under {min(lows):.3g}")
    if bill and bill.saving_per_month is not None and bill.fixed > 0:
        decision = experiment.decision
        per_request = (bill.saving_per_month + bill.hosting_per_month) / max(decision.requests_per_month, 1e-9)
        if per_request > 0:
            needed = (bill.fixed / decision.horizon_months + bill.hosting_per_month) / per_request
            if needed > decision.requests_per_month:
                flips.append(f"{needed:,.0f} requests a month (tuning then pays back within the horizon)")
    return tuple(flips)


def _next(run: Run, finding: Finding, tuned: Evidence | None) -> str:
    place = f"{run.folder.resolve().parent.name}/{run.name}"
    if finding.headline != "cant-tell" and finding.choice:
        return f"workbench predict {place} --contender {finding.choice} new.jsonl answers.jsonl"
    return {
        "fix-data": f"workbench lint {_data_file(run)}",
        "need-more-eval-data": "add test data, then: workbench run EXPERIMENT",
        "no-tuned-contender": "add a contender of kind fine-tuned, then: workbench run EXPERIMENT",
        "no-alternative": "add a contender of kind prompting or few-shot, then: workbench run EXPERIMENT",
        "no-signal": "choose another metrics.primary, then: workbench run EXPERIMENT",
    }.get(finding.reason, "mend what the reason names, then: workbench run EXPERIMENT")


def _data_file(run: Run) -> str:
    files = (run.lint() or {}).get("files") or []
    return str(files[0]["path"]) if files else "DATA"


