"""Tokenizers behind one face: OpenAI encodings by tiktoken, everything else by its Hugging Face tokenizer.

`count_example` is what a provider bills or a context window holds for one chat example.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from .assets import ASSETS, AssetError, require, resolve_model, use_tiktoken_vocabularies
from .examples import Example, Message

OPENAI_ENCODINGS = ("o200k_base", "cl100k_base")


class TokenizerError(ValueError):
    """A tokenizer or its chat template cannot serve these messages; says which and why."""


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
    """An OpenAI encoding with the published chat formula (3 an example, 3 a message, 1 a name)."""

    name: str
    encoding: Any
    kind: Literal["tiktoken"] = "tiktoken"
    exact: bool = True

    def count_text(self, text: str) -> int:
        """Tokens of bare text; control tokens in it count as text."""
        return len(self.encoding.encode_ordinary(text))

    def count_example(self, example: Example) -> int:
        """Tokens by the chat formula; tool calls and definitions count as their JSON text (an estimate)."""
        total = 3 + sum(self._count_message(message) for message in example.messages)
        return total + sum(self.count_text(_compact(tool)) for tool in example.tools)

    def _count_message(self, message: Message) -> int:
        total = 3 + self.count_text(message.role) + self.count_text(message.text)
        if message.name:
            total += 1 + self.count_text(message.name)
        return total + sum(
            self.count_text(call.name) + self.count_text(call.arguments) for call in message.tool_calls
        )


@dataclass(frozen=True, slots=True)
class HuggingFaceTokenizer:
    """A transformers tokenizer with its chat template, loaded from a local folder."""

    name: str
    tokenizer: Any
    kind: Literal["huggingface"] = "huggingface"
    exact: bool = True

    def count_text(self, text: str) -> int:
        """Tokens of bare text; control tokens in it count as text."""
        return len(self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))

    def count_example(self, example: Example) -> int:
        """Tokens of the example as the chat template writes it."""
        return len(self.text_ids(self.render(example.messages, tools=example.tools)))

    def text_ids(self, text: str) -> list[int]:
        """Token ids of rendered text: the template has written its own BOS, so none is added."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Iterable[dict[str, Any]] = (),
        generation_prompt: bool = False,
    ) -> str:
        """The chat template applied to messages, as text. Raises TokenizerError."""
        if not self.tokenizer.chat_template:
            raise TokenizerError(
                f"{self.name} has no chat template, so chat messages cannot be put to it. Use an instruct model, "
                "or add chat_template.jinja to the model's folder."
            )
        plain = [template_message(m) for m in messages]
        try:
            text = self._apply([_with_objects(m) for m in plain], tools, generation_prompt)
        except Exception:  # most templates want a call's arguments as an object, a few as JSON text
            try:
                text = self._apply(plain, tools, generation_prompt)
            except Exception as error:  # templates raise jinja's own errors, each with the template's words
                roles = ", ".join(m.role for m in messages)
                raise TokenizerError(
                    f"the chat template of {self.name} refuses the roles {roles}: {error}"
                ) from error
        if any(m.text.strip() not in text for m in messages if m.role == "user"):
            raise TokenizerError(
                f"the chat template of {self.name} leaves out the text of user messages (it may expect images). "
                "Use a template for text."
            )
        return text

    def _apply(
        self, messages: list[dict[str, Any]], tools: Iterable[dict[str, Any]], generation_prompt: bool
    ) -> str:
        text: str = self.tokenizer.apply_chat_template(
            messages, tools=list(tools) or None, tokenize=False, add_generation_prompt=generation_prompt
        )
        return text

    def prompt_ids(self, messages: Sequence[Message], *, tools: Iterable[dict[str, Any]] = ()) -> list[int]:
        """Token ids of a prompt that ends where the assistant's answer begins."""
        return self.text_ids(self.render(messages, tools=tools, generation_prompt=True))


def template_message(message: Message) -> dict[str, Any]:
    """A message as chat templates expect it: no training weight, text content as one string."""
    plain = {k: v for k, v in message.as_dict().items() if k != "weight" and v is not None}
    return {**plain, "content": message.text}


def _with_objects(message: dict[str, Any]) -> dict[str, Any]:
    """The message with the arguments of its tool calls decoded, where they are JSON objects."""
    if "tool_calls" not in message:
        return message
    calls = []
    for call in message["tool_calls"]:
        try:
            arguments = json.loads(call["function"]["arguments"])
        except ValueError:
            arguments = None
        function = call["function"] | ({"arguments": arguments} if isinstance(arguments, dict) else {})
        calls.append(call | {"function": function})
    return message | {"tool_calls": calls}


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
