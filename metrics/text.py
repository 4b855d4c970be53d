"""Exact match and token F1: does the answer say what a reference says?"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from .inputs import fill, texts
from .types import Reduce, Rows, row_mean

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
# Kana, Han, Thai, Lao, Myanmar, Khmer: scripts that do not part words by spaces.
UNSPACED = re.compile(
    "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]"
)
TOKENIZERS = ("squad", "characters")


class _Kept(dict[int, str]):
    """A table for `str.translate` that keeps letters, marks and numbers, filled as characters come."""

    def __missing__(self, code: int) -> str:
        # Marks stay: they carry vowels in Indic scripts and in Thai.
        char = chr(code)
        self[code] = kept = char if unicodedata.category(char)[0] in "LMN" else " "
        return kept


_KEPT = _Kept()


def plain(text: str) -> str:
    """Return Unicode NFC without outer white space: how answers and labels are compared."""
    return unicodedata.normalize("NFC", text).strip()


def exact_match(predictions: Iterable[str | None], references: Iterable[str | Sequence[str]]) -> Rows:
    """Measure 1 where the answer equals any reference after NFC and outer white-space strip, else 0.

    Case and inner white space count. Shapes: n answers (None = failed), n references or lists of them.
    """
    answers, accepted = texts(predictions, references)
    rows = [
        None if answer is None else (float(plain(answer) in {plain(one) for one in many}),)
        for answer, many in zip(answers, accepted, strict=True)
    ]
    return fill(rows, row_mean, ("match",), "exact_match|norm:nfc+strip|case:mixed|v:1")


def squad_normal(text: str) -> str:
    """Normalise as the official SQuAD scripts do: lower case, no punctuation, no articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def words(text: str) -> list[str]:
    """Split into lower-case runs of letters, marks and numbers, in any script."""
    return unicodedata.normalize("NFC", text).lower().translate(_KEPT).split()


def characters(text: str) -> list[str]:
    """Split into single lower-case letters, marks and numbers."""
    return list("".join(words(text)))


def token_f1(
    predictions: Iterable[str | None],
    references: Iterable[str | Sequence[str]],
    *,
    tokenize: str = "squad",
) -> Rows:
    """Measure the best token F1 against any reference under the rules of SQuAD 2.0.

    References that normalise to nothing are dropped when another is left; if none is, an answer that
    also normalises to nothing scores 1 (the "no answer" of SQuAD 2.0), every other 0. SQuAD's tokens are
    what stands between spaces: where most references are Chinese, Japanese, Thai… there is no value but
    a reason, and `tokenize="characters"` measures them.
    """
    if tokenize not in TOKENIZERS:
        raise ValueError(f"tokenize={tokenize!r} is not one of {', '.join(TOKENIZERS)}")
    answers, accepted = texts(predictions, references)
    split = characters if tokenize == "characters" else _squad_tokens
    rows = [
        None if answer is None else (_best_f1(split(answer), [split(one) for one in many]),)
        for answer, many in zip(answers, accepted, strict=True)
    ]
    reason = None
    unspaced = sum(_unspaced(many[0]) for many in accepted) if tokenize == "squad" else 0
    if 2 * unspaced > len(accepted):
        reason = (
            f"token_f1 counts what stands between spaces, and {unspaced} of {len(accepted)} references are in a script"
            " that does not part words by spaces: pass tokenize='characters'"
        )
    norm = "squad2" if tokenize == "squad" else "characters"
    return fill(rows, row_mean, ("f1",), f"token_f1|norm:{norm}|v:1", reason)


def _squad_tokens(text: str) -> list[str]:
    return squad_normal(text).split()


def _unspaced(text: str) -> bool:
    return 2 * len(UNSPACED.findall(text)) > sum(map(str.isalnum, text)) > 1


def _best_f1(said: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    wanted = [tokens for tokens in references if tokens]
    return max((_f1(said, tokens) for tokens in wanted), default=float(not said))


def _f1(said: Sequence[str], wanted: Sequence[str]) -> float:
    common = sum((Counter(said) & Counter(wanted)).values())
    if common == 0:
        return 0.0
    precision, recall = common / len(said), common / len(wanted)
    return 2 * precision * recall / (precision + recall)


def mean_reducer(columns: Sequence[str]) -> Reduce:
    """Return the reduction of metrics with one column: its mean. ValueError on another number of columns."""
    if len(columns) != 1:
        raise ValueError(f"an averaged metric has one column, not {list(columns)}")
    return row_mean
