"""The one encoder: a chat example as token ids with a loss mask.

Lint's "too long", the bill, the trainer's labels and perplexity all come from here.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from .examples import Example, Message
from .tokens import HuggingFaceTokenizer, TokenizerError

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Encoding:
    """Token ids of one example and, beside each, 1 where the loss counts it."""

    ids: tuple[int, ...]
    loss_mask: tuple[int, ...]
    tokenizer: str
    truncated: int

    @property
    def trained(self) -> int:
        """How many tokens train."""
        return sum(self.loss_mask)


def encode(example: Example, tokenizer: HuggingFaceTokenizer, max_length: int | None = None) -> Encoding:
    """Encode an example for a local model: template applied once, assistant tokens and their end marked.

    An assistant message trains from the first token after its generation prompt up to and including
    its end-of-turn token, unless its weight is 0. The spans come from rendering the conversation up to
    each turn, so templates without generation marks work too. `max_length` cuts the end off and says
    how many tokens went. Raises TokenizerError where the template does not render turns as prefixes,
    leaves a trained answer out, or does not end it with a token.
    """
    text = tokenizer.render(example.messages, tools=example.tools)
    trained = [i for i, m in enumerate(example.messages) if m.role == "assistant" and m.weight != 0]
    ends = _special_texts(tokenizer) if trained else ()
    spans = [_span(example, index, text, tokenizer, ends) for index in trained]
    ids, offsets = _tokens(text, spans, tokenizer)
    mask = [0] * len(ids)
    span = iter(spans)
    start, end = next(span, (len(text), len(text)))
    for position, (left, right) in enumerate(offsets):
        if left >= end:
            start, end = next(span, (len(text), len(text)))
        # Some tokenizers trim white space from offsets: such a token is empty and stands behind its text.
        mask[position] = int(left >= start and right <= end and (right > left or left > start))
    keep = len(ids) if max_length is None else min(len(ids), max_length)
    return Encoding(tuple(ids[:keep]), tuple(mask[:keep]), tokenizer.name, len(ids) - keep)


def _tokens(
    text: str, spans: Sequence[Span], tokenizer: HuggingFaceTokenizer
) -> tuple[list[int], list[Span]]:
    """Token ids of rendered text and the characters of each, cut where answers begin.

    A model that is asked sees its prompt alone. In one piece with the answer the prompt's last white space
    can be tokenised otherwise, or even melt into the answer; so each prompt is tokenised by itself.
    """
    whole = _tokenised(text, 0, tokenizer)
    starts = [start for start, _ in spans]
    pieces = [
        _tokenised(text[a:b], a, tokenizer)
        for a, b in zip([0, *starts], [*starts, len(text)], strict=True)
        if a < b
    ]
    apart = [i for ids, _ in pieces for i in ids]
    if apart == whole[0]:
        return whole
    if tokenizer.tokenizer.decode(apart) == tokenizer.tokenizer.decode(whole[0]):
        return apart, [offset for _, offsets in pieces for offset in offsets]
    # Tokenizers that put a space before every text cannot write a piece by itself.
    if any(left < start < right for left, right in whole[1] for start in starts):
        raise TokenizerError(
            f"the tokenizer of {tokenizer.name} joins the end of the prompt and the beginning of the answer into "
            "one token, and cannot write them apart. Strip the white space around the answer."
        )
    return whole


def _tokenised(text: str, begin: int, tokenizer: HuggingFaceTokenizer) -> tuple[list[int], list[Span]]:
    encoded = tokenizer.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return encoded["input_ids"], [(begin + left, begin + right) for left, right in encoded["offset_mapping"]]


def _span(
    example: Example, index: int, text: str, tokenizer: HuggingFaceTokenizer, ends: tuple[str, ...]
) -> Span:
    """Character range of one assistant turn in the rendered conversation, end-of-turn token included."""
    messages, tools = example.messages, example.tools
    prompt = tokenizer.render(messages[:index], tools=tools, generation_prompt=True)
    last = index == len(messages) - 1
    upto = text if last else tokenizer.render(messages[: index + 1], tools=tools)
    end = _turn_end(example, index, upto, tokenizer, ends)
    if not (text.startswith(prompt) and text.startswith(upto[:end]) and len(prompt) < end):
        raise TokenizerError(
            f"the chat template of {tokenizer.name} does not write message {index} as a continuation of its "
            "prompt, so its loss mask would be wrong. Use a template with a plain generation prompt."
        )
    if not _holds(text[len(prompt) : end], messages[index]):
        raise TokenizerError(
            f"the chat template of {tokenizer.name} leaves out part of message {index}, which would then not "
            "train. Use another template, or take that part (reasoning, tool calls) out of the data."
        )
    return len(prompt), end


def _turn_end(
    example: Example, index: int, upto: str, tokenizer: HuggingFaceTokenizer, ends: tuple[str, ...]
) -> int:
    """Where the turn that ends `upto` ends: after its last special token that also stands before another turn.

    White space after it belongs to no turn (a model that stops there never writes it), nor does an end of
    text that some templates put after the whole conversation.
    """
    whole = upto.rstrip()
    token = max((t for t in ends if whole.endswith(t)), key=len, default=None)
    if token is None:
        raise TokenizerError(
            f"the chat template of {tokenizer.name} puts no end-of-turn token after message {index}, so a model "
            "trained on it would never learn to stop. Use a template that ends every turn with a token."
        )
    if not whole.removesuffix(token).rstrip().endswith(ends):
        return len(whole)
    following = example.messages[index + 1 : index + 2] or (Message("user", "Go on."),)
    try:
        after = tokenizer.render((*example.messages[: index + 1], *following), tools=example.tools)
    except TokenizerError:
        return len(whole)
    same = next((i for i, (a, b) in enumerate(zip(upto, after, strict=False)) if a != b), len(upto))
    end = max((upto.rfind(t, 0, same) + len(t) for t in ends if t in upto[:same]), default=0)
    rest = upto[end:].strip()
    while rest and (found := next((t for t in ends if rest.startswith(t)), None)):
        rest = rest.removeprefix(found).lstrip()
    return len(whole) if rest else end


def _holds(span: str, message: Message) -> bool:
    """Whether a rendered turn has all of its message; templates move reasoning, so its marks are no text."""
    parts = [part.strip() for part in re.split("</?think>", message.text)]
    return all(part in span for part in (*parts, *(call.name for call in message.tool_calls)))


@functools.lru_cache(maxsize=4)
def _special_texts(tokenizer: HuggingFaceTokenizer) -> tuple[str, ...]:
    return tuple(str(t) for t in tokenizer.tokenizer.added_tokens_decoder.values() if str(t).strip())
