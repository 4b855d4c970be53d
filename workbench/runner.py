"""Experiment → run folder: lint → cost → split → contenders → scores → verdict → report.

Each stage reads the files of the one before and writes its own, so a killed run goes on where it was:
cheap stages are done again (they give the same bytes), contenders keep every finished answer.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from validators import estimate_cost, lint
from validators.assets import AssetError
from validators.linter import LintReport, lint_tables
from validators.ranges import Source
from validators.tokens import load_tokenizer

from .backends.cached import Answers, open_answers
from .calibrating import judge_scores
from .comparisons import compare_all, diagnose
from .consent import check_forgettable, leave_running, permit
from .contest import Contest
from .data import Dataset, Division, divide, without
from .designs import (
    check,
    choose_on_dev,
    curve_contender,
    fit_places,
    lay_out,
    play,
    play_curve,
    scored_places,
)
from .evidence import gather
from .gates import blocking, is_leak
from .hosted import Purse
from .inference import inference
from .judging import check_ratings, judge_dev, judge_run, ratings_for
from .lengths import measure
from .logbook import begin, end, without_places
from .personal_data import check_leaving
from .records import RowLength, Verdict
from .report import write_report
from .runs import Run
from .scoring import check_metrics, retrieved_by, score_contender
from .session import Session as Session
from .settings import Contender, FineTuned, Hosted
from .verdict import decide


def run(session: Session, *, only: Sequence[str] = (), fresh: bool = False) -> tuple[Run, Verdict]:
    """Run an experiment to its verdict and return both. Resumes what an earlier call left unfinished.

    Data that cannot be read or split is refused before anything is written; rows with errors lead to the
    verdict fix-data before anything is spent. `only` names the contenders to run or to start over (the
    others keep what they have). Raises DataError, RunError, AssetError, ContenderError, BackendError, TrainingError; the run folder
    then says status "error".
    """
    folder = session.folder
    checked, division = examine(session)
    if division is not None and (told := check_leaving(session.experiment, division, only)):
        session.report.stage("personal data", told)
    with folder.lock():
        if fresh:
            check_forgettable(folder, only)
        with recorded(session, folder, checked) as answers:
            verdict = _stages(session, folder, checked, division, only, fresh, answers)
        write_report(folder)
    return folder, verdict


@contextlib.contextmanager
def recorded(
    session: Session, folder: Run, checked: LintReport, status: str = "success"
) -> Iterator[Answers | None]:
    """Keep run.json true while a run goes on: how it began, and its `status` or what ended it."""
    with open_answers(session.experiment, folder) as answers:
        begin(session, folder, checked, answers)
        try:
            yield answers
        except KeyboardInterrupt:
            end(session, folder, "cancelled", "interrupted")
            leave_running(folder)
            raise
        except Exception as error:
            end(session, folder, "error", str(error))
            raise
        end(session, folder, status, None)


def forget(folder: Run, only: Sequence[str], answers: Answers | None) -> None:
    """Remove these contenders (all, where none is named), of further seeds and folds too; kept answers are passed over."""
    if answers is not None:
        answers.start_over(folder)
    for place in (folder, *folder.parts()):
        for name in place.contenders():
            if not only or name in only:
                place.remove_contender(name)


def examine(session: Session) -> tuple[LintReport, Division | None]:
    """Lint and split; no division where errors would make the scores meaningless."""
    session.report.stage("lint")
    checked = _lint(session)
    dropping = session.experiment.data.split.drop_leaked
    if any(blocking(f.code, f.severity, drop_leaked=dropping) for f in checked.findings):
        return checked, None
    session.report.stage("split")
    leaked = [(f.path, f.line) for f in checked.findings if is_leak(f.code, f.severity)] if dropping else []
    return checked, divide(
        session.experiment, without(session.experiment, session.rows, leaked), session.hashes
    )


def _stages(
    session: Session,
    folder: Run,
    checked: LintReport,
    division: Division | None,
    only: Sequence[str],
    fresh: bool,
    answers: Answers | None,
) -> Verdict:
    experiment, report = session.experiment, session.report
    folder.write_lint(checked.as_dict())
    if division is None:
        return _conclude(session, folder)
    lay_out(folder, division)
    report.stage("cost")
    count_tokens(session, folder, division.fits[0])
    _play(session, folder, division, only, fresh, answers)
    if "judge" in experiment.metric_names:
        report.stage("judge")
        finished = list(scored_places(folder, experiment))
        judge_run(experiment, folder, finished, report.step, offline=session.offline, answers=answers)
    report.stage("verdict")
    for place, name in scored_places(folder, experiment):
        # Scores always follow the experiment file: its metrics may have changed since the answers came.
        _score(session, place, name)
    folder.write_cost((folder.cost() or {}) | {"inference": inference(folder, experiment, session.today)})
    evidence, arms = gather(folder, experiment), gather(folder, experiment, diagnostic=True)
    folder.write_comparison(
        compare_all(evidence, experiment) | {"diagnostics": diagnose(arms, evidence, experiment)}
    )
    return _conclude(session, folder)


def _play(
    session: Session,
    folder: Run,
    division: Division,
    only: Sequence[str],
    fresh: bool,
    answers: Answers | None,
) -> None:
    """Check everything, then let the contenders answer. A start over forgets nothing before all is checked."""
    experiment, report = session.experiment, session.report
    chosen = [c for c in experiment.contenders if not only or c.name in only]
    purse = Purse(session.today)
    contest = Contest(
        experiment,
        division.whole,
        folder,
        report.step,
        offline=session.offline,
        answers=answers,
        purse=purse,
    )
    try:
        report.stage("check", "files, models and keys that the contenders need")
        check_metrics(experiment, division.whole.test, (*division.whole.train, *division.whole.dev))
        for settings in chosen:
            check(settings, contest)
        check_ratings(experiment, folder, offline=session.offline)
        if fresh:
            forget(folder, only, answers)
        permit(experiment, folder, division, chosen, purse, most=session.most_usd, ask=session.ask)
        for settings in chosen:
            play(settings, contest, folder, division, report.stage)
        choose_on_dev(contest, experiment, folder, division)
        if experiment.primary == "judge":
            contest.close()  # one model in memory at a time; what is asked again is opened again
            places = zip(fit_places(folder, division), (d.dev for d in division.fits), strict=True)
            judge_dev(experiment, folder, list(places), report.step, offline=session.offline, answers=answers)
        curved = curve_contender(folder, experiment)
        if curved in chosen:
            play_curve(curved, contest, experiment, folder, division.whole, report.stage)
    finally:
        contest.close()


def _lint(session: Session) -> LintReport:
    """Lint the experiment's data, as chats."""
    experiment = session.experiment
    options: dict[str, Any] = {
        "target": experiment.lint.target,
        "select": experiment.lint.select,
        "ignore": experiment.lint.ignore,
    }
    # Under the names of the experiment file: a run folder holds no path of this machine.
    if experiment.data.columns is not None or experiment.personal_data == "redact":
        tables = {experiment.data.files[role]: rows for role, rows in session.rows.items()}
        return lint_tables(tables, **options)
    return lint(
        [Source(experiment.resolve(name), name) for name in experiment.data.files.values()], **options
    )


def count_tokens(session: Session, folder: Run, dataset: Dataset) -> None:
    """Count the training tokens for the model that is (or could be) tuned, in all and row by row."""
    experiment = session.experiment
    trained = (c for c in experiment.contenders if isinstance(c, FineTuned | Hosted))
    tuned = next(trained, experiment.contenders[0])
    model = experiment.backend_of(tuned).model
    examples = [dataset.conversations[s.id] for s in dataset.train if s.id in dataset.conversations]
    lengths: list[RowLength] = []
    try:
        tokenizer = load_tokenizer(model, base=experiment.folder, offline=session.offline)
        cost = estimate_cost(
            examples,
            model,
            epochs=_epochs(tuned),
            max_length=tuned.max_length if isinstance(tuned, FineTuned) else None,
            tokenizer=tokenizer,
            today=session.today,
        ).as_dict()
        lengths = measure(examples, tokenizer)
    except (AssetError, ValueError) as error:
        cost = {
            "model": model,
            "examples": len(examples),
            "tokens": None,
            "usd": None,
            "reason": without_places(str(error), session),
        }
    folder.write_cost(cost)
    folder.write_lengths(lengths)


def _epochs(tuned: Contender) -> int | Literal["auto"]:
    if isinstance(tuned, FineTuned):
        return math.ceil(tuned.epochs)
    return tuned.epochs if isinstance(tuned, Hosted) else "auto"


def _score(session: Session, folder: Run, name: str) -> None:
    info = folder.contender(name) or {}
    predictions = folder.predictions(name)
    tokenizer = str((info.get("model") or {}).get("name"))
    scores = score_contender(
        name,
        predictions,
        session.experiment,
        session.experiment.metric_names,
        tokenizer=tokenizer,
        ratings=ratings_for(session.experiment, folder, name),
        retrieved=retrieved_by(folder, name),
    )
    folder.write_scores(name, scores | judge_scores(session.experiment, folder, name))


def _conclude(session: Session, folder: Run) -> Verdict:
    verdict = decide(folder, today=session.today)
    folder.write_verdict(verdict)
    return verdict
