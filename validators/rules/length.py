"""LEN: examples that are longer in tokens than they may be. Docstrings are the rules' pages, as in `fmt`.

The tokenizers of the examples write ChatML over a small vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..findings import Fault
from ..measuring import TokenRow
from ..targets import Target
from .subjects import Collection

# A row is an outlier from so many times the median on.
OUTLIER = 10


def example_too_long(row: TokenRow, target: Target) -> Iterator[Fault]:
    """An example has more tokens than the target or the model takes.

    Why: the target cuts it off or refuses the file; what is cut is the end, where the last reply stands.
    With: tokenizer=./chatml; token_limit=60; select=LEN
    Bad:
        {"messages": [{"role": "user", "content": "Why do the leaves of my basil turn yellow, one after another?"}, {"role": "assistant", "content": "Too much water. Let it dry."}]}
    Good:
        {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Too wet."}]}
    """
    if row.limit is not None and row.tokens > row.limit:
        cure = "Shorten it, or split it into several examples."
        yield Fault(f"{row.tokens:,} tokens are over the limit of {row.limit:,}", cure, where="messages")


def reply_truncated(row: TokenRow, target: Target) -> Iterator[Fault]:
    """At the maximum length of training, part of a reply that should train is cut off.

    Why: the model learns the reply without its end, and so not where to stop.
    With: tokenizer=./chatml; max_length=50; select=LEN
    Bad:
        {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Too much water. Let it dry out between waterings."}]}
    Good:
        {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Too wet."}]}
    """
    if row.max_length is None or row.tokens <= row.max_length:
        return
    cut = row.max_length
    for start, end in row.placed():
        if start < cut < end:
            cure = f"Shorten the row by {row.tokens - cut:,} tokens, or raise the maximum length."
            message = (
                f"{end - cut:,} of a reply's {end - start:,} tokens lie beyond the maximum length of {cut:,}"
            )
            yield Fault(message, cure, where="messages")


def reply_lost(row: TokenRow, target: Target) -> Iterator[Fault]:
    """At the maximum length of training, no token that should train is left.

    Why: the row costs time and teaches nothing; a set full of such rows shows a loss of 0.
    With: tokenizer=./chatml; max_length=50; select=LEN
    Bad:
        {"messages": [{"role": "user", "content": "Why do the leaves of my basil turn yellow, one after another?"}, {"role": "assistant", "content": "Too wet."}]}
    Good:
        {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Too wet."}]}
    """
    if row.max_length is None or row.tokens <= row.max_length:
        return
    spans = row.placed()
    if spans and spans[0][0] >= row.max_length:
        cure = f"Shorten the prompt, or raise the maximum length to {spans[0][1]:,} or more."
        message = f"the first reply begins at token {spans[0][0] + 1:,}, behind the maximum length of {row.max_length:,}"
        yield Fault(message, cure, where="messages")


def length_outlier(data: Collection, target: Target) -> Iterator[Fault]:
    """Some examples are over ten times as long as the median.

    Why: one such row sets the memory and the time of its whole batch; it is often a paste that went wrong.
    With: tokenizer=./chatml; select=LEN
    Bad:
        {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Wet."}]}
        {"messages": [{"role": "user", "content": "Now?"}, {"role": "assistant", "content": "Dry."}]}
        {"messages": [{"role": "user", "content": "0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789"}, {"role": "assistant", "content": "What?"}]}
    Good:
        {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Wet."}]}
        {"messages": [{"role": "user", "content": "Now?"}, {"role": "assistant", "content": "Dry."}]}
    """
    for file in data.files:
        median = file.tokens.median() if file.tokens is not None else None
        if file.tokens is None or median is None:
            continue
        bound = OUTLIER * median
        count = sum(number for length, number in file.tokens.lengths.items() if length > bound)
        lines = [line for length, line in file.tokens.longest if length > bound]
        if not count:
            continue
        longest = file.tokens.longest[0][0]
        others = f"; also lines {', '.join(map(str, sorted(lines[1:])))}" if lines[1:] else ""
        more = " and more" if count > len(lines) else ""
        rows = "1 row is" if count == 1 else f"{count:,} rows are"
        message = f"{rows} over ten times the median of {median:,.0f} tokens; the longest has {longest:,}{others}{more}"
        cure = "Look at them: shorten, split or drop what is no example."
        yield Fault(message, cure, path=file.path, line=lines[0])
