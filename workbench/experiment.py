"""The experiment file: YAML in, one frozen pydantic model out, all faults at once.

Unknown keys, wrong types and impossible combinations are found here, before anything is spent.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from metrics import METRICS

from .experiment_file import ExperimentError as ExperimentError
from .experiment_file import Place, faults, guess, parse_yaml
from .experiment_file import read_text as read_text

Task = Literal["classification", "extraction", "qa", "generation", "tools"]

# What "better" means where the experiment does not say: (primary, also).
TASK_METRICS: dict[str, tuple[str, tuple[str, ...]]] = {
    "classification": ("exact_match", ("macro_f1", "perplexity")),
    "extraction": ("token_f1", ("exact_match", "perplexity")),
    "qa": ("token_f1", ("exact_match", "rouge_l", "perplexity")),
    "generation": ("rouge_l", ("chrf", "bleu", "perplexity")),
    "tools": ("exact_match", ("token_f1", "perplexity")),
}

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
USD = Annotated[float, Field(ge=0.0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Columns(_Part):
    """How a table row becomes a chat: an input column or a template, and an output column."""

    input: str | None = None
    output: str
    template: str | None = None
    system: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Columns:
        if (self.input is None) == (self.template is None):
            raise ValueError("give either input (a column name) or template (text with {column} places)")
        return self


class Split(_Part):
    """How samples are divided; groups and duplicates never straddle a border."""

    dev: Fraction = 0.1
    test: Fraction = 0.2
    folds: int | None = None
    group_by: str | None = None
    stratify: bool = True
    seed: int = 7

    @model_validator(mode="after")
    def _possible(self) -> Split:
        if self.test <= 0:
            raise ValueError("test must be over 0: without a test split nothing can be decided")
        if self.dev + self.test >= 1:
            raise ValueError(f"dev {self.dev} and test {self.test} leave nothing to train on")
        if self.folds is not None:
            raise ValueError("folds (cross-fitting) is not supported yet; leave it null")
        return self


class Data(_Part):
    """Where the data lies and what in it is asked for."""

    path: str | None = None
    train: str | None = None
    dev: str | None = None
    test: str | None = None
    columns: Columns | None = None
    answer: Literal["last", "all"] | int = "last"
    references: str | None = None
    slices: tuple[str, ...] = ()
    split: Split = Split()
    corpus: str | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Data:
        if self.path is None and (self.train is None or self.test is None):
            raise ValueError("give path, or train and test (and dev) one by one")
        if self.path is not None and (self.train or self.dev or self.test):
            raise ValueError("give either path or train/dev/test, not both")
        return self

    @property
    def files(self) -> dict[str, str]:
        """The named files, by split ("all" for one file to be divided)."""
        if self.path is not None:
            return {"all": self.path}
        named = {"train": self.train, "dev": self.dev, "test": self.test}
        return {split: path for split, path in named.items() if path is not None}


class Lint(_Part):
    """What the run's own lint looks for."""

    target: str = "generic"
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()


class _Backend(_Part):
    model: str
    max_new_tokens: Annotated[int, Field(gt=0)] = 64
    price: tuple[USD, USD] | None = None
    """USD per million prompt and completion tokens, where the price is known."""


class HfBackend(_Backend):
    """A local causal language model through transformers."""

    kind: Literal["hf"]
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    batch_size: Annotated[int, Field(gt=0)] = 16


class OpenAIBackend(_Backend):
    """Any server that speaks the OpenAI chat protocol."""

    kind: Literal["openai"]
    base_url: str | None = None
    api_key_env: str = "OPENAI_API_KEY"
    concurrency: Annotated[int, Field(gt=0, le=256)] = 8


class EchoBackend(_Backend):
    """Answers with the last user message; for tests and dry runs of a pipeline."""

    kind: Literal["echo"]
    model: str = "echo"


class ReplayBackend(_Backend):
    """Answers from a JSONL file of {input, answer} rows."""

    kind: Literal["replay"]
    model: str = "replay"
    path: str


Backend = Annotated[HfBackend | OpenAIBackend | EchoBackend | ReplayBackend, Field(discriminator="kind")]


class _Contender(_Part):
    name: Name
    backend: str | None = None


class Prompting(_Contender):
    """Zero-shot: the messages as they are, or with another system prompt."""

    kind: Literal["prompting"]
    system: str | None = None


class FewShot(_Contender):
    """Training examples shown before the question."""

    kind: Literal["few-shot"]
    examples: Annotated[int, Field(gt=0, le=64)] = 8
    choose: Literal["random", "stratified", "similar"] = "similar"
    system: str | None = None


class Rag(_Contender):
    """Passages of the corpus put before the question, and `examples` answered with theirs before it."""

    kind: Literal["rag"]
    top_k: Annotated[int, Field(gt=0, le=50)] = 4
    retriever: Literal["bm25", "dense", "hybrid"] = "hybrid"
    examples: Annotated[int, Field(ge=0, le=64)] = 0
    system: str | None = None


class FineTuned(_Contender):
    """A LoRA adapter trained on the training split, or one brought along."""

    kind: Literal["fine-tuned"]
    adapter: str | None = None
    method: Literal["lora"] = "lora"
    epochs: Annotated[float, Field(gt=0)] = 2
    learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    rank: Annotated[int, Field(gt=0)] = 16
    alpha: Annotated[int, Field(gt=0)] = 32
    batch_size: Annotated[int, Field(gt=0)] = 8
    max_length: Annotated[int, Field(gt=0)] = 1024
    seed: int = 7


class Brought(_Contender):
    """Answers made elsewhere, matched to the test samples by id or input."""

    kind: Literal["predictions"]
    path: str
    tuned: bool = False
    usd_per_1000: USD | None = None


Contender = Annotated[Prompting | FewShot | Rag | FineTuned | Brought, Field(discriminator="kind")]


class Metrics(_Part):
    """Which scores are shown; the primary one decides."""

    primary: str | None = None
    also: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _known(self) -> Metrics:
        named = (*((self.primary,) if self.primary else ()), *(self.also or ()))
        unknown = [f"unknown metric {name!r}{guess(name, METRICS)}" for name in named if name not in METRICS]
        if unknown:
            raise ValueError(f"{'; '.join(unknown)}. Known: {', '.join(METRICS)}")
        return self


class Costs(_Part):
    """What tuning takes besides tokens."""

    data_usd: USD = 0
    labour_usd: USD = 0
    gpu_usd_per_hour: USD = 0
    hosting_usd_per_hour: USD = 0


class Decision(_Part):
    """When a gain would justify tuning."""

    worth_it: Annotated[float, Field(ge=0)] = 0.05
    equivalent_within: Annotated[float, Field(ge=0)] | None = None
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    requests_per_month: Annotated[float, Field(ge=0)] = 50_000
    horizon_months: Annotated[float, Field(gt=0)] = 12
    budget_usd: USD | None = None
    costs: Costs = Costs()
    value_per_point: float | None = None
    date: str | None = None

    @field_validator("date", mode="before")
    @classmethod
    def _a_day(cls, value: object) -> object:
        """A day as text; YAML itself reads 2026-11-20 as a date."""
        if isinstance(value, datetime.date):
            return value.strftime("%Y-%m-%d")
        if isinstance(value, str):
            try:
                return datetime.date.fromisoformat(value).isoformat()
            except ValueError:
                raise ValueError("write the day as YYYY-MM-DD") from None
        return value


class Experiment(_Part):
    """One experiment file, validated. `folder` is where its relative paths start."""

    name: Name
    task: Task = "generation"
    data: Data
    lint: Lint = Lint()
    backends: Annotated[dict[Name, Backend], Field(min_length=1)] = {
        "local": HfBackend(kind="hf", model="smollm2-135m-instruct")
    }
    contenders: Annotated[tuple[Contender, ...], Field(min_length=1)]
    metrics: Metrics = Metrics()
    decision: Decision = Decision()
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
            if isinstance(contender, Rag) and self.data.corpus is None:
                yield place, f"contender {name!r} retrieves, but data.corpus names no documents"

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

    @property
    def folder(self) -> Path:
        """The folder of the experiment file."""
        return self._folder

    def backend_of(self, contender: _Contender) -> Backend:
        """The backend settings of a contender: the one it names, else the first."""
        return self.backends[contender.backend or next(iter(self.backends))]

    @property
    def primary(self) -> str:
        """The metric that decides."""
        return self.metrics.primary or TASK_METRICS[self.task][0]

    @property
    def metric_names(self) -> tuple[str, ...]:
        """All metrics, the primary first, none twice."""
        also = self.metrics.also if self.metrics.also is not None else TASK_METRICS[self.task][1]
        return tuple(dict.fromkeys((self.primary, *also)))

    @property
    def equivalent_within(self) -> float:
        """How close counts as the same; the margin itself where not given."""
        e = self.decision.equivalent_within
        return self.decision.worth_it if e is None else e


def asked_of(backend: Backend) -> dict[str, Any]:
    """A backend's settings without what changes no answer: a price, a key's name, how many at once."""
    return backend.model_dump(mode="json", exclude={"price", "api_key_env", "concurrency"})


def settings_hash(*parts: object) -> str:
    """sha256 (hex) of settings as canonical JSON; pydantic models count by their full contents."""
    plain = [p.model_dump(mode="json") if isinstance(p, BaseModel) else p for p in parts]
    text = json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()
