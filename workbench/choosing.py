"""Options: where an experiment gives several values, every combination answers dev and the best there is kept.

The primary metric chooses, on dev alone: no option is ever tried on a test sample. What was tried, how it
did and which was kept is written down in contender.json, so that nobody has to believe it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from .contenders import ContenderError
from .experiment import Experiment
from .records import Prediction, Sample
from .scoring import Retrieved, score_contender
from .settings import LISTED, Contender, Prompted, PromptFile, several

_SHOWN = 40

Answers = Callable[[int, Contender], tuple[list[Prediction], Retrieved]]
"""Answers of the dev samples by one option (its number and settings), and what their prompts held."""


def options_of(settings: Contender, experiment: Experiment) -> tuple[Contender, ...]:
    """The contender with each combination of its listed values, in the order of the file; itself where none is listed.

    Raises ContenderError where a system prompt's file cannot be read.
    """
    if not isinstance(settings, Prompted):
        return (settings,)
    listed = {name: several(getattr(settings, name)) for name in LISTED if hasattr(settings, name)}
    if settings.systems is not None:
        listed["system"] = tuple(_system(s, settings, experiment) for s in settings.systems)
    combined = itertools.product(*(dict.fromkeys(values) for values in listed.values()))
    made = (dict(zip(listed, values, strict=True)) for values in combined)
    return tuple(settings.model_copy(update={**values, "systems": None}) for values in made)


def choose(
    options: Sequence[Contender],
    experiment: Experiment,
    dev: Sequence[Sample],
    answers: Answers,
    *,
    tokenizer: str,
) -> dict[str, Any]:
    """Score every option on dev and say which is kept, as contender.json stores it.

    The best primary score is kept; of equal ones the cheapest a request, then the first. Fewer failed samples
    come before all of that: a score over the few that were answered is another question's. Raises
    ContenderError without dev samples, or where no option has a score.
    """
    name, metric = options[0].name, experiment.primary
    if not dev:
        raise ContenderError(no_dev(name, len(options)))
    entries = []
    for number, option in enumerate(options):
        predictions, retrieved = answers(number, option)
        scores = score_contender(
            name, predictions, experiment, [metric], tokenizer=tokenizer, retrieved=retrieved
        )
        failed = [p.error for p in predictions if p.error is not None]
        entries.append(_entry(option, options, scores, metric, failed))
    if all(entry["value"] is None for entry in entries):
        why = next((e["error"] for e in entries if e["error"]), None) or entries[0]["reason"]
        raise ContenderError(
            f"contender {name!r}: none of its {len(options)} options has a {metric} on dev, so none can be chosen: {why}"
        )
    higher = experiment.metric(metric).higher_is_better
    kept = min(range(len(entries)), key=lambda i: _rank(entries[i], higher))
    return {**chosen_by(experiment), "n": len(dev), "kept": kept, "options": entries}


def kept_option(
    options: Sequence[Contender], choices: Sequence[dict[str, Any]] | None, experiment: Experiment
) -> Contender | None:
    """The option that an earlier choice kept, or the only one; None where the choice is still to be made."""
    if len(options) == 1:
        return options[0]
    first = next(iter(choices or ()), {})
    if any(first.get(key) != value for key, value in chosen_by(experiment).items()):
        return None
    return options[int(first["kept"])]


def chosen_by(experiment: Experiment) -> dict[str, Any]:
    """What a choice was made with: under another metric it is made anew."""
    metric = experiment.primary
    return {"metric": metric, "metric_options": experiment.metrics.options.get(metric, {})}


def no_dev(name: str, options: int) -> str:
    """Why options cannot be chosen without a dev split, and the cure."""
    return (
        f"contender {name!r} has {options} options, and which is kept is chosen on dev, but there are no dev samples: "
        "set data.split.dev (0.1 is usual), name a dev file, or leave one value of each option."
    )


def said(entry: dict[str, Any]) -> str:
    """An option in words: `examples 8, choose similar`."""
    return ", ".join(f"{name} {_short(value)}" for name, value in entry["settings"].items())


def _short(value: Any) -> str:
    if value is None:
        return "of the data"
    text = " ".join(str(value).split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1].rstrip()}…"


def _system(system: str | PromptFile | None, settings: Contender, experiment: Experiment) -> str | None:
    if not isinstance(system, PromptFile):
        return system
    path = experiment.resolve(system.file)
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ContenderError(f"contender {settings.name!r}: systems: {path} cannot be read: {why}.") from None


def _entry(
    option: Contender,
    options: Sequence[Contender],
    scores: dict[str, Any],
    metric: str,
    failed: Sequence[str],
) -> dict[str, Any]:
    """One option as it is written down: what it differs in, its score, what a request takes."""
    score, took = scores["metrics"][metric], scores["operations"]
    tokens = [took["prompt_tokens"], took["completion_tokens"]]
    differing = [n for n in (*LISTED, "system") if len({getattr(o, n, None) for o in options}) > 1]
    return {
        "settings": {name: getattr(option, name) for name in differing},
        **{key: score[key] for key in ("value", "interval", "n", "reason")},
        "failed": len(failed),
        "error": failed[0] if failed else None,
        "usd_per_1000": took["usd_per_1000"],
        "tokens_per_request": None if None in tokens else sum(tokens),
    }


def _rank(entry: dict[str, Any], higher_is_better: bool) -> tuple[Any, ...]:
    """Sorts the best option first."""
    value = entry["value"]
    score = 0.0 if value is None else -value if higher_is_better else value
    cost = (entry["usd_per_1000"] or 0.0, entry["tokens_per_request"] or 0.0)
    return value is None, entry["failed"], score, *cost
