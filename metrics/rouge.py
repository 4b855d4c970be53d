"""ROUGE-1, -2, -L and -Lsum F-measures, values equal to rouge-score (Lin 2004).

rouge-score's tokenizer keeps only a–z and 0–9, so that identical Chinese, Thai or Russian texts would
score 0. Where it erases most of a reference there is no value but a reason; `tokenize="words"` (scripts
that part words by spaces) or `tokenize="characters"` (those that do not) measures such texts.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from .inputs import fill, texts
from .text import characters, words
from .types import Array, Rows, row_mean

Tokenize = Callable[[str], list[str]]
Keys = npt.NDArray[np.int64]
Measure = Callable[[Sequence[str], Sequence[str]], Sequence[float] | Array]
_CHUNK = 512  # pairs of texts whose n-grams are counted at once: numbers that a cache holds
# Every byte but a–z and 0–9 becomes a space.
_LATIN = bytes(code if chr(code).isascii() and chr(code).isalnum() else 32 for code in range(256))
TOKENIZERS = ("latin", "words", "characters")


class _Splitter:
    """The tokenizer object that rouge-score asks for."""

    def __init__(self, tokenize: Tokenize) -> None:
        self.tokenize = tokenize


def rouge1(
    predictions: Iterable[str | None],
    references: Iterable[str | Sequence[str]],
    *,
    tokenize: str = "latin",
    stem: bool = False,
) -> Rows:
    """Measure the F-measure of shared words, the best over the references."""
    return _measure("rouge1", predictions, references, tokenize, stem)


def rouge2(
    predictions: Iterable[str | None],
    references: Iterable[str | Sequence[str]],
    *,
    tokenize: str = "latin",
    stem: bool = False,
) -> Rows:
    """Measure the F-measure of shared pairs of words, the best over the references."""
    return _measure("rouge2", predictions, references, tokenize, stem)


def rouge_l(
    predictions: Iterable[str | None],
    references: Iterable[str | Sequence[str]],
    *,
    tokenize: str = "latin",
    stem: bool = False,
) -> Rows:
    """Measure the F-measure of the longest common subsequence of words, the best over the references."""
    return _measure("rouge_l", predictions, references, tokenize, stem)


def rouge_lsum(
    predictions: Iterable[str | None],
    references: Iterable[str | Sequence[str]],
    *,
    tokenize: str = "latin",
    stem: bool = False,
) -> Rows:
    """Measure the summary-level ROUGE-L, sentences parted by newlines, the best over the references."""
    return _measure("rouge_lsum", predictions, references, tokenize, stem)


def _measure(
    name: str,
    predictions: Iterable[str | None],
    references: Iterable[str | Sequence[str]],
    tokenize: str,
    stem: bool,
) -> Rows:
    answers, accepted = texts(predictions, references)
    split = _tokenizer(tokenize, stem)
    fmeasure = _fmeasure(name, split)
    signature = f"{name}|tok:{tokenize}|stem:{'yes' if stem else 'no'}|v:1"
    lost = [row for row, many in enumerate(accepted) if any(map(_mostly_erased, many))]
    if tokenize == "latin" and lost:
        reason = (
            f"ROUGE's tokenizer keeps only a–z and 0–9, which erases most of references[{lost[0]}]"
            f" ({len(lost)} of {len(accepted)}): pass tokenize='words', or 'characters' for Chinese, Japanese, Thai"
        )
        blank = [None if answer is None else (0.0,) for answer in answers]
        return fill(blank, row_mean, ("f1",), signature, reason)
    asked = [
        (row, answer, one)
        for row, (answer, many) in enumerate(zip(answers, accepted, strict=True))
        if answer is not None
        for one in many
    ]
    best = np.zeros(len(answers))
    for at in range(0, len(asked), _CHUNK):
        places, said, wanted = zip(*asked[at : at + _CHUNK], strict=True)
        np.maximum.at(best, list(places), fmeasure(wanted, said))
    rows = [None if answer is None else (value,) for answer, value in zip(answers, best, strict=True)]
    return fill(rows, row_mean, ("f1",), signature)


def _mostly_erased(text: str) -> bool:
    if text.isascii():
        return False
    # NFD splits é into e and an accent: a French word loses its accents under rouge-score, not its meaning.
    letters = [char for char in unicodedata.normalize("NFD", text.lower()) if char.isalnum()]
    return 2 * sum(not ("a" <= char <= "z" or "0" <= char <= "9") for char in letters) > len(letters)


def _tokenizer(name: str, stem: bool) -> Tokenize:
    if name not in TOKENIZERS:
        raise ValueError(f"tokenize={name!r} is not one of {', '.join(TOKENIZERS)}")
    if name != "latin":
        if stem:
            raise ValueError(f"stem=True goes with tokenize='latin' only, not with {name!r}")
        return words if name == "words" else characters
    if not stem:
        return _latin
    from nltk.stem.porter import PorterStemmer

    stemmed = lru_cache(maxsize=1 << 16)(PorterStemmer().stem)
    # rouge-score leaves words of up to three letters alone.
    return lambda text: [stemmed(word) if len(word) > 3 else word for word in _latin(text)]


def _latin(text: str) -> list[str]:
    """Split as rouge-score does: lower-case runs of a–z and 0–9."""
    return text.lower().encode("ascii", "replace").translate(_LATIN).decode("ascii").split()


def _fmeasure(name: str, split: Tokenize) -> Measure:
    """Return the F-measures as a function of n references and n answers."""
    if name in ("rouge1", "rouge2"):
        order = 1 if name == "rouge1" else 2
        return lambda wanted, said: _ngrams(list(map(split, wanted)), list(map(split, said)), order)
    one = _summary(split) if name == "rouge_lsum" else lambda x, y: _subsequence(split(x), split(y))
    return lambda wanted, said: [one(x, y) for x, y in zip(wanted, said, strict=True)]


def _ngrams(wanted: list[list[str]], said: list[list[str]], order: int) -> Array:
    """Count n-grams that answers share with their references, all pairs of texts at once."""
    codes = {token: code for code, token in enumerate(set(chain.from_iterable(wanted + said)))}
    base = len(codes) ** order
    theirs, many = np.unique(_keys(wanted, codes, order), return_counts=True)
    ours, few = np.unique(_keys(said, codes, order), return_counts=True)
    _, at, here = np.intersect1d(theirs, ours, assume_unique=True, return_indices=True)
    shared = np.minimum(many[at], few[here])
    hits = np.bincount(ours[here] // max(base, 1), shared, minlength=len(said))
    left, right = (np.maximum([len(one) + 1 - order for one in texts], 0) for texts in (wanted, said))
    # 2·hits ÷ (n-grams of both) is the harmonic mean of precision and recall.
    values: Array = 2 * hits / np.maximum(left + right, 1)
    return values


def _keys(texts: list[list[str]], codes: dict[str, int], order: int) -> Keys:
    """Number each n-gram so that equal ones of one text, and only those, have equal numbers."""
    sizes = np.array([len(text) for text in texts], dtype=np.int64)
    tokens = chain.from_iterable(texts)
    grams = np.fromiter(map(codes.__getitem__, tokens), dtype=np.int64, count=int(sizes.sum()))
    rows = np.repeat(np.arange(len(texts)), sizes)
    if order == 2:
        inside = rows[1:] == rows[:-1]
        grams, rows = (grams[:-1] * len(codes) + grams[1:])[inside], rows[1:][inside]
    keys: Keys = rows * len(codes) ** order + grams
    return keys


def _subsequence(wanted: list[str], said: list[str]) -> float:
    from rapidfuzz.distance import LCSseq

    # A character for each word: rapidfuzz is fastest on text, and compares words by hashes, which may collide.
    coded = dict(zip({*wanted, *said}, map(chr, range(sys.maxunicode)), strict=False))
    texts = ("".join(map(coded.__getitem__, tokens)) for tokens in (wanted, said))
    return _f(LCSseq.similarity(*texts), len(wanted), len(said))


def _summary(split: Tokenize) -> Callable[[str, str], float]:
    scorer: Any = None

    def fmeasure(reference: str, answer: str) -> float:
        nonlocal scorer
        if "\n" not in reference and "\n" not in answer:
            return _subsequence(split(reference), split(answer))
        if scorer is None:
            from rouge_score.rouge_scorer import RougeScorer

            scorer = RougeScorer(["rougeLsum"], tokenizer=_Splitter(split))
        return float(scorer.score(reference, answer)["rougeLsum"].fmeasure)

    return fmeasure


def _f(hits: int, wanted: int, said: int) -> float:
    if not hits:
        return 0.0
    precision, recall = hits / said, hits / wanted
    return 2 * precision * recall / (precision + recall)
