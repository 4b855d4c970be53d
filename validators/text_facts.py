"""What the rules about texts and the statistics need of a file's rows: small, and the same however it is cut.

Replies are counted by their fingerprints elsewhere. Here are the names of short ones (labels), where replies
repeat the prompt, refusals, and a sample of rows for what is too costly to look at in every row.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Sequence

import msgspec

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
        if _REFUSAL.match(reply):
            self.refusals += 1
            self.refused_line = self.refused_line or row.line
        if row.example < self.below:
            prompt = "\n".join([text for role, text in turns if role == "user"])
            self.sample.setdefault(row.example, Sampled(row.line, prompt[:_HEAD], len(prompt), len(reply)))
            self._shrink()

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


def _is_echo(reply: str, turns: Turns) -> bool:
    """Whether the whole reply stands in what the user wrote."""
    wanted = reply.strip()
    if not wanted:  # a tool call says nothing
        return False
    return any(role == "user" and len(text) >= len(wanted) and wanted in text for role, text in turns)
