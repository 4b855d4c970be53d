"""Near-duplicates: documents whose sets of word triples overlap, found without comparing all with all.

The smaller side is indexed, the larger streams past it. Every pair over the threshold is found and none
under it is told (exact set-similarity join by prefix filtering; Chaudhuri et al. 2006, Bayardo et al. 2007):
two sets with Jaccard similarity t or more share an element among the first n - ceil(t n) + 1 of each, in any
order common to both; the rarest first makes such meetings few. Triples are 64-bit hashes.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from typing import Any

import msgspec

THRESHOLD = 0.8
# Fewer triples (seven words) say too little: two short questions may differ in the one word that counts.
FEWEST = 5
# A triple in more than this share of the indexed side (and in so many documents) belongs to the form.
COMMON_SHARE = 0.2
COMMON_LEAST = 10

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]|\w+")
_WORDS_ONLY = {code: " " for code in range(128) if not (chr(code).isalnum() or chr(code) == "_")}


class Match(msgspec.Struct, frozen=True):
    """A streamed document and the indexed one most like it, by their keys; similarity from 0 to 1."""

    key: int
    other: int
    similarity: float


def words_of(text: str) -> list[str]:
    """Words without case, width and signs; in scripts without spaces, characters."""
    if text.isascii():
        return text.lower().translate(_WORDS_ONLY).split()
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def triples(text: str) -> set[int]:
    """Hashes of all runs of three words. Hashes hold for this process alone."""
    words = words_of(text)
    return set(map(hash, zip(words, words[1:], words[2:], strict=False)))


def is_boilerplate(count: int, documents: int) -> bool:
    """Whether a triple that `count` of the documents hold is the form they share, not what they say."""
    return count > COMMON_LEAST and count > COMMON_SHARE * documents


class Index:
    """The small side. Keys are the caller's; documents of fewer than FEWEST triples are left out.

    `common` are the triples of the form, where they are known of a larger set; without `fill` the documents
    are counted and not yet added. Memory: about 100 bytes a triple while it is built and used.
    """

    def __init__(
        self,
        documents: Iterable[tuple[int, set[int]]],
        threshold: float = THRESHOLD,
        common: frozenset[int] | None = None,
        fill: bool = True,
    ) -> None:
        kept = [(key, found) for key, found in documents if len(found) >= FEWEST]
        counts: Counter[int] = Counter()
        for _, found in kept:
            counts.update(found)
        self.threshold = threshold
        if common is None:
            common = frozenset(t for t, count in counts.items() if is_boilerplate(count, len(kept)))
        self.common = common
        self._counts = {t: count for t, count in counts.items() if t not in self.common}
        self._known = frozenset(self._counts)
        self._sets: list[tuple[int, frozenset[int]]] = []
        self._postings: dict[int, list[int]] = {}
        for key, found in kept if fill else ():
            self.add(key, found)

    def add(self, key: int, document: set[int]) -> None:
        """Index one document of those whose triples were counted; keys rise."""
        own = frozenset(document - self.common if self.common else document)
        if len(own) >= FEWEST:
            for t in self._rarest(own, self._prefix(len(own))):
                self._postings.setdefault(t, []).append(len(self._sets))
            self._sets.append((key, own))

    def matches(self, document: set[int], less: Container[int] = ()) -> Iterator[tuple[int, float]]:
        """Key and similarity of every indexed document at or over the threshold, in the order they were added.

        Documents whose keys are in `less` are left out.
        """
        if self.common:
            document = document - self.common
        size = len(document)
        if size < FEWEST:
            return
        known = document & self._known
        unknown = size - len(known)
        # What the index does not know is rarer still, so it comes first in the order.
        prefix = self._prefix(size) - unknown
        if prefix <= 0:
            return
        candidates: set[int] = set()
        for t in self._rarest(known, prefix):
            candidates.update(self._postings.get(t, ()))
        for place in sorted(candidates):
            key, other = self._sets[place]
            if key in less or min(size, len(other)) < self.threshold * max(size, len(other)) - 1e-9:
                continue
            shared = len(known & other)
            similarity = shared / (size + len(other) - shared)
            if similarity >= self.threshold:
                yield key, similarity

    def _rarest(self, document: Iterable[int], most: int) -> list[int]:
        counts = self._counts
        return sorted(document, key=lambda t: (counts[t], t))[:most]

    def _prefix(self, size: int) -> int:
        return size - math.ceil(self.threshold * size - 1e-9) + 1


def near_matches(
    small: Iterable[tuple[int, str]], big: Iterable[tuple[int, str]], threshold: float = THRESHOLD
) -> Iterator[Match]:
    """Every pair of a document of `big` and one of `small` that are alike; both are (key, text).

    `small` is held in memory, `big` is read once.
    """
    index = Index(((key, triples(text)) for key, text in small), threshold)
    for key, text in big:
        for other, similarity in index.matches(triples(text)):
            yield Match(key, other, similarity)


def near_duplicates(documents: Iterable[tuple[int, str]], threshold: float = THRESHOLD) -> Iterator[Match]:
    """Each document that is like an earlier one that stays, with the first such; keys rise with the order.

    Without the documents told here, no two are alike. A chain of small changes is told of where it strays from
    its beginning, and a thousand copies cost a thousand comparisons, not a million.
    """
    return near_duplicates_of(((key, triples(text)) for key, text in documents), threshold)


def near_duplicates_of(
    documents: Iterable[tuple[int, set[int]]], threshold: float = THRESHOLD
) -> Iterator[Match]:
    """The same for documents that are taken apart already; 8 bytes a triple are held of each."""
    import numpy as np

    keys: list[int] = []
    held: list[Any] = []
    for key, found in documents:
        if len(found) >= FEWEST:
            keys.append(key)
            held.append(np.fromiter(found, np.int64, len(found)))
    if len(held) < 2:
        return
    common, hopeful = _hopeful(held, threshold)
    sets = [(keys[place], set(held[place].tolist())) for place in hopeful]
    del held
    index = Index(sets, threshold, common, fill=False)
    for key, found in sets:
        first = next(index.matches(found), None)
        if first is None:
            index.add(key, found)
        else:
            yield Match(key, *first)


def _hopeful(held: list[Any], threshold: float) -> tuple[frozenset[int], list[int]]:
    """Triples of the form, and the documents that share enough of their others to be like any document."""
    import numpy as np

    whole = np.concatenate(held)
    values, group, counts = np.unique(whole, return_inverse=True, return_counts=True)
    form = (counts > COMMON_LEAST) & (counts > COMMON_SHARE * len(held))
    starts = np.cumsum([0, *(len(each) for each in held[:-1])])
    own = np.add.reduceat((~form)[group].astype(np.int64), starts)
    shared = np.add.reduceat(((counts > 1) & ~form)[group].astype(np.int64), starts)
    hopeful = np.flatnonzero((own >= FEWEST) & (shared >= threshold * own - 1e-9))
    return frozenset(values[form].tolist()), hopeful.tolist()


class Asked(msgspec.Struct, frozen=True):
    """A question with its answer, by the caller's key."""

    key: int
    question: str
    answer: str


# A shorter question ("How much?") stands in many documents by chance.
QUESTION_WORDS = 4


def verbatim_answers(
    asked: Iterable[Asked], documents: Iterable[tuple[int, str]]
) -> Iterator[tuple[int, int]]:
    """Keys of questions and of the first document that holds question and answer word for word.

    Case, width, signs and white space aside. The questions are held in memory, the documents read once.
    """
    waiting: dict[tuple[str, ...], list[tuple[int, str, str]]] = {}
    for each in asked:
        words, answer = words_of(each.question), words_of(each.answer)
        if len(words) >= QUESTION_WORDS and answer:
            own = (each.key, f" {' '.join(words)} ", f" {' '.join(answer)} ")
            waiting.setdefault(tuple(words[:QUESTION_WORDS]), []).append(own)
    for key, text in documents:
        words = words_of(text)
        runs = set(zip(*(words[i:] for i in range(QUESTION_WORDS)), strict=False))
        whole = f" {' '.join(words)} "
        for run in runs & waiting.keys():
            for own in [own for own in waiting[run] if own[1] in whole and own[2] in whole]:
                yield own[0], key
                waiting[run].remove(own)
