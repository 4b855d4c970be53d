"""Whether two samples of requests differ: in length, language and words, and by how much.

A difference is told where it is large enough to matter and too large for chance.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from .findings import quoted
from .language import UNKNOWN, language_of
from .leakage import words_of
from .text_facts import Sampled

# Smaller samples cannot be told apart from chance.
FEWEST = 50
# The largest gap between two cumulative distributions of lengths, and between two shares, that is let pass.
LENGTH_GAP = 0.25
SHARE_GAP = 0.1
# More unknown words by so much of all words.
WORD_GAP = 0.15
# Critical value of the two-sample Kolmogorov-Smirnov test at 0.001, and standard errors a share may be off.
_KS = 1.95
_ERRORS = 3.3


def shifts(here: Sequence[Sampled], there: Sequence[Sampled]) -> Iterator[str]:
    """In words, each way in which the sample `there` differs from `here`."""
    if min(len(here), len(there)) < FEWEST:
        return
    told = (_length_shift(here, there), _language_shift(here, there), _word_shift(here, there))
    yield from (each for each in told if each)


def share_shift(what: str, here: Mapping[str, int], there: Mapping[str, int]) -> str | None:
    """The category whose share differs most, if that is more than a tenth of all and than chance."""
    n, m = sum(here.values()), sum(there.values())
    if min(n, m) < FEWEST:
        return None
    gaps = {name: there.get(name, 0) / m - here.get(name, 0) / n for name in sorted({*here, *there})}
    apart = sum(abs(gap) for gap in gaps.values()) / 2
    name = max(gaps, key=lambda each: abs(gaps[each]))
    pooled = (here.get(name, 0) + there.get(name, 0)) / (n + m)
    error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    if apart < SHARE_GAP or abs(gaps[name]) < _ERRORS * error:
        return None
    shares = f"{here.get(name, 0) / n:.0%} here and {there.get(name, 0) / m:.0%} there"
    return f"the {what} {quoted(name)} has {shares}; {apart:.0%} of the rows would have to change {what}"


def _length_shift(here: Sequence[Sampled], there: Sequence[Sampled]) -> str | None:
    ours, theirs = (sorted(row.prompt_length for row in rows) for rows in (here, there))
    gap = max(abs(_below(ours, x) - _below(theirs, x)) for x in {*ours, *theirs})
    if gap < max(LENGTH_GAP, _KS * math.sqrt(1 / len(ours) + 1 / len(theirs))):
        return None
    medians = f"{ours[len(ours) // 2]} characters here and {theirs[len(theirs) // 2]} there"
    return f"the prompts' lengths differ: the median is {medians} (largest gap {gap:.0%})"


def _below(ordered: Sequence[int], value: int) -> float:
    return bisect_right(ordered, value) / len(ordered)


def _language_shift(here: Sequence[Sampled], there: Sequence[Sampled]) -> str | None:
    counts = [Counter(language_of(row.prompt) for row in rows) for rows in (here, there)]
    known = [{name: n for name, n in each.items() if name != UNKNOWN} for each in counts]
    return share_shift("language", *known)


def _word_shift(here: Sequence[Sampled], there: Sequence[Sampled]) -> str | None:
    """How many words of the other sample half of this one never uses, beside the other half of this."""
    ordered = sorted(here, key=lambda row: row.line)
    vocabulary = {word for row in ordered[::2] for word in words_of(row.prompt)}
    own, other = (_unknown(rows, vocabulary) for rows in (ordered[1::2], there))
    if own is None or other is None:
        return None
    error = math.sqrt(own[1] ** 2 + other[1] ** 2)
    if other[0] - own[0] < max(WORD_GAP, _ERRORS * error):
        return None
    return f"{other[0]:.0%} of the words there never stand in half of the rows here ({own[0]:.0%} in the other half)"


def _unknown(rows: Sequence[Sampled], vocabulary: set[str]) -> tuple[float, float] | None:
    """Mean share of unknown words a row, numbers aside, and its standard error."""
    shares = []
    for row in rows:
        words = [word for word in words_of(row.prompt) if not word.isdigit()]
        if words:
            shares.append(sum(word not in vocabulary for word in words) / len(words))
    if len(shares) < FEWEST // 2:
        return None
    mean = sum(shares) / len(shares)
    variance = sum((share - mean) ** 2 for share in shares) / (len(shares) - 1)
    return mean, math.sqrt(variance / len(shares))
