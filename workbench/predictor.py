"""Using a winner: new questions answered by a contender just as it was scored."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from validators.examples import ExampleError, Message, parse_example
from validators.reading import DataError, read_rows

from .backends.cached import open_answers
from .contest import Contest
from .data import divide, read_files, without
from .designs import fit_places, replicas
from .experiment import Experiment
from .files import open_appender, row_text, write_atomic
from .gates import is_leak
from .records import Prediction, Sample
from .runs import Run, RunError
from .settings import Brought, Contender

Step = Callable[[int, int, str], None]


class PredictError(ValueError):
    """New questions cannot be answered; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Winner:
    """A contender of a run, ready to answer; opened anew for every call."""

    run: Run
    experiment: Experiment
    settings: Contender
    offline: bool

    @classmethod
    def of(cls, folder: Path, contender: str | None, experiment_path: Path | None, offline: bool) -> Winner:
        """Find the contender (default: the verdict's choice). Raises PredictError, RunError."""
        run = Run.open(folder)
        experiment = experiment_of(run, experiment_path)
        name = contender or _choice(run)
        settings = next((c for c in experiment.contenders if c.name == name), None)
        if settings is None:
            known = ", ".join(c.name for c in experiment.contenders)
            raise PredictError(f"{run.folder} has no contender {name!r}; there are: {known}")
        if isinstance(settings, Brought):
            raise PredictError(
                f"{name!r} is a file of answers made elsewhere; it cannot answer new questions."
            )
        if (run.contender(name) or {}).get("status") != "success":
            raise PredictError(f"{name!r} was never finished in {run.folder}; run the experiment first.")
        return cls(run, experiment, settings, offline)

    def answer(self, samples: Sequence[Sample], step: Step) -> Iterator[Prediction]:
        """Yield answers as they come. Raises PredictError where the data has changed since."""
        rows, hashes = read_files(self.experiment)
        if self.experiment.data.split.drop_leaked:
            leaked = [f for f in self.run.findings() if is_leak(f["code"], f["severity"])]
            rows = without(self.experiment, rows, [(f["path"], f["line"]) for f in leaked])
        division = divide(self.experiment, rows, hashes)
        dataset, place = division.fits[0], fit_places(self.run, division)[0]
        if dataset.ids != place.splits():
            raise PredictError(
                f"the data of {self.experiment.name!r} has changed since {self.run.folder} was made, so its contender "
                "cannot be set up as it was scored. Run the experiment again."
            )
        first = replicas(self.settings)[0].settings
        if division.folds:
            told = (
                f"{self.settings.name} answers as it was fitted for the first of {len(division.folds)} folds"
            )
            print(told, file=sys.stderr)
        with open_answers(self.experiment, self.run) as answers:
            contest = Contest(self.experiment, dataset, place, step, offline=self.offline, answers=answers)
            try:
                for done, answer in enumerate(contest.ask(first, samples), 1):
                    yield answer
                    step(done, len(samples), "")
            finally:
                contest.close()


def predict_text(
    folder: Path, question: str, *, contender: str | None, experiment_path: Path | None, offline: bool
) -> str:
    """Answer one prompt."""
    sample = Sample(id="question", messages=(Message("user", question),), references=("",))
    (answer,) = Winner.of(folder, contender, experiment_path, offline).answer([sample], lambda *_: None)
    if answer.error is not None:
        raise PredictError(f"no answer: {answer.error}")
    return answer.prediction or ""


def predict_file(
    folder: Path,
    source: Path,
    out: Path | None,
    *,
    contender: str | None,
    experiment_path: Path | None,
    offline: bool,
    step: Step,
) -> tuple[int, int]:
    """Answer a file of questions; rows already in `out` are kept. Returns answers and failures.

    A row is a chat (an assistant message at its end is ignored), or has `input`, `prompt` or `question`.
    """
    winner = Winner.of(folder, contender, experiment_path, offline)
    samples = [
        _sample(row.value, row.line, number, source) for number, row in enumerate(read_rows(source), 1)
    ]
    if out is None:
        with tempfile.TemporaryDirectory() as spool:
            path = Path(spool) / "answers.jsonl"
            result = _to_file(winner, samples, path, step)
            print(path.read_text(encoding="utf-8"), end="")
            return result
    return _to_file(winner, samples, out, step)


def _to_file(winner: Winner, samples: Sequence[Sample], out: Path, step: Step) -> tuple[int, int]:
    name = winner.settings.name
    done = _answered(out, samples, name)
    by_id = {s.id: s for s in samples}
    waiting = [s for s in samples if s.id not in done]
    errors = 0
    with open_appender(out) as file:
        for answer in winner.answer(waiting, step) if waiting else ():
            if answer.error is not None:
                errors += 1
                continue
            sample = by_id[answer.id]
            told = {"line": sample.line, "input": sample.question, "prediction": answer.prediction}
            row = {**told, "contender": name, "seconds": answer.seconds, "usd": answer.usd}
            file.append(row)
            done[answer.id] = row
    write_atomic(out, "".join(row_text(done[s.id]) for s in samples if s.id in done))
    return len(samples) - errors, errors


def experiment_of(run: Run, path: Path | None) -> Experiment:
    """The experiment as it was run: the copy in the folder, its paths read from the original's place."""
    text = run.experiment_text()
    if text is None:
        raise RunError(f"{run.folder} holds no experiment.yaml.")
    origin = path or run.origin()
    if origin is None:
        raise PredictError(
            f"{run.folder} does not know where its experiment file lies; name it with --experiment."
        )
    experiment = Experiment.parse(text, path=origin)
    # The flag of the run counts, not only its file: what was redacted then is redacted now.
    told = run.meta().get("personal_data", experiment.personal_data)
    return experiment.model_copy(update={"personal_data": told})


def _choice(run: Run) -> str:
    verdict = run.verdict()
    if verdict is None or verdict.choice is None:
        raise PredictError(
            f"the verdict of {run.folder} names no choice; say which contender with --contender."
        )
    return verdict.choice


def _sample(value: dict[str, Any], line: int, number: int, source: Path) -> Sample:
    text = next((value[k] for k in ("input", "prompt", "question") if isinstance(value.get(k), str)), None)
    if "messages" in value:
        try:
            messages = parse_example(value, line).messages
        except ExampleError as error:
            raise DataError(f"{source}:{line}: {error.where + ': ' if error.where else ''}{error}") from None
        if messages[-1].role == "assistant":
            messages = messages[:-1]
    elif text is not None:
        messages = (Message("user", text),)
    else:
        raise DataError(
            f"{source}:{line}: a row needs messages, or input, prompt or question; it has: {', '.join(value)}"
        )
    if not any(m.role == "user" for m in messages):
        raise DataError(
            f"{source}:{line}: there is no user message, so nothing is asked. Add one or remove the row."
        )
    # The row's number tells rows apart that begin in one line (a JSON array may be one line).
    return Sample(id=f"row {number}", messages=messages, references=("",), line=line)


def _answered(out: Path, samples: Sequence[Sample], contender: str) -> dict[str, dict[str, Any]]:
    """Rows of OUT by sample id; a torn last line is none. Raises PredictError where OUT holds anything else."""
    waiting: dict[tuple[int, str], list[str]] = {}
    for sample in reversed(samples):
        waiting.setdefault((sample.line, sample.question), []).append(sample.id)
    found: dict[str, dict[str, Any]] = {}
    whole = out.read_bytes().split(b"\n")[:-1] if out.exists() else []
    for number, text in enumerate(whole, 1):
        try:
            row = json.loads(text)
            key, by = (row["line"], row["input"]), row["contender"]
        except (ValueError, KeyError, TypeError):
            raise PredictError(f"{out}:{number}: not a row of answers; name another file for them.") from None
        if by != contender:
            raise PredictError(
                f"{out}:{number}: an answer of {by!r}, not of {contender!r}; name another file."
            )
        if not waiting.get(key):
            raise PredictError(
                f"{out}:{number}: answers a question that is not asked (any more); name another file."
            )
        found[waiting[key].pop()] = row
    return found
