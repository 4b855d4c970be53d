"""A conversation as a Hugging Face chat template writes it, and its tokens.

Today's date is a fixed one (`TEMPLATE_DAY`), and control tokens in messages stay text (`control_tokens`).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from .control_tokens import (
    Controls,
    ControlTokenError,
    Kept,
    alias_tokenizer,
    controls_of,
    read_by_template,
    refuse_private,
)
from .examples import Example, Message
from .memory_limit import memory_limit
from .time_limit import TimeLimitError, time_limit

# What templates that print today's date fall back on where they are told none.
TEMPLATE_DAY = date(2024, 7, 26)

# A template is a stranger's program: for one conversation it gets so long and so much memory.
MOST_SECONDS = 20.0
MOST_CHARACTERS = 1 << 28
MOST_BYTES = 1 << 31


class TokenizerError(ValueError):
    """A tokenizer or its chat template cannot serve these messages; says which and why.

    `code` is the lint rule that reports it, where one does.
    """

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Script:
    """One conversation as its chat template writes it, whole or in part, ready to be tokenised.

    Where messages hold control tokens, written text has aliases for the template's own (`control_tokens`);
    `shown` puts the tokens back. `kept` says which control tokens of each message the template reads itself.
    """

    tokenizer: HuggingFaceTokenizer
    tools: tuple[dict[str, Any], ...]
    controls: Controls | None = None
    kept: Kept = ()

    def write(self, messages: Sequence[Message], *, generation_prompt: bool = False) -> str:
        """The first messages of the conversation, or others in their place, as text. Raises TokenizerError."""
        text = self.tokenizer.written(messages, self.tools, generation_prompt, self.controls, self.kept)
        return text if self.controls is None else self.controls.hidden(text)

    def shown(self, text: str) -> str:
        """Written text as it is without aliases."""
        return text if self.controls is None else self.controls.shown(text)

    def tokenise(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Token ids of written text, and the characters of each. Raises TokenizerError."""
        tokenizer = self.tokenizer.tokenizer
        text = _without_surrogates(text)
        if self.controls is None:
            encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
            return encoded["input_ids"], encoded["offset_mapping"]
        try:
            return alias_tokenizer(tokenizer).encode(text)
        except ControlTokenError as error:
            raise TokenizerError(f"{self.tokenizer.name}: {error}") from error

    def ends(self) -> tuple[str, ...]:
        """The texts that stand for one token each and may end a turn."""
        added = (str(token) for token in self.tokenizer.tokenizer.added_tokens_decoder.values())
        texts = tuple(text for text in added if text.strip())
        if self.controls is None:
            return texts
        hidden = set(self.controls.texts)
        return tuple(self.controls.alias(text) if text in hidden else text for text in texts)


@dataclass(frozen=True, slots=True)
class HuggingFaceTokenizer:
    """A transformers tokenizer with its chat template, loaded from a local folder.

    `day` is what a template that prints today's date is told: a count or a trained row must not change
    overnight.
    """

    name: str
    tokenizer: Any
    kind: Literal["huggingface"] = "huggingface"
    exact: bool = True
    day: date = TEMPLATE_DAY

    def count_text(self, text: str) -> int:
        """Tokens of bare text; control tokens in it count as text."""
        return len(self.plain_ids(text))

    def plain_ids(self, text: str) -> list[int]:
        """Token ids of bare text, control tokens in it split, no begin of text added."""
        ids: list[int] = self.tokenizer.encode(
            _without_surrogates(text), add_special_tokens=False, split_special_tokens=True
        )
        return ids

    def texts_of(self, ids: Sequence[int]) -> list[str]:
        """The text of each token; one that ends within a character is empty, the next has the whole of it."""
        texts: list[str] = []
        begin = done = 0
        for position in range(1, len(ids) + 1):
            before, now = self._decode(ids[begin:done]), self._decode(ids[begin:position])
            if now.endswith("\ufffd") and position < len(ids):
                texts.append("")
                continue
            texts.append(now[len(before) :])
            begin, done = done, position
        return texts

    def _decode(self, ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)
        return text

    def count_example(self, example: Example) -> int:
        """Tokens of the example as the chat template writes it."""
        script = self.script(example.messages, example.tools)
        return len(script.tokenise(script.write(example.messages))[0])

    def count_examples(self, examples: Sequence[Example]) -> list[int | None]:
        """Tokens of each example, None where the chat template refuses it."""
        return [self._count_or_none(example) for example in examples]

    def _count_or_none(self, example: Example) -> int | None:
        try:
            return self.count_example(example)
        except TokenizerError:
            return None

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Iterable[dict[str, Any]] = (),
        generation_prompt: bool = False,
    ) -> str:
        """The chat template applied to messages, as text. Raises TokenizerError."""
        script = self.script(messages, tools)
        return script.shown(script.write(messages, generation_prompt=generation_prompt))

    def prompt_ids(self, messages: Sequence[Message], *, tools: Iterable[dict[str, Any]] = ()) -> list[int]:
        """Token ids of a prompt that ends where the assistant's answer begins. Raises TokenizerError."""
        refuse_pictures(messages, self.name)
        script = self.script(messages, tools)
        return script.tokenise(script.write(messages, generation_prompt=True))[0]

    def script(self, messages: Sequence[Message], tools: Iterable[dict[str, Any]] = ()) -> Script:
        """The conversation with this template, control tokens in its text kept apart. Raises TokenizerError."""
        given = tuple(tools)
        controls = controls_of(self.tokenizer)
        plain = [_with_objects(template_message(m)) for m in messages]
        found = tuple(controls.within(m) for m in plain)
        if not any(found) and not controls.within(given):
            return Script(self, given)
        try:
            refuse_private((*plain, *given))
        except ControlTokenError as error:
            raise TokenizerError(f"{self.name}: {error}") from error

        def write(kept: Kept) -> str:
            return self.written(messages, given, False, controls, kept)

        kept = read_by_template(controls, found, str(self.tokenizer.chat_template), write)
        return Script(self, given, controls, kept)

    def written(
        self,
        messages: Sequence[Message],
        tools: tuple[dict[str, Any], ...],
        generation_prompt: bool,
        controls: Controls | None,
        kept: Kept,
    ) -> str:
        """The template's text, control tokens of messages as placeholders. Raises TokenizerError."""
        if not self.tokenizer.chat_template:
            raise TokenizerError(
                f"{self.name} has no chat template, so chat messages cannot be put to it. Use an instruct model, "
                "or add chat_template.jinja to the model's folder."
            )

        def marked(value: Any, index: int) -> Any:
            but = kept[index] if index < len(kept) else frozenset()
            return value if controls is None else controls.marked(value, but)

        plain = [template_message(m) for m in messages]
        given = [marked(tool, len(kept)) for tool in tools]
        # Most templates want a call's arguments as an object, a few as JSON text.
        objects = [marked(_with_objects(m), i) for i, m in enumerate(plain)]
        texts = [marked(m, i) for i, m in enumerate(plain)]
        try:
            text = self._apply(objects, given, generation_prompt)
        except TimeLimitError as error:
            raise TokenizerError(
                f"the chat template of {self.name} runs wild: {error}. Use another."
            ) from error
        except Exception:
            try:
                text = self._apply(texts, given, generation_prompt)
            except Exception as error:  # templates raise jinja's own errors, each with the template's words
                roles = ", ".join(m.role for m in messages)
                raise TokenizerError(
                    f"the chat template of {self.name} refuses the roles {roles}: {error}. Use a template that takes "
                    "them, or put a system text into the first question."
                ) from error
        if any(str(m["content"]).strip() not in text for m in texts if m["role"] == "user"):
            raise TokenizerError(
                f"the chat template of {self.name} leaves out the text of user messages (it may expect images). "
                "Use a template for text."
            )
        return text

    def _apply(
        self, messages: list[dict[str, Any]], tools: list[dict[str, Any]], generation_prompt: bool
    ) -> str:
        try:
            with time_limit(MOST_SECONDS), memory_limit(MOST_BYTES):
                text: str = self.tokenizer.apply_chat_template(
                    messages,
                    tools=tools or None,
                    chat_template=self._template(tools),
                    tokenize=False,
                    add_generation_prompt=generation_prompt,
                )
        except MemoryError:
            raise TimeLimitError(f"over {MOST_BYTES:,} bytes of memory for one conversation") from None
        if len(text) > MOST_CHARACTERS:
            raise TimeLimitError(f"{len(text):,} characters for one conversation")
        return text

    def _template(self, tools: list[dict[str, Any]]) -> str:
        """The template, which is told our day where it asks for today's date."""
        template: str = self.tokenizer.get_chat_template(tools=tools or None)
        return _calendar(self.day) + template if "strftime_now" in template else template


def refuse_pictures(messages: Sequence[Message], name: str) -> None:
    """Raise TokenizerError for parts that are no text: a text model would train and answer without them, unseen."""
    for index, message in enumerate(messages):
        for part in message.content if isinstance(message.content, tuple) else ():
            if part["type"] != "text":
                raise TokenizerError(
                    f"{name} is given text alone, and message {index} has a part of type {part['type']!r}. Ask a model that "
                    "takes such parts over a server (kind: openai), or take these rows out.",
                    "MASK003",
                )


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


@functools.lru_cache(maxsize=4)
def _calendar(day: date) -> str:
    """A Jinja macro that stands in for the function by which templates ask for today's date."""
    replaced = "".join(f"|replace('%{letter}','{day.strftime('%' + letter)}')" for letter in "aAbBdHIjmMpSyY")
    # The empty text keeps a newline at the template's start, which Jinja would take for the block's.
    return "{% macro strftime_now(form) %}{{ form" + replaced + " }}{% endmacro %}{{ '' }}"


def _without_surrogates(text: str) -> str:
    """The text with U+FFFD for each lone surrogate, as tiktoken reads it: no tokenizer takes them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
