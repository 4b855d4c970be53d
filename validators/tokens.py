"""Tokenizers behind one face: OpenAI encodings by tiktoken, everything else by its Hugging Face tokenizer.

`count_example` is what a provider bills or a context window holds for one chat example.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from .assets import ASSETS, AssetError, require, resolve_model, use_tiktoken_vocabularies
from .chat_templates import HuggingFaceTokenizer, TokenizerError, template_message
from .examples import Example
from .fast_tokens import FastCounter, fast_counter
from .long_runs import ordinary_ids
from .orders import ROLES, SYSTEM, Orders

__all__ = [
    "HuggingFaceTokenizer",
    "OpenAITokenizer",
    "Tokenizer",
    "TokenizerError",
    "for_input",
    "load_hf_tokenizer",
    "load_tokenizer",
    "template_message",
]

# Each with the name of its vocabulary file in tiktoken's cache, where it has one of its own.
OPENAI_ENCODINGS = {
    "o200k_base": "fb374d419588a4632f3f557e76b4b70aebbca790",
    "cl100k_base": "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
    "o200k_harmony": "fb374d419588a4632f3f557e76b4b70aebbca790",
}

Span = tuple[int, int]

# The published chat formula.
_EXAMPLE, _MESSAGE, _NAME = 3, 3, 1
# Of a message's 3, those before its text; what follows the text ends the turn.
_BEFORE_TEXT = 2

# Counts of texts that come again, such as system prompts, are kept up to these numbers.
_KEPT_TEXTS, _KEPT_LENGTH = 2_000, 8_000


class Tokenizer(Protocol):
    """What lint, cost, backends and trainer need to know of a tokenizer."""

    @property
    def name(self) -> str:
        """The name it was asked for by."""
        ...

    @property
    def kind(self) -> Literal["tiktoken", "huggingface"]:
        """Which library counts."""
        ...

    @property
    def exact(self) -> bool:
        """Whether counts are the provider's own to the token."""
        ...

    def count_example(self, example: Example) -> int:
        """Tokens of the whole example, template included."""
        ...

    def count_text(self, text: str) -> int:
        """Tokens of bare text; control tokens in it count as text."""
        ...


@dataclass(frozen=True, slots=True)
class OpenAITokenizer:
    """An OpenAI encoding with the published chat formula.

    3 an example, 3 a message, the tokens of every string value of a message (role, content, name, the id of
    a tool's answer), 1 more for a name. The formula says nothing of tools: a call counts its name and
    arguments, a definition its compact JSON; pictures and sounds count nothing. Such rows are estimates
    (`is_estimate`).
    """

    name: str
    encoding: Any
    kind: Literal["tiktoken"] = "tiktoken"
    exact: bool = True
    fast: FastCounter | None = None
    _known: dict[str, int] = field(default_factory=dict, repr=False, compare=False)

    def count_text(self, text: str) -> int:
        """Tokens of bare text; control tokens in it count as text."""
        return len(ordinary_ids(self.encoding, text))

    def count_texts(self, texts: Sequence[str]) -> list[int]:
        """Tokens of many texts; those that come again are counted once."""
        known = self._known
        fresh = list({text: None for text in texts if text not in known})
        if self.fast is not None:
            counts = self.fast.count(fresh)
        else:
            counts = [len(ordinary_ids(self.encoding, text)) for text in fresh]
        new = dict(zip(fresh, counts, strict=True))
        for text in fresh:
            if len(known) >= _KEPT_TEXTS:
                break
            if len(text) <= _KEPT_LENGTH:
                known[text] = new[text]
        return [new[text] if text in new else known[text] for text in texts]

    def count_example(self, example: Example) -> int:
        """Tokens by the chat formula; tool calls and definitions by the stated rule."""
        return self.count_examples([example])[0]

    def count_examples(self, examples: Sequence[Example]) -> list[int]:
        """Tokens of each example."""
        return [total for total, _ in self.measure(examples)]

    def measure(self, examples: Sequence[Example]) -> list[tuple[int, list[int]]]:
        """Tokens of each example, and of each of its replies that trains."""
        texts: list[str] = []
        rows: list[tuple[int, int, list[Span]]] = []
        for example in examples:
            fixed = _EXAMPLE + _MESSAGE * len(example.messages)
            replies: list[Span] = []
            for message in example.messages:
                begin = len(texts) + 1
                texts += (message.role, message.content if isinstance(message.content, str) else message.text)
                if message.tool_calls:
                    for call in message.tool_calls:
                        texts += (call.name, call.arguments)
                if message.role == "assistant" and message.weight != 0:
                    replies.append((begin, len(texts)))
                if message.name:
                    fixed += _NAME
                    texts.append(message.name)
                if message.tool_call_id:
                    texts.append(message.tool_call_id)
            if example.tools:
                texts += map(_compact, example.tools)
            rows.append((fixed, len(texts), replies))
        counts = self.count_texts(texts)
        measured, begin = [], 0
        for fixed, end, replies in rows:
            measured.append((fixed + sum(counts[begin:end]), [sum(counts[a:b]) for a, b in replies]))
            begin = end
        return measured

    def measure_chats(self, texts: Sequence[str], orders: Orders, odd: bool = True) -> tuple[Any, Any]:
        """Tokens of each of many plain chats (int64), and of each of their replies, in order.

        `texts` are those of all messages, one after the other. Not `odd`: they have none of the characters
        that the fast counter is known to take otherwise.
        """
        import numpy as np

        counts = np.empty(len(texts), np.int64)
        # System prompts come again and again; of other texts the fast counter is done before that is known.
        fast = self.fast
        often = orders.said_by(*(ROLES if fast is None else SYSTEM))
        counts[often] = self.count_texts([texts[i] for i in often.nonzero()[0].tolist()])
        if fast is not None:
            counts[~often] = fast.count([texts[i] for i in (~often).nonzero()[0].tolist()], odd)
        of_role = dict(zip(ROLES, self.count_texts(ROLES), strict=True))
        fixed = [_EXAMPLE + sum(_MESSAGE + of_role[role] for role in order) for order in orders.known]
        lengths = np.add.reduceat(counts, orders.begins()) + orders.of_each(fixed)
        return lengths, counts[orders.said_by("assistant")]

    def reply_spans(self, example: Example) -> list[tuple[int, int]]:
        """Where the replies that train stand among the example's tokens, by the formula, as [from, to)."""
        position = sum(self.count_texts([_compact(tool) for tool in example.tools]))
        spans = []
        for message in example.messages:
            role, text, *named = self.count_texts(
                [message.role, message.text, *filter(None, (message.name, message.tool_call_id))]
            )
            calls = sum(
                self.count_texts([t for call in message.tool_calls for t in (call.name, call.arguments)])
            )
            begin = position + _BEFORE_TEXT + role + sum(named) + (_NAME if message.name else 0)
            position = begin + text + calls + _MESSAGE - _BEFORE_TEXT
            if message.role == "assistant" and message.weight != 0:
                spans.append((begin, begin + text + calls))
        return spans


def is_estimate(tokenizer: Tokenizer, example: Example) -> bool:
    """Whether an example's count rests on a rule that the provider has not published."""
    if tokenizer.kind == "huggingface":
        return not tokenizer.exact
    return (
        not tokenizer.exact
        or bool(example.tools)
        or any(
            m.tool_calls or (isinstance(m.content, tuple) and any(p.get("type") != "text" for p in m.content))
            for m in example.messages
        )
    )


def for_input(tokenizer: Tokenizer, input_bytes: int) -> Tokenizer:
    """The tokenizer with the fast counter, where the input is large enough and the extra `fast` is there."""
    if not isinstance(tokenizer, OpenAITokenizer) or tokenizer.fast is not None:
        return tokenizer
    file = OPENAI_ENCODINGS.get(getattr(tokenizer.encoding, "name", ""))
    vocabulary = Path(os.environ.get("TIKTOKEN_CACHE_DIR", "")) / (file or "")
    if file is None or not vocabulary.is_file():
        return tokenizer
    fast = fast_counter(tokenizer.encoding, str(vocabulary), input_bytes)
    return dataclasses.replace(tokenizer, fast=fast) if fast else tokenizer


def load_tokenizer(name: str, *, base: Path | None = None, offline: bool = False) -> Tokenizer:
    """Load a tokenizer by an OpenAI encoding or model name, an embedded model, a folder or a hub id.

    Raises AssetError (not to be had) with what to do.
    """
    if name in ASSETS or "/" in name or Path(name).expanduser().is_dir():
        return load_hf_tokenizer(name, resolve_model(name, base=base, offline=offline))
    import tiktoken

    # Model names carry their encoding in tiktoken itself; fine-tuned names keep the base in front.
    encoding = name
    if name not in OPENAI_ENCODINGS:
        try:
            encoding = tiktoken.encoding_name_for_model(
                name.split(":")[1] if name.startswith("ft:") else name
            )
        except KeyError:
            raise AssetError(
                f"unknown tokenizer {name!r}: not an OpenAI model or encoding ({', '.join(OPENAI_ENCODINGS)}), "
                f"not an embedded model ({', '.join(n for n in ASSETS if n != 'tiktoken')}), not a folder, "
                "not a hub id of the form owner/name."
            ) from None
    use_tiktoken_vocabularies(offline=offline)
    return OpenAITokenizer(name, tiktoken.get_encoding(encoding))


def load_hf_tokenizer(name: str, folder: Path) -> HuggingFaceTokenizer:
    """Load the tokenizer of a transformers folder. Raises AssetError."""
    transformers = require("transformers", f"the tokenizer of {name}", "local")
    try:
        return HuggingFaceTokenizer(name, transformers.AutoTokenizer.from_pretrained(folder))
    except (OSError, ValueError) as error:
        raise AssetError(f"{folder} holds no usable tokenizer: {error}") from error


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
