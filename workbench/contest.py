"""Contenders answer the test samples: fit, prompt, ask, keep every finished answer.

A contender is redone only when its own settings, its backend or its model changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from functools import cache
from pathlib import Path
from typing import Any

from validators.assets import require

from .answers import fingerprint
from .backends import Backend, Identity, Request, open_backend
from .backends.hf import HfBackend
from .contenders import ContenderError, Fitted, Setting, fit, is_tuned, question
from .contenders.fine_tuned import check_rows
from .data import Dataset
from .experiment import Experiment, asked_of, settings_hash
from .forgetting import measure as measure_forgetting
from .models import weights_hash
from .records import Prediction, Sample
from .retrieval import Embedder, load_corpus
from .runs import Run
from .scoring import score_contender
from .settings import Brought, FewShot, FineTuned, Rag
from .settings import Contender as Settings

Step = Callable[[int, int, str], None]


class Contest:
    """Runs contenders one after another over one dataset; backends are opened once and shared."""

    def __init__(
        self, experiment: Experiment, dataset: Dataset, run: Run, step: Step, *, offline: bool = False
    ) -> None:
        self._experiment = experiment
        self._dataset = dataset
        self._run = run
        self._step = step
        self._offline = offline
        self._backends: dict[str, Backend] = {}
        self._embedder = cache(lambda: Embedder(offline=offline))

    def over(self, dataset: Dataset, run: Run) -> Contest:
        """The same contest over another data set, written elsewhere; opened backends are shared."""
        other = copy(self)
        other._dataset, other._run = dataset, run
        return other

    def check(self, settings: Settings) -> None:
        """Find what would stop this contender before anything is spent on the others."""
        experiment = self._experiment
        backend = self._backend(settings)
        if isinstance(settings, Rag):
            require("qdrant_edge", "retrieval", "rag")
            load_corpus(experiment.resolve(experiment.data.corpus or ""))
        if (isinstance(settings, FewShot) and settings.choose == "similar") or isinstance(settings, Rag):
            self._embedder().check()
        if isinstance(settings, FineTuned) and settings.adapter is None:
            require("peft", "training", "local")
            check_rows(settings, self._setting(backend))
        if isinstance(settings, Brought) or (
            isinstance(settings, FineTuned) and settings.adapter is not None
        ):
            fit(settings, self._setting(backend)).prompts([question(s) for s in self._dataset.test])

    def play(self, settings: Settings) -> None:
        """Let one contender answer every test sample that it has not answered yet."""
        run, name = self._run, settings.name
        backend = self._backend(settings)
        key = self._hash(settings, backend)
        before = run.contender(name)
        if before is not None and before["hash"] != key:
            run.remove_contender(name, but_judgements=True)
            before = None
        if before is not None and before["status"] == "success" and self._complete(name, self._dataset.test):
            self._step(len(self._dataset.test), len(self._dataset.test), "kept")
            return
        info = self._info(settings, key, backend.identity() if backend else None, before)
        run.write_contender(name, info)
        fitted = fit(settings, self._setting(backend))
        info |= {"training": fitted.training, "notes": dict(fitted.notes)}
        if backend is None:
            info["model"] = _model(fitted.backend.identity())
        info["adapter"] = weights_hash(fitted.adapter) if fitted.adapter else None
        run.write_contender(name, info)
        self._answer(name, fitted, self._dataset.test, "test")
        if fitted.adapter is not None and info["forgetting"] is None:
            info["forgetting"] = self._forgetting(fitted, fitted.adapter)
        run.write_contender(name, info | {"status": "success"})

    def ask(self, settings: Settings, samples: Sequence[Sample]) -> Iterator[Prediction]:
        """Answer other samples than the test split's, with the contender as it was fitted; nothing is stored.

        Raises ContenderError where it would not be set up as it was.
        """
        backend = self._backend(settings)
        if (self._run.contender(settings.name) or {}).get("hash") != self._hash(settings, backend):
            raise ContenderError(
                f"contender {settings.name!r} has changed since it was scored in {self._run.folder} (its settings, "
                "backend, model or corpus). Run the experiment again."
            )
        fitted = fit(settings, self._setting(backend))
        requests = [
            Request(prompt=p, references=("",)) for p in fitted.prompts([question(s) for s in samples])
        ]
        yield from fitted.backend.answer(requests, adapter=fitted.adapter)

    def choose_on_dev(self) -> None:
        """Where several tuned contenders stand, score each on dev: which one is judged is chosen there."""
        tuned = [c for c in self._experiment.contenders if is_tuned(c) and self._run.contender(c.name)]
        if len(tuned) < 2 or not self._dataset.dev:
            return
        for settings in tuned:
            info = self._run.contender(settings.name) or {}
            known = (info.get("dev") or {}).get("metric") == self._experiment.primary
            if isinstance(settings, Brought) or info["status"] != "success" or known:
                continue
            fitted = fit(settings, self._setting(self._backend(settings)))
            predictions = self._answer(settings.name, fitted, self._dataset.dev, "dev")
            scores = score_contender(
                settings.name,
                predictions,
                self._experiment,
                [self._experiment.primary],
                tokenizer=info["model"]["name"],
            )
            value = scores["metrics"][self._experiment.primary]["value"]
            self._run.write_contender(
                settings.name, info | {"dev": {"metric": self._experiment.primary, "value": value}}
            )

    def close(self) -> None:
        """Free all models and connections."""
        for backend in self._backends.values():
            backend.close()
        self._backends.clear()

    def _answer(self, name: str, fitted: Fitted, samples: Sequence[Sample], split: str) -> list[Prediction]:
        """Ask what is missing, append each answer as it comes, compact into sample order at the end."""
        run = self._run
        prompts = fitted.prompts([question(s) for s in samples])
        if split == "test":
            run.write_prompts(name, prompts)
        requests = [
            Request(prompt=p, references=s.references, group=s.group)
            for p, s in zip(prompts, samples, strict=True)
        ]
        with run.open_predictions(name, split) as file:
            answers = {p.id: p for p in run.predictions(name, split) if p.error is None}
            self._step(len(answers), len(samples), "")
            for prediction in fitted.backend.answer(
                requests, done=frozenset(answers), adapter=fitted.adapter
            ):
                answers[prediction.id] = prediction
                file.append(prediction)
                self._step(len(answers), len(samples), "")
        ordered = [answers[s.id] for s in samples if s.id in answers]
        run.write_predictions(name, ordered, split)
        return ordered

    def _forgetting(self, fitted: Fitted, adapter: Path) -> dict[str, Any] | None:
        """Likelihoods of the general text before and after tuning: once a contender, of its first training."""
        run = self._run
        first = run.whole is None or run.folder == run.whole / "folds" / "0"
        if not first or not isinstance(fitted.backend, HfBackend):
            return None
        self._step(len(self._dataset.test), len(self._dataset.test), "general text, before and after")
        return measure_forgetting(fitted.backend, adapter)

    def _complete(self, name: str, samples: Sequence[Sample]) -> bool:
        """All samples answered, none by an error: errors are asked again."""
        answered = {p.id for p in self._run.predictions(name) if p.error is None}
        return all(s.id in answered for s in samples)

    def _backend(self, settings: Settings) -> Backend | None:
        """The contender's backend, opened when it is first needed; answers from a file need none."""
        if isinstance(settings, Brought):
            return None
        wanted = self._experiment.backend_of(settings)
        key = settings_hash(wanted)
        if key not in self._backends:
            self._backends[key] = open_backend(wanted, base=self._experiment.folder, offline=self._offline)
        return self._backends[key]

    def _setting(self, backend: Backend | None) -> Setting:
        # One model in memory at a time: other backends' weights make room for the one that is used now.
        for other in self._backends.values():
            if backend is not None and other is not backend:
                other.release()
        return Setting(
            experiment=self._experiment,
            train=self._dataset.train,
            dev=self._dataset.dev,
            conversations=self._dataset.conversations,
            run=self._run,
            backend=backend,
            embedder=self._embedder,
            progress=self._step,
        )

    def _hash(self, settings: Settings, backend: Backend | None) -> str:
        """What this contender's answers depend on, beyond the folder's data and split."""
        parts: list[object] = [settings.model_dump(mode="json", exclude={"name", "backend", "seeds"})]
        if backend is not None:
            identity = backend.identity()
            asked = asked_of(self._experiment.backend_of(settings))
            # Answers in another number format are other answers: `auto` resolves differently by machine.
            parts += [asked, identity.sha256, identity.template, identity.hardware.get("dtype")]
        if isinstance(settings, Brought):
            parts += [fingerprint(self._experiment.resolve(path)) for path in settings.paths]
        if isinstance(settings, FineTuned) and settings.adapter:
            parts.append(weights_hash(self._experiment.resolve(settings.adapter)))
        if isinstance(settings, Rag):
            documents = load_corpus(self._experiment.resolve(self._experiment.data.corpus or ""))
            parts.append([[d.name, d.text] for d in documents])
        return settings_hash(*parts)

    def _info(
        self, settings: Settings, key: str, identity: Identity | None, before: dict[str, Any] | None
    ) -> dict[str, Any]:
        # Answers made elsewhere have a backend only where the file names the one that gave them.
        known = identity is not None or settings.backend is not None
        backend = self._experiment.backend_of(settings).model_dump(mode="json") if known else {}
        return {
            "name": settings.name,
            "kind": settings.kind,
            "tuned": is_tuned(settings),
            "backend": backend,
            "settings": settings.model_dump(mode="json"),
            "hash": key,
            "model": _model(identity) if identity else None,
            "template": identity.template if identity else None,
            "adapter": None,
            "hardware": identity.hardware if identity else {},
            "status": "started",
            "training": before.get("training") if before else None,
            "forgetting": before.get("forgetting") if before else None,
        }


def _model(identity: Identity) -> dict[str, Any]:
    found = {"name": identity.model, "revision": identity.revision, "sha256": identity.sha256}
    return found | ({"licence": identity.licence} if identity.licence else {})
