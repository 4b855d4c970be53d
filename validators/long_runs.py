"""Token ids by tiktoken, also of texts that are too much for its expressions."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from .chat_templates import TokenizerError

# Its expressions look back over white space, and give up (they panic) from a million characters in a row on.
LONG = 500_000
_SPACE = "[ \t\x0b\x0c\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
_SPACES = re.compile(rf"(?<!{_SPACE}){_SPACE}{{{LONG},}}+(?![\r\n])")


def ordinary_ids(encoding: Any, text: str) -> list[int]:
    """Token ids of a text, control tokens in it as text. Raises TokenizerError where tiktoken gives up.

    A long run of spaces is one piece, but for its last character, which goes with what follows.
    """
    ids: list[int] = []
    if len(text) >= LONG:
        done = 0
        for run in _SPACES.finditer(text):
            end = run.end() - (run.end() < len(text))
            ids += ordinary_ids(encoding, text[done : run.start()])
            ids += _uncut(encoding).encode_ordinary(text[run.start() : end])
            done = end
        text = text[done:]
    try:
        ids += encoding.encode_ordinary(text)
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # a panic of the extension is no Exception
            raise
        reason = "tiktoken cannot count a text with a million blanks and newlines in a row. Shorten it."
        raise TokenizerError(reason) from None
    return ids


@lru_cache(maxsize=2)
def _uncut(encoding: Any) -> Any:
    """The same vocabulary, which takes each text for one piece."""
    import tiktoken

    return tiktoken.Encoding(
        f"{encoding.name}-uncut",
        pat_str=r"[\s\S]+",
        mergeable_ranks=encoding._mergeable_ranks,
        special_tokens={},
    )
