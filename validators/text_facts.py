"""What the rules about texts and the statistics need of a file's rows: small, and the same however it is cut.

Replies are counted by their fingerprints elsewhere. Here are the names of short ones (labels), where replies
repeat the prompt, refusals, and a sample of rows for what is too costly to look at in every row.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec

from .block_prints import Block, Packed
from .fingerprints import Fingerprint
from .language import language_of

# A file whose replies are classes has at most so many, of at most so many words.
MOST_LABELS = 50
LABEL_WORDS = 5
# A shorter reply may stand in the prompt by chance.
ECHO_WORDS = 10
SAMPLE_SIZE = 600
_HEAD = 600

# How assistants begin when they refuse. Matched at the start only: advice may say "I'm sorry to hear that".
_REFUSAL = re.compile(
    r"\s*(?:(?:I['’]m|I am) (?:so |very |really )?sorry,? (?:but|however)\b|Sorry,? (?:but )?I (?:can|am|['’]m)"
    r"|(?:Unfortunately|I apologi[sz]e),? (?:but )?I (?:can['’]?t|cannot|am not able|am unable|['’]m)"
    r"|I (?:can(?:no|['’])t|am (?:unable|not able) to|won['’]t) "
    r"(?:help|assist|provide|fulfil|comply|do that|answer|engage|create|generate|write|discuss|support|give|share)"
    r"|I['’]m (?:unable|not able) to|As an AI\b|I must (?:decline|refuse)|I(?: will|['’]ll) not "
    r"|Es tut mir leid, aber ich|Je suis désolée?, mais je ne|Lo siento, pero no puedo|Desculpe, mas não posso"
    r"|Mi dispiace, ma non posso|Het spijt me, maar ik kan)",
    re.IGNORECASE,
)

# What squeezed texts begin with that the expression matches.
_REFUSAL_HEADS = (b"i ", b"i'", b"so", b"un", b"as", b"es", b"je", b"lo", b"de", b"mi", b"he")
_ALL_BITS = (1 << 64) - 1

Turns = Sequence[tuple[str, str]]


class Sampled(msgspec.Struct, frozen=True, array_like=True):
    """One row of the sample: beginnings of its user texts and its reply, their lengths in characters."""

    line: int
    prompt: str
    prompt_length: int
    reply_length: int


class TextFacts:
    """One range's facts about texts. `labels` are short replies by their digest, `echoes` lines.

    The sample holds the distinct examples with the smallest digests: which these are depends on the file
    alone, not on its order or ranges.
    """

    __slots__ = ("below", "echoes", "labels", "refusals", "refused_line", "sample")

    def __init__(self) -> None:
        self.labels: dict[int, str] = {}
        self.echoes = array("I")
        self.refusals = 0
        self.refused_line = 0
        self.sample: dict[int, Sampled] = {}
        self.below = 1 << 64

    def take(self, row: Fingerprint, turns: Turns) -> None:
        """Take down one row: its fingerprint, and (role, text) of each message."""
        reply = ""
        for role, text in reversed(turns):
            if role == "assistant":
                reply = text
                break
        if row.reply_words <= LABEL_WORDS and row.reply_words and len(self.labels) <= MOST_LABELS:
            self.labels.setdefault(row.reply, reply.strip())
        elif row.reply_words >= ECHO_WORDS and _is_echo(reply, turns):
            self.echoes.append(row.line)
        if row.reply_words and _REFUSAL.match(reply):  # not where it answers nothing
            self.refusals += 1
            self.refused_line = self.refused_line or row.line
        if row.example < self.below:
            prompt = "\n".join([text for role, text in turns if role == "user"])
            self.sample.setdefault(row.example, Sampled(row.line, prompt[:_HEAD], len(prompt), len(reply)))
            self._shrink()

    def take_block(self, block: Block) -> None:
        """Take down many rows; only those that leave a trace are looked at."""
        if block.packed is None:
            for row in range(len(block.orders)):
                self.take(block.fingerprint(row), block.turns(row))
            return
        import numpy as np

        words = np.frombuffer(block.prints.reply_words, np.uint8)
        at = block.packed.starts[block.reply]
        heads = block.packed.codes[at].astype(np.int64) << 8 | block.packed.codes[at + 1]
        traced = _may_refuse()[heads] & (block.reply >= 0)
        if len(self.labels) <= MOST_LABELS:
            traced |= (words <= LABEL_WORDS) & (words > 0)
        if self.below <= _ALL_BITS:
            traced |= np.frombuffer(block.prints.example, np.uint64) < np.uint64(self.below)
        else:
            traced[:] = True
        traced[_echoes(block, block.packed, words >= ECHO_WORDS)] = True
        for row in traced.nonzero()[0].tolist():
            self.take(block.fingerprint(row), block.turns(row))

    def join(self, later: TextFacts, lines: int) -> None:
        """Add the facts of the range behind this one; `lines` stand before it."""
        for digest, label in later.labels.items():
            self.labels.setdefault(digest, label)
        self.echoes.extend(line + lines for line in later.echoes)
        self.refusals += later.refusals
        if not self.refused_line and later.refused_line:
            self.refused_line = later.refused_line + lines
        self.below = min(self.below, later.below)
        for digest, row in later.sample.items():
            self.sample.setdefault(digest, msgspec.structs.replace(row, line=row.line + lines))
        self.sample = {digest: row for digest, row in self.sample.items() if digest < self.below}
        self._shrink()

    def languages(self) -> Counter[str]:
        """How many rows of the sample are in which language, by what the user writes."""
        return Counter(language_of(row.prompt) for row in self.sample.values())

    def _shrink(self) -> None:
        while len(self.sample) > SAMPLE_SIZE:
            self.below >>= 1
            self.sample = {digest: row for digest, row in self.sample.items() if digest < self.below}


@cache
def _may_refuse() -> Any:
    """By the first two bytes of a squeezed reply: whether it may begin as a refusal does."""
    import numpy as np

    table = np.zeros(1 << 16, bool)
    for head in _REFUSAL_HEADS:
        table[head[0] << 8 | head[1]] = True
    table[0x80 << 8 :] = True
    table.reshape(256, 256)[:, 0x80:] = True
    return table


def _echoes(block: Block, packed: Packed, rows: Any) -> list[int]:
    """Which of these rows repeat the prompt in their reply."""
    import numpy as np

    texts = packed.texts
    length = np.fromiter(map(len, texts), np.int64, len(texts))
    row_of = np.repeat(np.arange(len(rows)), np.diff(block.first, append=len(texts)))
    wanted = block.reply[row_of]
    found = block.users & rows[row_of] & (length >= length[wanted])
    asked = found.nonzero()[0]
    spans = zip(asked.tolist(), wanted[asked].tolist(), row_of[asked].tolist(), strict=True)
    return [row for user, reply, row in spans if texts[reply] in texts[user]]


def _is_echo(reply: str, turns: Turns) -> bool:
    """Whether the whole reply stands in what the user wrote."""
    wanted = reply.strip()
    if not wanted:  # a tool call says nothing
        return False
    return any(role == "user" and len(text) >= len(wanted) and wanted in text for role, text in turns)
