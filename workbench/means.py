"""What a plan can use of each backend without loading or asking a model: tokenizer, size, speed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from validators.assets import AssetError, resolve_model
from validators.examples import Example, Message
from validators.tokens import HuggingFaceTokenizer, TokenizerError, load_hf_tokenizer, load_tokenizer

from .forecast import Pace, Workload
from .models import pick_device, pick_dtype
from .records import Sample
from .settings import EchoBackend, HfBackend, OpenAIBackend, ReplayBackend
from .shapes import ModelSize, model_size

Count = Callable[[Sequence[Message], Sequence[dict[str, Any]]], int]
Speed = Callable[[str, str], float]
Measure = Callable[[Path, Workload], Pace | None]


@dataclass(frozen=True, slots=True)
class Means:
    """One backend as the plan sees it. `speed` is FLOP/s; None where no local model can be measured.

    `pace` measures a training of the model in `folder`.
    """

    model: str
    count: Count
    exact: bool
    model_free: bool = False
    tokenizer: HuggingFaceTokenizer | None = None
    size: ModelSize | None = None
    speed: float | None = None
    dtype: str = "float32"
    device: str | None = None
    folder: Path | None = None
    pace: Measure | None = None
    notes: tuple[str, ...] = ()


def means_of(
    settings: HfBackend | OpenAIBackend | EchoBackend | ReplayBackend,
    *,
    base: Path,
    offline: bool,
    speed: Speed,
    pace: Measure,
) -> Means:
    """Look at a backend without a download. What is not here makes counts rough, with a note and its cure."""
    if isinstance(settings, HfBackend):
        return _local(settings, base, speed, pace)
    if isinstance(settings, OpenAIBackend):
        return _server(settings, offline)
    return Means(settings.model, count_words, exact=True, model_free=True)


def _local(settings: HfBackend, base: Path, speed: Speed, pace: Measure) -> Means:
    try:
        folder = resolve_model(settings.model, base=base, offline=True)
        tokenizer = load_hf_tokenizer(settings.model, folder)
    except AssetError as error:
        return Means(
            settings.model, count_bytes, exact=False, notes=(f"{error} Until then tokens are a guess.",)
        )

    def count(messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> int:
        return len(tokenizer.prompt_ids(messages, tools=tools))

    known: dict[str, Any] = {
        "tokenizer": tokenizer,
        "size": model_size(folder),
        "folder": folder,
        "pace": pace,
    }
    try:
        device = pick_device(settings.device)
        dtype = pick_dtype(settings.dtype, device)
        known |= {"device": device, "dtype": dtype, "speed": speed(device, dtype)}
    except (AssetError, RuntimeError) as error:
        return Means(settings.model, count, exact=True, **known, notes=(f"no estimate of time: {error}",))
    if known["size"] is None:
        note = f"{folder} does not tell the model's size (config.json, *.safetensors): no estimate of time and memory"
        return Means(settings.model, count, exact=True, **known, notes=(note,))
    return Means(settings.model, count, exact=True, **known)


def _server(settings: OpenAIBackend, offline: bool) -> Means:
    notes = ("--offline opens no connection, so this backend cannot answer",) if offline else ()
    try:
        tokenizer = load_tokenizer(settings.model, offline=True)
    except AssetError:
        note = f"no tokenizer of {settings.model} is here: tokens are a guess (a quarter of the bytes)"
        return Means(settings.model, count_bytes, exact=False, notes=(*notes, note))

    def count(messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> int:
        return tokenizer.count_example(Example(tuple(messages), tuple(tools)))

    return Means(settings.model, count, exact=tokenizer.exact, notes=notes)


def count_words(messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> int:
    """Words, which stand for tokens where no model is."""
    return sum(len(m.text.split()) for m in messages)


def count_bytes(messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> int:
    """A token every four bytes, and four around each message."""
    return sum(4 + len(m.text.encode("utf-8", "surrogatepass")) // 4 for m in messages) + sum(
        len(str(t)) // 4 for t in tools
    )


def count_prompt(means: Means, sample: Sample, messages: Sequence[Message]) -> int | None:
    """Tokens of a prompt; None where the chat template refuses it (its answer will be an error row)."""
    try:
        return means.count(messages, sample.tools)
    except TokenizerError:
        return None
