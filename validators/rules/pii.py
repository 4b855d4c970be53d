"""PII: secrets and personal data. A finding never shows the value: only kind, place and length.

Docstrings are the rules' pages, as in `fmt`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..findings import Fault
from ..json_scanner import join_path
from ..passages import strings
from ..personal import Personal, find_accounts, find_cards, find_emails, find_phones, find_secrets
from ..targets import Target
from .subjects import Line

REDACT = "--redact puts a placeholder in its place in a copy."


def secret(line: Line, target: Target) -> Iterator[Fault]:
    """A private key, a provider's API key, a JSON web token or cloud credentials.

    Why: whoever may use the tuned model, or read the file, may get it. A model learns such strings by heart.
    Bad:
        {"messages": [{"role": "user", "content": "Use ghp_x8Kf3LqZ0vTn5RbW7yHj2MdPc4SgA6uE9t to log in"}, {"role": "assistant", "content": "Done."}]}
    Good:
        {"messages": [{"role": "user", "content": "Use ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx to log in"}, {"role": "assistant", "content": "Done."}]}
    """
    yield from _faults(line, find_secrets, "Withdraw it where it came from, and take it out of the data.")


def email_address(line: Line, target: Target) -> Iterator[Fault]:
    """An e-mail address that may be a person's, not one at example.com, .org, .net or .test.

    Why: the model may give it to strangers, and keeping it needs a legal ground.
    Bad:
        {"messages": [{"role": "user", "content": "I am anna.berg@quillmail.com"}, {"role": "assistant", "content": "Hello!"}]}
    Good:
        {"messages": [{"role": "user", "content": "I am anna.berg@example.com"}, {"role": "assistant", "content": "Hello!"}]}
    """
    yield from _faults(line, find_emails, REDACT)


def card_number(line: Line, target: Target) -> Iterator[Fault]:
    """Digits with the prefix, the length and the check of a payment card.

    Why: card data in a training file breaks the rules of the card schemes, whoever reads it.
    Bad:
        {"messages": [{"role": "user", "content": "Charge 5500 0055 5555 5559 please"}, {"role": "assistant", "content": "Done."}]}
    Good:
        {"messages": [{"role": "user", "content": "Order 5500 0055 5555 5558 please"}, {"role": "assistant", "content": "Done."}]}
    """
    yield from _faults(line, find_cards, f"Take it out. {REDACT}")


def phone_number(line: Line, target: Target) -> Iterator[Fault]:
    """A telephone number: with a plus sign, or with separators in a known form.

    Why: the model may give it to strangers. Business numbers may be meant, so it is for information.
    Bad:
        {"messages": [{"role": "user", "content": "Call +49 30 901820 after five"}, {"role": "assistant", "content": "Yes."}]}
    Good:
        {"messages": [{"role": "user", "content": "Call 212-555-0123 on 2026-11-20 at 10:15"}, {"role": "assistant", "content": "Yes."}]}
    """
    yield from _faults(line, find_phones, REDACT)


def bank_or_national_id(line: Line, target: Target) -> Iterator[Fault]:
    """An IBAN with a valid check, or a number in the form of a US social security number.

    Why: it is enough to take someone's money or name; no answer needs it.
    Bad:
        {"messages": [{"role": "user", "content": "My IBAN is DE89 3704 0044 0532 0130 00"}, {"role": "assistant", "content": "Noted."}]}
    Good:
        {"messages": [{"role": "user", "content": "My IBAN is DE88 3704 0044 0532 0130 00"}, {"role": "assistant", "content": "Noted."}]}
    """
    yield from _faults(line, find_accounts, REDACT)


def _faults(line: Line, finder: Callable[[str], Iterator[Personal]], cure: str) -> Iterator[Fault]:
    """One fault for each text and kind: how many, and how long the first is."""
    for parts, text in strings(line.value):
        found: dict[str, list[Personal]] = {}
        for each in finder(text):
            found.setdefault(each.title, []).append(each)
        for title, those in found.items():
            first = those[0]
            more = f", and {len(those) - 1} more" if len(those) > 1 else ""
            message = f"{title} ({first.end - first.start} characters{more})"
            yield Fault(message, cure, where=join_path([*parts]) or None)
