"""Hosted: a model that a provider tunes on the training split, asked through the same server afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from validators.examples import Example

from ..experiment import Experiment
from ..hosted import (
    DONE,
    Service,
    TrainingBill,
    Upload,
    begun,
    check_upload,
    follow,
    job_key,
    make_upload,
    start,
    training_bill,
)
from ..hosted_price import hosting_fact, price_of
from ..records import Prompt, Sample
from ..runs import Run
from ..settings import Hosted, OpenAIBackend
from . import ContenderError, Fitted, Setting, needed_backend, plain_prompt


@dataclass(frozen=True, slots=True)
class Training:
    """What goes to the provider and what that costs, made without asking it anything."""

    settings: Hosted
    backend: OpenAIBackend
    base: Path
    uploads: tuple[Upload, ...]
    bill: TrainingBill

    @property
    def key(self) -> str:
        """What makes two trainings the same one."""
        return job_key(self.settings, self.backend, self.uploads, self.bill.cost.epochs)


def training_of(
    settings: Hosted,
    experiment: Experiment,
    splits: Mapping[str, Sequence[Sample]],
    conversations: Mapping[str, Example],
    today: date,
) -> Training:
    """The training on `splits["train"]`, watched on `splits["dev"]`.

    Raises HostedError for a model that ends and for rows that the provider would refuse.
    """
    backend = experiment.backend_of(settings)
    assert isinstance(backend, OpenAIBackend), "the experiment file is checked for it"
    target = "openai" if backend.api_version is None else "azure"
    examples = {
        split: [conversations[s.id] for s in splits[split] if s.id in conversations]
        for split in ("train", "dev")
    }
    bill = training_bill(settings, backend, examples["train"], examples["dev"], today=today)
    uploads = tuple(make_upload(rows, split, target) for split, rows in examples.items() if rows)
    for upload in uploads:
        source = experiment.data.files.get(upload.split) or next(iter(experiment.data.files.values()))
        check_upload(upload, source=source, ignore=experiment.lint.ignore)
    return Training(settings, backend, experiment.folder, uploads, bill)


def is_begun(training: Training, run: Run) -> bool:
    """Whether the training's job exists, so that nothing more has to be agreed on. Raises HostedError."""
    record = run.job(training.settings.name)
    if record is None:
        return False
    if record["key"] == training.key and record["status"] == DONE:
        return True
    service = Service(training.backend, training.base)
    try:
        return begun(training.settings, service, run, training.key)
    finally:
        service.close()


def fit_hosted(settings: Hosted, setting: Setting) -> Fitted:
    """Have the model tuned, or take the one of the job on record; agreed on beforehand, started once."""
    needed_backend(setting)
    run = setting.run
    splits = {"train": setting.train, "dev": setting.dev}
    training = training_of(settings, setting.experiment, splits, setting.conversations, setting.purse.today)
    if not is_begun(training, run):
        setting.purse.take(training.bill)
    record = run.job(settings.name)
    service = Service(training.backend, training.base)
    try:
        if record is None or record["key"] != training.key or record["status"] != DONE:
            start(settings, training.backend, service, run, training.uploads, training.bill.cost.epochs)
            record = follow(settings, service, run, setting.progress)
        model = _answering(settings, training.backend, record, service)
    finally:
        service.close()
    tuned = setting.open(training.backend.model_copy(update={"model": model}))
    return Fitted(
        _prompts,
        tuned,
        training=_summary(training, record, run),
        notes={"job": record["id"], "model": record["tuned_model"]},
    )


def _prompts(samples: Sequence[Sample]) -> list[Prompt]:
    return [plain_prompt(s) for s in samples]


def _answering(settings: Hosted, backend: OpenAIBackend, record: Mapping[str, Any], service: Service) -> str:
    """The name under which the tuned model answers. Raises ContenderError where it is not deployed yet."""
    tuned = str(record["tuned_model"])
    if backend.api_version is None:
        return tuned
    if settings.deployment is not None and service.answers(settings.deployment):
        return settings.deployment
    fact = hosting_fact(backend)
    name = settings.deployment or "NAME"
    named = "" if settings.deployment else f" Then write deployment: NAME beside contender {settings.name!r}."
    raise ContenderError(
        f"contender {settings.name!r}: job {record['id']} is done, its model {tuned} has to be deployed before it answers"
        f"{f' (${fact.value:.2f} an hour until the deployment is deleted)' if fact else ''}:\n"
        f"  az cognitiveservices account deployment create --name RESOURCE --resource-group GROUP --deployment-name {name} "
        f"--model-name {tuned} --model-version 1 --model-format OpenAI --sku-name Standard --sku-capacity 1\n"
        f"{named.strip() or 'A new deployment takes some minutes.'} Run the same command again: nothing is trained twice. "
        f"After the run: az cognitiveservices account deployment delete --name RESOURCE --resource-group GROUP "
        f"--deployment-name {name}"
    )


def _summary(training: Training, record: Mapping[str, Any], run: Run) -> dict[str, Any]:
    """As contender.json stores it: what the provider trained on, and its USD by the tokens it billed."""
    log = run.training(training.settings.name)
    price = price_of(training.settings, training.backend)
    rate = price.value("training_usd_per_million") if price else None
    tokens = record["trained_tokens"]
    fact = hosting_fact(training.backend)
    return {
        "examples": record["train"]["rows"],
        "epochs": record["epochs"],
        "steps": max((row["step"] for row in log if "step" in row), default=0),
        "tokens": tokens,
        "trained_tokens": tokens or 0,
        "best_step": None,
        "dev_loss": next((row["dev_loss"] for row in reversed(log) if "dev_loss" in row), None),
        "seconds": float((record["finished_at"] or record["created_at"]) - record["created_at"]),
        "usd": None if rate is None or tokens is None else tokens * rate / 1e6,
        "hosting_usd_per_hour": fact.value if fact else None,
        "job": record["id"],
    }
