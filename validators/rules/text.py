"""TEXT: quality of the text. Docstrings are the rules' pages, as in `fmt`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .. import scanning
from ..characters import garbled, invisible
from ..findings import Fault, Severity, quoted
from ..json_scanner import join_path
from ..passages import Parts, exchange, passages, strings
from ..prefilters import Gated, any_of, beyond_ascii
from ..targets import Target
from .classes import classes_of, label_names
from .subjects import Collection, FileFacts, Line, row_format

# Fewer rows say nothing about habits.
FEWEST_ROWS = 20
REFUSALS_SHARE = 0.1
CONSTANT_SHARE = 0.95
# A label of fewer letters ("no", "yes") stands in many prompts by chance.
LABEL_LETTERS = 4

_HIDDEN = frozenset({"id", "metadata"})

# UTF-8 of â, Ã and their like, followed by that of a character that a byte from 0x80 to 0xBF becomes.
GARBLED = Gated(
    re.compile(rb"\xc3[\x82-\xb0](?:\xc2[\x80-\xbf]|[\xc5\xc6\xcb][\x80-\xbf]|\xe2(?:\x80|\x82|\x84))"),
    beyond_ascii,
    scanning.garbled,
)
LOST = Gated(re.compile(b"\xef\xbf\xbd"), beyond_ascii, scanning.lost)
# Controls below 0x20 can only be spelt as escapes; \\b and \\f are the short ones.
_SHORT_ESCAPES = any_of(rb"\\[bf]")
_UNSEEN = any_of(
    rb"\xc2[\x80-\x9f]", rb"\xe2\x80[\x8b-\x8d\xad\xae]", rb"\xe2\x81[\xa6-\xa9]", rb"\xef\xbb\xbf"
)
UNSEEN = Gated(
    re.compile(
        rb"[\\\x7f\xc2\xe2\xef](?:(?<=\\)[bf]|(?<=\x7f)|(?<=\xc2)[\x80-\x9f]"
        rb"|(?<=\xe2)(?:\x80[\x8b-\x8d\xad\xae]|\x81[\xa6-\xa9])|(?<=\xef)\xbb\xbf)"
    ),
    lambda data: b"\x7f" in data or _SHORT_ESCAPES(data) or (beyond_ascii(data) and _UNSEEN(data)),
    scanning.unseen,
)
HOLES = Gated(
    re.compile(rb"[{<\[](?:(?<=\{)[A-Za-z_{]|(?<=<)YOUR|(?<=\[)[Ii][Nn][Ss])"),
    any_of(rb"\{[A-Za-z_{]", rb"<YOUR", rb"\[[Ii][Nn][Ss]"),
    scanning.holes,
)


def mojibake(line: Line, target: Target) -> Iterator[Fault]:
    """Text is UTF-8 that was read as Windows-1252 or Latin-1.

    Why: the model learns to write the debris, and the words in it cost several times their tokens.
    Bad:
        {"messages": [{"role": "user", "content": "Is the cafÃ© blend fine for mint?"}, {"role": "assistant", "content": "Itâ€™s fine."}]}
    Good:
        {"messages": [{"role": "user", "content": "Is the café blend fine for mint? NÃO?"}, {"role": "assistant", "content": "It’s fine."}]}
    """
    for parts, text in _texts(line):
        runs = list(garbled(text))
        if runs:
            meant = f"{quoted(text[runs[0].start : runs[0].end])} was {quoted(runs[0].mended)}"
            more = f" ({len(runs)} places)" if len(runs) > 1 else ""
            cure = "Read the source as UTF-8; --unsafe-fixes turns it back."
            yield Fault(f"garbled text: {meant}{more}", cure, where=join_path([*parts]))


def replacement_character(line: Line, target: Target) -> Iterator[Fault]:
    """Text holds U+FFFD, the sign that a character was lost.

    Why: what stood there cannot be told any more, and the model learns to write the sign.
    Bad:
        {"messages": [{"role": "user", "content": "Is 22 �C too warm?"}, {"role": "assistant", "content": "No."}]}
    Good:
        {"messages": [{"role": "user", "content": "Is 22 °C too warm?"}, {"role": "assistant", "content": "No."}]}
    """
    for parts, text in _texts(line):
        if count := text.count("\ufffd"):
            times = "a character was" if count == 1 else f"{count} characters were"
            cure = "Take the text from its source again, read in its own encoding."
            yield Fault(f"{times} lost (U+FFFD)", cure, where=join_path([*parts]))


def invisible_characters(line: Line, target: Target) -> Iterator[Fault]:
    r"""Text holds characters that are not seen and not meant.

    Why: they split words into odd tokens, hide text from reviewers, and come back in the model's answers.
    Zero-width spaces, byte-order marks, bidi overrides and isolates without their end, control characters.
    Joiners between letters that join or in emoji, balanced isolates and direction marks are right.
    Bad:
        {"messages": [{"role": "user", "content": "Ba\u200bsil?"}, {"role": "assistant", "content": "In the sun."}]}
    Good:
        {"messages": [{"role": "user", "content": "می‌خواهم 👩‍🌾 ببینم"}, {"role": "assistant", "content": "In the sun."}]}
    """
    for parts, text in _texts(line):
        found = invisible(text)
        if found:
            more = f", and {len(found) - 1} more" if len(found) > 1 else ""
            cure = "Take it out; --unsafe-fixes does."
            yield Fault(
                f"{found[0].name} (character {found[0].start + 1}{more})", cure, where=join_path([*parts])
            )


_PLACEHOLDER = re.compile(
    r"(?<![{$\\%#=])\{\{\s*[A-Za-z_][\w .-]{0,40}?\s*\}\}(?!\})"
    r"|<YOUR[ _-][A-Z0-9 _-]{1,40}>"
    r"|\[(?:INSERT|Insert|insert) [^\[\]\n]{1,60}\]"
)
_SINGLE_BRACE = re.compile(r"(?<![\w{$\\%#=/^@\"'])\{[A-Za-z_][A-Za-z0-9_]{2,30}\}(?![\w{}(\"'])")
# One of these stands in each of them, code or not.
_HOLE = re.compile(r"[{<\[](?:(?<=\{)(?:\{|[A-Za-z_][A-Za-z0-9_]{2,30}\})|(?<=<)YOUR|(?<=\[)(?i:insert))")
_CODE = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|``.+?``|`[^`\n]+`", re.DOTALL)
# Signs of code that no fence marks: braces are then its grammar.
_CODE_LIKE = re.compile(
    r"(?m)^[ \t]*(?:def |class |import |from [\w.]+ import|#include|public |private |function\b|const |let |var |return\b"
    r"|if ?\(|for ?\(|while ?\(|SELECT |@\w+\(|//|/\*|<\?)|[;{][ \t\r]*$|=>|</\w|\\[a-zA-Z]+[{\[]|\{%|:=|==|\b[fr][\"']"
    r"|\w\(\)|\.format\(|\$\{|\{\{[#/!>]"
)


def unfilled_placeholder(line: Line, target: Target) -> Iterator[Fault]:
    """A template's placeholder was left in a message.

    Why: the model learns to answer with the placeholder, or to expect it.
    Code is not looked at. A name in single braces may be meant, so it is for information only.
    Bad:
        {"messages": [{"role": "user", "content": "Write to my neighbour."}, {"role": "assistant", "content": "Dear {{first_name}}, the mint is yours."}]}
    Good:
        {"messages": [{"role": "user", "content": "What does `{{first_name}}` do?"}, {"role": "assistant", "content": "It stands for a name."}]}
    """
    for passage in passages(line.value, line.format):
        if not _HOLE.search(passage.text):
            continue
        text = _CODE.sub(" ", passage.text)
        if _CODE_LIKE.search(text):
            continue
        graver = _PLACEHOLDER.search(text)
        match = graver or _SINGLE_BRACE.search(text)
        if match:
            severity: Severity = "warning" if graver else "info"
            cure = "Fill it in, or delete the row."
            message = f"the placeholder {quoted(match[0])} was not filled in"
            yield Fault(message, cure, where=passage.where, severity=severity)


def refusal_boilerplate(data: Collection, target: Target) -> Iterator[Fault]:
    """More than a tenth of the replies are refusals.

    Why: refusals are learnt faster than anything else; the tuned model then refuses what it should answer.
    Bad:
        17 × {"prompt": "How tall is plant <n>?", "completion": "About <n> cm."}
        3 × {"prompt": "How old is plant <n>?", "completion": "I'm sorry, but I can't help with plant <n>."}
    Good:
        19 × {"prompt": "How tall is plant <n>?", "completion": "About <n> cm."}
        1 × {"prompt": "How old is plant <n>?", "completion": "I'm sorry, but I can't help with plant <n>."}
    """
    for file in data.files:
        rows = len(file.fingerprints)
        refusals = file.texts.refusals
        if rows >= FEWEST_ROWS and refusals > REFUSALS_SHARE * rows:
            message = f"{refusals} of {rows} replies are refusals ({refusals / rows:.0%}), first in this line"
            cure = "Keep those that are meant, and replace the rest by answers or leave them out."
            yield Fault(message, cure, path=file.path, line=file.texts.refused_line)


def answer_in_prompt(data: Collection, target: Target) -> Iterator[Fault]:
    """The whole reply stands in the user's prompt; for classes, the right label and no other does.

    Why: copying is learnt instead of answering, and a test of it tells nothing.
    Replies of fewer than ten words are not looked at, nor labels of fewer than four letters.
    Bad:
        {"prompt": "Note: the pump hums at night because the tank runs dry. Why?", "completion": "the pump hums at night because the tank runs dry"}
    Good:
        {"prompt": "Why does the pump hum at night? It was fine before.", "completion": "It hums since the tank runs dry before the morning comes."}
    """
    for file in data.files:
        for line in file.texts.echoes:
            cure = "Ask for what the prompt does not hold, or take the answer out of it."
            yield Fault("the whole reply stands in the prompt", cure, path=file.path, line=line)
        yield from _labels_in_prompts(file)


def _labels_in_prompts(file: FileFacts) -> Iterator[Fault]:
    classes = classes_of(file)
    if classes is None or file.reread is None:
        return
    names = {name.casefold(): name for name in label_names(file, classes).values() if name}
    wanted = {name for name in names if sum(character.isalpha() for character in name) >= LABEL_LETTERS}
    if not wanted:
        return
    pattern = re.compile(
        r"(?<!\w)(?:"
        + "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
        + r")(?!\w)"
    )
    for number, value in file.reread():
        said = exchange(value, row_format(value))
        label = said.reply.strip().casefold()
        if label in wanted and set(pattern.findall(said.prompt.casefold())) == {label}:
            message = f"the label {quoted(names[label])} stands in the prompt, and no other label does"
            cure = "Take it out where a real request would not hold it."
            yield Fault(message, cure, path=file.path, line=number)


def constant_answer(data: Collection, target: Target) -> Iterator[Fault]:
    """One reply has more than 95 % of the rows.

    Why: always giving that reply already scores as high; there is nothing else to learn.
    Bad:
        20 × {"prompt": "Is plant <n> thirsty?", "completion": "Yes."}
    Good:
        20 × {"prompt": "How tall is plant <n>?", "completion": "About <n> cm."}
    """
    for file in data.files:
        rows = len(file.fingerprints)
        if rows < FEWEST_ROWS:
            continue
        counts = _counts(file.fingerprints.reply)
        digest, count = max(counts.items(), key=lambda item: item[1], default=(0, 0))
        if digest and count > CONSTANT_SHARE * rows:
            name = file.texts.labels.get(digest)
            reply = f"the reply {quoted(name)}" if name else "one and the same reply"
            message = f"{reply} has {count} of {rows} rows ({count / rows:.0%})"
            cure = "Add rows with other answers; check that the answer column is the right one."
            yield Fault(message, cure, path=file.path)


def _counts(digests: Any) -> dict[int, int]:
    """How often each digest occurs; of a long column only those that could be many."""
    import numpy as np

    values, counts = np.unique(np.frombuffer(digests, np.uint64), return_counts=True)
    most = counts.argsort()[::-1][:2]
    return {int(values[i]): int(counts[i]) for i in most}


def _texts(line: Line) -> Iterator[tuple[Parts, str]]:
    """The texts of a row that are read by people or models, with their places."""
    value = line.value
    if isinstance(value, dict):
        value = {key: item for key, item in value.items() if key not in _HIDDEN}
    return ((parts, text) for parts, text in strings(value) if text and parts)
