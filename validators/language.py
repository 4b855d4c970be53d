"""Which language a text is in, by its script and, for a few Latin ones, by its commonest words.

Only for statistics and shifts: short or mixed texts are honestly "unknown".
"""

from __future__ import annotations

import re
from collections import Counter

UNKNOWN = "unknown"

# So much of a text is looked at; more changes no answer.
_HEAD = 600
_LETTERS = re.compile(r"[^\W\d_]")
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
# ASCII letters to lower case, and all but letters and apostrophes to spaces.
_LETTERS_ONLY = bytes(
    code if (chr(code).isalpha() and code < 0x80) or code == ord("'") else ord(" ") for code in range(256)
).lower()

# First and last code point of scripts that (nearly) one language writes.
_SCRIPTS = (
    (0x0370, 0x03FF, "el"),
    (0x0400, 0x052F, "cyrillic"),
    (0x0530, 0x058F, "hy"),
    (0x0590, 0x05FF, "he"),
    (0x0600, 0x077F, "arabic"),
    (0x0900, 0x097F, "devanagari"),
    (0x0980, 0x09FF, "bn"),
    (0x0A00, 0x0A7F, "pa"),
    (0x0A80, 0x0AFF, "gu"),
    (0x0B80, 0x0BFF, "ta"),
    (0x0C00, 0x0C7F, "te"),
    (0x0C80, 0x0CFF, "kn"),
    (0x0D00, 0x0D7F, "ml"),
    (0x0D80, 0x0DFF, "si"),
    (0x0E00, 0x0E7F, "th"),
    (0x0E80, 0x0EFF, "lo"),
    (0x1000, 0x109F, "my"),
    (0x10A0, 0x10FF, "ka"),
    (0x1200, 0x137F, "am"),
    (0x1780, 0x17FF, "km"),
    (0x3040, 0x30FF, "ja"),
    (0x3400, 0x9FFF, "zh"),
    (0xAC00, 0xD7AF, "ko"),
)
# Letters or words that tell the languages of one script apart, the surest first; the last is the commonest.
_TELLING = {
    "cyrillic": (
        ("uk", re.compile("[іїєґІЇЄҐ]")),
        ("sr", re.compile("[јљњћђџЈЉЊЋЂЏ]")),
        ("ru", re.compile(r"[ыэёЫЭЁ]|\b(?:и|не|на|что|как|это|для|по|с)\b", re.IGNORECASE)),
    ),
    "arabic": (
        ("ur", re.compile("[ٹڈڑےں]")),
        ("fa", re.compile("[پچژگ]|ی\\b|\u200c")),
        ("ar", re.compile("[ةىأإ]|\\bال|\\b(?:في|من|على|هل|ما)\\b")),
    ),
    "devanagari": (
        ("mr", re.compile(r"(?:^|\s)(?:आहे|आणि|नाही|का)(?=\s|$|[।?.,])")),
        ("hi", re.compile(r"(?:^|\s)(?:है|हैं|का|की|के|में|और|नहीं|क्या|को|से)(?=\s|$|[।?.,])")),
    ),
}
_STOP_WORDS = {
    "en": "the and is are you to of in it for that with this my not have can what how do does on i be was if your we",
    "de": "der die das und ist nicht ich sie ein eine mit für auf wie zu den dem es im von wird habe mein kann bei",
    "fr": "le la les et est je vous de des un une pas que pour dans avec ne mon sur ce il du qui au en c'est j'ai",
    "es": "el la los y es que de no un una por para con mi en se lo las del está cómo qué me su al pero muy hay",
    "pt": "o a os e é que de não um uma por para com meu em se do da no na está como eu você minha mas mais são",
    "it": "il la i e è che di non un una per con mio in si lo del della sono come ho mi nel gli al ma questo",
    "nl": "de het een en is niet ik van je dat op te in met voor mijn zijn hoe wat er kan aan maar wordt bij",
    "pl": "i w nie na się jest to z do że jak co mam mój od po czy dla ale już mnie przez są tak",
    "sv": "och att det är en jag inte på för med som har den av till min om ett kan hur vad var från men",
    "da": "og at det er en jeg ikke på for med som har den af til min om et kan hvordan hvad fra men der",
    "cs": "a je na se že to v s jak do co ale není mám pro jsem který od si po tak už být jsou",
    "ro": "și este nu de la în că un o cu pe ce mai să din pentru am sunt cum care",
    "tr": "ve bir bu için ne mi değil nasıl var çok ile da de daha ben gibi olarak ama kadar",
    "fi": "ja on ei se että en miten mitä voi oli kun mutta ovat tämä minun joka niin",
    "hu": "a az és nem hogy egy van is meg mi ez de csak ha kell mert volt",
    "id": "yang dan di ini itu tidak untuk dengan saya apa ada ke dari bisa adalah bagaimana",
    "vi": "là và của có không tôi cho này được một các với trong những như thế nào để khi bạn",
}
_LANGUAGES_OF: dict[str, list[str]] = {}
for _code, _words in _STOP_WORDS.items():
    for _each in set(_words.split()):
        _LANGUAGES_OF.setdefault(_each, []).append(_code)


def language_of(text: str) -> str:
    """A two-letter code of the text's language, or "unknown" where script and words do not tell.

    Looks at the first 600 characters. Latin: en de fr es pt it nl pl sv da cs ro tr fi hu id vi, from two
    stop words on, and only where one language leads.
    """
    head = text[:_HEAD]
    if head.isascii():
        return _by_words(head)
    scripts: Counter[str] = Counter(_script(letter) for letter in _LETTERS.findall(head))
    if not scripts:
        return UNKNOWN
    # Kanji beside kana are Japanese; a few kana quoted in a Chinese text are not.
    if scripts["ja"] * 4 > scripts["zh"]:
        scripts["ja"] += scripts.pop("zh", 0)
    script, count = scripts.most_common(1)[0]
    if count * 2 <= scripts.total():
        return UNKNOWN
    if script == "latin":
        return _by_words(head)
    if script not in _TELLING:
        return script
    return next((code for code, sign in _TELLING[script] if sign.search(head)), UNKNOWN)


def _script(letter: str) -> str:
    code = ord(letter)
    if code < 0x0250 or 0x1E00 <= code <= 0x1EFF:
        return "latin"
    return next((name for low, high, name in _SCRIPTS if low <= code <= high), UNKNOWN)


def _by_words(text: str) -> str:
    words = _cut(text)
    hits: dict[str, int] = {}
    for word in filter(_LANGUAGES_OF.__contains__, words):
        for code in _LANGUAGES_OF[word]:
            hits[code] = hits.get(code, 0) + 1
    ranked = sorted(hits.items(), key=lambda hit: -hit[1])[:2]
    if not ranked or ranked[0][1] < 2 or ranked[0][1] * 12 < len(words):
        return UNKNOWN
    if len(ranked) > 1 and ranked[0][1] == ranked[1][1]:
        return UNKNOWN
    return ranked[0][0]


def _cut(text: str) -> list[str]:
    """The words without case. Of ASCII they are cut by a table, which is faster than an expression."""
    if not text.isascii():
        return _WORD.findall(text.casefold().replace("’", "'"))
    words = text.encode().translate(_LETTERS_ONLY).decode().split()
    if "'" not in text:
        return words
    return [part for word in words for part in (_WORD.findall(word) if "'" in word else (word,))]
