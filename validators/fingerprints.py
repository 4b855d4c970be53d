"""Digests that make two rows the same when only case, width or white space differ.

A row is three texts: its system messages, its prompt (all before the last reply) and its reply (the
rest). Each is squeezed and hashed to 64 bits; the digest of the example joins the last two.
"""

from __future__ import annotations

import json
import re
import unicodedata
from array import array
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import chain
from typing import Any

import msgspec

# A word, a sign, or one character of a script that writes no spaces.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]|\w+|[^\w\s]")
_NOT_CONTENT = frozenset({"id", "metadata", "weight", "tool_call_id"})
_LOWER = bytes(range(256)).lower()
_SPACE = b" \t\n\x0b\x0c\r\x1c\x1d\x1e\x1f"
# Bytes that begin or continue no letter with a case (but in scripts that hardly anyone writes): Latin, Greek,
# Cyrillic, Armenian, Georgian begin with the others. Folding case is slow where there is nothing to fold.
_UNCASED = bytes(code for code in range(256) if not (0xC3 <= code <= 0xD6 or code == 0xE1))
# Stands between the pieces of a text; white space would be squeezed away.
_BETWEEN = "\0"
_SYSTEM = ("system", "developer")
# Which keys are the prompt, format by format; the others are the reply.
_PROMPTS = {
    "preference": ("input", "prompt"),
    "prompt-completion": ("prompt",),
    "alpaca": ("instruction", "input"),
}
MANY_WORDS = 12
# So many characters hold that many words, but in odd texts, which are then counted whole.
_HEAD = 100

Turns = Sequence[tuple[str, str]]


class Fingerprint(msgspec.Struct, frozen=True, array_like=True):
    """A row for comparing, as 64-bit digests of text without case, width and white space.

    `prompt` is what comes before the last reply, `reply` the rest, `system` the system messages; 0 where
    there is none. `words` (of the prompt, less system messages) and `reply_words` are exact while few: from
    12 on they say only that there are at least so many.
    """

    line: int
    example: int
    prompt: int
    reply: int
    system: int
    words: int
    reply_words: int


class Fingerprints:
    """The fingerprints of a file's rows: fixed bytes a row, columns of unsigned integers.

    Iterate for `Fingerprint`s, or take a column (`numpy.frombuffer(prints.example, "u8")`).
    """

    COLUMNS = ("line", "example", "prompt", "reply", "system", "words", "reply_words")
    __slots__ = COLUMNS

    def __init__(self) -> None:
        self.line, self.example, self.prompt = array("I"), array("Q"), array("Q")
        self.reply, self.system = array("Q"), array("Q")
        self.words, self.reply_words = array("B"), array("B")

    def add(self, row: Fingerprint) -> None:
        """Take down one row."""
        self.line.append(row.line)
        self.example.append(row.example)
        self.prompt.append(row.prompt)
        self.reply.append(row.reply)
        self.system.append(row.system)
        self.words.append(row.words)
        self.reply_words.append(row.reply_words)

    def extend(self, later: Fingerprints, lines: int = 0) -> None:
        """Put the rows of a later range behind these; `lines` stand before that range."""
        before = len(self)
        for column, values in zip(self.columns, later.columns, strict=True):
            column.extend(values)
        if lines:
            for i in range(before, len(self)):
                self.line[i] += lines

    @property
    def columns(self) -> tuple[array[int], ...]:
        """The columns, in the order of a fingerprint's fields."""
        return tuple(getattr(self, name) for name in self.COLUMNS)

    def __len__(self) -> int:
        return len(self.line)

    def __iter__(self) -> Iterator[Fingerprint]:
        return map(Fingerprint, *self.columns)


def fold(text: str) -> str:
    """Text after NFKC, case folding and collapsing white space."""
    normal = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return " ".join(normal.casefold().split())


def fingerprint(value: dict[str, Any], row_format: str | None, line: int) -> Fingerprint:
    """The fingerprint of a row in any format. A row without a prompt has 0 for it."""
    messages = value.get("messages")
    if row_format in ("chat", "reinforcement") and isinstance(messages, list):
        rest = {key: item for key, item in value.items() if key != "messages" and key not in _NOT_CONTENT}
        turns = [_turn(message) for message in messages]
        return of_turns(turns, line, _json(rest) if rest else "", row_format == "reinforcement")
    keys = _PROMPTS.get(row_format or "", ())
    prompt = [value[key] for key in keys if key in value]
    asked = " ".join(_texts(prompt))
    reply = {key: item for key, item in value.items() if key not in keys}
    said = " ".join(_texts([reply[key] for key in sorted(reply)]))
    words = count_words(asked)
    return _joined(line, _json(prompt) if words else "", _json(reply), "", words, count_words(said))


def of_turns(turns: Turns, line: int, rest: str = "", asked: bool = False) -> Fingerprint:
    """The fingerprint of a chat: (role, text) of each message, the row's other keys, whether all is prompt."""
    last = len(turns)
    if not asked:
        while last and turns[last - 1][0] != "assistant":
            last -= 1
        last = last - 1 if last else len(turns)
    before, after = turns[:last], turns[last:]
    words = count_words(_head(before))
    prompt = _BETWEEN.join(chain.from_iterable(before)) + rest
    reply = _BETWEEN.join(chain.from_iterable(after))
    system = _BETWEEN.join([text for role, text in turns if role in _SYSTEM])
    return _joined(line, prompt, reply, system, words, count_words(after[0][1]) if after else 0)


def _head(turns: Turns) -> str:
    """The texts that are not the system's, as far as words are counted."""
    texts: list[str] = []
    length = 0
    for role, text in turns:
        if role not in _SYSTEM:
            texts.append(text)
            length += len(text)
            if length > _HEAD:
                break
    return texts[0] if len(texts) == 1 else " ".join(texts)


def count_words(text: str) -> int:
    """Words, exact only while they are few: a long text need not be taken apart to be known as long."""
    found = len(text[:_HEAD].split())
    return min(found, 255) if found >= MANY_WORDS else min(len(_WORD.findall(text)), 255)


def digest(text: str) -> int:
    """64 bits of a text without its case, width and white space; 0 for no text."""
    if text.isascii():
        data = text.encode().translate(_LOWER, _SPACE)
    else:
        text = unicodedata.normalize("NFKC", text)
        data = text.encode("utf-8", "surrogatepass")
        if data.translate(None, _UNCASED):
            data = text.casefold().encode("utf-8", "surrogatepass")
        data = data.translate(_LOWER, _SPACE)
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little") if data else 0


def _joined(line: int, prompt: str, reply: str, system: str, words: int, reply_words: int) -> Fingerprint:
    asked, said = digest(prompt), digest(reply)
    # An odd factor keeps all 64 bits of the prompt, and prompt and reply may not change places.
    example = (asked * 0x9E3779B97F4A7C15 + said) & 0xFFFFFFFFFFFFFFFF
    of_system = _short_digest(system) if system else 0
    return Fingerprint(line, example, asked if words else 0, said, of_system, words, reply_words)


@lru_cache(maxsize=256)
def _short_digest(text: str) -> int:
    """The digest of a text that stands in many rows."""
    return digest(text)


def _turn(message: Any) -> tuple[str, str]:
    """Role and text of a message; what else it says (calls, a name, parts) stands in the text as JSON."""
    if not isinstance(message, dict):
        return "", _json(message)
    role, content = message.get("role"), message.get("content")
    text = content if isinstance(content, str) else _json(content)
    if len(message) > 2:
        more = {key: item for key, item in message.items() if key not in ("role", "content")}
        more = {key: item for key, item in more.items() if key not in _NOT_CONTENT}
        text += _BETWEEN + _json(more) if more else ""
    return role if isinstance(role, str) else _json(role), text


def _texts(value: Any) -> list[str]:
    """All texts of messages, parts and plain values, but those of system messages."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    if isinstance(value, dict):
        if value.get("role") in _SYSTEM:
            return []
        return _texts(value.get("messages", value.get("content", value.get("text", []))))
    return []


def _json(value: Any) -> str:
    value = _content(value)
    try:
        return msgspec.json.encode(value, order="sorted").decode()
    except (ValueError, TypeError):  # half a surrogate pair, or a type of a table's own
        return json.dumps(value, sort_keys=True, default=str)


def _content(value: Any) -> Any:
    if isinstance(value, str):
        return "".join(value.split())
    if isinstance(value, list):
        return [_content(item) for item in value]
    if isinstance(value, dict):
        return {key: _content(item) for key, item in value.items() if key not in _NOT_CONTENT}
    return value
