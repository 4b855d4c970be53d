"""What is known of the judge beside its ratings: its bill, its steadiness, its kin, what to be wary of."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from metrics.raters import position_bias, self_agreement

from .experiment import Experiment
from .judge import same_family
from .judging import held_against, judge_backend, judged_values, judges, repeats_of
from .records import Judgement
from .runs import Run
from .settings import Backend as BackendSettings

# Kinds of backends behind which a language model stands.
MODELS = ("hf", "openai")


def judge_facts(experiment: Experiment, run: Run, name: str) -> dict[str, Any] | None:
    """What scores.json keeps of the judge beside its ratings; None where none judged.

    `usd`, `seconds` and tokens are sums over all that this contender's judgements took, None where a part
    is unknown.
    """
    if not judges(experiment) or experiment.judge is None:
        return None
    settings, rows = judge_backend(experiment), run.judgements(name)
    values = judged_values(experiment, run, name)
    unrated = [p.id for p in run.predictions(name) if p.error is None and p.id not in values]
    reasons = Counter(j.error or j.reason for j in rows if j.rating is None)
    facts: dict[str, Any] = {
        "mode": experiment.judge.mode,
        "model": settings.model,
        "against": held_against(experiment),
        "repeats": repeats_of(experiment),
        "n": len(values),
        "unrated": len(unrated),
        "unrated_reasons": {str(reason): n for reason, n in reasons.most_common(5)},
        "calls": sum(j.calls for j in rows),
        **{field: _total(rows, field) for field in ("usd", "seconds", "prompt_tokens", "completion_tokens")},
        "self_agreement": _steadiness(rows),
        "position_bias": _position(rows),
        "same_family": _kin(experiment, run, name, settings),
    }
    return facts | {"caveats": _caveats(facts, experiment.judge.repeats, name)}


def _total(rows: Sequence[Judgement], field: str) -> float | None:
    """A sum over what was really asked; None where a part of it is unknown."""
    values = [getattr(j, field) for j in rows if j.calls and j.error is None]
    return None if None in values else sum(values)


def _steadiness(rows: Sequence[Judgement]) -> dict[str, Any] | None:
    repeats: dict[tuple[str, str], list[float]] = defaultdict(list)
    for j in rows:
        if j.rating is not None and j.calls:
            repeats[j.id, j.order].append(j.rating)
    several = [values for values in repeats.values() if len(values) > 1]
    return self_agreement(several).as_dict() if several else None


def _position(rows: Sequence[Judgement]) -> dict[str, Any] | None:
    """Who won in each order, this contender being `a`."""
    won = {1.0: "a", 0.5: "tie", 0.0: "b"}
    shown = {(j.id, j.repeat, j.order): won[j.rating] for j in rows if j.rating in won and j.calls}
    pairs = [(sample, repeat) for sample, repeat, order in shown if order == "first"]
    if not pairs:
        return None
    bias = position_bias(
        [shown[(*pair, "first")] for pair in pairs], [shown.get((*pair, "second")) for pair in pairs]
    )
    return bias.as_dict()


def _kin(experiment: Experiment, run: Run, name: str, settings: BackendSettings) -> str | None:
    """The contender's model, where judge and contender are of one family."""
    backend = (run.contender(name) or {}).get("backend") or {}
    if settings.kind not in MODELS or backend.get("kind") not in MODELS:
        return None
    model = str(backend.get("model"))
    return model if same_family(settings.model, model) else None


def _caveats(facts: dict[str, Any], repeats: int, name: str) -> list[str]:
    said = []
    if facts["same_family"]:
        said.append(
            f"the judge {facts['model']} and {name} ({facts['same_family']}) are one model family: "
            "judges tend to prefer their own kind"
        )
    if facts["unrated"]:
        answers = facts["n"] + facts["unrated"]
        said.append(f"{facts['unrated']} of {answers} answers of {name} were not rated by the judge")
    if repeats > facts["repeats"]:
        said.append(f"the judge was asked once, not {repeats} times: its backend would repeat itself")
    bias = facts["position_bias"] or {}
    if bias.get("first_interval") and not bias["first_interval"][0] <= 0.5 <= bias["first_interval"][1]:
        shown = "first" if bias["first"] > 0.5 else "second"
        said.append(
            f"the judge prefers the answer shown {shown} ({bias['flipped']:.0%} of pairs turned with the order); "
            "both orders are averaged"
        )
    return said
