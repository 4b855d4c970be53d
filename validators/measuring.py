"""How long the rows of a range are in tokens, which of them train, and what the rules about tokens look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from .examples import Example
from .statistics import histogram, summary_of_counts

if TYPE_CHECKING:
    from .chat_templates import TokenizerError
    from .plain import Plain
    from .tokens import Tokenizer

Span = tuple[int, int]

# How many of the longest rows are remembered by their lines.
LONGEST = 10


class TokenRow(msgspec.Struct, frozen=True):
    """One chat row as its tokenizer sees it.

    `replies` are the trained runs of tokens, [from, to) in the whole example; None where they are not known
    by place. `trained` counts them. `fault` says why there is no loss mask. `limit` is the target's or
    model's, `max_length` where training cuts.
    """

    example: Example
    tokens: int
    trained: int
    replies: tuple[Span, ...] | None
    fault: TokenizerError | None
    tokenizer: Tokenizer
    limit: int | None = None
    max_length: int | None = None

    def placed(self) -> tuple[Span, ...]:
        """The trained runs by place, counted now where they were not."""
        if self.replies is not None:
            return self.replies
        from .tokens import OpenAITokenizer

        assert isinstance(self.tokenizer, OpenAITokenizer)
        return tuple(self.tokenizer.reply_spans(self.example))


class TokenFacts(msgspec.Struct):
    """What the rows of a file, or of one range of it, are in tokens. Small, whatever the file's size.

    `lengths` and `replies` map a number of tokens to how many examples or replies have it, `faults` a rule's
    code to how many rows lack a loss mask for it, the first line and why.
    """

    tokenizer: str = ""
    exact: bool = True
    marks: bool | None = None
    total: int = 0
    trained: int = 0
    estimated: int = 0
    uncounted: int = 0
    lengths: Counter[int] = msgspec.field(default_factory=Counter)
    replies: Counter[int] = msgspec.field(default_factory=Counter)
    longest: list[tuple[int, int]] = []
    faults: dict[str, tuple[int, int, str]] = {}

    def add(self, line: int, row: TokenRow, replies: Sequence[int], estimated: bool) -> None:
        """Take down one row."""
        self.total += row.tokens
        self.trained += row.trained
        self.estimated += estimated
        self.lengths[row.tokens] += 1
        self.replies.update(replies)
        if len(self.longest) < LONGEST or row.tokens > self.longest[-1][0]:
            self.longest.append((row.tokens, line))
            self._cut()
        if row.fault is not None and row.fault.code is not None:
            count, first, why = self.faults.get(row.fault.code, (0, line, str(row.fault)))
            self.faults[row.fault.code] = (count + 1, first, why)

    def add_chats(self, first: int, lengths: Any, replies: Any) -> None:
        """Take down many chats, with exact counts of each and of each reply that trains, from a line on."""
        self.total += int(lengths.sum())
        self.trained += int(replies.sum())
        self.lengths.update(lengths.tolist())
        self.replies.update(replies.tolist())
        least = self.longest[-1][0] if len(self.longest) == LONGEST else -1
        rows = (lengths > least).nonzero()[0]
        if len(rows):
            self.longest += zip(lengths[rows].tolist(), (rows + first).tolist(), strict=True)
            self._cut()

    def join(self, later: TokenFacts, lines: int) -> None:
        """Add the facts of the range behind this one; `lines` stand before it."""
        self.tokenizer, self.exact = self.tokenizer or later.tokenizer, self.exact and later.exact
        self.marks = later.marks if self.marks is None else self.marks
        self.total += later.total
        self.trained += later.trained
        self.estimated += later.estimated
        self.uncounted += later.uncounted
        self.lengths.update(later.lengths)
        self.replies.update(later.replies)
        self.longest += [(tokens, line + lines) for tokens, line in later.longest]
        self._cut()
        for code, (count, line, why) in later.faults.items():
            before, first, reason = self.faults.get(code, (0, line + lines, why))
            self.faults[code] = (before + count, first, reason)

    def median(self) -> float | None:
        """The median length of an example."""
        value = summary_of_counts(self.lengths)["p50"]
        return None if value is None else float(value)

    def as_dict(self, limit: int | None = None) -> dict[str, Any]:
        """As plain JSON values; `exact` is False where a count rests on an unpublished rule."""
        examples = self.lengths.total()
        spread = summary_of_counts(self.lengths)
        return {
            "tokenizer": self.tokenizer,
            "exact": self.exact and not self.estimated,
            "estimated": self.estimated,
            "examples": examples,
            "uncounted": self.uncounted,
            "total": self.total,
            "median": spread["p50"],
            "max": spread["max"],
            "example": spread,
            "reply": summary_of_counts(self.replies),
            "trained": self.trained,
            "trained_share": self.trained / self.total if self.total else None,
            "limit": limit,
            "over_limit": None
            if limit is None
            else sum(count for length, count in self.lengths.items() if length > limit),
            "histogram": histogram(self.lengths.elements()),
        }

    def _cut(self) -> None:
        self.longest = sorted(self.longest, key=lambda item: (-item[0], item[1]))[:LONGEST]


class Measure(msgspec.Struct, frozen=True):
    """How rows are counted: by which tokenizer, against which limits."""

    tokenizer: Tokenizer
    limit: int | None = None
    max_length: int | None = None

    def facts(self) -> TokenFacts:
        """Empty facts for one range."""
        marks = None
        if self.tokenizer.kind == "huggingface":
            marks = "generation %}" in template_of(self.tokenizer) or "generation -%}" in template_of(
                self.tokenizer
            )
        return TokenFacts(self.tokenizer.name, self.tokenizer.exact, marks)

    def rows(self, examples: Sequence[Example], facts: TokenFacts) -> Iterator[TokenRow]:
        """Count examples and take them down; those that cannot be counted are left out. Lines are the examples'."""
        from .tokens import HuggingFaceTokenizer, OpenAITokenizer, is_estimate

        if isinstance(self.tokenizer, OpenAITokenizer):
            counted = self.tokenizer.measure(examples)
            for example, (total, replies) in zip(examples, counted, strict=True):
                known = self._plain(example, total, sum(replies), None)
                facts.add(example.line, known, replies, is_estimate(self.tokenizer, example))
                yield known
            return
        for example in examples:
            if isinstance(self.tokenizer, HuggingFaceTokenizer):
                row = self._encoded(example)
            else:  # a counter of one's own
                row = self._plain(example, self.tokenizer.count_example(example), 0, ())
            if row is None:
                facts.uncounted += 1
                continue
            facts.add(
                example.line, row, [to - start for start, to in row.replies or ()], not self.tokenizer.exact
            )
            yield row

    def chats(self, plain: Plain, first: int, facts: TokenFacts) -> dict[int, int] | None:
        """Count plain chats at once by an OpenAI encoding (else None) and take them down, from line `first` on.

        Returns the rows, by index, that are longer than a limit, with their tokens: a rule may have something
        to say of them.
        """
        from .tokens import OpenAITokenizer

        if not isinstance(self.tokenizer, OpenAITokenizer):
            return None
        lengths, replies = self.tokenizer.measure_chats(plain.texts(), plain.orders, plain.odd())
        facts.add_chats(first, lengths, replies)
        facts.estimated += 0 if self.tokenizer.exact else len(lengths)
        limits = [limit for limit in (self.limit, self.max_length) if limit is not None]
        if not limits:
            return {}
        over = (lengths > min(limits)).nonzero()[0]
        return dict(zip(over.tolist(), lengths[over].tolist(), strict=True))

    def row(self, example: Example, tokens: int) -> TokenRow:
        """A row of plain chats whose tokens are counted."""
        return self._plain(example, tokens, 0, None)

    def _plain(
        self, example: Example, total: int, trained: int, replies: tuple[Span, ...] | None
    ) -> TokenRow:
        return TokenRow(example, total, trained, replies, None, self.tokenizer, self.limit, self.max_length)

    def _encoded(self, example: Example) -> TokenRow | None:
        """A row with its loss mask, without one where the template allows none, None where it refuses the row."""
        from .encoding import encode
        from .tokens import HuggingFaceTokenizer, TokenizerError

        assert isinstance(self.tokenizer, HuggingFaceTokenizer)
        try:
            encoding = encode(example, self.tokenizer)
        except TokenizerError as error:
            try:
                total = self.tokenizer.count_example(example)
            except TokenizerError:
                return None
            fault = error
            return TokenRow(example, total, 0, (), fault, self.tokenizer, self.limit, self.max_length)
        return self._plain(example, len(encoding.ids), encoding.trained, runs(encoding.loss_mask))


def runs(mask: Sequence[int]) -> tuple[Span, ...]:
    """The runs of ones in a mask, as [from, to)."""
    edges = [
        i for i in range(len(mask) + 1) if (mask[i] if i < len(mask) else 0) != (mask[i - 1] if i else 0)
    ]
    return tuple(zip(edges[::2], edges[1::2], strict=True))


def template_of(tokenizer: Any) -> str:
    """The chat template of a Hugging Face tokenizer, as it is written."""
    return str(tokenizer.tokenizer.chat_template)
