"""Scores + costs → one verdict: tune, don't tune (and what instead), or can't tell (and what is missing).

Read from the run folder alone, so that anyone can redo it, with other margins and prices too. First the
validity gates in their order, then the decision table; exactly one headline comes out of any run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

from .advice import export_step, flips, next_step
from .card import gap
from .caveats import caveats
from .curve import forecast_of
from .difference import compare
from .evidence import Evidence, best_first, gather, on_dev
from .experiment import Experiment, stored_experiment
from .gates import Gate, decision_day, first_closed_gate, retired
from .harm import harm_of
from .human import HUMAN
from .money import Money, money
from .odds import odds_of_best, smallest_effect
from .records import Verdict
from .runs import Run, RunError
from .sections import Decision
from .table import Facts, Finding, judge


def deciding_experiment(run: Run) -> Experiment:
    """The experiment that a run is decided by. Raises RunError where the folder holds none."""
    experiment = stored_experiment(run)
    if experiment is None:
        raise RunError(f"{run.folder} holds no experiment.yaml, so nothing can be decided.")
    return experiment


def decide(
    run: Run, *, decision: Decision | None = None, today: date, evidence: Sequence[Evidence] | None = None
) -> Verdict:
    """Reach the verdict of a run from its files; `decision` replaces the margins and prices it ran with.

    `evidence` is what `gather` found under the same price of the machine's hour, where it is at hand. Settings that differ from those on record before the first answer make the verdict exploratory.
    Raises RunError where the folder holds no experiment.
    """
    experiment = deciding_experiment(run)
    if decision is not None:
        experiment = experiment.model_copy(update={"decision": decision})
    evidence = gather(run, experiment) if evidence is None else evidence
    when = decision_day(experiment.decision, today)
    tuned, others = _sides(evidence, experiment, when)
    gate = first_closed_gate(run, experiment, evidence, tuned, others, today)
    if gate is None and tuned is not None:
        facts = _facts(run, experiment, tuned, others)
        return _verdict(run, experiment, evidence, (tuned, others), judge(facts), facts, when)
    finding = _closed(gate, run, experiment, others)
    return _verdict(run, experiment, evidence, (tuned, others), finding, None, when)


def standing(run: Run, *, today: date) -> Verdict | None:
    """The verdict on file; reached again where people decide and have rated answers in the folder.

    None where there is none yet. Raises RatingsError and RunError.
    """
    stored = run.verdict()
    decided_anew = stored is not None and stored.metric == HUMAN.name and run.ratings()
    return decide(run, today=today) if decided_anew else stored


def _facts(run: Run, experiment: Experiment, tuned: Evidence, others: Sequence[Evidence]) -> Facts:
    """Compare the tuned contender with every alternative, in quality and in money."""
    return Facts(
        tuned=tuned,
        others=others,
        comparisons={o.name: c for o in others if (c := compare(tuned, o, experiment)) is not None},
        bills={o.name: money(tuned, o, experiment) for o in others},
        experiment=experiment,
        forecast=forecast_of(run, experiment, tuned, others),
    )


def is_exploratory(run: Run, experiment: Experiment) -> bool:
    """Whether margins, prices or the deciding metric differ from those on record before the first answer."""
    meta = run.meta()
    record: dict[str, Any] = (
        meta["decision_history"][0]["decision"] if meta["decision_history"] else meta["decision"]
    )
    # A run of before the metric was on record says nothing about it.
    return any(record[key] != value for key, value in experiment.deciding.items() if key in record)


def _sides(
    evidence: Sequence[Evidence], experiment: Experiment, when: date
) -> tuple[Evidence | None, list[Evidence]]:
    """The tuned contender to judge, the best on dev where there are several, and all alternatives still served."""
    higher = experiment.metric(experiment.primary).higher_is_better
    tuned = [e for e in evidence if e.tuned]
    tuned = [e for e in tuned if retired(e, when) is None] or tuned
    others = [e for e in evidence if not e.tuned and retired(e, when) is None]
    judged = max(tuned, key=lambda e: on_dev(e.info, experiment)) if tuned else None
    return judged, best_first(others, higher)


def _closed(gate: Gate | None, run: Run, experiment: Experiment, others: Sequence[Evidence]) -> Finding:
    assert gate is not None  # without a tuned contender the last gate is always closed
    best = others[0].name if others and others[0].summary.score is not None else None
    sentence = gate.sentence
    if gate.reason == "no-tuned-contender":
        sentence = "; ".join([sentence, *_plan(run, experiment, others)])
    return Finding("cant-tell", gate.reason, sentence, best, None)


def _plan(run: Run, experiment: Experiment, others: Sequence[Evidence]) -> Iterator[str]:
    """What tuning would have to show, and take."""
    effect = smallest_effect(run, experiment, None, others)
    if effect is not None:
        yield f"this test split would show a gain of {gap(effect, experiment.primary)} or more"
    cost = run.cost() or {}
    tokens, training = cost.get("billable_tokens"), (cost.get("usd") or {}).get("training")
    if tokens:
        price = "" if training is None else f", ${training:,.2f}"
        yield f"tuning {cost.get('model')} would take {tokens:,} tokens{price}"


def _verdict(
    run: Run,
    experiment: Experiment,
    evidence: Sequence[Evidence],
    sides: tuple[Evidence | None, Sequence[Evidence]],
    finding: Finding,
    facts: Facts | None,
    when: date,
) -> Verdict:
    """Put the figures beside the finding."""
    tuned, others = sides
    racing = [e for e in evidence if e is tuned or e in others or (e.tuned and retired(e, when) is None)]
    higher = experiment.metric(experiment.primary).higher_is_better
    differences = tuple(facts.gains.values()) if facts else ()
    reference = finding.choice if finding.headline == "dont-tune" else finding.against
    difference = next((d for d in differences if d.against == reference), None)
    if difference is None and differences:
        difference = min(differences, key=lambda d: d.estimate)
    bill = _bill(facts, reference)
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
        contenders=tuple(e.summary for e in best_first(evidence, higher)),
        n=len(evidence[0].ids) if evidence else len(run.samples()),
        groups=len({g for e in evidence[:1] for g in e.groups} - {None}) or None,
        seeds=tuned.seeds if tuned else 0,
        smallest_detectable_effect=smallest_effect(run, experiment, tuned, others),
        costs=bill.as_dict(experiment.decision) if bill else {},
        payback_months=bill.payback_months if bill else None,
        if_you_must=odds_of_best(racing, experiment),
        flips=flips(facts, finding) if facts else (),
        caveats=caveats(run, experiment, evidence, racing),
        next=next_step(run, experiment, finding, evidence),
        export=export_step(run, experiment, finding),
        exploratory=is_exploratory(run, experiment),
        harm=harm_of(run, experiment, tuned, others) if facts and tuned else None,
        forecast=facts.forecast if facts else None,
        usd_per_point=bill.usd_per_point if bill else None,
    )


def _bill(facts: Facts | None, reference: str | None) -> Money | None:
    """The money against the contender that the verdict speaks of, else against the best alternative."""
    if facts is None:
        return None
    return facts.bills.get(reference or "") or facts.bills[facts.others[0].name]
