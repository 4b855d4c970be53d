"""Experiment → run folder: lint → cost → split → contenders → scores → verdict → report.

Each stage reads the files of the one before and writes its own, so a killed run goes on where it was:
cheap stages are done again (they give the same bytes), contenders keep every finished answer.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from validators import estimate_cost, lint
from validators.assets import AssetError, cache_folder
from validators.linter import LintReport, lint_tables
from validators.ranges import Source
from validators.reading import Row
from validators.tokens import load_tokenizer

from .backends.cached import Answers, open_answers
from .calibrating import judge_scores
from .comparisons import compare_all, diagnose
from .contest import Contest
from .data import Dataset, Division, divide, hash_files, read_files, without
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
from .experiment import Experiment, settings_hash
from .gates import blocking, is_leak
from .hosted import Purse
from .inference import inference
from .judging import check_ratings, judge_dev, judge_run, ratings_for
from .leaving import check_leaving
from .permitting import Ask, check_forgettable, leave_running, permit
from .records import Verdict
from .report import write_report
from .runs import Run
from .scoring import check_metrics, retrieved_by, score_contender
from .settings import Contender, FineTuned, Hosted
from .spending import bill_of
from .verdict import decide
from .versions import versions


class Reporter(Protocol):
    """Told what runs and how far it is."""

    def stage(self, name: str, detail: str = "") -> None:
        """A stage begins."""
        ...

    def step(self, done: int, total: int, detail: str = "") -> None:
        """The stage is `done` of `total` steps far."""
        ...


@dataclass(frozen=True)
class Session:
    """One call of `run`: the experiment, where it goes, and the clock."""

    experiment: Experiment
    path: Path
    text: str
    runs: Path
    report: Reporter
    now: Callable[[], str]
    today: date
    offline: bool = False
    most_usd: float | None = None
    """What hosted fine-tuning may cost; else `ask` puts the bill to a person, and without both nothing is tuned."""
    ask: Ask | None = None

    @cached_property
    def hashes(self) -> dict[str, str]:
        """sha256 of each data file, by role."""
        return hash_files(self.experiment)

    @cached_property
    def rows(self) -> dict[str, list[Row]]:
        """Chat rows by role."""
        return read_files(self.experiment)[0]

    @cached_property
    def folder(self) -> Run:
        """The run folder: its name is a hash of the question (data, split and seed), not of the contenders."""
        data = self.experiment.data.model_dump(
            mode="json", exclude={"path", "train", "dev", "test", "corpus"}
        )
        redacted = ["redacted"] if self.experiment.personal_data == "redact" else []
        return Run(self.runs / f"{self.experiment.name}-{settings_hash(self.hashes, data, *redacted)[:8]}")


def run(session: Session, *, only: Sequence[str] = (), fresh: bool = False) -> tuple[Run, Verdict]:
    """Run an experiment to its verdict and return both. Resumes what an earlier call left unfinished.

    Data that cannot be read or split is refused before anything is written; rows with errors lead to the
    verdict fix-data before anything is spent. `only` names the contenders to run or to start over (the
    others keep what they have). Raises DataError, RunError, AssetError, ContenderError, BackendError, TrainingError; the run folder
    then says status "error".
    """
    folder = session.folder
    checked, division = _examine(session)
    if division is not None and (told := check_leaving(session.experiment, division, only)):
        session.report.stage("personal data", told)
    with folder.lock(), open_answers(session.experiment, folder, fresh=fresh) as answers:
        if fresh:
            check_forgettable(folder, only)
            for place in (folder, *folder.parts()):
                for name in place.contenders():
                    if not only or name in only:
                        place.remove_contender(name)
        _begin(session, folder, checked, answers)
        try:
            verdict = _stages(session, folder, checked, division, only, answers)
        except KeyboardInterrupt:
            _end(session, folder, "cancelled", "interrupted")
            leave_running(folder)
            raise
        except Exception as error:
            _end(session, folder, "error", _without_places(str(error), session))
            raise
        _end(session, folder, "success", None)
    return folder, verdict


def _examine(session: Session) -> tuple[LintReport, Division | None]:
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
    answers: Answers | None,
) -> Verdict:
    experiment, report = session.experiment, session.report
    folder.write_lint(checked.as_dict())
    if division is None:
        return _conclude(session, folder)
    lay_out(folder, division)
    report.stage("cost")
    folder.write_cost(_cost(session, division.fits[0]))
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


def _cost(session: Session, dataset: Dataset) -> dict[str, Any]:
    """Count the training tokens for the model that is (or could be) tuned."""
    experiment = session.experiment
    trained = (c for c in experiment.contenders if isinstance(c, FineTuned | Hosted))
    tuned = next(trained, experiment.contenders[0])
    model = experiment.backend_of(tuned).model
    examples = [dataset.conversations[s.id] for s in dataset.train if s.id in dataset.conversations]
    try:
        return estimate_cost(
            examples,
            model,
            epochs=_epochs(tuned),
            max_length=tuned.max_length if isinstance(tuned, FineTuned) else None,
            tokenizer=load_tokenizer(model, base=experiment.folder, offline=session.offline),
            today=session.today,
        ).as_dict()
    except (AssetError, ValueError) as error:
        return {
            "model": model,
            "examples": len(examples),
            "tokens": None,
            "usd": None,
            "reason": _without_places(str(error), session),
        }


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


def _begin(session: Session, folder: Run, checked: LintReport, answers: Answers | None) -> None:
    """Write run.json: decision settings are on record before the first test sample is answered."""
    folder.write_experiment_text(session.text)
    experiment = session.experiment
    old = folder.meta() if (folder.folder / "run.json").exists() else None
    settings = experiment.deciding
    history = list(old["decision_history"]) if old else []
    # What was never held against an answer is no earlier decision.
    if old and old["decision"] != settings and (history or _answered(folder)):
        history.append({"until": session.now(), "decision": old["decision"]})
    folder.write_meta(
        {
            "status": "started",
            "created": old["created"] if old else session.now(),
            "updated": session.now(),
            "experiment": experiment.name,
            "origin": os.path.relpath(session.path.resolve(), session.runs.resolve()),
            "task": experiment.task,
            "contenders": [c.name for c in experiment.contenders],
            "dataset": {
                "files": {experiment.data.files[role]: sha for role, sha in session.hashes.items()},
                "rows": sum(f.examples for f in checked.files),
            },
            "seed": experiment.data.split.seed,
            "personal_data": experiment.personal_data,
            "versions": versions(),
            "decision": settings,
            "decision_history": history,
            "files": {},
            "error": None,
        }
        | ({"answers_after": answers.after} if answers and answers.after else {})
    )


def _answered(folder: Run) -> bool:
    """Whether any contender has answered test samples, in this call or before `fresh` forgot it."""
    places = (folder, *folder.parts())
    return folder.comparison() is not None or any(
        place.predictions(name) for place in places for name in place.contenders()
    )


def _without_places(text: str, session: Session) -> str:
    """Text without this machine's folders: a run folder may be shown to anyone."""
    own = (session.experiment.folder, session.runs, cache_folder(), Path.home())
    places = {str(p) for folder in own for p in (folder, folder.resolve())} - {".", "/", ""}
    for place in sorted(places, key=len, reverse=True):
        text = text.replace(f"{place}/", "").replace(place, "…")
    return text


def _end(session: Session, folder: Run, status: str, error: str | None) -> None:
    # Once a fresh start has come to its end, later contenders may use what is kept again.
    over = ("answers_after",) if status == "success" else ()
    bill = bill_of(folder)
    folder.write_meta(
        {
            **{key: value for key, value in folder.meta().items() if key not in over},
            **({"bill": msgspec.to_builtins(bill)} if bill.answers or bill.kept else {}),
            "status": status,
            "updated": session.now(),
            "error": error,
            "files": folder.file_index(),
        }
    )
    if status == "success":
        write_report(folder)
