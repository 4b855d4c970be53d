"""The experiment file: YAML in, one frozen pydantic model out, all faults at once.

Unknown keys, wrong types and impossible combinations are found here, before anything is spent.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, Field, PrivateAttr, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from metrics import METRICS, Metric

from .experiment_file import ExperimentError as ExperimentError
from .experiment_file import Place, faults, guess, parse_yaml
from .experiment_file import read_text as read_text
from .hosted_price import at_tuned_price
from .sections import Data, Decision, Judge, Launch, LearningCurve, Lint, Metrics, Retrieval, Tracker
from .settings import (
    Backend,
    Brought,
    Contender,
    FineTuned,
    HfBackend,
    Hosted,
    Name,
    OpenAIBackend,
    Part,
    Rag,
    chooses,
    needs_train,
    retrieves,
)

if TYPE_CHECKING:
    from validators.redaction import Placeholders

    from .runs import Run

_CHANGES_NO_ANSWER: Final = {
    *("price", "cached_price", "budget_usd", "budget_tokens"),
    *("api_key_env", "api_key_file", "concurrency", "timeout_seconds"),
}

Task = Literal["classification", "extraction", "qa", "generation", "tools"]

# What "better" means where the experiment does not say: (primary, also).
TASK_METRICS: dict[str, tuple[str, tuple[str, ...]]] = {
    "classification": ("exact_match", ("macro_f1", "perplexity")),
    "extraction": ("field_f1", ("json_valid", "exact_match", "perplexity")),
    "qa": ("token_f1", ("exact_match", "rouge_l", "perplexity")),
    "generation": ("rouge_l", ("chrf", "bleu", "perplexity")),
    "tools": ("tool_call_match", ("json_valid", "perplexity")),
}

# Shown beside them where it is known which documents a contender should have found.
RANKED = ("recall_at_k", "mrr", "ndcg")

LOCAL: Final[dict[str, Backend]] = {"local": HfBackend(kind="hf", model="smollm2-135m-instruct")}


class Experiment(Part):
    """One experiment file, validated. `folder` is where its relative paths start."""

    name: Name
    task: Task = "generation"
    data: Data
    lint: Lint = Lint()
    retrieval: Retrieval = Retrieval()
    backends: Annotated[dict[Name, Backend], Field(min_length=1)] = LOCAL
    contenders: Annotated[tuple[Contender, ...], Field(min_length=1)]
    metrics: Metrics = Metrics()
    decision: Decision = Decision()
    judge: Judge | None = None
    ratings: str | None = None
    """People's ratings (CSV or JSONL), for `metrics: human` and to check the judge against."""
    learning_curve: LearningCurve | None = None
    launch: Launch = Launch()
    track: tuple[Tracker, ...] = ()
    """Where a training's log goes beside train.jsonl: into folders of TensorBoard or Weights & Biases in the run."""
    personal_data: Literal["stop", "redact", "send"] = "stop"
    """Where data would go to a server elsewhere: stop, put placeholders in its place everywhere, or send it."""
    _folder: Path = PrivateAttr(default=Path())

    @model_validator(mode="after")
    def _fits_together(self) -> Experiment:
        misfits = list(self._misfits())
        if misfits:
            told = "; ".join(message for _, message in misfits)
            raise PydanticCustomError("misfit", "{told}", {"told": told, "faults": misfits})
        return self

    def _misfits(self) -> Iterator[tuple[Place, str]]:
        """What does not fit together, and where."""
        taken: set[str] = set()
        for index, contender in enumerate(self.contenders):
            name, place = contender.name, ("contenders", index)
            # Names become folders, and some disks do not tell case apart.
            if name.casefold() in taken:
                yield place, f"two contenders are called {name!r}; give each a name of its own"
            taken.add(name.casefold())
            if contender.backend is not None and contender.backend not in self.backends:
                yield (
                    (*place, "backend"),
                    f"no backend is called {contender.backend!r}{guess(contender.backend, self.backends)}; "
                    f"there are: {', '.join(self.backends)}",
                )
            elif isinstance(contender, FineTuned) and self.backend_of(contender).kind != "hf":
                yield (
                    place,
                    f"contender {name!r} is tuned here, so its backend must be a local one (kind: hf); "
                    "answers of a model tuned elsewhere come in as kind: predictions",
                )
            elif isinstance(contender, Hosted):
                yield from ((place, told) for told in self._unhostable(contender))
            if retrieves(contender) and self.data.corpus is None:
                yield place, f"contender {name!r} retrieves, but data.corpus names no documents"
            if self.data.path is None and self.data.train is None and needs_train(contender):
                yield place, f"contender {name!r} learns from training rows, but data names only test"
            yield from ((place, told) for told in self._unaskable(contender))
        yield from self._unmeasurable()
        yield from self._undrawable()

    def _unaskable(self, contender: Contender) -> Iterator[str]:
        """Options of one contender that nothing could answer, or choose from."""
        name = contender.name
        if isinstance(contender, Rag) and contender.context == "oracle" and self.data.sources is None:
            yield f"contender {name!r} shows the documents that answer: data.sources must say where a row names them"
        if isinstance(contender, Brought) and contender.constrain:
            yield f"contender {name!r} was answered elsewhere: its answers cannot be held to labels now"
        if isinstance(contender, FineTuned) and contender.stop_on == "primary":
            if self.data.dev is None and self.data.split.dev == 0:
                yield f"contender {name!r}: stop_on: primary is measured on dev, but there is none: set data.split.dev"
            if self.metric(self.primary).needs in ("rating", "ranking"):
                yield (
                    f"contender {name!r}: stop_on: primary measures answers during the training, and {self.primary} is "
                    "not a measure of one answer beside its reference: leave out stop_on, or decide by another metric"
                )
        if not chooses(contender):
            return
        if self.data.dev is None and self.data.split.dev == 0:
            yield (
                f"contender {name!r} has options to choose from on dev, but there is none: set data.split.dev (0.1 is "
                "usual), or leave one value of each option"
            )
        if self.metric(self.primary).needs == "rating":
            yield (
                f"contender {name!r} has options to choose from on dev, by the primary metric, but {self.primary} rates "
                "only when all answers are in: leave one value of each option, or decide by another metric"
            )

    def _unhostable(self, contender: Hosted) -> Iterator[str]:
        """Why a provider cannot tune this contender, or what it answers cannot be billed."""
        backend = self.backends[contender.backend or next(iter(self.backends))]
        name = contender.name
        if not isinstance(backend, OpenAIBackend):
            yield f"contender {name!r} is tuned by a provider, so its backend must be one (kind: openai)"
            return
        if backend.api_version is not None and backend.base_url is None:
            yield f"contender {name!r}: api_version is Azure's, which needs base_url (https://RESOURCE.openai.azure.com)"
        if backend.budget_usd is not None and at_tuned_price(backend, contender).price is None:
            yield (
                f"contender {name!r}: its backend has a budget, but what the tuned model's tokens cost is not known: give "
                "the contender price: [prompt, completion]"
            )

    def _undrawable(self) -> Iterator[tuple[Place, str]]:
        """What cannot be trained again: from several seeds, or on parts of the training split."""
        for index, contender in enumerate(self.contenders):
            if isinstance(contender, FineTuned) and contender.adapter is not None and contender.seeds > 1:
                told = f"contender {contender.name!r} brings its adapter, so there is one training: leave out seeds"
                yield ("contenders", index, "seeds"), told
        trained = any(isinstance(c, FineTuned) and c.adapter is None for c in self.contenders)
        if self.launch.processes > 1 and not trained:
            told = "".join(
                f"; {c.name} is tuned by a provider" for c in self.contenders if isinstance(c, Hosted)
            )
            yield ("launch",), f"launch is for trainings here, but nothing is trained here{told}: take it out"
        if self.learning_curve is None:
            return
        if not any(isinstance(c, FineTuned) and c.adapter is None for c in self.contenders):
            elsewhere = [
                c.name
                for c in self.contenders
                if isinstance(c, FineTuned) or (isinstance(c, Brought) and c.tuned)
            ]
            why = f"{', '.join(elsewhere)} was tuned elsewhere" if elsewhere else "nothing is tuned here"
            yield (
                ("learning_curve",),
                f"a learning curve trains on parts of the training split, but {why}: add a contender of kind "
                "fine-tuned without an adapter, or take learning_curve out",
            )
        if self.data.split.folds is not None:
            yield (
                ("learning_curve",),
                "a learning curve inside every fold would be fractions × folds trainings: leave out "
                "learning_curve or split.folds",
            )

    def _unmeasurable(self) -> Iterator[tuple[Place, str]]:
        """Metrics that need a section which is not there, and what the judge's section names."""
        ranked = [name for name in self.metric_names if self.metric(name).needs == "ranking"]
        if ranked and self.data.sources is None:
            told = "needs data.sources: the place in a row that names the documents which answer it"
            yield ("metrics",), f"metric {ranked[0]!r} {told}"
        if "judge" in self.metric_names and self.judge is None:
            yield ("metrics",), "metric 'judge' needs a judge section: judge: {backend: NAME}"
        if "cost_of_error" in self.metric_names and "costs" not in self.metrics.options.get(
            "cost_of_error", {}
        ):
            yield (
                ("metrics",),
                "metric 'cost_of_error' needs its matrix: options: {cost_of_error: {costs: {TRUE: {ANSWERED: USD}}}}",
            )
        if self.judge is None:
            return
        if self.judge.backend not in self.backends:
            told = f"no backend is called {self.judge.backend!r}{guess(self.judge.backend, self.backends)}"
            yield ("judge", "backend"), f"{told}; there are: {', '.join(self.backends)}"
        names = [c.name for c in self.contenders]
        if self.judge.against is not None and self.judge.against not in names:
            yield (
                ("judge", "against"),
                f"no contender is called {self.judge.against!r}; there are: {', '.join(names)}",
            )

    @classmethod
    def load(cls, path: str | Path) -> Experiment:
        """Read and validate an experiment file. Raises ExperimentError with every fault and its line."""
        path = Path(path)
        return cls.parse(read_text(path), path=path)

    @classmethod
    def parse(cls, text: str, *, path: Path) -> Experiment:
        """Validate YAML text; `path` names it in errors and anchors relative paths."""
        tree, lines = parse_yaml(text, path)
        try:
            experiment = cls.model_validate(tree)
        except ValidationError as error:
            raise ExperimentError(faults(error, cls, lines, path)) from None
        experiment._folder = path.parent
        return experiment

    def resolve(self, path: str) -> Path:
        """A path of the experiment file, relative to that file."""
        return Path(os.path.normpath(self._folder / Path(path).expanduser()))

    @cached_property
    def placeholders(self) -> Placeholders:
        """Which personal value stands behind which placeholder, where `personal_data` is redact."""
        from validators.redaction import Placeholders

        return Placeholders()

    @property
    def folder(self) -> Path:
        """The folder of the experiment file."""
        return self._folder

    def backend_of(self, contender: Contender) -> Backend:
        """The backend settings of a contender: the one it names, else the first; a tuned model's tokens at their price."""
        backend = self.backends[contender.backend or next(iter(self.backends))]
        if isinstance(contender, Hosted) and isinstance(backend, OpenAIBackend):
            return at_tuned_price(backend, contender)
        return backend

    @property
    def primary(self) -> str:
        """The metric that decides."""
        return self.metrics.primary or TASK_METRICS[self.task][0]

    @property
    def metric_names(self) -> tuple[str, ...]:
        """All metrics, the primary first, none twice."""
        ranked = self.data.sources is not None and any(map(retrieves, self.contenders))
        usual = (*TASK_METRICS[self.task][1], *(RANKED if ranked else ()))
        return tuple(
            dict.fromkeys((self.primary, *(usual if self.metrics.also is None else self.metrics.also)))
        )

    def metric(self, name: str) -> Metric:
        """A metric's entry: of the table, or the experiment's own."""
        own = self.metrics.own.get(name)
        if own is None:
            return METRICS[name]
        from metrics.own import own_metric

        return own_metric(
            name, self.resolve(own.file), scale=own.scale, higher_is_better=own.higher_is_better
        )

    def options_of(self, name: str) -> dict[str, Any]:
        """A metric's options; the JSON Schema of `schema_match` may be named by its file."""
        options = dict(self.metrics.options.get(name, {}))
        if name == "schema_match" and isinstance(options.get("schema"), str):
            options["schema"] = read_schema(self.resolve(options["schema"]))
        return options

    @property
    def deciding(self) -> dict[str, Any]:
        """What is on record before the first test answer: margins, prices, and the metric that decides."""
        decision = self.decision.model_dump(mode="json")
        return decision | {
            "primary": self.primary,
            "primary_options": self.metrics.options.get(self.primary, {}),
        }

    @property
    def equivalent_within(self) -> float:
        """How close counts as the same; the margin itself where not given."""
        e = self.decision.equivalent_within
        return self.decision.worth_it if e is None else e


def read_schema(path: Path) -> dict[str, Any]:
    """Read a JSON Schema. Raises ExperimentError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ExperimentError(f"{path}: the JSON Schema cannot be read ({why}).") from None
    if not isinstance(found, dict):
        raise ExperimentError(f"{path}: a JSON Schema is an object, this is a {type(found).__name__}.")
    return found


def asked_of(backend: Backend) -> dict[str, Any]:
    """A backend's settings without what changes no answer: prices, budgets, keys, how many at once and how long."""
    return backend.model_dump(mode="json", exclude=_CHANGES_NO_ANSWER)


def stored_experiment(run: Run) -> Experiment | None:
    """The experiment as it was run last, its paths read from the run folder; None where that holds none.

    Raises ExperimentError.
    """
    text = run.experiment_text()
    return None if text is None else Experiment.parse(text, path=run.folder / "experiment.yaml")


def readable_experiment(run: Run) -> Experiment | None:
    """The same; None too for one that this version does not read."""
    try:
        return stored_experiment(run)
    except ExperimentError:
        return None


def settings_hash(*parts: object) -> str:
    """sha256 (hex) of settings as canonical JSON; pydantic models count by their full contents."""
    plain = [p.model_dump(mode="json") if isinstance(p, BaseModel) else p for p in parts]
    text = json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()
