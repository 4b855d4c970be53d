"""ROUGE-1, -2, -L and -Lsum F-measures, values equal to rouge-score (Lin 2004).

rouge-score's tokenizer keeps only a–z and 0–9, so that identical Chinese, Thai or Russian texts would
score 0. Where it erases most of a reference there is no value but a reason; `tokenize="words"` (scripts
that part words by spaces) or `tokenize="characters"` (those that do not) measures such texts.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .inputs import fill, texts
from .types import Rows, row_mean

Tokenize = Callable[[str], list[str]]
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
    rows = [
        None if answer is None else (max(fmeasure(one, answer) for one in many),)
        for answer, many in zip(answers, accepted, strict=True)
    ]
    return fill(rows, row_mean, ("f1",), signature)


def _mostly_erased(text: str) -> bool:
    # NFD splits é into e and an accent: a French word loses its accents under rouge-score, not its meaning.
    letters = [char for char in unicodedata.normalize("NFD", text.lower()) if char.isalnum()]
    return 2 * sum(not ("a" <= char <= "z" or "0" <= char <= "9") for char in letters) > len(letters)


def _tokenizer(name: str, stem: bool) -> Tokenize:
    if name not in TOKENIZERS:
        raise ValueError(f"tokenize={name!r} is not one of {', '.join(TOKENIZERS)}")
    if name != "latin":
        if stem:
            raise ValueError(f"stem=True goes with tokenize='latin' only, not with {name!r}")
        return _words if name == "words" else _characters
    from rouge_score.tokenize import tokenize

    stemmer: Any = None
    if stem:
        from nltk.stem.porter import PorterStemmer

        stemmer = PorterStemmer()
    return lambda text: list(tokenize(text, stemmer))


def _words(text: str) -> list[str]:
    # Letters, marks and numbers stay: marks carry vowels in Indic scripts and in Thai.
    text = unicodedata.normalize("NFC", text).lower()
    return "".join(char if unicodedata.category(char)[0] in "LMN" else " " for char in text).split()


def _characters(text: str) -> list[str]:
    return [char for word in _words(text) for char in word]


def _fmeasure(name: str, split: Tokenize) -> Callable[[str, str], float]:
    """Return the F-measure as a function of (reference, answer)."""
    if name == "rouge_lsum":
        return _summary(split)
    if name == "rouge_l":
        return lambda reference, answer: _subsequence(split(reference), split(answer))
    order = 1 if name == "rouge1" else 2
    return lambda reference, answer: _ngrams(split(reference), split(answer), order)


def _ngrams(wanted: list[str], said: list[str], order: int) -> float:
    grams = [
        Counter(zip(*(tokens[start:] for start in range(order)), strict=False)) for tokens in (wanted, said)
    ]
    return _f(sum((grams[0] & grams[1]).values()), grams[0].total(), grams[1].total())


def _subsequence(wanted: list[str], said: list[str]) -> float:
    from rapidfuzz.distance import LCSseq

    # Small integers instead of words: rapidfuzz compares hashes, and those of words may collide.
    codes: dict[str, int] = {}
    coded = [[codes.setdefault(token, len(codes)) for token in tokens] for tokens in (wanted, said)]
    return _f(int(LCSseq.similarity(coded[0], coded[1])), len(wanted), len(said))


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
