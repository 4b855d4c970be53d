"""Characters that should not be in a text: UTF-8 read as Windows-1252, and what nobody can see.

Both find spans, so that the lint names them and the mending replaces them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

import msgspec


class Garbled(msgspec.Struct, frozen=True):
    """A run of text that is UTF-8 read in a one-byte encoding; `mended` is what it was."""

    start: int
    end: int
    mended: str


class Invisible(msgspec.Struct, frozen=True):
    """A character that changes the text without being seen."""

    start: int
    name: str


# -- mojibake --------------------------------------------------------------------------------------

# What the bytes 0x80-0xBF become: Latin-1's characters, and Windows-1252's where these differ.
_CP1252 = {
    character: byte
    for byte in range(0x80, 0xA0)
    if (character := bytes([byte]).decode("cp1252", "ignore"))
}  # fmt: skip
_TAIL = "[\x80-\xbf" + "".join(_CP1252) + "]"
_SEQUENCE = re.compile(f"[Â-ß]{_TAIL}|[à-ï]{_TAIL}{{2}}|ð{_TAIL}{{3}}")
_RUN = re.compile(f"(?:{_SEQUENCE.pattern})+")
# What may follow a capital accented letter or a word in good text: closing quotes, dashes, signs, spaces.
_CLOSING = frozenset("”’“‘»›…–—•®™©°ºª´¹²³·¸¨¯¬\xa0\xad")
_OPENING = "«“„‘'\"(\xa0"  # of a letter that is quoted
# Punctuation, currency, letter-like, arrows, symbols and dingbats: what one sequence after â stands for.
_SIGNS = ((0x2010, 0x205F), (0x20A0, 0x20BF), (0x2100, 0x21FF), (0x2600, 0x27BF))


def garbled(text: str) -> Iterator[Garbled]:
    """Runs of UTF-8 read as Windows-1252 or Latin-1 (`Ã©` for é, `â€™` for ’).

    A run counts only where no good text could look so: `NÃO`, `“AMANHÔ, `Spaß“` and `voilà »` are right.
    """
    if text.isascii():
        return
    runs = [run for run in _RUN.finditer(text) if _decoded(run[0]) is not None]
    if not any(_is_telling(run, text) for run in runs):
        return
    # A text that was garbled in one place was garbled in all: here a letter with its punctuation is enough.
    for run in runs:
        after_small = text[max(run.start() - 1, 0) : run.start()].islower()
        if _is_telling(run, text) or run[0][1] not in _CLOSING or after_small:
            yield Garbled(run.start(), run.end(), _decoded(run[0]) or "")


def mend_garbled(text: str) -> str:
    """The text with every garbled run as it was meant, also where it was garbled twice."""
    while runs := list(garbled(text)):
        pieces, done = [], 0
        for run in runs:
            pieces += [text[done : run.start], run.mended]
            done = run.end
        text = "".join([*pieces, text[done:]])
    return text


def _decoded(run: str) -> str | None:
    """The run as bytes of the one-byte encoding, read as UTF-8; None where it is none."""
    try:
        return bytes(_CP1252.get(character, ord(character)) for character in run).decode()
    except ValueError:
        return None


def _is_telling(run: re.Match[str], text: str) -> bool:
    pieces = _SEQUENCE.findall(run[0])
    meant = [_decoded(piece) or "" for piece in pieces]
    if not all(meant) or any(unicodedata.category(m) in ("Cn", "Co") for m in meant):
        return False
    if any(_tells_alone(piece, m) for piece, m in zip(pieces, meant, strict=True)):
        return True
    if len(pieces) > 1:
        # Two in a row by chance would be letters of one script, not a letter and its punctuation.
        blocks = {_block(ord(m)) for m in meant}
        return len(blocks) == 1 and not all(piece[1] in _CLOSING for piece in pieces)
    piece, before = pieces[0], text[max(run.start() - 1, 0) : run.start()]
    if piece[0] == "Ã":
        return not (piece[1] in _CLOSING and (before.isupper() or not before.isalpha()))
    if piece == "Â\xa0" and before in _OPENING:
        return False
    return piece[0] == "Â" and ord(piece[1]) >= 0xA0 and not before.isupper()


def _block(code: int) -> int:
    """Roughly its script: Latin with all its extensions is one, and so is all of East Asia."""
    return 0x4E if code >= 0x2E80 else max(code >> 8, 1)


def _tells_alone(piece: str, meant: str) -> bool:
    code = ord(meant)
    if piece[0] == "ð":
        return piece[1] in "Ÿ\x9f"
    if piece[0] == "â":
        return any(low <= code <= high for low, high in _SIGNS)
    return 0x1EA0 <= code <= 0x1EFF or code == 0xFEFF


# -- invisible characters --------------------------------------------------------------------------

_SUSPECT = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u200b-\u200d\u202d\u202e\u2066-\u2069\ufeff]"
)
_NAMES = {
    "\u200b": "a zero-width space",
    "\u200c": "a zero-width non-joiner where nothing joins",
    "\u200d": "a zero-width joiner where nothing joins",
    "\u202d": "a left-to-right override",
    "\u202e": "a right-to-left override",
    "\ufeff": "a byte-order mark inside the text",
}
# Scripts whose letters join or stack, where joiners are part of the spelling.
_JOINING = (
    (0x0600, 0x08FF),  # Arabic, Syriac, Thaana, N'Ko, Mandaic
    (0x0900, 0x0DFF),  # the scripts of India and Sinhala
    (0x0F00, 0x109F),  # Tibetan, Burmese
    (0x1780, 0x18AF),  # Khmer, Mongolian
    (0x1900, 0x1CFF),  # Limbu, Tai, Balinese, Sundanese, Lepcha
    (0xA800, 0xABFF),  # Syloti Nagri, Phags-pa, Saurashtra, Javanese, Cham, Meetei
    (0xFB50, 0xFDFF),  # Arabic presentation forms
    (0xFE70, 0xFEFE),
    (0x10A00, 0x11FFF),  # historic scripts of the Near East and India
    (0x1E900, 0x1E95F),  # Adlam
)
# Scripts without spaces, where a zero-width space says where a line may break.
_UNSPACED = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x1950, 0x19DF), (0x1A20, 0x1AAF), (0xA980, 0xA9DF))  # fmt: skip


def invisible(text: str) -> list[Invisible]:
    """Characters that are not seen and not meant.

    Zero-width spaces, inner byte-order marks, bidi overrides, isolates without their other half, C0 and C1
    controls. Right are: tab and newlines, joiners after letters that join and inside emoji, balanced
    isolates, LRM, RLM and ALM, and zero-width spaces between letters of scripts without spaces.
    """
    if _SUSPECT.search(text) is None:
        return []
    found: list[Invisible] = []
    open_isolates: list[int] = []
    for match in _SUSPECT.finditer(text):
        at, character = match.start(), match[0]
        if "\u2066" <= character <= "\u2068":
            open_isolates.append(at)
        elif character == "\u2069":
            if not open_isolates:
                found.append(Invisible(at, "the end of a bidi isolate that never began"))
            else:
                open_isolates.pop()
        elif not _is_meant(text, at):
            found.append(
                Invisible(at, _NAMES.get(character, f"the control character U+{ord(character):04X}"))
            )
    found += [Invisible(at, "a bidi isolate that never ends") for at in open_isolates]
    return sorted(found, key=lambda each: each.start)


def without_invisible(text: str) -> str:
    """The text less its invisible characters, and less those that were meant only beside them."""
    while found := invisible(text):
        pieces, done = [], 0
        for each in found:
            pieces.append(text[done : each.start])
            done = each.start + 1
        text = "".join([*pieces, text[done:]])
    return text


def _is_meant(text: str, at: int) -> bool:
    character, before, after = text[at], text[at - 1 : at], text[at + 1 : at + 2]
    if character == "\u200b":
        return _within(before, _UNSPACED) and _within(after, _UNSPACED)
    if character not in "\u200c\u200d" or not before:
        return False
    if _within(before, _JOINING) and unicodedata.category(before)[0] in "LM":
        return not after.isascii() or not after.isalnum()
    return character == "\u200d" and _is_emoji(before) and bool(after) and _is_emoji(after)


def _is_emoji(character: str) -> bool:
    """Whether it is a picture, or a modifier that may stand before a joiner."""
    tag = 0xE0020 <= ord(character) <= 0xE007F
    return unicodedata.category(character) in ("So", "Sk", "Sm") or character in "\ufe0f\u20e3" or tag


def _within(character: str, ranges: tuple[tuple[int, int], ...]) -> bool:
    return bool(character) and any(low <= ord(character) <= high for low, high in ranges)
