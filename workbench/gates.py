"""Validity gates: what must hold before scores may decide anything.

Each gate looks at the run and returns why it is closed, or None. The first closed one names the verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from metrics import METRICS
from validators.prices import Price, load_prices

from .evidence import Evidence, compare, gain
from .experiment import Decision, Experiment
from .margins import Row, row_of
from .money import money, surely_cheaper
from .runs import Run

# Errors that make scores meaningless; personal data and odd text are caveats instead.
BLOCKING_FAMILIES = ("FMT", "MSG", "TOOL", "MASK")
BLOCKING_CODES = ("DUP003",)
CUT_SHARE = 0.05
# Backends that generate under settings of ours.
GENERATING = ("hf", "openai")
# Where a metric can go no lower and no higher.
ENDS = {"0-1": (0.0, 1.0), "0-100": (0.0, 100.0)}


@dataclass(frozen=True, slots=True)
class Gate:
    """A closed gate: the reason code and what is wrong."""

    reason: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Case:
    """What the gates look at."""

    run: Run
    experiment: Experiment
    evidence: Sequence[Evidence]
    tuned: Evidence | None
    others: Sequence[Evidence]
    today: date


def first_closed_gate(
    run: Run,
    experiment: Experiment,
    evidence: Sequence[Evidence],
    tuned: Evidence | None,
    others: Sequence[Evidence],
    today: date,
) -> Gate | None:
    """The first gate that is closed, or None when scores may decide."""
    case = Case(run, experiment, evidence, tuned, others, today)
    return next((closed for gate in GATES if (closed := gate(case))), None)


def blocking(code: str, severity: str) -> bool:
    """Whether a finding forbids a verdict."""
    return severity == "error" and (code.startswith(BLOCKING_FAMILIES) or code in BLOCKING_CODES)


def _fix_data(case: Case) -> Gate | None:
    bad = [f for f in case.run.findings() if blocking(f["code"], f["severity"])]
    if not bad:
        return None
    codes = ", ".join(sorted({f["code"] for f in bad}))
    first = f"{bad[0]['path']}:{bad[0].get('line') or 1}"
    return Gate("fix-data", f"{len(bad)} errors in the data ({codes}), the first at {first}")


def _different_samples(case: Case) -> Gate | None:
    for e in case.evidence[1:]:
        if e.ids != case.evidence[0].ids:
            return Gate(
                "invalid-comparison", f"{case.evidence[0].name} and {e.name} answered different samples"
            )
    return None


def _different_conditions(case: Case) -> Gate | None:
    """Same scorer for all; same number format and answer length for the contenders of one kind of backend."""
    signatures = {e.rows.signature: e.name for e in case.evidence}
    if len(signatures) > 1:
        told = "; ".join(f"{name}: {signature}" for signature, name in signatures.items())
        return Gate("invalid-comparison", f"the primary metric was measured differently ({told})")
    for kind in GENERATING:
        alike = [e for e in case.evidence if e.info["backend"].get("kind") == kind]
        for what, values in (
            (
                "dtypes",
                {
                    e.info["hardware"]["dtype"]: e.name
                    for e in alike
                    if "dtype" in (e.info.get("hardware") or {})
                },
            ),
            (
                "answer lengths (max_new_tokens)",
                {e.info["backend"].get("max_new_tokens"): e.name for e in alike},
            ),
        ):
            if len(values) > 1:
                told = ", ".join(f"{name} {value}" for value, name in values.items())
                return Gate("invalid-comparison", f"contenders ran under different {what}: {told}")
    return None


def _cut_answers(case: Case) -> Gate | None:
    """Answers stopped by the token limit before they were even as long as the reference.

    A rambling answer that was cut later has said more than the reference already: going on would not
    have turned it into the reference. Likelihoods do not depend on the answers at all.
    """
    if METRICS[case.experiment.primary].needs == "likelihood":
        return None
    for e in case.evidence:
        cut = [
            p
            for p in e.predictions
            if p.finish_reason == "length"
            and len(p.prediction or "") < max(map(len, p.references), default=0)
        ]
        if len(cut) > CUT_SHARE * len(e.ids):
            return Gate(
                "invalid-comparison",
                f"{len(cut)} of {len(e.ids)} answers of {e.name} were cut by the token limit; raise max_new_tokens",
            )
    return None


def _failed_answers(case: Case) -> Gate | None:
    """Failures matter when counting them all wrong, or all right, changes which row of the table applies."""
    tuned, others, metric = case.tuned, case.others, case.experiment.primary
    if tuned is None or not others or _measured_nowhere(case):
        return None
    failed = {o.name: int((~(tuned.rows.scored & o.rows.scored)).sum()) for o in others}
    worst = max(others, key=lambda o: failed[o.name])
    for other in others:
        if compare(tuned, other, case.experiment) is None:
            if _any_error((tuned, other)):
                return _failures(failed[other.name], tuned, other)
            silent = next((e for e in (tuned, other) if e.summary.score is None), other)
            return Gate(
                "invalid-comparison", f"{metric} of {silent.name} has no value, so nothing can be compared"
            )
    if failed[worst.name] == 0:
        return None
    if tuned.rows.stats.shape[1] > 1:  # sums of a corpus metric have no worst value to fill in
        return (
            _failures(failed[worst.name], tuned, worst)
            if failed[worst.name] > CUT_SHARE * len(tuned.ids)
            else None
        )
    bad, good = (0.0, 1.0) if METRICS[metric].higher_is_better else (1.0, 0.0)
    cheaper = surely_cheaper(money(tuned, o, case.experiment.decision, seed=_seed(case)) for o in others)
    rows = {_row(case, tuned, cheaper, impute) for impute in (None, (bad, good), (good, bad))}
    return _failures(failed[worst.name], tuned, worst) if len(rows) > 1 else None


def _measured_nowhere(case: Case) -> bool:
    """No contender has a value, though none failed: the metric is the fault."""
    return all(e.summary.score is None for e in case.evidence) and not _any_error(case.evidence)


def _any_error(evidence: Sequence[Evidence]) -> bool:
    return any(p.error is not None for e in evidence for p in e.predictions)


def _failures(failed: int, tuned: Evidence, other: Evidence) -> Gate:
    names = f"{tuned.name} or {other.name}"
    return Gate(
        "invalid-comparison",
        f"{failed} answers of {names} failed, enough to change the decision; mend the cause and run again",
    )


def _row(case: Case, tuned: Evidence, cheaper: bool, impute: tuple[float, float] | None) -> Row:
    """The row of the decision table, with failed answers left out or filled in."""
    experiment = case.experiment
    higher = METRICS[experiment.primary].higher_is_better
    compared = ((o.name, compare(tuned, o, experiment, impute=impute)) for o in case.others)
    return row_of(
        [gain(c, name, higher) for name, c in compared if c is not None],
        worth_it=experiment.decision.worth_it,
        equivalent_within=experiment.equivalent_within,
        cheaper=cheaper,
    )


def _seed(case: Case) -> int:
    return case.experiment.data.split.seed


def _no_signal(case: Case) -> Gate | None:
    """The primary metric gives every answer of every contender the same value, or none at all."""
    if not case.evidence:
        return None
    primary = case.experiment.primary
    if all(e.summary.score is None for e in case.evidence):
        why = case.evidence[0].summary.reason or "no contender has a score"
        return Gate("no-signal", f"{primary} has no value: {why}")
    if len(case.evidence) < 2:
        return None
    values = np.concatenate([e.rows.stats[e.rows.scored] for e in case.evidence])
    scores = {e.summary.score for e in case.evidence if e.summary.score is not None}
    # Rows of a corpus metric differ even where every contender's value is the lowest, or the highest, there is.
    at_an_end = len(scores) == 1 and scores <= set(ENDS.get(METRICS[primary].scale, ()))
    if at_an_end or bool((values == values[0]).all()):
        better = next((name for name in _others_with_signal(case)), None)
        advice = f"; {better} does tell them apart" if better else ""
        where = "for every contender" if at_an_end else "for every answer of every contender"
        return Gate("no-signal", f"{primary} is {min(scores):g} {where}{advice}")
    return None


def _others_with_signal(case: Case) -> list[str]:
    found = []
    for name in case.experiment.metric_names[1:]:
        scores = [
            (case.run.scores(e.name) or {}).get("metrics", {}).get(name, {}).get("value")
            for e in case.evidence
        ]
        if None not in scores and len(set(scores)) > 1:
            found.append(name)
    return found


def _retiring(case: Case) -> Gate | None:
    """The tuned contender, or every alternative, is a hosted model that is served no more."""
    when = decision_day(case.experiment.decision, case.today)
    gone = {e.name: price for e in case.evidence if (price := retired(e, when)) is not None}
    if case.tuned is not None and (case.tuned.name in gone or (gone and not case.others)):
        told = "; ".join(
            f"{name}: {p.model} is served only until {p.served_until}" for name, p in gone.items()
        )
        return Gate("retiring", told)
    return None


def retired(e: Evidence, when: date) -> Price | None:
    """The registry's entry of a hosted model that is served no more on that day, else None."""
    settings = e.info["backend"]
    if settings.get("kind") != "openai":
        return None
    price = load_prices().get(str(settings.get("model")).removeprefix("ft:").partition(":")[0])
    return price if price is not None and price.state(when) == "retired" else None


def decision_day(decision: Decision, today: date) -> date:
    """The day the decision is for."""
    return date.fromisoformat(decision.date) if decision.date else today


def _no_alternative(case: Case) -> Gate | None:
    if case.tuned is not None and not case.others:
        return Gate(
            "no-alternative", "only tuned contenders were scored, so nothing says that tuning was needed"
        )
    return None


def _no_tuned_contender(case: Case) -> Gate | None:
    if case.tuned is None:
        best = case.others[0].name if case.others else None
        sentence = f"the best alternative is {best}" if best else "nothing was scored yet"
        return Gate("no-tuned-contender", sentence)
    return None


GATES: tuple[Callable[[Case], Gate | None], ...] = (
    _fix_data,
    _different_samples,
    _different_conditions,
    _cut_answers,
    _failed_answers,
    _no_signal,
    _retiring,
    _no_alternative,
    _no_tuned_contender,
)
