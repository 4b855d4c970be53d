"""Which label does an answer mean? Three stated rules, and what none of them maps is no label.

| `mapping` | an answer is a label when |
|---|---|
| `equal` | they are equal after Unicode NFC and strip of outer white space |
| `folded` | they are equal but for case, outer punctuation and white space |
| `contained` | folded, it is the label or holds exactly one label, as whole words |

Under `contained` "not spam" holds *spam*: the rule reads words, not sense. A label that stands inside a
longer one ("card" in "lost card") is not counted there. In scripts that do not part words by spaces
(Chinese, Japanese, Thai…) a label counts wherever its characters stand.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from .inputs import texts
from .text import UNSPACED, plain

Pair: TypeAlias = "tuple[str | None, str]"
MAPPINGS = ("equal", "folded", "contained")


@dataclass(frozen=True, slots=True)
class Labelled:
    """(answered label or None where unmapped, true label) a sample, None for a failed one; labels sorted."""

    pairs: list[Pair | None]
    labels: list[str]
    given: bool
    mapping: str

    def signature(self, name: str, *more: str) -> str:
        """Return what a score of these pairs states about itself."""
        source = "given" if self.given else "references"
        rule = "nfc+strip|case:mixed" if self.mapping == "equal" else self.mapping
        return "|".join([name, *more, f"labels:{len(self.labels)} from {source}", f"norm:{rule}", "v:1"])


def labelled(
    predictions: Iterable[str | None],
    references: Iterable[str | Sequence[str]],
    labels: Iterable[str] | None,
    mapping: str,
) -> Labelled:
    """Map n answers to the labels of the references, or to those given; ValueError names what does not fit."""
    answers, accepted = texts(predictions, references)
    cleaned = [[plain(one) for one in many] for many in accepted]
    given = None if labels is None else {plain(one) for one in labels}
    known = {one for many in cleaned for one in many} if given is None else given
    for row, many in enumerate(cleaned):
        for one in many:
            if one not in known:
                raise ValueError(
                    f"references[{row}] is {one!r}, which is not among labels={sorted(known)[:9]}"
                )
    label_of = _rule(mapping, sorted(known))
    meant = {answer: label_of(answer) for answer in set(answers) if answer is not None}
    pairs: list[Pair | None] = []
    for answer, many in zip(answers, cleaned, strict=True):
        if answer is None:
            pairs.append(None)
            continue
        said = meant[answer]
        pairs.append((said, said if said is not None and said in many else many[0]))
    return Labelled(pairs, sorted(known), given is not None, mapping)


def fold(text: str) -> str:
    """Return text without case, outer punctuation and symbols, and with single spaces."""
    text = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    inner = [place for place, char in enumerate(text) if unicodedata.category(char)[0] in "LMN"]
    return text[inner[0] : inner[-1] + 1] if inner else text


def _rule(mapping: str, labels: list[str]) -> Callable[[str], str | None]:
    if mapping == "equal":
        known = set(labels)
        return lambda answer: clean if (clean := plain(answer)) in known else None
    if mapping not in MAPPINGS:
        raise ValueError(f"mapping={mapping!r} is not one of {', '.join(MAPPINGS)}")
    folded: dict[str, str] = {}
    for label in labels:
        other = folded.setdefault(fold(label), label)
        if other != label:
            raise ValueError(
                f"mapping={mapping!r} cannot tell the labels {other!r} and {label!r} apart: take 'equal'"
            )
    if mapping == "folded":
        return lambda answer: folded.get(fold(answer))
    # Longest first: where one label begins another, the longer one is meant.
    words = [_whole(label) for label in sorted(filter(None, folded), key=len, reverse=True)]
    anywhere: Any = re.compile("|".join(words) or r"(?!)")

    def contained(answer: str) -> str | None:
        clean = fold(answer)
        if clean in folded:
            return folded[clean]
        found = set(anywhere.findall(clean))
        return folded[found.pop()] if len(found) == 1 else None

    return contained


def _whole(label: str) -> str:
    before = r"(?<!\w)" if not UNSPACED.match(label[0]) else ""
    after = r"(?!\w)" if not UNSPACED.match(label[-1]) else ""
    return before + re.escape(label) + after
