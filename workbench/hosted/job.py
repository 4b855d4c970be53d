"""A training job from intention to end, on record in job.json before each step: started once, followed by anyone.

Between sending the request and hearing of its job a process may die. So the jobs that already trained on the
file are on record first: one that is there afterwards and not among them is ours.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..experiment import settings_hash
from ..hosted_price import base_of
from ..runs import Run
from ..settings import Hosted, OpenAIBackend
from .errors import HostedError
from .service import Service
from .upload import Upload

if TYPE_CHECKING:
    from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent

Progress = Callable[[int, int, str], None]
Record = dict[str, Any]

DONE, LOST = "succeeded", ("failed", "cancelled")
# Before the provider has a word for it.
UPLOADING, INTENDED, CREATED = "uploading", "intended", "created"
# Seconds between two looks at a job, longer the longer nothing happens.
FIRST_LOOK, LONGEST_LOOK = 5.0, 60.0

CURES = {
    "invalid_training_file": "Mend the training rows that it names",
    "invalid_validation_file": "Mend the dev rows that it names",
    "invalid_n_examples": "Add training rows",
    "exceeded_quota": "Add credit to the account",
    "job_exceeded_quota": "Add credit to the account",
    "moderation": "Take out the rows that the provider's policy forbids",
    "usage_policy_violation": "Take out the rows that the provider's policy forbids",
}


def job_key(settings: Hosted, backend: OpenAIBackend, uploads: Sequence[Upload], epochs: int) -> str:
    """What makes two trainings the same one: the bytes, the base model, the account's address, the recipe."""
    recipe = settings.model_dump(
        mode="json",
        include={"batch_size", "learning_rate_multiplier", "suffix", "seed"},
    )
    return settings_hash(
        [u.sha256 for u in uploads], base_of(settings, backend), backend.base_url, epochs, recipe
    )


def running(record: Record | None) -> bool:
    """Whether a job may be at work at the provider, as far as the record knows."""
    return record is not None and record["status"] not in (DONE, *LOST, UPLOADING)


def begun(settings: Hosted, service: Service, run: Run, key: str) -> bool:
    """Whether this training's job exists at the provider, which may know of it when the record does not.

    Raises HostedError where it has failed, or where a job of other settings may still run.
    """
    name = settings.name
    record = run.job(name)
    if record is None:
        return False
    if record["id"] is None and record["status"] == INTENDED and (job := adopted(record, service)):
        record = _known(record, job)
        run.write_job(name, record)
    if record["key"] != key:
        if record["id"] is not None and running(record):
            record = heard(record, service.job(record["id"]), service)
        if running(record):
            raise HostedError(_other_job(settings, record))
        return False
    if record["status"] in LOST:
        raise HostedError(_lost(settings, record))
    return record["id"] is not None


def start(
    settings: Hosted,
    backend: OpenAIBackend,
    service: Service,
    run: Run,
    uploads: Sequence[Upload],
    epochs: int,
) -> Record:
    """The record of this training's job: the one that was begun before, else a new one. Raises HostedError.

    `begun` is asked first: it refuses to start beside a job of other settings.
    """
    name, key = settings.name, job_key(settings, backend, uploads, epochs)
    record = run.job(name) or {}
    if record.get("key") != key:
        run.write_training(name, ())
        record = _new(settings, backend, key, uploads, epochs)
        run.write_job(name, record)
    for upload in uploads:
        if record[upload.split]["id"] is None:
            record[upload.split] |= {"id": service.put(upload)}
            run.write_job(name, record)
    if record["status"] == UPLOADING:
        earlier = [job.id for job in service.jobs_of(record["train"]["id"])]
        record |= {"status": INTENDED, "earlier": earlier}
        run.write_job(name, record)
    if record["id"] is None:
        job = service.create(_wanted(settings, record, service.target), lambda: adopted(record, service))
        record = _known(record, job)
        run.write_job(name, record)
    return record


def follow(settings: Hosted, service: Service, run: Run, progress: Progress) -> Record:
    """Follow the job on record to its end; every event is written as it comes. Raises HostedError where it failed."""
    name = settings.name
    record = run.job(name)
    assert record is not None, "start comes first"
    seen = frozenset(row["event"] for row in run.training(name) if "event" in row)
    pause = FIRST_LOOK
    while record["status"] != DONE:
        # The state first: what happens after it was read is seen at the next look.
        job = service.job(record["id"])
        fresh = service.events(record["id"], seen)
        with run.open_training(name) as log:
            for event in fresh:
                log.append(_row(event, service))
        seen |= {event.id for event in fresh}
        changed = bool(fresh) or job.status != record["status"]
        record = heard(record, job, service)
        if changed:
            run.write_job(name, record)
        step, total = _progress(fresh, record)
        record |= {"step": step, "steps": total}
        progress(step, total, f"{record['status']} at the provider, job {record['id']}")
        if record["status"] in LOST:
            raise HostedError(_lost(settings, record))
        if record["status"] != DONE:
            pause = FIRST_LOOK if changed else min(1.5 * pause, LONGEST_LOOK)
            time.sleep(pause)
    run.write_job(name, record)
    return record


def adopted(record: Record, service: Service) -> FineTuningJob | None:
    """The job that a request of ours has started without our hearing of it; None where there is none."""
    for job in service.jobs_of(record["train"]["id"]):
        mark = (job.metadata or {}).get("workbench", record["mark"])
        if (
            job.id not in record["earlier"]
            and mark == record["mark"]
            and job.model.startswith(record["model"])
        ):
            return job
    return None


def _known(record: Record, job: FineTuningJob) -> Record:
    """The record with its job's id alone: how the job stands is on record only once its events are."""
    return record | {"id": job.id, "status": CREATED}


def heard(record: Record, job: FineTuningJob, service: Service) -> Record:
    """The record with what the provider says of the job."""
    error = job.error if job.error is not None and job.error.message else None
    return record | {
        "id": job.id,
        "status": job.status,
        "created_at": job.created_at,
        "finished_at": job.finished_at,
        "tuned_model": job.fine_tuned_model,
        "trained_tokens": job.trained_tokens,
        "error": None if error is None else {"code": error.code, "message": service.plain(error)},
    }


def _new(
    settings: Hosted, backend: OpenAIBackend, key: str, uploads: Sequence[Upload], epochs: int
) -> Record:
    files = {
        u.split: {
            "id": None,
            "name": u.name,
            "sha256": u.sha256,
            "bytes": len(u.content),
            "rows": len(u.lines),
        }
        for u in uploads
    }
    return {
        "key": key,
        "mark": secrets.token_hex(8),
        "model": base_of(settings, backend),
        "epochs": epochs,
        "status": UPLOADING,
        "id": None,
        **files,
    }


def _wanted(settings: Hosted, record: Record, target: str) -> dict[str, Any]:
    """The request that creates the job, as the client takes it."""
    parameters = {
        "n_epochs": record["epochs"],
        "batch_size": settings.batch_size,
        "learning_rate_multiplier": settings.learning_rate_multiplier,
    }
    given = {key: value for key, value in parameters.items() if value != "auto"}
    wanted: dict[str, Any] = {
        "model": record["model"],
        "training_file": record["train"]["id"],
        "seed": settings.seed,
        "suffix": settings.suffix or re.sub("[^A-Za-z0-9-]", "-", settings.name)[:18],
    }
    if "dev" in record:
        wanted["validation_file"] = record["dev"]["id"]
    if target == "azure":
        return wanted | {
            "hyperparameters": given
        }  # its interface knows neither method nor metadata everywhere
    method = {"type": "supervised", "supervised": {"hyperparameters": given}}
    return wanted | {"method": method, "metadata": {"workbench": record["mark"]}}


def _row(event: FineTuningJobEvent, service: Service) -> dict[str, Any]:
    """An event as a row of the training log: a step's losses, or its words."""
    data: Mapping[str, Any] = event.data if isinstance(event.data, dict) else {}
    about = {"event": event.id, "time": event.created_at}
    losses = {
        ours: next((data[key] for key in theirs if isinstance(data.get(key), int | float)), None)
        for ours, theirs in (("loss", ("train_loss",)), ("dev_loss", ("full_valid_loss", "valid_loss")))
    }
    if isinstance(data.get("step"), int) and any(value is not None for value in losses.values()):
        return {**about, "step": data["step"], **losses}
    return {**about, "level": event.level, "message": service.plain(event.message)}


def _progress(fresh: Sequence[FineTuningJobEvent], record: Record) -> tuple[int, int]:
    """Steps done and to do, as the newest event tells; what was known where none does."""
    for event in reversed(fresh):
        data = event.data if isinstance(event.data, dict) else {}
        if isinstance(data.get("step"), int):
            total = data.get("total_steps")
            return data["step"], total if isinstance(total, int) else data["step"]
    return record.get("step", 0), record.get("steps", 0)


def _lost(settings: Hosted, record: Record) -> str:
    error = record["error"] or {}
    code = error.get("code")
    why = f": {error['message']}" + (f" ({code})" if code else "") if error else ""
    cure = CURES.get(str(code), "Look at the job in the provider's console")
    if record["status"] == "cancelled":
        cure = "It was stopped from elsewhere"
    return (
        f"contender {settings.name!r}: job {record['id']} {'was cancelled' if record['status'] == 'cancelled' else 'failed'}"
        f"{why.rstrip('.')}. {cure}; then --fresh --only {settings.name} starts a new one."
    )


def _other_job(settings: Hosted, record: Record) -> str:
    what = f"job {record['id']}" if record["id"] else "a job"
    return (
        f"contender {settings.name!r} has changed, but {what} of its earlier settings may still run and be billed. Set "
        "them back to follow it, or cancel it at the provider."
    )
