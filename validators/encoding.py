"""The one encoder: a chat example as token ids with a loss mask.

Lint's "too long", the bill, the trainer's labels and perplexity all come from here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .chat_templates import HuggingFaceTokenizer, Script, TokenizerError, refuse_pictures
from .examples import Example, Message

Span = tuple[int, int]

# What a template may put between its generation prompt and the answer, in characters.
_LONGEST_HEAD = 200


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
    each turn, so templates without generation marks work too. Where a template writes an earlier turn
    otherwise once another follows, what stands in the whole conversation trains, without an end that the
    model does not stop at. `max_length` cuts the end off and says how many tokens went. Raises
    TokenizerError where a message is more than text, where a turn is no continuation of its prompt, where the template leaves a trained
    answer out, or does not end it with a token.
    """
    script = tokenizer.script(example.messages, example.tools)
    refuse_pictures(example.messages, tokenizer.name)
    text = script.write(example.messages)
    trained = [i for i, m in enumerate(example.messages) if m.role == "assistant" and m.weight != 0]
    spans = _spans(example, trained, text, script) if trained else []
    ids, offsets = _tokens(text, spans, script)
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


def _spans(example: Example, trained: Sequence[int], text: str, script: Script) -> list[Span]:
    """The character ranges that train, one for each trained message."""
    ends = script.ends()
    found = [_span(example, index, text, script, ends) for index in trained]
    if not any(stops for _, stops in found):
        raise TokenizerError(
            f"the chat template of {script.tokenizer.name} ends message {trained[-1]} otherwise once another "
            "follows, so nothing in this row would teach the model where to stop. Let the last reply train.",
            "MASK002",
        )
    return [span for span, _ in found]


def _tokens(text: str, spans: Sequence[Span], script: Script) -> tuple[list[int], list[Span]]:
    """Token ids of rendered text and the characters of each, cut where answers begin.

    A model that is asked sees its prompt alone. In one piece with the answer the prompt's last white space
    can be tokenised otherwise, or even melt into the answer; so each prompt is tokenised by itself.
    """
    whole = script.tokenise(text)
    starts = [start for start, _ in spans]
    pieces = [
        _tokenised(text[a:b], a, script)
        for a, b in zip([0, *starts], [*starts, len(text)], strict=True)
        if a < b
    ]
    apart = [i for ids, _ in pieces for i in ids]
    if apart == whole[0]:
        return whole
    decode = script.tokenizer.tokenizer.decode
    if decode(apart) == decode(whole[0]):
        return apart, [offset for _, offsets in pieces for offset in offsets]
    # Tokenizers that put a space before every text cannot write a piece by itself.
    if any(left < start < right for left, right in whole[1] for start in starts):
        raise TokenizerError(
            f"the tokenizer of {script.tokenizer.name} joins the end of the prompt and the beginning of the answer "
            "into one token, and cannot write them apart. Strip the white space around the answer.",
            "MASK006",
        )
    return whole


def _tokenised(text: str, begin: int, script: Script) -> tuple[list[int], list[Span]]:
    ids, offsets = script.tokenise(text)
    return ids, [(begin + left, begin + right) for left, right in offsets]


def _span(
    example: Example, index: int, text: str, script: Script, ends: tuple[str, ...]
) -> tuple[Span, bool]:
    """Character range of one assistant turn in the rendered conversation, and whether it ends where a model stops."""
    messages, name = example.messages, script.tokenizer.name
    prompt = script.write(messages[:index], generation_prompt=True)
    last = index == len(messages) - 1
    upto = text if last else script.write(messages[: index + 1])
    end = _turn_end(example, index, upto, script, ends)
    stops = True
    if not (text.startswith(prompt) and text.startswith(upto[:end]) and len(prompt) < end):
        again = _rewritten(text, prompt, upto[:end], ends)
        if last or again is None:
            raise TokenizerError(
                f"the chat template of {name} does not write message {index} as a continuation of its "
                "prompt, so its loss mask would be wrong. Use a template with a plain generation prompt"
                f"{'' if last else ', or give this message weight 0'}.",
                "MASK006",
            )
        end, stops = again
    if not _holds(script.shown(text[len(prompt) : end]), messages[index]):
        raise TokenizerError(
            f"the chat template of {name} leaves out part of message {index}, which would then not "
            "train. Use another template, or take that part (reasoning, tool calls) out of the data.",
            "MASK006",
        )
    return (len(prompt), end), stops


def _rewritten(text: str, prompt: str, turn: str, ends: tuple[str, ...]) -> tuple[int, bool] | None:
    """Where a turn ends in a conversation that writes it otherwise than alone, and whether a model stops there.

    Reasoning templates drop what they put before the answer, and some end a turn with another token once
    more follows: that token is left out. None where the turn is no continuation of its prompt.
    """
    if not (text.startswith(prompt) and turn.startswith(prompt)):
        return None
    begin, alone = len(prompt), turn[len(prompt) :]
    token = max((t for t in ends if alone.endswith(t)), key=len, default="")
    for body, stops in ((alone, True), (alone.removesuffix(token), False)):
        for cut in range(min(len(body), _LONGEST_HEAD)):
            end = begin + len(body) - cut
            if text.startswith(body[cut:], begin) and (stops or text.startswith(ends, end)):
                return end, stops
    return None


def _turn_end(example: Example, index: int, upto: str, script: Script, ends: tuple[str, ...]) -> int:
    """Where the turn that ends `upto` ends: after its last special token that also stands before another turn.

    White space after it belongs to no turn (a model that stops there never writes it), nor does an end of
    text that some templates put after the whole conversation.
    """
    whole = upto.rstrip()
    token = max((t for t in ends if whole.endswith(t)), key=len, default=None)
    if token is None:
        raise TokenizerError(
            f"the chat template of {script.tokenizer.name} puts no end-of-turn token after message {index}, so a model "
            "trained on it would never learn to stop. Use a template that ends every turn with a token.",
            "MASK002",
        )
    if not whole.removesuffix(token).rstrip().endswith(ends):
        return len(whole)
    following = example.messages[index + 1 : index + 2] or (Message("user", "Go on."),)
    try:
        after = script.write((*example.messages[: index + 1], *following))
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
