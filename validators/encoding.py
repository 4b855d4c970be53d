"""The one encoder: a chat example as token ids with a loss mask.

Lint's "too long", the bill, the trainer's labels and perplexity all come from here.
"""

from __future__ import annotations

from dataclasses import dataclass

from .examples import Example
from .tokens import HuggingFaceTokenizer, TokenizerError


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
    how many tokens went. Raises TokenizerError where the template does not render turns as prefixes.
    """
    text = tokenizer.render(example.messages, tools=example.tools)
    spans = [
        _span(example, index, text, tokenizer)
        for index, message in enumerate(example.messages)
        if message.role == "assistant" and message.weight != 0
    ]
    encoded = tokenizer.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids: list[int] = encoded["input_ids"]
    mask = [0] * len(ids)
    span = iter(spans)
    start, end = next(span, (len(text), len(text)))
    for position, (left, right) in enumerate(encoded["offset_mapping"]):
        if left >= end:
            start, end = next(span, (len(text), len(text)))
        mask[position] = int(left >= start and right <= end and right > left)
    keep = len(ids) if max_length is None else min(len(ids), max_length)
    return Encoding(tuple(ids[:keep]), tuple(mask[:keep]), tokenizer.name, len(ids) - keep)


def _span(example: Example, index: int, text: str, tokenizer: HuggingFaceTokenizer) -> tuple[int, int]:
    """Character range of one assistant turn in the rendered conversation, end-of-turn token included."""
    messages = example.messages
    prompt = tokenizer.render(messages[:index], tools=example.tools, generation_prompt=True)
    upto = (
        text if index == len(messages) - 1 else tokenizer.render(messages[: index + 1], tools=example.tools)
    )
    # White space after the end-of-turn token belongs to no turn: a model that stops there never writes it.
    end = len(upto.rstrip()) if upto.rstrip().endswith(_special_texts(tokenizer)) else len(upto)
    if not (text.startswith(prompt) and text.startswith(upto[:end]) and len(prompt) < end):
        raise TokenizerError(
            f"the chat template of {tokenizer.name} does not write message {index} as a continuation of its "
            "prompt, so its loss mask would be wrong. Use a template with a plain generation prompt."
        )
    return len(prompt), end


def _special_texts(tokenizer: HuggingFaceTokenizer) -> tuple[str, ...]:
    return tuple(str(token) for token in tokenizer.tokenizer.added_tokens_decoder.values())
