"""What if the margin, a price or the volume were another? The verdict again, nothing written; no Streamlit in here."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from pydantic import ValidationError

from apps.board import evidence_of, experiment_of
from apps.reading import derived
from workbench.records import Verdict
from workbench.runs import Run
from workbench.sections import Costs, Decision
from workbench.verdict import decide


@dataclass(frozen=True, slots=True)
class Control:
    """One number of the decision that a reader may turn; `cost` where it is one of `decision.costs`."""

    key: str
    label: str
    unit: str
    help: str
    cost: bool = False


CONTROLS = (
    Control("worth_it", "Worth it from", "", "The smallest gain that would justify tuning, in the metric's own unit."),
    Control("requests_per_month", "Requests a month", "", "How often the model will be asked."),
    Control("horizon_months", "Horizon", "months", "Tuning should have paid back by then."),
    Control("value_per_point", "A point is worth", "USD / month", "What a point of the metric earns or saves a month."),
    Control("budget_usd", "Budget", "USD", "What tuning may take at most."),
    Control("gpu_usd_per_hour", "Machine", "USD / hour", "The price of the machine's hour.", True),
    Control("hosting_usd_per_hour", "Hosting", "USD / hour", "The price of keeping the tuned model up.", True),
    Control("data_usd", "Data", "USD", "What collecting and labelling the data takes, once.", True),
    Control("labour_usd", "Work", "USD", "What the work on tuning takes, once.", True),
)  # fmt: skip


def settings_of(decision: Decision) -> dict[str, float | None]:
    """The number of every control as the experiment has it."""
    return {c.key: getattr(decision.costs if c.cost else decision, c.key) for c in CONTROLS}


def changed(decision: Decision, numbers: Mapping[str, float | None]) -> dict[str, float | None]:
    """The controls that stand otherwise than in the experiment."""
    own = settings_of(decision)
    return {key: value for key, value in numbers.items() if value != own[key]}


def turned(decision: Decision, changes: Mapping[str, float | None]) -> Decision:
    """The decision settings under other numbers. Raises ValueError where one is out of range."""
    costs = {c.key: changes[c.key] or 0 for c in CONTROLS if c.cost and c.key in changes}
    rest: dict[str, Any] = {c.key: changes[c.key] for c in CONTROLS if not c.cost and c.key in changes}
    whole = decision.model_dump(exclude_unset=True) | rest
    whole["costs"] = Costs.model_validate(decision.costs.model_dump(exclude_unset=True) | costs)
    try:
        return Decision.model_validate(whole)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{first['loc'][-1]}: {first['msg']}") from None


@derived
def what_if(run: Run, changes: tuple[tuple[str, float | None], ...], today: date) -> Verdict:
    """The verdict under changed numbers. Raises ValueError where one is out of range, RunError for the folder."""
    experiment = experiment_of(run)
    if experiment is None:
        raise ValueError("the run's experiment.yaml cannot be read by this version")
    decision = turned(experiment.decision, dict(changes))
    evidence = evidence_of(run, decision.costs.gpu_usd_per_hour)
    return decide(run, decision=decision, today=today, evidence=evidence)


def command(run: Run, changes: Mapping[str, float | None]) -> str:
    """The same question for the terminal."""
    flags = [f"--{key.replace('_', '-')} {value:.12g}" for key, value in changes.items() if value is not None]
    return " ".join(["workbench decide", shlex.quote(f"{run.folder.parent.name}/{run.name}"), *flags])
