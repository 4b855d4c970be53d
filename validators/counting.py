"""Tokens of a whole data set as they are billed: cut at the limit, trained, and what a request of it takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from .examples import Example

if TYPE_CHECKING:
    from .tokens import OpenAITokenizer, Tokenizer

# Examples that are counted at once: the fast counter is fast with many texts.
_BATCH = 512


class Count(msgspec.Struct):
    """Tokens over one epoch. `prompts` and `replies` are of the `asked` examples, where requests are counted.

    `truncated` are cut off at the limit, `trained` those the loss sees within it; `estimated` counts
    examples whose length rests on a rule that the provider has not published.
    """

    examples: int = 0
    total: int = 0
    trained: int = 0
    truncated: int = 0
    estimated: int = 0
    prompts: int = 0
    replies: int = 0
    asked: int = 0

    @property
    def billed(self) -> int:
        """What is left after cutting."""
        return self.total - self.truncated


def count_examples(
    examples: Iterable[Example], tokenizer: Tokenizer, limit: int | None, requests: bool = False
) -> Count:
    """Count examples; with `requests` also the prompt and the last reply of each."""
    from .tokens import is_estimate

    count = Count()
    for example, length, trained in _measured(examples, tokenizer, limit):
        count.examples += 1
        count.total += length
        count.trained += trained
        count.truncated += max(0, length - limit) if limit is not None else 0
        count.estimated += is_estimate(tokenizer, example)
        if requests:
            _ask(example, tokenizer, count)
    return count


def _measured(
    examples: Iterable[Example], tokenizer: Tokenizer, limit: int | None
) -> Iterator[tuple[Example, int, int]]:
    """Each example, its tokens, and how many of them train within the limit."""
    from .tokens import HuggingFaceTokenizer, OpenAITokenizer

    waiting = iter(examples)
    if isinstance(tokenizer, OpenAITokenizer):
        while batch := list(islice(waiting, _BATCH)):
            for example, (length, replies) in zip(batch, tokenizer.measure(batch), strict=True):
                cut = limit is not None and length > limit
                yield example, length, _within(example, tokenizer, limit or 0) if cut else sum(replies)
        return
    for example in waiting:
        if isinstance(tokenizer, HuggingFaceTokenizer):
            from .encoding import encode

            encoding = encode(example, tokenizer, limit)
            yield example, len(encoding.ids) + encoding.truncated, encoding.trained
            continue
        # A counter of one's own: replies are taken to stand at the end, where an example is cut.
        length = tokenizer.count_example(example)
        trained = sum(
            _reply(example, index, tokenizer)
            for index, message in enumerate(example.messages)
            if message.role == "assistant" and message.weight != 0
        )
        yield example, length, max(0, trained - (max(0, length - limit) if limit is not None else 0))


def _within(example: Example, tokenizer: OpenAITokenizer, limit: int) -> int:
    return sum(max(0, min(to, limit) - start) for start, to in tokenizer.reply_spans(example))


def _ask(example: Example, tokenizer: Tokenizer, count: Count) -> None:
    """The last reply as an answer to what stands before it."""
    last = max((i for i, m in enumerate(example.messages) if m.role == "assistant"), default=0)
    if not last:
        return
    prompt = msgspec.structs.replace(example, messages=example.messages[:last])
    count.asked += 1
    count.prompts += tokenizer.count_example(prompt)
    count.replies += _reply(example, last, tokenizer)


def _reply(example: Example, index: int, tokenizer: Tokenizer) -> int:
    message = example.messages[index]
    calls = (text for call in message.tool_calls for text in (call.name, call.arguments))
    return tokenizer.count_text(message.text) + sum(map(tokenizer.count_text, calls))
