"""Backends and contenders as an experiment file states them. A new kind is a class and its place in the union."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from .recipe import Recipe

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
USD = Annotated[float, Field(ge=0.0)]
T = TypeVar("T")
# An option: one value, or several of which the best on dev is kept.
Options = Annotated[
    Annotated[T, Tag("one")] | Annotated[tuple[T, ...], Field(min_length=1), Tag("several")],
    Discriminator(lambda value: "several" if isinstance(value, list | tuple) else "one"),
]


def several(option: T | tuple[T, ...]) -> tuple[T, ...]:
    """All values of an option."""
    return option if isinstance(option, tuple) else (option,)


def one(option: T | tuple[T, ...]) -> T:
    """The value of an option after the choice on dev. Raises ValueError while several stand."""
    (value,) = several(option)
    return value


class Part(BaseModel):
    """A section of the file: unknown keys are faults."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, serialize_by_alias=True)


def plain_address(url: str | None) -> str | None:
    """The address, refused where it is none or holds a name or key: the file is copied into every run."""
    if url is None:
        return None
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no address: write http://HOST:PORT or https://HOST")
    if parts.username or parts.password or parts.query:
        raise ValueError("the address holds a name or key; put the key into an environment variable instead")
    return url


class _Backend(Part):
    model: str
    max_new_tokens: Annotated[int, Field(gt=0)] = 64
    price: tuple[USD, USD] | None = None
    """USD per million prompt and completion tokens, where the price is known."""
    cached_price: USD | None = None
    """USD per million prompt tokens that the server took from its cache."""


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
    api_key_file: str | None = None
    """Instead of the variable: read before every request, so that a run takes over a key that was changed."""
    concurrency: Annotated[int, Field(gt=0, le=256)] = 8
    """Requests under way at most; fewer where the server says 429."""
    api_version: str | None = None
    """Azure OpenAI's, as 2024-10-21: `base_url` is then the resource's address and `model` a deployment."""
    timeout_seconds: Annotated[float, Field(gt=0)] = 120.0
    """One request in all, however slowly its answer drips."""
    budget_usd: USD | None = None
    """What a run may spend on this model at this server, all its starts and the judge together."""
    budget_tokens: Annotated[int, Field(ge=0)] | None = None
    logprobs: bool = False
    """Keep the mean log-probability of each answer's tokens."""
    labels_by: Literal["json_schema", "structured_outputs", "guided_choice"] = "json_schema"
    """How `constrain: labels` is asked for: a JSON Schema (most servers), or vLLM's own (newer, older)."""
    response_schema: str | None = None
    """A JSON Schema file that every answer has to follow."""

    @model_validator(mode="after")
    def _affordable(self) -> OpenAIBackend:
        if self.budget_usd is not None and self.price is None:
            raise ValueError(
                "budget_usd needs price: [USD per million prompt tokens, per million completion tokens]"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _without_secrets(cls, given: Any) -> Any:
        # An experiment file is copied into the run folder: what is in it is no secret.
        given = given if isinstance(given, dict) else {}
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", str(given.get("api_key_env", "OPENAI_API_KEY"))):
            raise ValueError("api_key_env is the name of an environment variable, never the key itself")
        return given

    @field_validator("base_url")
    @classmethod
    def _no_secret(cls, url: str | None) -> str | None:
        return plain_address(url)


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


class _Contender(Part):
    name: Name
    backend: str | None = None
    constrain: Literal["labels"] | None = None
    """Hold the model to the answers that stand in the training split; for classification."""

    @property
    def diagnostic(self) -> bool:
        """Whether its scores explain others and never decide."""
        return False


class PromptFile(Part):
    """A system prompt that stands in a text file of its own."""

    file: str


class Prompted(_Contender):
    """A contender that asks an untuned model, under a system prompt of its own where it has one."""

    system: str | None = None
    systems: Annotated[tuple[str | PromptFile | None, ...], Field(min_length=1)] | None = None
    """System prompts of which the best on dev is kept; null is the data's own."""

    @model_validator(mode="after")
    def _one_system(self) -> Prompted:
        if self.system is not None and self.systems is not None:
            raise ValueError("give either system or systems (several, of which dev keeps the best), not both")
        return self


class Prompting(Prompted):
    """Zero-shot: the messages as they are, or with another system prompt."""

    kind: Literal["prompting"]


class FewShot(Prompted):
    """Training examples shown before the question."""

    kind: Literal["few-shot"]
    examples: Options[Annotated[int, Field(gt=0, le=64)]] = 8
    choose: Options[Literal["random", "stratified", "similar"]] = "similar"


TopK = Annotated[int, Field(gt=0, le=50)]
Retriever = Literal["bm25", "dense", "hybrid"]


class Rag(Prompted):
    """Passages of the corpus put before the question, and `examples` answered with theirs before it."""

    kind: Literal["rag"]
    top_k: Options[TopK] = 4
    retriever: Options[Retriever] = "hybrid"
    examples: Options[Annotated[int, Field(ge=0, le=64)]] = 0
    context: Literal["retrieved", "oracle", "none"] = "retrieved"
    """oracle shows the documents that answer (data.sources), none shows nothing: neither is a contender to win."""
    no_answer: Annotated[str, Field(min_length=1)] | None = None
    """What to say where the passages hold no answer."""
    citations: bool = False
    """Number the passages and ask which ones were used; the numbers are taken out of the answer."""

    @property
    def diagnostic(self) -> bool:
        """Whether it only tells failures of retrieval from those of generation."""
        return self.context != "retrieved"


class FineTuned(_Contender, Recipe):
    """A model trained on the training split, or an adapter brought along."""

    kind: Literal["fine-tuned"]
    adapter: str | None = None
    seeds: Annotated[int, Field(ge=1, le=10)] = 1
    """Trainings, each from its own seed: `seed`, `seed + 1`, …; from three on the interval takes them in."""
    with_: Annotated[Literal["rag"] | None, Field(alias="with")] = None
    """rag: trained on questions with passages before them, and asked with retrieved ones."""
    top_k: TopK = 4
    retriever: Retriever = "hybrid"
    distractors: Annotated[int, Field(ge=0, le=50)] | None = None
    """Retrieved passages beside the right one in a training row; top_k − 1 where not given."""
    no_answer: Annotated[str, Field(min_length=1)] | None = None
    citations: bool = False

    @model_validator(mode="after")
    def _one_adapter(self) -> FineTuned:
        if self.continue_from is not None and self.adapter is not None:
            raise ValueError("adapter is used as it is, continue_from trains one further: give one of them")
        return self

    @model_validator(mode="after")
    def _passages_need_rag(self) -> FineTuned:
        # By value: settings read back from a run folder name all of them.
        fields, names = (
            type(self).model_fields,
            ("top_k", "retriever", "distractors", "no_answer", "citations"),
        )
        given = [name for name in names if getattr(self, name) != fields[name].default]
        if self.with_ is None and given:
            raise ValueError(
                f"only a contender with: rag has passages: add it, or leave out {', '.join(given)}"
            )
        return self


# Of a hosted contender: what it is charged and where it is deployed change no answer.
PRICES = ("price", "training_price", "deployment")


class Hosted(_Contender):
    """A model that a provider tunes on the training split; its backend names the base model and the server."""

    kind: Literal["hosted"]
    epochs: Literal["auto"] | Annotated[int, Field(ge=1, le=50)] = "auto"
    batch_size: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    learning_rate_multiplier: Literal["auto"] | Annotated[float, Field(gt=0)] = "auto"
    suffix: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,18}$")] | None = None
    """A part of the tuned model's name; 18 letters, digits and hyphens are what every provider takes."""
    seed: int = 7
    from_: Annotated[str | None, Field(alias="from", min_length=1)] = None
    """An earlier tuned model to train on from, instead of the backend's model."""
    deployment: str | None = None
    """Azure: the deployment that answers, once the tuned model is deployed."""
    price: tuple[USD, USD] | None = None
    """USD per million prompt and completion tokens of the tuned model; the price registry's where not given."""
    training_price: USD | None = None
    """USD per million training tokens; the price registry's where not given."""


class Brought(_Contender):
    """Answers made elsewhere, matched to the test samples by id or input; several files are several seeds."""

    kind: Literal["predictions"]
    path: str | Annotated[tuple[str, ...], Field(min_length=1)]
    tuned: bool = False
    usd_per_1000: USD | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """The files, one a training seed."""
        return (self.path,) if isinstance(self.path, str) else self.path


Contender = Annotated[Prompting | FewShot | Rag | FineTuned | Hosted | Brought, Field(discriminator="kind")]


# Settings that may be lists; of their combinations dev keeps the best.
LISTED = ("examples", "choose", "top_k", "retriever")

# -- what a contender needs ------------------------------------------------------------------------------


def learns(contender: Contender) -> bool:
    """Whether a contender is fitted on rows: trained on them, shown some of them, or chosen by them."""
    return needs_train(contender) or chooses(contender)


def needs_train(contender: Contender) -> bool:
    """Whether a contender needs training rows."""
    return (
        isinstance(contender, FewShot)
        or contender.constrain is not None
        or isinstance(contender, Hosted)
        or (isinstance(contender, FineTuned) and contender.adapter is None)
        or (isinstance(contender, Rag) and any(several(contender.examples)))
    )


def chooses(contender: Contender) -> bool:
    """Whether a contender has options, of which dev keeps the best."""
    listed = (getattr(contender, name, None) for name in LISTED)
    return len(getattr(contender, "systems", None) or ()) > 1 or any(len(several(one)) > 1 for one in listed)


def retrieves(contender: Contender) -> bool:
    """Whether passages of the corpus stand in a contender's prompts."""
    if isinstance(contender, FineTuned):
        return contender.with_ == "rag"
    return isinstance(contender, Rag) and contender.context != "none"


def likens(contender: Contender) -> bool:
    """Whether it is shown the training questions that are most like the asked one."""
    if isinstance(contender, FewShot):
        return "similar" in several(contender.choose)
    return isinstance(contender, Rag) and any(several(contender.examples))


def embeds(contender: Contender) -> bool:
    """Whether it needs vectors: of similar questions, of passages unless words alone find them, of long right ones."""
    if likens(contender) or (isinstance(contender, Rag) and contender.context == "oracle"):
        return True
    return retrieves(contender) and set(several(getattr(contender, "retriever", "bm25"))) != {"bm25"}
