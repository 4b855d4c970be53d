"""How long training rows are, and what a limit on their length would cut: row by row, and place by place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from validators.encoding import encode
from validators.examples import Example
from validators.tokens import HuggingFaceTokenizer, OpenAITokenizer, Tokenizer

from .records import RowLength

# Rows that are encoded for this; of more, as many evenly spaced ones. Half a minute would be long for a picture.
MOST_ROWS = 5000

Span = tuple[int, int]


def measure(examples: Sequence[Example], tokenizer: Tokenizer, most: int = MOST_ROWS) -> list[RowLength]:
    """Measure examples, or `most` evenly spaced ones; none for a tokenizer that cannot tell which tokens train.

    Raises TokenizerError.
    """
    if not isinstance(tokenizer, HuggingFaceTokenizer | OpenAITokenizer):
        return []
    step = -(-len(examples) // most) or 1
    measured = ((example.line, *_trained(example, tokenizer)) for example in examples[::step])
    return [RowLength(line=line, tokens=tokens, trained=spans) for line, tokens, spans in measured]


@dataclass(frozen=True, slots=True)
class Cut:
    """What a limit does: rows that are shortened, rows left with nothing to train, tokens and trained tokens lost."""

    rows: int
    emptied: int
    tokens: int
    trained: int


class Lengths:
    """Measured rows as arrays, in tokens, so that any limit is answered at once.

    `tokens` and `trained` are a number a row; `trained_at[i]` is how many rows train their token i (0-based).
    """

    def __init__(self, rows: Sequence[RowLength]) -> None:
        self.tokens = _array(row.tokens for row in rows)
        self.trained = _array(sum(end - begin for begin, end in row.trained) for row in rows)
        self._first = _array(min((begin for begin, _ in row.trained), default=0) for row in rows)
        spans = np.asarray([span for row in rows for span in row.trained], dtype=np.int64).reshape(-1, 2)
        # A span adds a row where it begins and takes it away where it ends: the running sum counts the rows.
        edges = np.zeros(self.longest + 1, dtype=np.int64)
        np.add.at(edges, spans[:, 0], 1)
        np.add.at(edges, spans[:, 1], -1)
        self.trained_at = np.cumsum(edges)[: self.longest]

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return int(self.tokens.max(initial=0))

    def cut(self, limit: int) -> Cut:
        """What is lost where rows end after `limit` tokens."""
        lost = np.maximum(self.tokens - limit, 0)
        return Cut(
            rows=int((lost > 0).sum()),
            emptied=int(((self.trained > 0) & (self._first >= limit)).sum()),
            tokens=int(lost.sum()),
            trained=int(self.trained_at[limit:].sum()),
        )


def _trained(
    example: Example, tokenizer: HuggingFaceTokenizer | OpenAITokenizer
) -> tuple[int, tuple[Span, ...]]:
    """Tokens of an example, and where trained ones stand as [from, to)."""
    if isinstance(tokenizer, OpenAITokenizer):
        spans = tokenizer.reply_spans(example)
        return tokenizer.count_example(example), tuple(span for span in spans if span[1] > span[0])
    mask = encode(example, tokenizer).loss_mask
    return len(mask), tuple(_runs(mask))


def _runs(mask: Sequence[int]) -> Iterator[Span]:
    edges = np.flatnonzero(np.diff(np.asarray(mask, dtype=np.int8), prepend=0, append=0)).tolist()
    yield from zip(edges[::2], edges[1::2], strict=True)


def _array(values: Iterable[int]) -> np.ndarray:
    return np.fromiter(values, dtype=np.int64)
