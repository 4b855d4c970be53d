"""Digests that make two rows the same when only case, width or white space differ.

A row is three texts: its system messages, its prompt (all before the last reply) and its reply (the
rest). Each is squeezed and hashed to 64 bits; the digest of the example joins the last two. Between words
one space is left, so that "the rapist" is no "therapist". `block_prints` does the same for many rows.
"""

from __future__ import annotations

import json
import re
import unicodedata
from array import array
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

import msgspec
from xxhash import xxh3_64_intdigest

# A word, a sign, or one character of a script that writes no spaces.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]|\w+|[^\w\s]")
_NOT_CONTENT = frozenset({"id", "metadata", "weight", "tool_call_id"})
SPACES = b" \t\n\x0b\x0c\r\x1c\x1d\x1e\x1f"
# ASCII letters to lower case, white space to spaces.
FOLDED = bytes(ord(" ") if code in SPACES else code for code in range(256)).lower()
# Bytes that begin or continue no letter with a case (but in scripts that hardly anyone writes): Latin, Greek,
# Cyrillic, Armenian, Georgian begin with the others. Folding case is slow where there is nothing to fold.
_UNCASED = bytes(code for code in range(256) if not (0xC3 <= code <= 0xD6 or code == 0xE1))
# White space beyond ASCII that is none of it after NFKC either.
_FAR_SPACE = re.compile(rb"[\xc2\xe1\xe2](?:(?<=\xc2)\x85|(?<=\xe1)\x9a\x80|(?<=\xe2)\x80[\xa8\xa9])")
# Stands between the texts of a row; white space would be squeezed.
BETWEEN = b"\0"
SYSTEM = ("system", "developer")
# An odd factor keeps all 64 bits of the prompt, and prompt and reply may not change places.
FACTOR = 0x9E3779B97F4A7C15
_ALL_BITS = (1 << 64) - 1
# Which keys are the prompt, format by format; the others are the reply.
_PROMPTS = {
    "preference": ("input", "prompt"),
    "prompt-completion": ("prompt",),
    "alpaca": ("instruction", "input"),
}
MANY_WORDS = 12
# So many characters hold that many words, but in odd texts, which are then counted whole.
_HEAD = 100
# In code words are longer, with more white space between them.
_LONG_HEAD = 500

Turns = Sequence[tuple[str, str]]


class Fingerprint(msgspec.Struct, frozen=True, array_like=True):
    """A row for comparing, as 64-bit digests of text without case and width, its white space squeezed.

    `prompt` is what comes before the last reply, `reply` the rest, `system` the system messages; 0 where
    there is none. `words` (of the prompt, less system messages) and `reply_words` go up to 12, which stands
    for as many or more.
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
    asked_digest, said_digest = (hashed(squeezed(_json(part))) if part else 0 for part in (prompt, reply))
    return _joined(line, asked_digest if words else 0, said_digest, 0, words, count_words(said))


def of_turns(turns: Turns, line: int, rest: str = "", asked: bool = False) -> Fingerprint:
    """The fingerprint of a chat: (role, text) of each message, the row's other keys, whether all is prompt."""
    roles = tuple([role for role, _ in turns])
    texts = [squeezed(text) for _, text in turns]
    last = prompt_end(roles, asked)
    before, after = turns[:last], turns[last:]
    words = count_words(head_of(before))
    prompt = (*texts[:last], squeezed(rest)) if rest else texts[:last]
    system = [text for role, text in zip(roles, texts, strict=True) if role in SYSTEM]
    return _joined(
        line,
        (hashed(BETWEEN.join(prompt)) + hashed_roles(roles[:last])) & _ALL_BITS,
        (hashed(BETWEEN.join(texts[last:])) + hashed_roles(roles[last:])) & _ALL_BITS if after else 0,
        hashed(BETWEEN.join(system)) if system else 0,
        words,
        count_words(after[0][1]) if after else 0,
    )


def prompt_end(roles: Sequence[str], asked: bool) -> int:
    """How many messages are the prompt: those before the last reply; all, where there is none or all is asked."""
    if not asked:
        for index in range(len(roles) - 1, -1, -1):
            if roles[index] == "assistant":
                return index
    return len(roles)


def head_of(turns: Turns) -> str:
    """The texts that are not the system's, as far as words are counted."""
    texts: list[str] = []
    length = 0
    for role, text in turns:
        if role not in SYSTEM:
            texts.append(text)
            length += len(text)
            if length > _HEAD:
                break
    return texts[0] if len(texts) == 1 else " ".join(texts)


def count_words(text: str) -> int:
    """Words, at most 12: a long text need not be taken apart to be known as long."""
    if len(text[:_LONG_HEAD].split(None, MANY_WORDS - 1)) == MANY_WORDS:
        return MANY_WORDS
    if len(text) <= _HEAD:
        return min(len(_WORD.findall(text)), MANY_WORDS)
    return sum(1 for _ in islice(_WORD.finditer(text), MANY_WORDS))


def squeezed(text: str) -> bytes:
    """A text after NFKC and case folding, each run of white space one space, none at its ends."""
    if text.isascii():
        return b" ".join(text.encode().translate(FOLDED).split())
    return b" ".join(folded(text).split())


def folded(text: str) -> bytes:
    """A text after NFKC and case folding, each white space a space, none at its ends."""
    text = unicodedata.normalize("NFKC", text)
    data = text.encode("utf-8", "surrogatepass")
    if data.translate(None, _UNCASED):
        text = text.casefold()
        data = text.encode("utf-8", "surrogatepass")
    if _FAR_SPACE.search(data):
        data = " ".join(text.split()).encode("utf-8", "surrogatepass")
    return data.translate(FOLDED).strip(b" ")


def hashed(data: bytes) -> int:
    """64 bits of some bytes."""
    return xxh3_64_intdigest(data)


@lru_cache(maxsize=4096)
def hashed_roles(roles: tuple[str, ...]) -> int:
    """64 bits of who speaks."""
    return hashed(repr(roles).encode("utf-8", "surrogatepass"))


def _joined(line: int, asked: int, said: int, system: int, words: int, reply_words: int) -> Fingerprint:
    example = (asked * FACTOR + said) & _ALL_BITS
    return Fingerprint(line, example, asked if words else 0, said, system, words, reply_words)


def _turn(message: Any) -> tuple[str, str]:
    """Role and text of a message; what else it says (calls, a name, parts) stands in the text as JSON."""
    if not isinstance(message, dict):
        return "", _json(message)
    role, content = message.get("role"), message.get("content")
    text = content if isinstance(content, str) else _json(content)
    if len(message) > 2:
        more = {key: item for key, item in message.items() if key not in ("role", "content")}
        more = {key: item for key, item in more.items() if key not in _NOT_CONTENT}
        text += "\0" + _json(more) if more else ""
    return role if isinstance(role, str) else _json(role), text


def _texts(value: Any) -> list[str]:
    """All texts of messages, parts and plain values, but those of system messages."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    if isinstance(value, dict):
        if value.get("role") in SYSTEM:
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
        return " ".join(value.split())
    if isinstance(value, list):
        return [_content(item) for item in value]
    if isinstance(value, dict):
        return {key: _content(item) for key, item in value.items() if key not in _NOT_CONTENT}
    return value
