"""The sections of an experiment file beside backends and contenders: data, metrics, judge, decision."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from metrics import METRICS

from .experiment_file import guess
from .settings import USD, Name, Part, plain_address

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Tracker = Literal["tensorboard", "wandb"]


class Columns(Part):
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


class Split(Part):
    """How samples are divided; groups and duplicates never straddle a border."""

    dev: Fraction = 0.1
    test: Fraction = 0.2
    folds: Annotated[int, Field(ge=2, le=20)] | None = None
    """Cross-fitting: every sample is tested once, by contenders fitted on the other folds; `test` is then unused."""
    group_by: str | None = None
    stratify: bool = True
    drop_leaked: bool = False
    """Leave out dev and test rows that stand in an earlier split too, instead of refusing the data."""
    seed: int = 7

    @model_validator(mode="after")
    def _possible(self) -> Split:
        if self.test <= 0:
            raise ValueError("test must be over 0: without a test split nothing can be decided")
        if self.dev + self.test >= 1:
            raise ValueError(f"dev {self.dev} and test {self.test} leave nothing to train on")
        return self


class Data(Part):
    """Where the data lies and what in it is asked for."""

    path: str | None = None
    train: str | None = None
    dev: str | None = None
    test: str | None = None
    columns: Columns | None = None
    answer: Literal["last", "all"] | int = "last"
    references: str | None = None
    slices: tuple[str, ...] = ()
    sources: str | None = None
    """Where a row names the documents that answer it, for the retrieval metrics."""
    split: Split = Split()
    corpus: str | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Data:
        if self.path is None and self.test is None:
            raise ValueError("give path, or test (and train and dev) one by one")
        if self.split.folds is not None and self.path is None:
            raise ValueError("split.folds divides one file: give path, not train and test")
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


class EmbeddingEndpoint(Part):
    """A server that gives vectors by the OpenAI embeddings protocol; without `base_url` OpenAI's own."""

    base_url: str | None = None
    model: str
    api_key_env: str = "OPENAI_API_KEY"
    price: USD | None = None
    """USD per million tokens."""

    @field_validator("base_url")
    @classmethod
    def _no_secret(cls, url: str | None) -> str | None:
        return plain_address(url)


class Retrieval(Part):
    """How the corpus is cut, embedded and searched; the embedder also chooses `similar` examples."""

    embedder: str | EmbeddingEndpoint = "minilm-l6-v2"
    """The embedded MiniLM, a folder or hub id of a sentence-transformers model, or an endpoint."""
    chunk_words: Annotated[int, Field(gt=0, le=10_000)] = 120
    chunk_overlap: Annotated[int, Field(ge=0)] = 0
    """Words of a piece that the next one begins with."""
    qdrant: str | None = None
    """The address of a Qdrant server; without one the search runs in this process."""
    qdrant_api_key_env: str = "QDRANT_API_KEY"

    @field_validator("qdrant")
    @classmethod
    def _no_secret(cls, url: str | None) -> str | None:
        return plain_address(url)

    @model_validator(mode="after")
    def _moves_on(self) -> Retrieval:
        if 2 * self.chunk_overlap > self.chunk_words:
            raise ValueError(
                "chunk_overlap is at most half of chunk_words: pieces would be mostly repetition"
            )
        return self


class Lint(Part):
    """What the run's own lint looks for."""

    target: str = "generic"
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()


class OwnMetric(Part):
    """A metric in a Python file of yours: `score(prediction, references) -> float`, averaged over the samples."""

    file: str
    scale: Literal["0-1", "0-100", "from 0", "any"] = "0-1"
    higher_is_better: bool = True


class Metrics(Part):
    """Which scores are shown; the primary one decides."""

    primary: str | None = None
    also: tuple[str, ...] | None = None
    options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """A metric's own options: `{rouge_l: {tokenize: characters}}`."""
    own: dict[Name, OwnMetric] = Field(default_factory=dict)

    @field_validator("options", mode="before")
    @classmethod
    def _keys_of_text(cls, options: object) -> object:
        """YAML reads the keys yes, no and 1 as no text: as labels they would never be found again."""
        odd = next(_odd_keys(options), None)
        if odd is not None:
            key, place = odd
            raise ValueError(f"{place}: YAML reads the key as {key!r}, which is no text; put it in quotes")
        return options

    @model_validator(mode="after")
    def _known(self) -> Metrics:
        taken = [name for name in self.own if name in METRICS]
        if taken:
            raise ValueError(f"own metric {taken[0]!r} has the name of a built-in one; choose another")
        known = [*METRICS, *self.own]
        named = (*((self.primary,) if self.primary else ()), *(self.also or ()), *self.options)
        unknown = [f"unknown metric {name!r}{guess(name, known)}" for name in named if name not in known]
        if unknown:
            raise ValueError(f"{'; '.join(unknown)}. Known: {', '.join(known)}")
        return self


def _odd_keys(value: object, place: str = "") -> Iterator[tuple[object, str]]:
    """Keys that are no text, however deep, each with the place of its mapping."""
    if isinstance(value, list):
        for one in value:
            yield from _odd_keys(one, place)
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                yield key, place or "options"
            yield from _odd_keys(inner, f"{place}.{key}".lstrip("."))


class Judge(Part):
    """A language model that rates answers: what `metrics: judge` is measured by."""

    backend: str
    mode: Literal["pointwise", "pairwise"] = "pointwise"
    rubric: str | None = None
    against: str | None = None
    """pairwise: the contender that all others are held against; the first untuned one where not named."""
    repeats: Annotated[int, Field(ge=1, le=10)] = 1


class LearningCurve(Part):
    """Tune on nested parts of the training split too, to see what more data would bring."""

    fractions: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=3)] = (
        0.1,
        0.25,
        0.5,
        1.0,
    )
    seeds: Annotated[int, Field(ge=1, le=10)] = 1

    @field_validator("fractions")
    @classmethod
    def _rising_to_all(cls, fractions: tuple[float, ...]) -> tuple[float, ...]:
        if list(fractions) != sorted(set(fractions)) or fractions[-1] != 1.0:
            raise ValueError("fractions rise, none twice, and end in 1.0 (the whole training split)")
        return fractions


class Launch(Part):
    """How trainings here are run."""

    processes: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes on this machine that share each training step, a GPU each where there are some."""


class Costs(Part):
    """What tuning takes besides tokens."""

    data_usd: USD = 0
    labour_usd: USD = 0
    gpu_usd_per_hour: USD = 0
    hosting_usd_per_hour: USD = 0


class Decision(Part):
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
