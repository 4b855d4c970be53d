"""Validity gates: what must hold before scores may decide anything.

Each gate looks at the run and returns why it is closed, or None. The first closed one names the verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from metrics import METRICS
from validators.prices import load_prices

from .evidence import Evidence, compare, gain
from .experiment import Experiment
from .runs import Run

# Errors that make scores meaningless; personal data and odd text are caveats instead.
BLOCKING_FAMILIES = ("FMT", "MSG", "TOOL", "MASK")
BLOCKING_CODES = ("DUP003",)
CUT_SHARE = 0.05


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
            return Gate("invalid-comparison", f"{case.evidence[0].name} and {e.name} answered different samples")
    return None


def _different_conditions(case: Case) -> Gate | None:
    """Same scorer for all; same number format and answer length for the contenders of one kind of backend."""
    signatures = {e.rows.signature: e.name for e in case.evidence}
    if len(signatures) > 1:
        told = "; ".join(f"{name}: {signature}" for signature, name in signatures.items())
        return Gate("invalid-comparison", f"the primary metric was measured differently ({told})")
    local = [e for e in case.evidence if e.info["backend"].get("kind") == "hf"]
    for what, values in (
        ("dtypes", {(e.info.get("hardware") or {}).get("dtype"): e.name for e in local}),
        ("answer lengths (max_new_tokens)", {e.info["backend"].get("max_new_tokens"): e.name for e in local}),
    ):
        if len(values) > 1:
            told = ", ".join(f"{name} {value}" for value, name in values.items())
            return Gate("invalid-comparison", f"contenders ran under different {what}: {told}")
    return None


def _cut_answers(case: Case) -> Gate | None:
    """Answers stopped by the token limit before they were even as long as the reference.

    A rambling answer that was cut later has said more than the reference already: going on would not
    have turned it into the reference.
    """
    for e in case.evidence:
        cut = [
            p
            for p in e.predictions
            if p.finish_reason == "length" and len(p.prediction or "") < max(map(len, p.references))
        ]
        if len(cut) > CUT_SHARE * len(e.ids):
            return Gate(
                "invalid-comparison",
                f"{len(cut)} of {len(e.ids)} answers of {e.name} were cut by the token limit; raise max_new_tokens",
            )
    return None


def _failed_answers(case: Case) -> Gate | None:
    """Failures matter when counting them all wrong, or all right, changes what the table says."""
    tuned = case.tuned
    if tuned is None:
        return None
    low, high = (0.0, 1.0) if METRICS[case.experiment.primary].higher_is_better else (1.0, 0.0)
    for other in case.others:
        failed = int((~(tuned.rows.scored & other.rows.scored)).sum())
        if failed == 0 or not (tuned.rows.scored & other.rows.scored).any():
            continue
        if tuned.rows.stats.shape[1] > 1:  # sums of a corpus metric have no worst value to fill in
            if failed > CUT_SHARE * len(tuned.ids):
                return _failures(failed, tuned, other)
            continue
        outcomes = {_outcome(case, tuned, other, impute) for impute in (None, (low, high), (high, low))}
        if len(outcomes) > 1:
            return _failures(failed, tuned, other)
    return None


def _failures(failed: int, tuned: Evidence, other: Evidence) -> Gate:
    names = f"{tuned.name} or {other.name}"
    return Gate(
        "invalid-comparison",
        f"{failed} answers of {names} failed, enough to change the decision; run again to ask them again",
    )


def _outcome(case: Case, tuned: Evidence, other: Evidence, impute: tuple[float, float] | None) -> str:
    """Which side of the margin the interval is on."""
    higher = METRICS[case.experiment.primary].higher_is_better
    compared = compare(tuned, other, case.experiment, impute=impute)
    interval = gain(compared, other.name, higher).interval if compared else None
    m = case.experiment.decision.worth_it
    if interval is None:
        return "unknown"
    return "above" if interval[0] > m else "below" if interval[1] < m else "between"


def _no_signal(case: Case) -> Gate | None:
    """The primary metric gives every answer of every contender the same value, or none at all."""
    if not case.evidence:
        return None
    primary = case.experiment.primary
    if all(e.summary.score is None for e in case.evidence):
        why = case.evidence[0].summary.reason or "no contender has a score"
        return Gate("no-signal", f"{primary} has no value: {why}")
    values = np.concatenate([e.rows.stats[e.rows.scored] for e in case.evidence])
    if len(values) and bool((values == values[0]).all()) and len(case.evidence) > 1:
        better = next((name for name in _others_with_signal(case)), None)
        advice = f"; {better} does tell them apart" if better else ""
        return Gate("no-signal", f"{primary} is {values[0][0]:g} for every answer of every contender{advice}")
    return None


def _others_with_signal(case: Case) -> list[str]:
    found = []
    for name in case.experiment.metric_names[1:]:
        scores = [(case.run.scores(e.name) or {}).get("metrics", {}).get(name, {}).get("value") for e in case.evidence]
        if None not in scores and len(set(scores)) > 1:
            found.append(name)
    return found


def _retiring(case: Case) -> Gate | None:
    """The only tuned contender is a hosted model that can no longer be served."""
    if case.tuned is None:
        return None
    settings = case.tuned.info["backend"]
    price = load_prices().get(str(settings.get("model"))) if settings.get("kind") == "openai" else None
    when = date.fromisoformat(case.experiment.decision.date) if case.experiment.decision.date else case.today
    if price is not None and price.state(when) == "retired":
        return Gate("retiring", f"{case.tuned.name}: {price.model} is served only until {price.served_until}")
    return None


def _no_alternative(case: Case) -> Gate | None:
    if case.tuned is not None and not case.others:
        return Gate("no-alternative", "only tuned contenders were scored, so nothing says that tuning was needed")
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
