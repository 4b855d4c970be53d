"""Backends and contenders as an experiment file states them. A new kind is a class and its place in the union."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
USD = Annotated[float, Field(ge=0.0)]


class Part(BaseModel):
    """A section of the file: unknown keys are faults."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


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


class _Contender(Part):
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
    seeds: Annotated[int, Field(ge=1, le=10)] = 1
    """Trainings, each from its own seed: `seed`, `seed + 1`, …; from three on the interval takes them in."""


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


Contender = Annotated[Prompting | FewShot | Rag | FineTuned | Brought, Field(discriminator="kind")]
