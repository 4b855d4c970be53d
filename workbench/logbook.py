"""run.json: what a run says of itself, from its settings before the first answer to how it ended."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path

import msgspec

from validators.assets import cache_folder
from validators.linter import LintReport

from .backends.cached import Answers
from .runs import Run
from .session import Session
from .spending import Bill, bill_of

# The packages that a run's figures depend on.
_VERSIONED = (
    "torch",
    "transformers",
    "peft",
    "qdrant-edge-py",
    "tiktoken",
    "sacrebleu",
    "rouge-score",
    "numpy",
)


def begin(session: Session, folder: Run, checked: LintReport, answers: Answers | None) -> None:
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
            "versions": _versions(),
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


def without_places(text: str, session: Session) -> str:
    """Text without this machine's folders: a run folder may be shown to anyone."""
    own = (session.experiment.folder, session.runs, cache_folder(), Path.home())
    places = {str(p) for folder in own for p in (folder, folder.resolve())} - {".", "/", ""}
    for place in sorted(places, key=len, reverse=True):
        text = text.replace(f"{place}/", "").replace(place, "…")
    return text


def end(session: Session, folder: Run, status: str, error: str | None) -> None:
    """How it ended, what it cost, and every data file with its hash."""
    # Once a fresh start has come to its end, later contenders may use what is kept again.
    over = ("answers_after",) if status == "success" else ()
    bill = bill_of(folder)
    folder.write_meta(
        {
            **{key: value for key, value in folder.meta().items() if key not in over},
            **({"bill": msgspec.to_builtins(bill)} if bill != Bill() else {}),
            "status": status,
            "updated": session.now(),
            "error": None if error is None else without_places(error, session),
            "files": folder.file_index(),
        }
    )


def _versions() -> dict[str, str]:
    """Package → version, of those that are installed."""
    found = {"decide-before-you-tune": importlib.metadata.version("decide-before-you-tune")}
    for package in _VERSIONED:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
