"""Using a winner: new questions answered by a contender just as it was scored."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from validators.examples import ExampleError, Message, parse_example
from validators.reading import DataError, read_rows

from .contest import Contest
from .data import prepare, read_files
from .experiment import Brought, Experiment
from .records import Prediction, Sample
from .runs import Run, RunError, open_appender

Step = Callable[[int, int, str], None]


class PredictError(ValueError):
    """New questions cannot be answered; the message says why and what to do."""


def predict_text(
    folder: Path, question: str, *, contender: str | None, experiment_path: Path | None, offline: bool
) -> str:
    """Answer one prompt."""
    sample = Sample(id="question", messages=(Message("user", question),), references=("",))
    (answer,) = _answer(folder, [sample], contender, experiment_path, offline, lambda *_: None, lambda _: None)
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
    samples = [_sample(row.value, row.line, source) for row in read_rows(source)]
    if out is None:
        with tempfile.TemporaryDirectory() as spool:
            path = Path(spool) / "answers.jsonl"
            result = _to_file(folder, samples, path, contender, experiment_path, offline, step)
            print(path.read_text(encoding="utf-8"), end="")
            return result
    return _to_file(folder, samples, out, contender, experiment_path, offline, step)


def _to_file(
    folder: Path,
    samples: Sequence[Sample],
    out: Path,
    contender: str | None,
    experiment_path: Path | None,
    offline: bool,
    step: Step,
) -> tuple[int, int]:
    done = _answered(out)
    inputs = {s.id: s for s in samples}
    waiting = [s for s in samples if (s.line, s.question) not in done]
    errors = 0
    with open_appender(out) as file:

        def keep(answer: Prediction) -> None:
            nonlocal errors
            errors += answer.error is not None
            sample = inputs[answer.id]
            row = {"line": sample.line, "input": sample.question, "prediction": answer.prediction, "error": answer.error}
            if answer.error is None:
                file.append(row | {"seconds": answer.seconds, "usd": answer.usd})

        if waiting:
            _answer(folder, waiting, contender, experiment_path, offline, step, keep)
    return len(samples) - errors, errors


def _answer(
    folder: Path,
    samples: Sequence[Sample],
    contender: str | None,
    experiment_path: Path | None,
    offline: bool,
    step: Step,
    keep: Callable[[Prediction], None],
) -> list[Prediction]:
    run = Run.open(folder)
    experiment = _experiment(run, experiment_path)
    name = contender or _choice(run)
    settings = next((c for c in experiment.contenders if c.name == name), None)
    if settings is None:
        known = ", ".join(c.name for c in experiment.contenders)
        raise PredictError(f"{run.folder} has no contender {name!r}; there are: {known}")
    if isinstance(settings, Brought):
        raise PredictError(f"{name!r} is a file of answers made elsewhere; it cannot answer new questions.")
    if (run.contender(name) or {}).get("status") != "success":
        raise PredictError(f"{name!r} was never finished in {run.folder}; run the experiment first.")
    dataset = prepare(experiment, *read_files(experiment))
    if dataset.ids != run.splits():
        raise PredictError(
            f"the data of {experiment.name!r} has changed since {run.folder} was made, so its contender cannot be "
            "set up as it was scored. Run the experiment again."
        )
    contest = Contest(experiment, dataset, run, step, offline=offline)
    answers = []
    try:
        for answer in contest.ask(settings, samples):
            keep(answer)
            answers.append(answer)
            step(len(answers), len(samples), "")
    finally:
        contest.close()
    return answers


def _experiment(run: Run, path: Path | None) -> Experiment:
    """The experiment as it was run: the copy in the folder, its paths read from the original's place."""
    text = run.experiment_text()
    if text is None:
        raise RunError(f"{run.folder} holds no experiment.yaml.")
    origin = path or run.origin()
    if origin is None:
        raise PredictError(f"{run.folder} does not know where its experiment file lies; name it with --experiment.")
    return Experiment.parse(text, path=origin)


def _choice(run: Run) -> str:
    verdict = run.verdict()
    if verdict is None or verdict.choice is None:
        raise PredictError(f"the verdict of {run.folder} names no choice; say which contender with --contender.")
    return verdict.choice


def _sample(value: dict[str, Any], line: int, source: Path) -> Sample:
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
        raise DataError(f"{source}:{line}: a row needs messages, or input, prompt or question; it has: {', '.join(value)}")
    return Sample(id=f"line {line}", messages=messages, references=("",), line=line)


def _answered(out: Path) -> set[tuple[int, str]]:
    """Lines of OUT that are answered; a torn last line is not."""
    if not out.exists():
        return set()
    rows = set()
    for number, text in enumerate(out.read_bytes().split(b"\n"), 1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
            rows.add((row["line"], row["input"]))
        except (ValueError, KeyError, TypeError):
            if text != out.read_bytes().split(b"\n")[-1]:
                raise PredictError(f"{out}:{number}: not a row of answers; name another file.") from None
    return rows
