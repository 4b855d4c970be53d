"""An optional faster counter for OpenAI encodings (the extra `fast`), exact by construction.

It takes time to start, so it is used only for inputs large enough to pay for that. Texts that it is known to
cut otherwise go to tiktoken, and of all others a seeded sample does too: should a count ever differ, a
warning says so and tiktoken counts the rest.
"""

from __future__ import annotations

import importlib.util
import random
import re
import warnings
from collections.abc import Sequence
from typing import Any

from .long_runs import ordinary_ids

# Its name for how an encoding cuts words, and bytes of input from which on it is faster, its start included
# (one core, 2026-11-21).
_CUTTERS = {"o200k_base": "o200k", "o200k_harmony": "o200k", "cl100k_base": "cl100k"}
PAYS_FROM = {"o200k": 8_000_000, "cl100k": 2_500_000}

# What goes to tiktoken: the long s (its contraction rules fold case otherwise), the Mongolian vowel separator
# (white space in one Unicode version only), letters and marks that Unicode 17 added (all of the rare blocks
# where these are) and lone surrogates; beside these control tokens and long runs.
_ODD = (
    *((0x017F, 0x017F), (0x180E, 0x180E)),
    *(
        (0x088F, 0x088F),
        (0x0C5C, 0x0C5C),
        (0x0CDC, 0x0CDC),
        (0x1ACF, 0x1AEB),
        (0xA7CE, 0xA7D4),
        (0xA7F1, 0xA7F1),
    ),
    *((0x10000, 0x1CFFF), (0x1E000, 0x1EFFF), (0x2B000, 0x10FFFF)),
)
_ODD_ONE = re.compile("[" + "".join(f"{chr(low)}-{chr(high)}" for low, high in _ODD) + "]")
# The first two bytes of UTF-8 of each of them, with some other characters: they change every 64 or 4096 codes.
ODD_PAIRS = frozenset(
    chr(code).encode()[:2]
    for low, high in _ODD
    for code in range(low, high + 1, 64 if high < 0x10000 else 4096)
)
_CONTROL = "<|"
# A run twice as long holds one of these windows whole.
_WINDOW = 512
# Enough of a window to show that it has many characters.
_FEW = 32

# It remembers each word for good (about 75 bytes), so it is opened anew after so many characters.
OPEN_FOR = 250_000_000

# One text in this many is counted by both.
SAMPLE = 400
_ALWAYS_CHECKED = 20


class FastCounterWarning(UserWarning):
    """The fast counter and tiktoken disagreed; tiktoken counts the rest."""


class FastCounter:
    """Counts tokens of many texts by gigatoken, checked against the encoding of tiktoken.

    It starts with the first texts, in whichever process they come. `vocabulary` is the path of the
    encoding's tiktoken file.
    """

    def __init__(self, encoding: Any, vocabulary: str, seed: int = 0, fast: Any = None) -> None:
        self._encoding = encoding
        self._vocabulary = vocabulary
        self._seed = seed
        self._random = random.Random(seed)
        self._checked = 0
        # How many texts stand before the next one that is counted twice.
        self._next = 0
        self._fast = fast
        self._left = OPEN_FOR
        self._given_up = False

    def __reduce__(self) -> tuple[Any, ...]:
        return FastCounter, (self._encoding, self._vocabulary, self._seed)

    @property
    def trusted(self) -> bool:
        """Whether it still counts, which it does until the first disagreement."""
        return not self._given_up

    def count(self, texts: Sequence[str], odd: bool = True) -> list[int]:
        """Tokens of each text; control tokens in them count as text. Not `odd`: none has an odd character."""
        if self._given_up:
            return self._by_reference(texts)
        odd = odd and _has_odd("\n".join(texts))
        guarded = {
            i
            for i, text in enumerate(texts)
            if (odd and _has_odd(text)) or (len(text) >= 2 * _WINDOW and _has_run(text))
        }
        plain = [text for i, text in enumerate(texts) if i not in guarded] if guarded else list(texts)
        counts = self._by_fast(plain)
        if self._given_up or not self._agrees(plain, counts):
            return self._by_reference(texts)
        if not guarded:
            return counts
        rest = iter(counts)
        return [
            len(ordinary_ids(self._encoding, t)) if i in guarded else next(rest) for i, t in enumerate(texts)
        ]

    def _by_fast(self, texts: list[str]) -> list[int]:
        if not texts:
            return []
        if self._fast is None or self._left <= 0:
            self._fast, self._left = _open(self._encoding, self._vocabulary), OPEN_FOR
        self._left -= sum(map(len, texts))
        try:
            # One by one: for many at once it would import awkward, which takes longer than it saves.
            return list(map(len, map(self._fast.encode, texts)))
        except Exception as error:
            self._give_up(f"failed: {error}")
            return []

    def _agrees(self, texts: list[str], counts: list[int]) -> bool:
        while self._next < len(texts):
            self._checked += 1
            if len(ordinary_ids(self._encoding, texts[self._next])) != counts[self._next]:
                self._give_up("counted a text otherwise than tiktoken")
                return False
            self._next += 1 if self._checked < _ALWAYS_CHECKED else self._random.randint(1, 2 * SAMPLE - 1)
        self._next -= len(texts)
        return True

    def _by_reference(self, texts: Sequence[str]) -> list[int]:
        return [len(ordinary_ids(self._encoding, text)) for text in texts]

    def _give_up(self, what: str) -> None:
        self._fast, self._given_up = None, True
        message = f"the fast token counter {what}; tiktoken counts the rest. Texts it had counted before agreed in {self._checked} samples."
        warnings.warn(message, FastCounterWarning, stacklevel=2)


def fast_counter(encoding: Any, vocabulary: str, input_bytes: int) -> FastCounter | None:
    """The fast counter for an encoding of tiktoken, or None where it would not pay or is not installed."""
    cutter = _CUTTERS.get(encoding.name)
    pays = cutter is not None and input_bytes >= PAYS_FROM[cutter]
    installed = pays and importlib.util.find_spec("gigatoken") is not None
    return FastCounter(encoding, vocabulary) if installed else None


def _open(encoding: Any, vocabulary: str) -> Any:
    import gigatoken

    # The file of a vocabulary says neither how words are cut nor which tokens are special: here none is.
    cutter = _CUTTERS[encoding.name]
    return gigatoken.Tokenizer.from_tiktoken(vocabulary, pretokenizer=cutter, special_tokens={})


def is_guarded(text: str) -> bool:
    """Whether a text goes to tiktoken whatever the fast counter says."""
    return _has_odd(text) or _has_run(text)


def _has_odd(text: str) -> bool:
    if _CONTROL in text:
        return True
    if text.isascii():
        return False
    if _ODD_ONE.search(text):
        return True
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return True
    return False


def _has_run(text: str) -> bool:
    if len(text) < 2 * _WINDOW:
        return False
    ascii = text.isascii()
    for begin in range(0, len(text) - _WINDOW + 1, _WINDOW):
        # Most windows of prose are known for none by a word and a space.
        words = ascii and text.find(" ", begin, begin + _WINDOW) >= 0 and not text[begin].isspace()
        if not words and _is_run(text[begin : begin + _WINDOW]):
            return True
    return False


def _is_run(window: str) -> bool:
    """Whether a window is all one run: white space, ASCII without any, or few characters again and again."""
    if window.isascii():
        return window.isspace() or (" " not in window and "\n" not in window)
    return window.isspace() or (len(set(window[:_FEW])) <= 4 and len(set(window)) <= 4)
