"""A complete run folder for tests, written through workbench.runs with real scores and comparisons.

The answers are drawn from a seed, so the same call gives the same bytes. Among them: one failed request
(zero-shot), one answer with letters beyond ASCII, one with HTML; MARKUP stands in a ticket, PAYLOAD in a
retrieved document, an answer, an error and a lint finding.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metrics import METRICS, compare_paired
from tests.example_data import (
    DOCUMENTS,
    LABELS,
    PAYLOAD,
    TICKETS,
    TRAINING,
    cost_report,
    lint_report,
    training_log,
)
from validators.examples import Message
from workbench.experiment import Experiment, settings_hash
from workbench.records import ContenderSummary, Difference, Passage, Prediction, Prompt, Sample, Verdict
from workbench.runs import Run
from workbench.scoring import score_contender

STAGES = ("started", "lint", "split", "contenders", "verdict")
ACCURACY = {"zero-shot": 0.35, "few-shot": 0.84, "rag": 0.62, "lora": 0.9}
KINDS = {"zero-shot": "prompting", "few-shot": "few-shot", "rag": "rag", "lora": "fine-tuned"}
USD_PER_1000 = {"zero-shot": 0.21, "few-shot": 0.62, "rag": 0.57, "lora": 0.41}
SYSTEM = "Route the ticket to one desk. Answer with its code only."
NOW = "2026-11-20T09:30:00+00:00"

EXPERIMENT = """\
# workbench run experiment.yaml
name: triage
task: classification
data: {path: tickets.jsonl, corpus: desks, split: {group_by: customer}}
contenders:
  - {name: zero-shot, kind: prompting}
  - {name: few-shot, kind: few-shot, examples: 3}
  - {name: rag, kind: rag, top_k: 2}
  - {name: lora, kind: fine-tuned}
"""


def make_run(
    root: Path,
    *,
    samples: int = 24,
    name: str = "triage-1f2e9a07",
    until: str = "verdict",
    status: str | None = None,
    accuracy: Mapping[str, float] = ACCURACY,
    seed: int = 7,
) -> Run:
    """Write a run folder `root/name` up to a stage and return it.

    `until` is one of STAGES; `status` overrides run.json's status (default: success at the end, else
    started); `accuracy` is the share of right answers drawn for each contender.
    """
    run = Run(Path(root) / name)
    experiment = Experiment.parse(EXPERIMENT, path=run.folder / "experiment.yaml")
    stage = STAGES.index(until)
    meta = _meta(experiment, samples, seed, status or ("success" if until == "verdict" else "started"))
    run.write_meta(meta)
    run.write_experiment_text(EXPERIMENT)
    tests = make_samples(samples)
    if stage >= STAGES.index("lint"):
        run.write_lint(lint_report(samples))
        run.write_cost(cost_report(samples))
    if stage >= STAGES.index("split"):
        run.write_splits(_splits(tests), tests)
    if stage >= STAGES.index("contenders"):
        for contender in experiment.contenders:
            _write_contender(run, experiment, contender.name, tests, accuracy[contender.name], seed)
    if stage >= STAGES.index("verdict"):
        comparison = _comparison(run, experiment)
        run.write_comparison(comparison)
        run.write_verdict(_verdict(run, experiment, comparison, len(tests)))
        run.write_meta({**meta, "files": run.file_index()})
    return run


def make_samples(n: int) -> list[Sample]:
    """Test samples from the written tickets; beyond those they repeat with a ticket number."""
    made = []
    for index in range(n):
        customer, language, text, label = TICKETS[index % len(TICKETS)]
        if index >= len(TICKETS):
            text, customer = f"{text} (ticket {4000 + index})", f"{customer}-{index // len(TICKETS)}"
        messages = (Message("system", SYSTEM), Message("user", text))
        made.append(
            Sample(
                id=hashlib.sha256(text.encode()).hexdigest()[:16],
                messages=messages,
                references=(label,),
                group=customer,
                tags={"language": language},
                line=index + 1,
            )
        )
    return made


def _meta(experiment: Experiment, samples: int, seed: int, status: str) -> dict[str, Any]:
    return {
        "status": status,
        "created": "2026-11-20T09:00:00+00:00",
        "updated": NOW,
        "experiment": experiment.name,
        "task": experiment.task,
        "contenders": [c.name for c in experiment.contenders],
        "dataset": {"files": {"tickets.jsonl": hashlib.sha256(b"tickets").hexdigest()}, "rows": samples * 5},
        "seed": seed,
        "versions": {"decide-before-you-tune": "0.1.0", "python": "3.11"},
        "decision": experiment.deciding,
        "decision_history": [],
        "files": {},
        "error": "ConnectionError: the server at 127.0.0.1:8000 went away" if status == "error" else None,
    }


def _splits(tests: list[Sample]) -> dict[str, list[str]]:
    def ids(split: str, n: int) -> list[str]:
        return [hashlib.sha256(f"{split}{i}".encode()).hexdigest()[:16] for i in range(n)]

    return {
        "train": ids("train", 7 * len(tests) // 2),
        "dev": ids("dev", len(tests) // 2),
        "test": [s.id for s in tests],
    }


def _write_contender(
    run: Run, experiment: Experiment, name: str, tests: list[Sample], accuracy: float, seed: int
) -> None:
    contender = next(c for c in experiment.contenders if c.name == name)
    tuned = name == "lora"
    run.write_contender(
        name,
        {
            "name": name,
            "kind": contender.kind,
            "tuned": tuned,
            "backend": experiment.backend_of(contender).model_dump(mode="json"),
            "settings": contender.model_dump(mode="json"),
            "hash": settings_hash(contender, experiment.backend_of(contender)),
            "model": {"name": "smollm2-135m-instruct", "revision": "12fd25f", "sha256": None},
            "template": hashlib.sha256(b"template").hexdigest(),
            "adapter": hashlib.sha256(b"adapter").hexdigest() if tuned else None,
            "hardware": {"device": "cpu", "cores": 2},
            "status": "success",
            "seconds": 212.0 if tuned else 9.5,
            "training": {
                "examples": 84,
                "steps": 40,
                "seconds": 201.0,
                "best_step": 30,
                "trained_tokens": 672,
            }
            if tuned
            else None,
        },
    )
    run.write_prompts(name, [_prompt(name, sample) for sample in tests])
    predictions = _predictions(name, tests, accuracy, seed)
    run.write_predictions(name, predictions)
    run.write_scores(
        name, score_contender(name, predictions, experiment, experiment.metric_names, tokenizer="smollm2")
    )
    if tuned:
        run.write_training(name, training_log())


def _prompt(name: str, sample: Sample) -> Prompt:
    system, *rest = sample.messages
    passages: tuple[Passage, ...] = ()
    if name == "few-shot":
        rest = [Message(r, t) for q, a in TRAINING for r, t in (("user", q), ("assistant", a))] + rest
    if name == "rag":
        other = LABELS[(LABELS.index(sample.references[0]) + 4) % len(LABELS)]
        found = [DOCUMENTS[sample.references[0]], DOCUMENTS[other]]
        passages = tuple(Passage(d, t, round(0.81 - 0.2 * rank, 2)) for rank, (d, t) in enumerate(found))
        context = "\n".join(f"[{p.document}] {p.text}" for p in passages)
        system = Message("system", f"{SYSTEM}\n\nHouse rules:\n{context}")
    return Prompt(id=sample.id, messages=(system, *rest), passages=passages)


def _predictions(name: str, tests: list[Sample], accuracy: float, seed: int) -> list[Prediction]:
    # One draw a sample for all contenders: hard tickets are hard for everyone, as in real runs.
    hardness = random.Random(seed)
    noise = random.Random(f"{seed}{name}")
    made = []
    for index, sample in enumerate(tests):
        right = 0.8 * hardness.random() + 0.2 * noise.random() < 0.1 + 0.8 * accuracy
        label = sample.references[0]
        wrong = LABELS[(LABELS.index(label) + noise.randrange(1, len(LABELS))) % len(LABELS)]
        odd = {3: f"The desk is {label} {PAYLOAD}", 5: "Das gehört zu bed/care, schöne Grüße 🌱"}
        answer = (
            odd.get(index, label if right else wrong) if name == "zero-shot" else (label if right else wrong)
        )
        failed = name == "zero-shot" and index == 8
        tokens = sum(len(m.text) for m in _prompt(name, sample).messages) // 4
        made.append(
            Prediction(
                id=sample.id,
                prediction=None if failed else answer,
                references=sample.references,
                group=sample.group,
                prompt_tokens=tokens,
                completion_tokens=None if failed else len(answer) // 4 + 1,
                seconds=round(0.05 + 0.02 * noise.random() + tokens / 4000, 4),
                usd=None if failed else USD_PER_1000[name] / 1000,
                finish_reason=None if failed else "stop",
                reference_nats=None if failed else round((1.6 - accuracy) * (1.5 + noise.random()), 3),
                reference_tokens=4,
                reference_bytes=len(label.encode()),
                error=f"no answer after 3 attempts: HTTP 500 {PAYLOAD}" if failed else None,
            )
        )
    return made


def _comparison(run: Run, experiment: Experiment) -> dict[str, Any]:
    scored = {name: run.scores(name) or {} for name in run.contenders()}
    compared: dict[str, list[dict[str, Any]]] = {}
    for metric in experiment.metric_names:
        for against in [name for name in scored if name != "lora"]:
            compared.setdefault(metric, []).append(_compare(scored, metric, "lora", against))
    return {"metrics": compared}


def _compare(scored: dict[str, dict[str, Any]], metric: str, tuned: str, against: str) -> dict[str, Any]:
    a, b = scored[against]["metrics"][metric], scored[tuned]["metrics"][metric]
    both = [i for i, pair in enumerate(zip(a["rows"], b["rows"], strict=True)) if None not in pair]
    found = compare_paired(
        [a["rows"][i] for i in both],
        [b["rows"][i] for i in both],
        groups=[scored[tuned]["groups"][i] for i in both],
        # The margin is in the unit of the primary metric and says nothing about another.
        margin=0.05 if metric == "exact_match" else 0.0,
        higher_is_better=a["higher_is_better"],
        reduce=METRICS[metric].reducer(a["columns"]),
    )
    interval = list(found.interval) if found.interval else None
    return {
        "tuned": tuned,
        "against": against,
        "difference": {
            "estimate": found.difference,
            "interval": interval,
            "p": found.p,
            "method": found.method,
        },
        "conclusion": found.conclusion,
        "n": found.n,
        "groups": found.groups,
    }


def _verdict(run: Run, experiment: Experiment, comparison: dict[str, Any], n: int) -> Verdict:
    margin = experiment.decision.worth_it
    rows = comparison["metrics"]["exact_match"]
    differences = tuple(
        Difference(
            against=row["against"],
            estimate=row["difference"]["estimate"],
            interval=tuple(row["difference"]["interval"]),
            p=row["difference"]["p"],
            method=row["difference"]["method"],
        )
        for row in rows
    )
    contenders = tuple(_summary(run, name) for name in run.contenders())
    best = max((c for c in contenders if not c.tuned), key=lambda c: c.score or 0.0)
    against = next(d for d in differences if d.against == best.name)
    high = against.interval[1] if against.interval else 0.0
    if all(d.interval and d.interval[0] > margin for d in differences):
        words = ("tune", "quality", "lora is better than every alternative by more than the margin.", "lora")
    elif high < margin:
        words = ("dont-tune", "alternative-suffices", f"{best.name} is enough.", best.name)
    else:
        words = (
            "cant-tell",
            "need-more-eval-data",
            f"{n} test samples cannot tell lora and {best.name} apart.",
            None,
        )
    headline, reason, sentence, choice = words
    return Verdict(
        headline=headline,
        reason=reason,
        sentence=sentence,
        experiment=experiment.name,
        metric="exact_match",
        higher_is_better=True,
        margin=margin,
        equivalent_within=experiment.equivalent_within,
        tuned="lora",
        choice=choice,
        against=best.name,
        difference=against,
        differences=differences,
        contenders=contenders,
        n=n,
        groups=next(row["groups"] for row in rows if row["against"] == best.name),
        seeds=1,
        smallest_detectable_effect=0.12,
        costs={
            "fixed_usd": 35.0,
            "hosting_usd_per_month": 0.0,
            "saving_usd_per_month": 10.5,
            "cheaper_probability": 1.0,
            "requests_per_month": experiment.decision.requests_per_month,
        },
        payback_months=3.3,
        if_you_must={
            "lora": {"probability_best": 0.73, "expected_regret": 0.01},
            best.name: {"probability_best": 0.27, "expected_regret": 0.03},
        },
        flips=("worth-it under 0.04", "130,000 requests a month"),
        caveats=("one training seed", f"1 of {n} zero-shot requests failed"),
        next=f"workbench predict {run.folder.name} --contender {choice or best.name} new.jsonl answers.jsonl",
    )


def _summary(run: Run, name: str) -> ContenderSummary:
    scores = run.scores(name) or {}
    primary, operations = scores["metrics"]["exact_match"], scores["operations"]
    return ContenderSummary(
        name=name,
        kind=KINDS[name],
        tuned=name == "lora",
        score=primary["value"],
        interval=tuple(primary["interval"]),
        n=primary["n"],
        errors=primary["unscored"],
        reason=primary["reason"],
        usd_per_1000=operations["usd_per_1000"],
        seconds_per_request=operations["seconds_per_request"],
        tokens_per_request=operations["prompt_tokens"] + operations["completion_tokens"],
    )
