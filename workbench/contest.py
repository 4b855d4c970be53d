"""Contenders answer the test samples: fit, prompt, ask, keep every finished answer.

A contender is redone only when its own settings, its backend or its model changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from functools import cache
from pathlib import Path
from typing import Any

from validators.assets import require

from .backends import Backend, Request, open_backend
from .backends.cached import Answers, kept
from .backends.hf import HfBackend
from .choosing import choose, kept_option, no_dev, options_of, said
from .contenders import ContenderError, Fitted, Setting, fit, is_tuned, labels_of, question
from .data import Dataset
from .experiment import Experiment, settings_hash
from .forgetting import measure as measure_forgetting
from .hosted import Purse
from .models import weights_hash
from .provenance import Origin, model_of, origin_of, record_of
from .records import Prediction, Sample
from .retrieval import check_server, corpus_of, open_embedder
from .runs import Run
from .scoring import Retrieved, retrieved_in, score_contender
from .settings import Backend as BackendSettings
from .settings import Brought, FineTuned, Rag, embeds, retrieves
from .settings import Contender as Settings

Step = Callable[[int, int, str], None]
FirstBatch = Callable[[Mapping[str, Any]], None]


class Contest:
    """Runs contenders one after another over one dataset; backends are opened once and shared."""

    def __init__(
        self,
        experiment: Experiment,
        dataset: Dataset,
        run: Run,
        step: Step,
        *,
        offline: bool = False,
        answers: Answers | None = None,
        purse: Purse | None = None,
        first_batch: FirstBatch = lambda _: None,
    ) -> None:
        self._experiment = experiment
        self._dataset = dataset
        self._run = run
        self._step = step
        self._offline = offline
        self._answers = answers
        self._purse = purse or Purse()
        self._first_batch = first_batch
        self._backends: dict[str, Backend] = {}
        self._embedder = cache(
            lambda: open_embedder(
                experiment.retrieval,
                run.index_folder(),
                base=experiment.folder,
                offline=offline,
                ledger=run.ledger,
            )
        )

    def over(self, dataset: Dataset, run: Run) -> Contest:
        """The same contest over another data set, written elsewhere; opened backends are shared."""
        other = copy(self)
        other._dataset, other._run = dataset, run
        return other

    def check(self, settings: Settings) -> None:
        """Find what would stop this contender before anything is spent on the others."""
        experiment = self._experiment
        backend = self._backend(settings)
        options = options_of(settings, experiment)
        if len(options) > 1 and not self._dataset.dev and experiment.data.split.folds is None:
            raise ContenderError(no_dev(settings.name, len(options)))
        if settings.constrain and self._dataset.train:
            labels_of(settings, self._dataset.train)
        if retrieves(settings):
            require("qdrant_edge", "retrieval", "rag")
            corpus_of(experiment)
            check_server(experiment.retrieval, offline=self._offline)
        if embeds(settings):
            self._embedder().check()
        if isinstance(settings, FineTuned) and settings.adapter is None:
            require("peft", "training", "local")
            from .contenders.fine_tuned import check_rows

            check_rows(settings, self._setting(backend))
        if isinstance(settings, Brought) or (
            isinstance(settings, FineTuned) and settings.adapter is not None
        ):
            fit(settings, self._setting(backend)).prompts([question(s) for s in self._dataset.test])

    def play(self, settings: Settings) -> None:
        """Let one contender answer every test sample that it has not answered yet."""
        if (fitted := self.ready(settings)) is None:
            return
        run, name = self._run, settings.name
        self._answer(settings, fitted, self._dataset.test, "test")
        info = run.contender(name) or {}
        if fitted.adapter is not None and info["forgetting"] is None:
            info["forgetting"] = self._forgetting(fitted, fitted.adapter)
        info["notes"] |= fitted.backend.notes()
        run.write_contender(name, info | {"status": "success"})

    def ready(self, settings: Settings) -> Fitted | None:
        """Make a contender ready to answer, which trains it where it is tuned; None where it has answered everything."""
        run, name = self._run, settings.name
        backend = self._backend(settings)
        origin = self._origin(settings, backend)
        before = run.contender(name)
        if before is not None and before["hash"] != origin.answers:
            if origin.training is not None and before.get("trained_as") == origin.training:
                run.remove_answers(name)
                before |= {"status": "started", "choices": None}
            else:
                run.remove_contender(name, but_paid=True)
                before = None
        chosen = self._chosen(settings, before)
        finished = before is not None and before["status"] == "success"
        if finished and chosen is not None and self._complete(name, self._dataset.test):
            self._step(len(self._dataset.test), len(self._dataset.test), "kept")
            return None
        info = record_of(settings, self._experiment, origin, backend.identity() if backend else None, before)
        run.write_contender(name, info)
        if chosen is None:
            chosen, info["choices"] = self._choose(settings, backend, info)
        fitted = fit(chosen, self._setting(backend))
        info |= {"training": fitted.training, "notes": dict(fitted.notes)}
        if fitted.backend is not backend:
            info["model"] = model_of(fitted.backend.identity())
        info["adapter"] = weights_hash(fitted.adapter) if fitted.adapter else None
        run.write_contender(name, info)
        return fitted

    def ask(self, settings: Settings, samples: Sequence[Sample]) -> Iterator[Prediction]:
        """Answer other samples than the test split's, with the contender as it was fitted; nothing is stored.

        Raises ContenderError where it would not be set up as it was.
        """
        backend = self._backend(settings)
        if (self._run.contender(settings.name) or {}).get("hash") != self._origin(settings, backend).answers:
            raise ContenderError(
                f"contender {settings.name!r} has changed since it was scored in {self._run.folder} (its settings, "
                "backend, model or corpus). Run the experiment again."
            )
        chosen = self._chosen(settings, self._run.contender(settings.name))
        if chosen is None or settings.diagnostic:
            why = (
                "was never chosen among its options"
                if chosen is None
                else "only explains the scores of others"
            )
            raise ContenderError(f"contender {settings.name!r} {why}: it answers no new questions.")
        if retrieves(settings):
            check_server(self._experiment.retrieval, offline=self._offline)
        fitted = fit(chosen, self._setting(backend))
        prompts = fitted.prompts([question(s) for s in samples])
        requests = [Request(prompt=p, references=("",), choices=fitted.choices) for p in prompts]
        by_id = {p.id: p for p in prompts}
        for answer in fitted.backend.answer(requests, adapter=fitted.adapter):
            yield fitted.read(by_id[answer.id], answer)

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
            predictions = self._answer(settings, fitted, self._dataset.dev, "dev")
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

    def _chosen(self, settings: Settings, info: dict[str, Any] | None) -> Settings | None:
        """The contender with the options that were kept; None where they are still to be chosen on dev."""
        return kept_option(
            options_of(settings, self._experiment), (info or {}).get("choices"), self._experiment
        )

    def _choose(
        self, settings: Settings, backend: Backend | None, info: dict[str, Any]
    ) -> tuple[Settings, list[dict[str, Any]]]:
        """Let every option answer dev and keep the best; answers on test that another option gave are forgotten."""
        dev, options = self._dataset.dev, options_of(settings, self._experiment)
        ranked = self._experiment.metric(self._experiment.primary).needs == "ranking"

        def answers(number: int, option: Settings) -> tuple[list[Prediction], Retrieved]:
            told = f"option {number + 1} of {len(options)}, on dev"
            fitted = fit(option, self._setting(backend))
            given = self._answer(option, fitted, dev, f"options/{number}", told)
            return given, retrieved_in(fitted.prompts(self._questions(option, dev)) if ranked else (), dev)

        model = str((info["model"] or {}).get("name"))
        choice = choose(options, self._experiment, dev, answers, tokenizer=model)
        kept = choice["options"][choice["kept"]]
        before = (info["choices"] or [{}])[0].get("kept")
        if before != choice["kept"] and self._run.predictions(settings.name):
            self._run.write_predictions(settings.name, [])
        self._step(len(dev), len(dev), f"kept: {said(kept)} ({choice['metric']} {kept['value']:.3g} on dev)")
        return options[choice["kept"]], [choice]

    def _questions(self, settings: Settings, samples: Sequence[Sample]) -> list[Sample]:
        """What a contender may see of samples; the oracle alone sees which documents answer them."""
        oracle = isinstance(settings, Rag) and settings.context == "oracle"
        return [question(s, sources=oracle) for s in samples]

    def _answer(
        self, settings: Settings, fitted: Fitted, samples: Sequence[Sample], split: str, told: str = ""
    ) -> list[Prediction]:
        """Ask what is missing, append each answer as it comes, compact into sample order at the end."""
        run, name = self._run, settings.name
        prompts = fitted.prompts(self._questions(settings, samples))
        by_id = {p.id: p for p in prompts}
        if split == "test":
            run.write_prompts(name, prompts)
        requests = [
            Request(prompt=p, references=s.references, group=s.group, choices=fitted.choices)
            for p, s in zip(prompts, samples, strict=True)
        ]
        with run.open_predictions(name, split) as file:
            answers = {p.id: p for p in run.predictions(name, split) if p.error is None}
            self._step(len(answers), len(samples), told)
            for given in fitted.backend.answer(requests, done=frozenset(answers), adapter=fitted.adapter):
                prediction = fitted.read(by_id[given.id], given)
                answers[prediction.id] = prediction
                file.append(prediction)
                self._step(len(answers), len(samples), told)
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
        return self._opened(self._experiment.backend_of(settings))

    def _opened(self, wanted: BackendSettings) -> Backend:
        key = settings_hash(wanted)
        if key not in self._backends:
            base, ledger = self._experiment.folder, self._run.ledger
            opened = open_backend(wanted, base=base, offline=self._offline, ledger=ledger)
            self._backends[key] = kept(opened, wanted, self._answers)
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
            open=self._opened,
            purse=self._purse,
            first_batch=self._first_batch,
            score=self._primary_of,
            offline=self._offline,
        )

    def _primary_of(self, answers: Sequence[Prediction]) -> float | None:
        """The primary metric of answers of a model that is being trained."""
        metric = self._experiment.primary
        scores = score_contender("in training", answers, self._experiment, [metric], tokenizer="")
        value: float | None = scores["metrics"][metric]["value"]
        return value

    def _origin(self, settings: Settings, backend: Backend | None) -> Origin:
        return origin_of(settings, self._experiment, backend, lambda: self._embedder().key)
