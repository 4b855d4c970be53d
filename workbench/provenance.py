"""What a contender's answers and training come from: by it one knows what must be redone, and what need not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .answers import fingerprint
from .backends import Backend, Identity
from .choosing import chosen_by, options_of
from .contenders import is_tuned
from .experiment import Experiment, asked_of, settings_hash
from .models import weights_hash
from .retrieval import corpus_of
from .settings import PRICES, Brought, FineTuned, embeds, retrieves
from .settings import Contender as Settings
from .training import loss_digest


@dataclass(frozen=True, slots=True)
class Origin:
    """Hashes of all that a contender's answers depend on, beyond the folder's data and split, and its training.

    A training does not depend on how the trained model is asked. It is None where nothing is trained here.
    """

    answers: str
    training: str | None


def origin_of(
    settings: Settings, experiment: Experiment, backend: Backend | None, embedder: Callable[[], str]
) -> Origin:
    """Where a contender comes from, by content. `embedder` gives the embedder's hash where one is needed."""
    drawn_on = _drawn_on(settings, experiment, backend, embedder)
    left_out = {"name", "backend", "seeds", *PRICES}
    options: list[object] = [
        option.model_dump(mode="json", exclude=left_out) for option in options_of(settings, experiment)
    ]
    asked = [] if backend is None else [asked_of(experiment.backend_of(settings))]
    training = None
    if isinstance(settings, FineTuned) and settings.adapter is None:
        recipe = settings.model_dump(mode="json", exclude={"name", "backend", "seeds", "constrain"})
        training = settings_hash(recipe, *drawn_on)
    return Origin(settings_hash(*options, *asked, *drawn_on), training)


def _drawn_on(
    settings: Settings, experiment: Experiment, backend: Backend | None, embedder: Callable[[], str]
) -> list[object]:
    """Models, files and documents behind a contender."""
    parts: list[object] = []
    if backend is not None:
        identity = backend.identity()
        # Answers in another number format are other answers: `auto` resolves differently by machine.
        parts += [identity.sha256, identity.template, identity.hardware.get("dtype")]
    if isinstance(settings, Brought):
        parts += [fingerprint(experiment.resolve(path)) for path in settings.paths]
    if isinstance(settings, FineTuned):
        parts += _trained_from(settings, experiment)
    if retrieves(settings):
        documents = corpus_of(experiment).documents
        parts.append([[d.name, d.text] for d in documents])
        # Where it is searched changes nothing that is found.
        parts.append([experiment.retrieval.chunk_words, experiment.retrieval.chunk_overlap])
    if embeds(settings):
        parts.append(embedder())
    return parts


def _trained_from(settings: FineTuned, experiment: Experiment) -> list[object]:
    parts: list[object] = []
    if adapter := settings.adapter or settings.continue_from:
        parts.append(weights_hash(experiment.resolve(adapter)))
    if settings.loss is not None:
        parts.append(loss_digest(settings.loss, experiment.folder))
    if settings.stop_on == "primary":
        # Which epoch is kept depends on how dev is asked and measured.
        parts += [chosen_by(experiment), settings.constrain, asked_of(experiment.backend_of(settings))]
    return parts


def record_of(
    settings: Settings,
    experiment: Experiment,
    origin: Origin,
    identity: Identity | None,
    before: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """contender.json as a contender begins; what was trained and chosen before stands."""
    # Answers made elsewhere have a backend only where the file names the one that gave them.
    known = identity is not None or settings.backend is not None
    before = before or {}
    return {
        "name": settings.name,
        "kind": settings.kind,
        "tuned": is_tuned(settings),
        "diagnostic": settings.diagnostic,
        "backend": experiment.backend_of(settings).model_dump(mode="json") if known else {},
        "settings": settings.model_dump(mode="json"),
        "hash": origin.answers,
        "trained_as": origin.training,
        "model": model_of(identity) if identity else None,
        "template": identity.template if identity else None,
        "adapter": None,
        "hardware": identity.hardware if identity else {},
        "status": "started",
        "training": before.get("training"),
        "forgetting": before.get("forgetting"),
        "choices": before.get("choices"),
    }


def model_of(identity: Identity) -> dict[str, Any]:
    """A model as contender.json names it."""
    found = {"name": identity.model, "revision": identity.revision, "sha256": identity.sha256}
    return found | ({"licence": identity.licence} if identity.licence else {})
