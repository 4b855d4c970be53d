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


def token_f1(predictions: Iterable[str | None], references: Iterable[str | Sequence[str]]) -> Rows:
    """Measure the best token F1 against any reference under the rules of SQuAD 2.0.

    References that normalise to nothing are dropped when another is left; if none is, an answer that
    also normalises to nothing scores 1 (the "no answer" of SQuAD 2.0), every other 0.
    """
    answers, accepted = texts(predictions, references)
    rows = [
        None if answer is None else (_best_f1(answer, many),)
        for answer, many in zip(answers, accepted, strict=True)
    ]
    return fill(rows, row_mean, ("f1",), "token_f1|norm:squad2|v:1")


def _best_f1(answer: str, references: Sequence[str]) -> float:
    said = squad_normal(answer).split()
    wanted = [tokens for one in references if (tokens := squad_normal(one).split())]
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
