"""Validity gates: what must hold before scores may decide anything.

Each gate looks at the run and returns why it is closed, or None. The first closed one names the verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

import numpy as np

from validators.prices import Price, load_prices

from .difference import comparable
from .evidence import Evidence
from .experiment import Experiment
from .failures import ENDS, cut_short, might_change, undecided
from .money import money, surely_cheaper
from .runs import Run
from .sections import Decision

# Errors that make scores meaningless; personal data and odd text are caveats instead.
BLOCKING_FAMILIES = ("FMT", "MSG", "TOOL", "MASK")
LEAK = "DUP003"
CUT_SHARE = 0.05
# Backends that generate under settings of ours.
GENERATING = ("hf", "openai")


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


def blocking(code: str, severity: str, *, drop_leaked: bool = False) -> bool:
    """Whether a finding forbids a verdict; leaked rows do not where they are left out."""
    codes = () if drop_leaked else (LEAK,)
    return severity == "error" and (code.startswith(BLOCKING_FAMILIES) or code in codes)


def is_leak(code: str, severity: str) -> bool:
    """Whether a finding is a row of dev or test that stands in an earlier split too."""
    return code == LEAK and severity == "error"


def _fix_data(case: Case) -> Gate | None:
    dropped = case.experiment.data.split.drop_leaked
    bad = [f for f in case.run.findings() if blocking(f["code"], f["severity"], drop_leaked=dropped)]
    if not bad:
        return None
    codes = ", ".join(sorted({f["code"] for f in bad}))
    first = f"{bad[0]['path']}:{bad[0].get('line') or 1}"
    leaks = "; data.split.drop_leaked: true leaves leaked rows out" if codes == LEAK else ""
    return Gate("fix-data", f"{len(bad)} errors in the data ({codes}), the first at {first}{leaks}")


def _different_samples(case: Case) -> Gate | None:
    for e in case.evidence[1:]:
        if e.ids != case.evidence[0].ids:
            return Gate(
                "invalid-comparison", f"{case.evidence[0].name} and {e.name} answered different samples"
            )
    return None


def _different_conditions(case: Case) -> Gate | None:
    """Same scorer for all; same number format and answer length for the contenders of one kind of backend."""
    # One without a value was measured in no way; the next gates tell why.
    signatures = {e.rows.signature: e.name for e in case.evidence if e.summary.score is not None}
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
    """Too many answers stopped by the token limit; likelihoods do not depend on the answers at all."""
    if case.experiment.metric(case.experiment.primary).needs != "text":
        return None
    for e in case.evidence:
        cut = _most_cut(e)
        if cut > CUT_SHARE * len(e.ids):
            return Gate(
                "invalid-comparison",
                f"{cut} of {len(e.ids)} answers of {e.name} were cut by the token limit; raise max_new_tokens",
            )
    return None


@lru_cache(maxsize=64)
def _most_cut(e: Evidence) -> int:
    """Answers cut short from the seed that has most of them; what-ifs ask again and again."""
    return max(sum(map(cut_short, answers)) for answers in e.answers)


def _failed_answers(case: Case) -> Gate | None:
    """Failures matter when what they might have been changes which row of the table applies."""
    tuned, others, experiment = case.tuned, case.others, case.experiment
    if tuned is None or not others or _measured_nowhere(case):
        return None
    failed = {o.name: _unknown(tuned, o, experiment) for o in others}
    worst = max(others, key=lambda o: failed[o.name])
    for other in others:
        if not comparable(tuned, other, experiment.primary):
            if _any_error((tuned, other)):
                return _failures(failed[other.name], tuned, other, experiment.primary)
            silent = next((e for e in (tuned, other) if e.summary.score is None), other)
            return Gate(
                "invalid-comparison",
                f"{experiment.primary} of {silent.name} has no value, so nothing can be compared",
            )
    total = failed[worst.name]
    if not total:
        return None
    cheaper = surely_cheaper(money(tuned, o, experiment) for o in others)
    changes = might_change(tuned, others, experiment, cheaper=cheaper)
    if changes is None:  # this metric has no worst value to fill in
        changes = total > CUT_SHARE * len(tuned.ids)
    return _failures(total, tuned, worst, experiment.primary) if changes else None


def _unknown(tuned: Evidence, other: Evidence, experiment: Experiment) -> int:
    """Samples on which the answer of one of the two is not known."""
    return sum(
        a or b for a, b in zip(undecided(tuned, experiment), undecided(other, experiment), strict=False)
    )


def _measured_nowhere(case: Case) -> bool:
    """No contender has a value, though none failed: the metric is the fault."""
    return all(e.summary.score is None for e in case.evidence) and not _any_error(case.evidence)


def _any_error(evidence: Sequence[Evidence]) -> bool:
    return any(p.error is not None for e in evidence for answers in e.answers for p in answers)


def _failures(failed: int, tuned: Evidence, other: Evidence, primary: str) -> Gate:
    names = f"{tuned.name} or {other.name}"
    if _any_error((tuned, other)):
        how = "failed"
    else:
        how = "were not rated by the judge" if primary == "judge" else "were cut by the token limit"
    return Gate(
        "invalid-comparison",
        f"{failed} answers of {names} {how}, enough to change the decision; mend the cause and run again",
    )


def _nothing_answered(case: Case) -> Gate | None:
    """No contender has a score, because answers failed: that says nothing about the metric."""
    if any(e.summary.score is not None for e in case.evidence):
        return None
    for e in case.evidence:
        failed = [p.error for answers in e.answers for p in answers if p.error is not None]
        if failed:
            told = f"{len(failed)} answers of {e.name} failed ({failed[0]})"
            return Gate("invalid-comparison", f"{told}; mend the cause and run again")
    return None


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
    measured = [e for e in case.evidence if e.summary.score is not None]
    values = np.concatenate([e.rows.stats[e.rows.scored] for e in measured])
    scores = {e.summary.score for e in case.evidence if e.summary.score is not None}
    # Rows of a corpus metric differ even where every contender's value is the lowest, or the highest, there is.
    at_an_end = len(scores) == 1 and scores <= set(ENDS.get(case.experiment.metric(primary).scale, ()))
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
    """The tuned contender, or every alternative, is a hosted model that is tuned or served no more."""
    when = decision_day(case.experiment.decision, case.today)
    gone = {e.name: price for e in case.evidence if (price := retired(e, when)) is not None}
    if case.tuned is not None and (case.tuned.name in gone or (gone and not case.others)):
        return Gate("retiring", "; ".join(f"{name}: {_end_of(p, when)}" for name, p in gone.items()))
    return None


def _end_of(price: Price, when: date) -> str:
    if price.state(when) == "retired":
        return f"{price.model} is served only until {price.served_until}"
    return f"{price.model} takes no new tuning jobs after {price.tunable_until}"


def retired(e: Evidence, when: date) -> Price | None:
    """The registry's entry of a hosted model that on that day is served no more, or tuned no more; else None."""
    settings = e.info["backend"]
    if settings.get("kind") != "openai":
        return None
    price = load_prices().get(str(settings.get("model")).removeprefix("ft:").partition(":")[0])
    ends = ("retired", "closed") if e.tuned else ("retired",)
    return price if price is not None and price.state(when) in ends else None


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
    _nothing_answered,
    _no_signal,
    _retiring,
    _no_alternative,
    _no_tuned_contender,
)
