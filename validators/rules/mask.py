"""MASK: what a local model would really train on. Docstrings are the rules' pages, as in `fmt`.

They look through a Hugging Face tokenizer; those of the examples write ChatML (`./chatml`), begin each text
with a token (`./begins`), drop the reasoning of earlier turns (`./thinking`) or end no turn (`./endless`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..control_tokens import controls_of
from ..findings import Fault, quoted
from ..measuring import TokenRow, template_of
from ..targets import Target
from .subjects import Collection

_WRITES = re.compile("image|audio|video")


def double_bos(row: TokenRow, target: Target) -> Iterator[Fault]:
    """A text holds the token that begins every text, beside the one that the template itself writes.

    Why: the row was rendered before: with most trainers it then begins twice, as no prompt ever will.
    With: tokenizer=./begins; select=MASK001,MASK004
    Bad:
        {"messages": [{"role": "user", "content": "<s>Why?"}, {"role": "assistant", "content": "Too wet."}]}
    Good:
        {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Too wet."}]}
    """
    begin = _begin(row)
    for where, tokens in _literal(row):
        if begin is not None and begin in tokens:
            cure = "Take it out: the chat template writes it."
            yield Fault(f"the text holds {quoted(begin)}, which begins every text already", cure, where=where)


def end_of_turn_untrained(data: Collection, target: Target) -> Iterator[Fault]:
    """No trained reply would end with the token that ends a turn.

    Why: a model that never trains on the end of its turn goes on and on: valid answers turn into rambling.
    With: tokenizer=./endless; select=MASK002
    Bad:
        {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Too wet."}]}
    Good (tokenizer=./chatml):
        {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Too wet."}]}
    """
    for file in data.files:
        if file.tokens is not None and "MASK002" in file.tokens.faults:
            count, line, why = file.tokens.faults["MASK002"]
            message, cure = _split(why)
            rows = "1 row" if count == 1 else f"{count:,} rows"
            yield Fault(f"{message} ({rows})", cure, path=file.path, line=line)


def nothing_trained(row: TokenRow, target: Target) -> Iterator[Fault]:
    """No token of the row trains.

    Why: the loss of such a row is 0 or not a number; it costs time and teaches nothing. Rows with pictures or sounds cannot train a model of text at all.
    With: tokenizer=./chatml; select=MASK003
    Bad:
        {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Too wet.", "weight": 0}]}
    Good:
        {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Too wet."}]}
    """
    if row.tokenizer.kind != "huggingface":
        return
    if row.fault is None and row.trained == 0:
        cure = "Give the row a reply with weight 1, or take it out."
        yield Fault("the loss mask is empty: no token of the row trains", cure, where="messages")
    # A template that writes what is no text is another trainer's matter.
    elif (
        row.fault is not None
        and row.fault.code == "MASK003"
        and not _WRITES.search(template_of(row.tokenizer))
    ):
        message, cure = _split(str(row.fault))
        yield Fault(message, cure, where="messages")


def control_token_in_text(row: TokenRow, target: Target) -> Iterator[Fault]:
    """A text holds a control token of the tokenizer, spelt out.

    Why: here it stays text, but most trainers and servers read it as the token itself: a turn ends in its middle, or another begins.
    With: tokenizer=./chatml; select=MASK001,MASK004
    Bad:
        {"messages": [{"role": "user", "content": "Why?<|im_end|>"}, {"role": "assistant", "content": "Too wet."}]}
    Good:
        {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Too wet."}]}
    """
    begin = _begin(row)
    for where, tokens in _literal(row):
        for token in sorted(tokens - {begin}):
            cure = "Take it out, or write it otherwise, if the text is about such tokens."
            yield Fault(f"the text holds the control token {quoted(token)}", cure, where=where)


def no_generation_marks(data: Collection, target: Target) -> Iterator[Fault]:
    """The chat template does not mark what the assistant says, so that had to be found another way.

    Why: trainers that rely on the marks train on everything or on nothing; here each reply's place is found by rendering the conversation up to it.
    With: tokenizer=./chatml; select=MASK005
    Bad:
        {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Too wet."}]}
    Good (tokenizer=./marked):
        {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Too wet."}]}
    """
    for file in data.files:
        if file.tokens is not None and file.tokens.marks is False and file.tokens.lengths:
            message = (
                f"the chat template of {file.tokens.tokenizer} has no generation marks: the loss mask was found by "
                "rendering each conversation up to each reply"
            )
            cure = "Nothing, if you train here; a trainer that needs the marks needs another template."
            yield Fault(message, cure, path=file.path)


def prompt_not_prefix(row: TokenRow, target: Target) -> Iterator[Fault]:
    """The prompt of a reply is not how the whole conversation begins.

    Why: training would show the model a beginning that no request has, and a mask by place would be wrong.
    With: tokenizer=./thinking; select=MASK006
    Bad:
        {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Too wet."}, {"role": "user", "content": "Sure?"}, {"role": "assistant", "content": "Yes."}]}
    Good:
        {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Too wet."}]}
    """
    if row.fault is not None and row.fault.code == "MASK006":
        message, cure = _split(str(row.fault))
        yield Fault(message, cure, where="messages")


def _literal(row: TokenRow) -> Iterator[tuple[str, frozenset[str]]]:
    """The control tokens in each text of a row that the template does not read itself, by JSON path."""
    from ..tokens import HuggingFaceTokenizer, TokenizerError

    if not isinstance(row.tokenizer, HuggingFaceTokenizer):
        return
    controls = controls_of(row.tokenizer.tokenizer)
    messages = row.example.messages
    found = [
        (f"messages[{i}].{key}", controls.within(value))
        for i, m in enumerate(messages)
        for key, value in (
            ("content", m.text),
            ("name", m.name),
            ("tool_calls", [c.as_dict() for c in m.tool_calls]),
        )
    ]
    if not any(tokens for _, tokens in found):
        return
    try:
        kept = row.tokenizer.script(messages, row.example.tools).kept
    except TokenizerError:
        kept = ()
    for position, (where, tokens) in enumerate(found):
        index = position // 3
        if rest := tokens - (kept[index] if index < len(kept) else frozenset()):
            yield where, rest


def _begin(row: TokenRow) -> str | None:
    """The token that begins every text, where the template writes it but once: one that begins turns is none."""
    from ..tokens import HuggingFaceTokenizer

    if not isinstance(row.tokenizer, HuggingFaceTokenizer):
        return None
    begin = row.tokenizer.tokenizer.bos_token
    return begin if begin is not None and begin not in template_of(row.tokenizer) else None


def _split(why: str) -> tuple[str, str]:
    """The fault and the cure of an error of the encoder, whose last sentence is the cure."""
    fault, _, cure = why.rpartition(". ")
    return (fault, cure) if fault else (why, "Use another chat template.")
