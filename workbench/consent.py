"""Leave to spend: a hosted training is agreed on before anything is sent, with its bill in view.

Agreed on is what a person confirms at the terminal, or a sum given beforehand; the budget of the experiment
holds against both. What was refused loses nothing: the same command asks again.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence

from .contenders.hosted import Training, is_begun, training_of
from .data import Division
from .designs import fit_places
from .experiment import Experiment
from .hosted import Purse, bills_text, running, total_usd
from .runs import Run
from .settings import Contender, Hosted

Ask = Callable[[str], bool]


class ConsentError(ValueError):
    """Nobody agreed to the bill; the message holds it, and how to agree."""


def permit(
    experiment: Experiment,
    run: Run,
    division: Division,
    chosen: Sequence[Contender],
    purse: Purse,
    *,
    most: float | None,
    ask: Ask | None,
) -> None:
    """Fill the purse for every hosted training of `chosen` that has no job yet, or raise ConsentError.

    `most` is the sum agreed on beforehand, `ask` puts a bill to a person; without both there is no leave.
    Raises HostedError for a training that could not start.
    """
    bills = [
        t.bill for t, place in _trainings(experiment, run, division, chosen, purse) if not is_begun(t, place)
    ]
    if not bills:
        return
    told, total = bills_text(bills), total_usd(bills)
    _within_budget(experiment, told, total)
    if most is not None:
        if total is None:
            raise ConsentError(
                f"{told}\nA price is not known, so nothing can keep to --yes-spend {most:g}: set training_price."
            )
        if total > most:
            raise ConsentError(f"{told}\nThat is more than --yes-spend {most:g}. Nothing was sent.")
        purse.left = most
    elif ask is None:
        sum_ = "USD" if total is None else f"{math.ceil(100 * total) / 100:.2f}"
        raise ConsentError(
            f"{told}\nNothing was sent. To agree, run again with --yes-spend {sum_} (the most it may cost)."
        )
    elif ask(told):
        purse.left = math.inf if total is None else total
    else:
        raise ConsentError(
            "not confirmed: nothing was sent, and nothing is lost. --only runs the other contenders."
        )


def leave_running(run: Run) -> None:
    """Say on standard error which jobs go on at their provider after an interruption."""
    for name, job in _running(run):
        print(
            f"{name}: job {job} goes on at the provider and is billed; run the same command to follow it",
            file=sys.stderr,
        )


def check_forgettable(run: Run, names: Sequence[str]) -> None:
    """Raise ConsentError where starting over would leave a job of these contenders (none: all) running unseen."""
    found = [f"{name}: job {job}" for name, job in _running(run) if not names or name in names]
    if found:
        raise ConsentError(
            f"{'; '.join(found)} may still run and be billed, so --fresh would pay twice. Run without --fresh to follow it; "
            "once it is done, failed or cancelled (at the provider), --fresh starts a new one."
        )


def _running(run: Run) -> Iterator[tuple[str, str]]:
    for place in (run, *run.parts()):
        for name in place.contenders():
            job = place.job(name)
            if job is not None and running(job):
                yield name, job["id"] or "whose id is not known yet"


def _trainings(
    experiment: Experiment, run: Run, division: Division, chosen: Sequence[Contender], purse: Purse
) -> Iterator[tuple[Training, Run]]:
    for settings in (c for c in chosen if isinstance(c, Hosted)):
        for place, fit in zip(fit_places(run, division), division.fits, strict=True):
            splits = {"train": fit.train, "dev": fit.dev}
            yield training_of(settings, experiment, splits, fit.conversations, purse.today), place


def _within_budget(experiment: Experiment, told: str, total: float | None) -> None:
    decision = experiment.decision
    if decision.budget_usd is None:
        return
    if total is None:
        raise ConsentError(
            f"{told}\ndecision.budget_usd is {decision.budget_usd:g}, but a price is not known: set training_price."
        )
    spent = total + decision.costs.data_usd + decision.costs.labour_usd
    if spent > decision.budget_usd:
        raise ConsentError(
            f"{told}\nWith data and labour that is ${spent:,.2f}, over decision.budget_usd ({decision.budget_usd:g}). Nothing was "
            "sent. Raise the budget, train fewer epochs or rows, or leave the contender out (--only)."
        )
