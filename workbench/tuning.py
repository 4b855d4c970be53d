"""`workbench train`: the trainings of an experiment alone, once an untuned contender has been scored."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .consent import check_forgettable
from .contenders import is_tuned
from .contest import Contest
from .data import Division
from .designs import check, lay_out
from .designs import train as train_fits
from .experiment import Experiment
from .personal_data import check_leaving
from .runner import count_tokens, examine, forget, recorded
from .runs import Run
from .session import Session
from .settings import FineTuned


class TuningError(ValueError):
    """Nothing is trained; the message says why, and what to do first."""


def trainings_of(experiment: Experiment, only: Sequence[str]) -> list[FineTuned]:
    """The contenders that are trained here; of `only`, where given. Raises TuningError where there are none."""
    trained = {c.name: c for c in experiment.contenders if isinstance(c, FineTuned) and c.adapter is None}
    if not trained:
        raise TuningError("this experiment trains nothing here: add a contender of kind fine-tuned")
    for name in only:
        if name not in trained:
            raise TuningError(
                f"contender {name!r} is not trained here; trained are: {', '.join(trained)}. "
                "Others are run by: workbench run"
            )
    return [c for name, c in trained.items() if not only or name in only]


def train(
    session: Session,
    chosen: Sequence[FineTuned],
    *,
    fresh: bool = False,
    anyway: bool = False,
    first_batch: Callable[[Mapping[str, Any]], None] = lambda _: None,
) -> list[tuple[str, Run]]:
    """Train contenders as `run` would, which then finds them trained; return the name and the place of each training.

    Raises TuningError where the data has errors, or no untuned contender has been scored yet (`anyway` trains
    all the same), and whatever `run` raises.
    """
    folder, names = session.folder, [c.name for c in chosen]
    checked, division = examine(session)
    if division is None:
        raise TuningError(
            "the data has errors that would make every score meaningless. See them: "
            f"workbench lint {' '.join(map(shlex.quote, _files(session.experiment)))}"
        )
    if not anyway:
        _check_scored(session, folder)
    if told := check_leaving(session.experiment, division, names):
        session.report.stage("personal data", told)
    with folder.lock():
        if fresh:
            check_forgettable(folder, names)
        with recorded(session, folder, checked, status="trained"):
            folder.write_lint(checked.as_dict())
            lay_out(folder, division)
            count_tokens(session, folder, division.fits[0])
            return _train(session, folder, division, chosen, fresh, first_batch)


def _train(
    session: Session,
    folder: Run,
    division: Division,
    chosen: Sequence[FineTuned],
    fresh: bool,
    first_batch: Callable[[Mapping[str, Any]], None],
) -> list[tuple[str, Run]]:
    report = session.report
    contest = Contest(
        session.experiment,
        division.whole,
        folder,
        report.step,
        offline=session.offline,
        first_batch=first_batch,
    )
    try:
        report.stage("check", "files, models and rows that the trainings need")
        for settings in chosen:
            check(settings, contest)
        if fresh:
            forget(folder, [c.name for c in chosen], None)
        return [
            (settings.name, place)
            for settings in chosen
            for place in train_fits(settings, contest, folder, division, report.stage)
        ]
    finally:
        contest.close()


def _check_scored(session: Session, folder: Run) -> None:
    """Raise TuningError unless an untuned contender of the experiment has its scores in the run folder."""
    untuned = [c for c in session.experiment.contenders if not is_tuned(c) and not c.diagnostic]
    for settings in untuned:
        info = folder.contender(settings.name) or {}
        if info.get("status") == "success" and folder.scores(settings.name) is not None:
            return
    why = "Decide before you tune: no contender that is not tuned has been scored yet, so nothing could be decided."
    if not untuned:
        raise TuningError(f"{why} Add one (kind: prompting) and run it. --anyway trains all the same.")
    command = f"workbench run {shlex.quote(str(session.path))} --only {untuned[0].name}{session.runs_flag}"
    raise TuningError(f"{why} Score one first:\n  {command}\n--anyway trains all the same.")


def _files(experiment: Experiment) -> list[str]:
    return [str(experiment.resolve(path)) for path in experiment.data.files.values()]
