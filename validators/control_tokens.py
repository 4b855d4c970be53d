"""Control tokens in the text of messages stay text; those that the chat template writes stay control tokens.

While a template is applied, each control token in a message is one placeholder character. Afterwards the
template's own control tokens get aliases that no text holds, and the placeholders become text again. A copy
of the tokenizer that knows its control tokens by their aliases alone then reads the whole in one piece, so
that every rule of the tokenizer about white space and neighbours holds as ever.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

# The two private-use planes: one character of each a control token.
_ALIASES = 0xF0000
_PLACEHOLDERS = 0x100000
_PLANE = 0xFFFE

# For each message, the control tokens in it that the template is to see.
Kept = tuple[frozenset[str], ...]


class ControlTokenError(ValueError):
    """Control tokens in text cannot be kept apart from the template's; says why."""


@dataclass(frozen=True, slots=True)
class Controls:
    """The control tokens of one tokenizer, the longest first."""

    texts: tuple[str, ...]
    pattern: re.Pattern[str]

    def within(self, value: Any) -> frozenset[str]:
        """The control tokens that stand in the strings of a value, at any depth."""
        return frozenset(found for text in _strings(value) for found in self.pattern.findall(text))

    def marked(self, value: Any, but: frozenset[str] = frozenset()) -> Any:
        """The value with a placeholder for each control token in its strings, except those of `but`."""
        if isinstance(value, str):
            return self.pattern.sub(lambda m: m[0] if m[0] in but else self._placeholder(m[0]), value)
        if isinstance(value, dict):
            return {self.marked(key, but): self.marked(item, but) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.marked(item, but) for item in value]
        return value

    def hidden(self, rendered: str) -> str:
        """Rendered text with the template's control tokens as aliases, and placeholders as text again."""
        text = self.pattern.sub(lambda m: self.alias(m[0]), rendered)
        for token in self.texts:
            placeholder = self._placeholder(token)
            for written in (placeholder, json.dumps(placeholder)[1:-1]):  # some templates escape their JSON
                text = text.replace(written, token)
        return text

    def shown(self, hidden: str) -> str:
        """Text with aliases as it is without them."""
        return _PRIVATE.sub(lambda run: self.texts[ord(run[0][0]) - _ALIASES] * self._times(run[0]), hidden)

    def alias(self, token: str) -> str:
        """What stands for a control token that the template wrote: as long as the token itself."""
        return chr(_ALIASES + self.texts.index(token)) * len(token)

    def _times(self, run: str) -> int:
        return len(run) // len(self.texts[ord(run[0]) - _ALIASES])

    def _placeholder(self, token: str) -> str:
        return chr(_PLACEHOLDERS + self.texts.index(token))


# Runs of one character: aliases are never broken up.
_PRIVATE = re.compile("([\U000f0000-\U000ffffd])\\1*")
_FOREIGN = re.compile("[\U000f0000-\U0010ffff]")


@functools.lru_cache(maxsize=4)
def controls_of(tokenizer: Any) -> Controls:
    """The control tokens of a transformers tokenizer: its special added tokens."""
    special = {t.content for t in tokenizer.added_tokens_decoder.values() if t.special and t.content.strip()}
    texts = tuple(sorted(special, key=lambda text: (-len(text), text)))[:_PLANE]
    return Controls(texts, re.compile("|".join(map(re.escape, texts)) or r"(?!)"))


def read_by_template(
    controls: Controls, found: Sequence[frozenset[str]], template: str, write: Callable[[Kept], str]
) -> Kept:
    """The control tokens in each message that the template itself reads, such as marks around reasoning.

    `found` are those of each message; `write(kept)` renders the conversation with all but `kept` as
    placeholders. A token is the template's to read where its source names it and where hiding it changes
    what is written.
    """
    named = tuple(frozenset(token for token in tokens if token in template) for tokens in found)
    none: Kept = tuple(frozenset() for _ in found)

    def shown(kept: Kept) -> str:
        return controls.shown(controls.hidden(write(kept)))

    try:
        whole = shown(named) if any(named) else ""
        if not any(named) or whole == shown(none):
            return none
    except Exception:  # a template may refuse a text for the control token in it: then it has to be hidden
        return none
    return tuple(
        frozenset(t for t in tokens if whole != shown((*named[:i], tokens - {t}, *named[i + 1 :])))
        for i, tokens in enumerate(named)
    )


class AliasTokenizer:
    """A copy of a fast tokenizer that knows its control tokens by their aliases alone."""

    def __init__(self, tokenizer: Any, controls: Controls) -> None:
        from tokenizers import Tokenizer

        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise ControlTokenError("a message holds a control token, and this tokenizer has no fast form")
        settings = json.loads(backend.to_str())
        settings["truncation"] = settings["padding"] = None
        known = {token["content"]: token["id"] for token in settings["added_tokens"]}
        for token in settings["added_tokens"]:
            if token["content"] in controls.texts:
                token["content"] = controls.alias(token["content"])
        self._tokenizer = Tokenizer.from_str(json.dumps(settings))
        names = {text: controls.alias(text) if text in controls.texts else text for text in known}
        # The copy may number its added tokens anew.
        self._ids = {self._tokenizer.token_to_id(names[text]): id for text, id in known.items()}
        unknown = tokenizer.unk_token_id
        self._control = {known[text] for text in controls.texts if text in known} - {unknown}
        self._aliased = {self._tokenizer.token_to_id(names[text]) for text in controls.texts if text in known}

    def encode(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids of text with aliases, and the characters of each. Raises ControlTokenError."""
        encoded = self._tokenizer.encode(text, add_special_tokens=False)
        if any(i in self._control and i not in self._aliased for i in encoded.ids):
            raise ControlTokenError("the tokenizer makes a control token of plain text")
        return [self._ids.get(i, i) for i in encoded.ids], list(encoded.offsets)


@functools.lru_cache(maxsize=2)
def alias_tokenizer(tokenizer: Any) -> AliasTokenizer:
    """The copy of a tokenizer for rows with control tokens in their text; made once, since it is slow to make."""
    return AliasTokenizer(tokenizer, controls_of(tokenizer))


def refuse_private(values: Iterable[Any]) -> None:
    """Refuse text that could be taken for an alias or a placeholder. Raises ControlTokenError."""
    if any(_FOREIGN.search(text) for value in values for text in _strings(value)):
        raise ControlTokenError(
            "messages hold both control tokens and characters of the private-use planes 15 and 16"
        )


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _strings(key)
            yield from _strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _strings(item)
