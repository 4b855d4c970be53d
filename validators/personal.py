"""Secrets and personal data in a text: where they stand and of what kind, never what they are.

Every shape comes with a check (Luhn, mod 97, a decodable header, enough variety), since a finding about
an order number is worse than none. `find_personal` serves the lint and the redaction alike.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import string
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from . import scanning
from .prefilters import Gated, run_of

Kind = Literal["secret", "email", "card", "phone", "iban", "ssn"]


class Personal(NamedTuple):
    """One find: its kind, what to call it, and the span in the text."""

    kind: Kind
    title: str
    start: int
    end: int


# -- secrets ---------------------------------------------------------------------------------------


def _is_varied(token: str) -> bool:
    """Whether a token is drawn from many characters, as keys are and `sk-your-key-here` is not."""
    random_part = max(re.split(r"[^A-Za-z0-9]+", token), key=len)
    if len(random_part) < 12 or len({*random_part}) < 8:
        return False
    entropy = -sum(n / len(token) * math.log2(n / len(token)) for n in Counter(token).values())
    return entropy >= 3.0 and bool(re.search(r"\d", token)) and bool(re.search(r"[A-Za-z]", token))


def _is_jwt(token: str) -> bool:
    header = token.partition(".")[0]
    try:
        decoded = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    except (binascii.Error, ValueError):
        return False
    return isinstance(decoded, dict) and "alg" in decoded


def _always(token: str) -> bool:
    return True


# What each provider's keys begin with and how long they are. The first that fits names the find.
SECRETS: tuple[tuple[str, str, Callable[[str], bool]], ...] = (
    (
        "a private key",
        # Headers such as "Version: 1" stand before the key; bounded, or many beginnings would take for ever.
        r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
        r"(?:\s++|\\[nr]|[\w-]{1,40}+: (?:[^\n\r\\]|\\(?![nr])){0,200}+){0,24}+[A-Za-z0-9+/=]{10,}",
        _always,
    ),
    ("an Anthropic API key", r"sk-ant-[A-Za-z0-9_-]{20,}", _is_varied),
    ("an OpenRouter API key", r"sk-or-v1-[0-9a-f]{32,}", _is_varied),
    ("an OpenAI API key", r"sk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{20,}", _is_varied),
    ("an API key", r"sk-[A-Za-z0-9]{20,}", _is_varied),
    ("a Stripe key", r"(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/=]{24,}", _is_varied),
    ("an AWS access key", r"(?:AKIA|ASIA)[A-Z2-7]{16}", _always),
    (
        "an AWS secret key",
        r"(?i:aws_secret_(?:access_)?key)[\"']?\s*[=:]\s*[\"']?[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+])",
        _is_varied,
    ),
    ("an Azure storage key", r"AccountKey=[A-Za-z0-9+/]{86}==", _is_varied),
    ("a Google API key", r"AIza[A-Za-z0-9_-]{35}", _is_varied),
    ("a GitHub token", r"gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{50,}", _is_varied),
    ("a GitLab token", r"glpat-[A-Za-z0-9_-]{20,}", _is_varied),
    ("a Slack token", r"xox[abeoprs]-[A-Za-z0-9-]{20,}", _is_varied),
    ("a Hugging Face token", r"hf_[A-Za-z0-9]{30,}", _is_varied),
    ("an npm token", r"npm_[A-Za-z0-9]{36}", _is_varied),
    ("a PyPI token", r"pypi-[A-Za-z0-9_-]{50,}", _is_varied),
    ("a SendGrid key", r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}", _is_varied),
    ("a Groq API key", r"gsk_[A-Za-z0-9]{40,}", _is_varied),
    ("an xAI API key", r"xai-[A-Za-z0-9]{40,}", _is_varied),
    ("a Replicate token", r"r8_[A-Za-z0-9]{37}", _is_varied),
    ("a DigitalOcean token", r"do[opr]_v1_[a-f0-9]{64}", _is_varied),
    ("a Shopify token", r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}", _is_varied),
    ("a JSON web token", r"eyJ[A-Za-z0-9_-]{8,4096}+\.eyJ[A-Za-z0-9_-]{4,}+\.[A-Za-z0-9_-]{10,}", _is_jwt),
)
_SECRET = re.compile("|".join(f"(?P<s{i}>(?<![A-Za-z0-9]){p})" for i, (_, p, _) in enumerate(SECRETS)))
# Secrets have so many letters, digits and signs that stand in keys in a row.
_TOKEN_RUN = run_of(string.ascii_letters.encode() + string.digits.encode() + b"-_+/=.", 16)
# Of each beginning the rarest sign of ordinary text, with what stands before it: one look at each byte.
SECRET_BYTES = Gated(
    re.compile(
        rb"[-_=GIJz](?:(?<=sk-)|(?<=lpat-)|(?<=xox[abeoprs]-)|(?<=ypi-)|(?<=xai-)|(?<=gh[pousr]_)|(?<=BEG)"
        rb"|(?<=[sr]k_)[lt]|(?<=hf_)|(?<=hub_)p|(?<=npm_)|(?<=gsk_)|(?<=r8_)|(?<=do[opr]_)v1|(?<=whsec_)"
        rb"|(?<=shp.._)|(?<=[aA][wW][sS]_)|(?<=tKey=)|(?<=SG)\.|(?<=A[KS]I)A|(?<=eyJ)|(?<=AIz)a)"
    ),
    lambda data: _TOKEN_RUN(data) or b"PRIVATE KEY" in data,
    # Three bytes of each.
    scanning.tokens_with(
        "sk- lpa xox ypi xai hp_ ho_ hu_ hs_ hr_ BEG k_l k_t hf_ b_p npm gsk r8_ _v1 whs shp tKe SG. KIA SIA eyJ AIz "
        "aws awS aWs aWS Aws AwS AWs AWS"
    ),
    certain=False,
)


# One of these stands in each of them. The expression tries all its forms at every word, and a text of code has
# many; the last of these in any case.
_MARKS_TEXT = (
    "-----BEGIN sk- k_live_ k_test_ whsec_ AKIA ASIA AccountKey= AIza ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ glpat- xox "
    "hf_ npm_ pypi- SG. gsk_ xai- r8_ dop_v1_ doo_v1_ dor_v1_ shpat_ shpca_ shppa_ shpss_ eyJ"
)
_MARKS = tuple(_MARKS_TEXT.split())
_MARK_OF_AWS = "aws_secret_"


def find_secrets(text: str) -> Iterator[Personal]:
    """Private keys, provider keys, JWTs and cloud credentials."""
    if not any(mark in text for mark in _MARKS) and _MARK_OF_AWS not in text.casefold():
        return
    for match in _SECRET.finditer(text):
        title, _, check = SECRETS[int((match.lastgroup or "s0")[1:])]
        if check(match[0]):
            yield Personal("secret", title, match.start(), match.end())


# -- addresses and numbers -------------------------------------------------------------------------

# Letters and marks of scripts that part words by spaces; in the others an address ends where text begins.
_ALPHA = (
    r"A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02af\u0300-\u052f\u0531-\u0587\u05d0-\u05ea\u0620-\u0669"
    r"\u0900-\u0963\u0966-\u0dff\u1e00-\u1fff"
)
_LETTERS = f"{_ALPHA}0-9_"
_EMAIL = re.compile(
    rf"(?<![{_LETTERS}.+%/:@-])[{_LETTERS}][{_LETTERS}.+%'-]{{0,63}}@"
    rf"((?:(?!_)[{_LETTERS}](?:[{_LETTERS}-]{{0,61}}(?!_)[{_LETTERS}])?\.)+([{_ALPHA}]{{2,24}}))(?![{_LETTERS}@])"
)
EMAIL_BYTES = Gated(re.compile(b"@"), lambda data: b"@" in data, scanning.at_signs)
# Names that stand for nobody (RFC 2606), and accounts of machines.
_NOBODY = re.compile(r"(?:^|\.)(?:example\.(?:com|org|net)|test|example|invalid|localhost)$")
_MACHINES = frozenset({"git", "hg", "svn"})
# Besides the two-letter ones: endings of real addresses, not of files and attributes (`m@self.weight`).
_ENDINGS_TEXT = (
    "com org net edu gov mil int info biz name pro mobi asia coop jobs travel museum aero cat tel xxx post app dev "
    "cloud online site shop store tech blog agency email live news media design digital solutions company group "
    "world today life space website global academy center systems network support services consulting health care "
    "bank legal law studio art berlin london paris wien amsterdam hamburg koeln tokyo nyc vegas moscow quebec eus gal "
    "club xyz top vip win icu fun wtf ninja guru expert social chat zone one community foundation energy"
)
_ENDINGS = frozenset(_ENDINGS_TEXT.split())
# Two-letter endings that are file types in code far more often.
_FILES = frozenset({"py", "js", "ts", "md", "rs", "sh", "pl", "cc", "so", "ps"})


def find_emails(text: str) -> Iterator[Personal]:
    """Addresses of people, not those at example.com, .org, .net or .test."""
    if "@" not in text:
        return
    for match in _EMAIL.finditer(text):
        domain, ending = match[1].lower(), match[2].lower()
        real = ending in _ENDINGS or (len(ending) == 2 and not (ending in _FILES and match[1].count(".") > 1))
        real |= not ending.isascii() and ending == match[2]  # such as .рф; a capital begins a sentence
        local = match[0].partition("@")[0]
        if real and not _NOBODY.search(domain) and local not in _MACHINES and not local.endswith("."):
            yield Personal("email", "an e-mail address", match.start(), match.end())


_DIGITS = re.compile(r"(?<![\w.,:/+=#-])\d(?:[ -]?\d){13,18}(?![\w/]|[.,:-]\d)", re.ASCII)
_CARD_LIKE = re.compile(r"[0-9](?:[ -]?[0-9]){13}")
# Prefix, number of digits, and the groups in which people write them.
_CARDS = (
    (re.compile(r"4"), 16, (4, 4, 4, 4)),
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), 16, (4, 4, 4, 4)),
    (re.compile(r"6011|64[4-9]|65|62|35(?:2[89]|[3-8])"), 16, (4, 4, 4, 4)),
    (re.compile(r"3[47]"), 15, (4, 6, 5)),
    (re.compile(r"30[0-5]|36|38"), 14, (4, 6, 4)),
)
# What cards, telephone and social security numbers hold.
_NUMBER = re.compile(r"[0-9](?:[ .()/-]{0,3}[0-9]){6}")
NUMBER_BYTES = Gated(
    re.compile(_NUMBER.pattern.encode()),
    run_of(string.digits.encode(), 7, between=b" .()/-"),
    scanning.numbers,
)


def find_cards(text: str) -> Iterator[Personal]:
    """Digits that pass Luhn with a card's prefix, length and grouping."""
    if not _CARD_LIKE.search(text):
        return
    for match in _DIGITS.finditer(text):
        groups = tuple(len(group) for group in re.split("[ -]", match[0]))
        digits = re.sub("[ -]", "", match[0])
        one_sign = not (" " in match[0] and "-" in match[0])
        for prefix, length, written in _CARDS:
            grouped = groups in ((length,), written) and one_sign
            if grouped and prefix.match(digits) and len({*digits}) > 1 and passes_luhn(digits):
                yield Personal("card", "a card number", match.start(), match.end())


def passes_luhn(digits: str) -> bool:
    """The check digit of payment cards (ISO/IEC 7812)."""
    doubled = [int(digit) * (1 + i % 2) for i, digit in enumerate(reversed(digits))]
    return sum(n - 9 if n > 9 else n for n in doubled) % 10 == 0


_PHONE = re.compile(
    r"(?<![\w+./=#-])(?<!\d )(?:"
    r"\+[1-9]\d{0,2}(?:[ .-]?\(0?\d{1,4}\))?(?:[ ./-]?\d{1,4}+){2,6}+"  # international
    r"|(?:1[ .-])?\([2-9]\d{2}\) ?[2-9]\d{2}[ .-]\d{4}"  # (212) 555-0199
    r"|(?:1-)?[2-9]\d{2}-[2-9]\d{2}-\d{4}|[2-9]\d{2}\.[2-9]\d{2}\.\d{4}"
    r"|0[1-9](?: \d{2}){4}|0[1-9](?:\.\d{2}){4}"  # France
    r"|0\d{2,4}[ /]\d{3,4} \d{3,4}"  # Britain, Germany
    # Germany: mobile numbers, area codes before a slash or in brackets
    r"|0(?:15\d{1,2}|16[023]|17\d)[ /-]\d{3,4}[ -]?\d{3,5}|0[2-9]\d{1,4}/\d{5,8}|\(0[1-9]\d{1,3}\) ?\d{5,8}"
    r")(?![\w/=]|[ .,-]\d)",
    re.ASCII,
)
# One of these stands in each of them; the expression tries all its forms at every sign.
_PHONE_LIKE = re.compile(
    r"[+(0-9](?:(?<=\+)[1-9][0-9 ./()-]{7}|(?<=\()[0-9]{3,5}\) ?[0-9]{3}|[0-9]{2}[.-][0-9]{3}[.-]"
    r"|(?<=0)(?<![0-9]0)(?:[0-9](?:[ .][0-9]{2}){4}|[0-9]{2,5}[ /-][0-9]{3}))"
)
# Numbers of fiction (555-0100 to 555-0199) and of nobody.
_FICTION = re.compile(r"55501\d\d$|1234567")


def find_phones(text: str) -> Iterator[Personal]:
    """Telephone numbers with a plus sign, or with separators in a known form."""
    if not _NUMBER.search(text) or not _PHONE_LIKE.search(text):
        return
    for match in _PHONE.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        if 9 <= len(digits) <= 15 and len({*digits}) > 2 and not _FICTION.search(digits):
            yield Personal("phone", "a phone number", match.start(), match.end())


_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")
_IBAN_LIKE = re.compile(r"[A-Z](?=[A-Z]\d{2})")
_SSN_LIKE = re.compile(r"-(?<=[0-9]{3}-)[0-9]{2}-[0-9]{4}")
_IBAN_LENGTHS_TEXT = (
    "AD:24 AE:23 AL:28 AT:20 AZ:28 BA:20 BE:16 BG:22 BH:22 BR:29 BY:28 CH:21 CR:22 CY:28 CZ:24 DE:22 DK:18 DO:28 "
    "EE:20 EG:29 ES:24 FI:18 FO:18 FR:27 GB:22 GE:22 GI:23 GL:18 GR:27 GT:28 HR:21 HU:28 IE:22 IL:23 IQ:23 IS:26 "
    "IT:27 JO:30 KW:30 KZ:20 LB:28 LC:32 LI:21 LT:20 LU:20 LV:21 MC:27 MD:24 ME:22 MK:19 MR:27 MT:31 MU:30 NL:18 "
    "NO:15 PK:24 PL:28 PS:29 PT:25 QA:29 RO:24 RS:22 SA:24 SE:24 SI:19 SK:24 SM:27 TN:24 TR:26 UA:29 VA:22 XK:20"
)
_IBAN_LENGTHS = dict(part.split(":") for part in _IBAN_LENGTHS_TEXT.split())
_SSN = re.compile(r"(?<![\w.,:/+=#-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-]|[.,/]\d)", re.ASCII)


def find_accounts(text: str) -> Iterator[Personal]:
    """IBANs with a valid check, and numbers in the form of a US social security number."""
    for match in _IBAN.finditer(text) if _IBAN_LIKE.search(text) else ():
        if passes_mod97(match[0].replace(" ", "")):
            yield Personal("iban", "an IBAN", match.start(), match.end())
    for match in _SSN.finditer(text) if _SSN_LIKE.search(text) else ():
        yield Personal("ssn", "a US social security number", match.start(), match.end())


def passes_mod97(iban: str) -> bool:
    """The length of the country and the check of ISO 13616."""
    if str(len(iban)) != _IBAN_LENGTHS.get(iban[:2]):
        return False
    return int("".join(str(int(character, 36)) for character in iban[4:] + iban[:4])) % 97 == 1


FINDERS: dict[Kind, Callable[[str], Iterator[Personal]]] = {
    "secret": find_secrets,
    "email": find_emails,
    "card": find_cards,
    "phone": find_phones,
    "iban": find_accounts,
}


def find_personal(text: str) -> list[Personal]:
    """All secrets and personal data of a text in order; where two overlap, the graver one (as in FINDERS)."""
    taken: list[Personal] = []
    for finder in FINDERS.values():
        starts = [other.start for other in taken]
        fresh: list[Personal] = []
        for found in sorted(finder(text), key=_start):
            before = bisect_left(starts, found.end) - 1
            free = before < 0 or taken[before].end <= found.start
            if free and (not fresh or fresh[-1].end <= found.start):
                fresh.append(found)
        taken = sorted([*taken, *fresh], key=_start)
    return taken


# Without one of these there is nothing personal in a text: an address, a long word, seven digits.
_PERSONAL = re.compile(r"@|[A-Za-z0-9_-]{16}|PRIVATE KEY|\d(?:[ .()/-]{0,3}\d){6}")


def without_personal(text: str) -> str:
    """The text with a mark in place of each secret and personal datum: messages quote names and values of data."""
    if not _PERSONAL.search(text):
        return text
    for found in reversed(find_personal(text)):
        title = found.title.removeprefix("an ").removeprefix("a ")
        text = f"{text[: found.start]}<{title}>{text[found.end :]}"
    return text


def _start(found: Personal) -> int:
    return found.start
