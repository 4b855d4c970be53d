"""The lint rules: one function each in a family's file, one line each in RULES.

A code never changes its meaning. The fields after the function: scope, severity, and where it differs
from the defaults the formats a row rule looks at, whether a fix loses nothing, whether it is on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from ..findings import Fault, Severity
from ..suggest import did_you_mean
from ..targets import Target
from . import dup, fmt, msg
from .subjects import Collection, Line

LineCheck = Callable[[Line, Target], Iterator[Fault]]
SetCheck = Callable[[Collection, Target], Iterator[Fault]]

Fix = Literal["", "safe", "unsafe"]

CHATS = ("chat", "reinforcement")
SUPERVISED = ("chat",)


class LineRule(msgspec.Struct, frozen=True):
    """A rule over one line. Scope "line" sees any bytes, "row" a decoded value.

    `formats` are the row formats a row rule looks at; empty means any value, objects or not.
    """

    code: str
    name: str
    check: LineCheck
    scope: Literal["line", "row"]
    severity: Severity
    formats: tuple[str, ...] = ()
    fix: Fix = ""
    default: bool = True


class SetRule(msgspec.Struct, frozen=True):
    """A rule over whole files."""

    code: str
    name: str
    check: SetCheck
    severity: Severity
    fix: Fix = ""
    default: bool = True


Rule = LineRule | SetRule

RULES: tuple[Rule, ...] = (
    LineRule("FMT001", "not-utf8", fmt.not_utf8, "line", "error"),
    SetRule("FMT002", "bom-mismatch", fmt.bom_mismatch, "warning", "safe"),
    SetRule("FMT003", "wrong-extension", fmt.wrong_extension, "warning"),
    SetRule("FMT004", "file-too-large", fmt.file_too_large, "error"),
    SetRule("FMT005", "too-few-examples", fmt.too_few_examples, "error"),
    LineRule("FMT006", "blank-line", fmt.blank_line, "line", "warning", fix="safe"),
    LineRule("FMT007", "invalid-json", fmt.invalid_json, "line", "error"),
    LineRule("FMT008", "not-an-object", fmt.not_an_object, "row", "error"),
    LineRule("FMT009", "duplicate-key", fmt.duplicate_key, "row", "error"),
    LineRule("FMT010", "non-finite-number", fmt.non_finite_number, "line", "error"),
    LineRule("FMT011", "lone-surrogate", fmt.lone_surrogate, "row", "error"),
    SetRule("FMT012", "mixed-formats", fmt.mixed_formats, "error"),
    LineRule("FMT013", "unknown-format", fmt.unknown_format, "row", "error"),
    LineRule("FMT014", "extra-column", fmt.extra_column, "row", "error", fix="unsafe"),
    SetRule("FMT015", "too-many-examples", fmt.too_many_examples, "error"),
    LineRule("MSG001", "messages-missing", msg.messages_missing, "row", "error", CHATS),
    LineRule("MSG002", "messages-empty", msg.messages_empty, "row", "error", CHATS),
    LineRule("MSG003", "message-not-object", msg.message_not_object, "row", "error", CHATS),
    LineRule("MSG004", "role-missing", msg.role_missing, "row", "error", CHATS),
    LineRule("MSG005", "unknown-role", msg.unknown_role, "row", "error", CHATS),
    LineRule("MSG006", "content-missing", msg.content_missing, "row", "error", CHATS),
    LineRule("MSG007", "content-wrong-type", msg.content_wrong_type, "row", "error", CHATS),
    LineRule("MSG008", "empty-content", msg.empty_content, "row", "warning", CHATS),
    LineRule("MSG009", "empty-reply", msg.empty_reply, "row", "error", CHATS),
    LineRule("MSG010", "no-assistant", msg.no_assistant, "row", "error", SUPERVISED),
    LineRule("MSG011", "no-user", msg.no_user, "row", "warning", CHATS),
    LineRule("MSG012", "last-not-assistant", msg.last_not_assistant, "row", "error", SUPERVISED),
    LineRule("MSG013", "consecutive-roles", msg.consecutive_roles, "row", "warning", CHATS),
    LineRule("MSG014", "system-not-first", msg.system_not_first, "row", "warning", CHATS),
    LineRule("MSG015", "several-systems", msg.several_systems, "row", "warning", CHATS),
    LineRule("MSG016", "bad-weight", msg.bad_weight, "row", "error", CHATS),
    LineRule("MSG017", "nothing-trains", msg.nothing_trains, "row", "error", CHATS),
    LineRule("MSG018", "unknown-key", msg.unknown_key, "row", "error", CHATS, "unsafe"),
    LineRule("MSG019", "deprecated-functions", msg.deprecated_functions, "row", "warning", CHATS, "safe"),
    LineRule("MSG020", "no-system", msg.no_system, "row", "info", CHATS, default=False),
    SetRule("DUP001", "exact-duplicate", dup.exact_duplicate, "warning", "unsafe"),
    SetRule("DUP003", "split-leak", dup.split_leak, "error"),
)

FAMILIES = tuple(dict.fromkeys(rule.code[:3] for rule in RULES))


class RuleError(ValueError):
    """There is no rule or family of that name."""


def choose_rules(select: tuple[str, ...] = (), ignore: tuple[str, ...] = ()) -> tuple[Rule, ...]:
    """The rules that run: those selected by code or family (default: all that are on), less the ignored.

    Names are case-insensitive and may be comma-separated. Raises RuleError with a suggestion.
    """
    chosen, ignored = _names(select), _names(ignore)
    return tuple(
        rule
        for rule in RULES
        if (rule.default if not chosen else _named(rule, chosen)) and not _named(rule, ignored)
    )


def _named(rule: Rule, names: frozenset[str]) -> bool:
    return rule.code in names or rule.code[:3] in names


def _names(given: tuple[str, ...]) -> frozenset[str]:
    names = frozenset(part.strip().upper() for item in given for part in item.split(",") if part.strip())
    known = {*(rule.code for rule in RULES), *FAMILIES}
    for name in sorted(names - known):
        hint = did_you_mean(name, known)
        raise RuleError(f"unknown rule or family '{name}': families are {', '.join(FAMILIES)}.{hint}")
    return names
