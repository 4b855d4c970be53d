"""The lint rules: one function each in a family's file, one line each in RULES.

A code never changes its meaning. The fields after the function: scope, severity, and where it differs
from the defaults the formats a row rule looks at, whether a fix loses nothing, whether it is on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from ..findings import Fault, Severity
from ..measuring import TokenRow
from ..personal import EMAIL_BYTES, NUMBER_BYTES, SECRET_BYTES
from ..prefilters import Needs
from ..suggest import did_you_mean
from ..targets import Target
from . import bal, dup, fmt, length, mask, msg, part, pii, pref, rft, text, tool, turns
from .pref import in_pairs
from .subjects import Collection, Line, Tally

LineCheck = Callable[[Line, Target], Iterator[Fault]]
SetCheck = Callable[[Collection, Target], Iterator[Fault]]
TokenCheck = Callable[[TokenRow, Target], Iterator[Fault]]

Fix = Literal["", "safe", "unsafe"]

CHATS = ("chat", "reinforcement")
SUPERVISED = ("chat",)
PAIRS = ("preference",)
PROMPTS = ("reinforcement",)
CHATS_AND_PAIRS = (*CHATS, *PAIRS)
# Formats whose reply stands under a name of its own.
REPLIES = ("prompt-completion", "alpaca", "sharegpt")

# Bytes without which a family has nothing to say.
WEIGHTS = re.compile(b"weight")
FUNCTIONS = re.compile(b"function")
TOOLS = re.compile(rb"tool|function")
PARTS = re.compile(rb'"content"\s*:\s*\[')
IMAGES = re.compile(rb"image")
SIDES = re.compile(rb"preferred_output|chosen")


class LineRule(msgspec.Struct, frozen=True):
    """A rule over one line. Scope "line" sees any bytes, "row" a decoded value.

    `formats` are the row formats a row rule looks at; empty means any value, objects or not. `needs` are
    bytes without one of which the rule cannot fire: a raw line that lacks them is not shown to it, what
    `\\u` escapes spell taken into account.
    """

    code: str
    name: str
    check: LineCheck
    scope: Literal["line", "row"]
    severity: Severity
    formats: tuple[str, ...] = ()
    fix: Fix = ""
    default: bool = True
    needs: Needs | None = None


class SetRule(msgspec.Struct, frozen=True):
    """A rule over whole files.

    What it must know of each row it gathers in a `tally`, one for each byte range and joined afterwards;
    `check` finds it in `file.tallies[code]`. Most need none: `file.fingerprints` holds digests of every
    row. `needs` spares the tally the lines that lack these bytes.
    """

    code: str
    name: str
    check: SetCheck
    severity: Severity
    fix: Fix = ""
    default: bool = True
    tally: Callable[[], Tally] | None = None
    needs: Needs | None = None


class TokenRule(msgspec.Struct, frozen=True):
    """A rule over the tokens of one chat row; silent without a tokenizer. `formats` are those of the row."""

    code: str
    name: str
    check: TokenCheck
    severity: Severity
    formats: tuple[str, ...] = SUPERVISED
    fix: Fix = ""
    default: bool = True

    @property
    def scope(self) -> str:
        """What it looks at."""
        return "row"


Rule = LineRule | SetRule | TokenRule

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
    LineRule("FMT016", "row-too-long", fmt.row_too_long, "line", "error"),
    LineRule("MSG001", "messages-missing", msg.messages_missing, "row", "error", CHATS),
    LineRule("MSG002", "messages-empty", msg.messages_empty, "row", "error", CHATS),
    LineRule("MSG003", "message-not-object", msg.message_not_object, "row", "error", CHATS),
    LineRule("MSG004", "role-missing", msg.role_missing, "row", "error", CHATS),
    LineRule("MSG005", "unknown-role", in_pairs(msg.unknown_role), "row", "error", CHATS_AND_PAIRS),
    LineRule("MSG006", "content-missing", msg.content_missing, "row", "error", CHATS),
    LineRule("MSG007", "content-wrong-type", msg.content_wrong_type, "row", "error", CHATS),
    LineRule("MSG008", "empty-content", in_pairs(msg.empty_content), "row", "warning", CHATS_AND_PAIRS),
    LineRule("MSG009", "empty-reply", msg.empty_reply, "row", "error", (*CHATS, *REPLIES)),
    LineRule("MSG010", "no-assistant", turns.no_assistant, "row", "error", SUPERVISED),
    LineRule("MSG011", "no-user", turns.no_user, "row", "warning", CHATS),
    LineRule("MSG012", "last-not-assistant", turns.last_not_assistant, "row", "error", SUPERVISED),
    LineRule(
        "MSG013", "consecutive-roles", in_pairs(turns.consecutive_roles), "row", "warning", CHATS_AND_PAIRS
    ),
    LineRule(
        "MSG014", "system-not-first", in_pairs(turns.system_not_first), "row", "warning", CHATS_AND_PAIRS
    ),
    LineRule("MSG015", "several-systems", in_pairs(turns.several_systems), "row", "warning", CHATS_AND_PAIRS),
    LineRule(
        "MSG016", "bad-weight", in_pairs(msg.bad_weight), "row", "error", CHATS_AND_PAIRS, needs=WEIGHTS
    ),
    LineRule("MSG017", "nothing-trains", turns.nothing_trains, "row", "error", CHATS),
    LineRule("MSG018", "unknown-key", in_pairs(msg.unknown_key), "row", "error", CHATS_AND_PAIRS, "unsafe"),
    LineRule(
        "MSG019",
        "deprecated-functions",
        msg.deprecated_functions,
        "row",
        "warning",
        CHATS,
        "safe",
        needs=FUNCTIONS,
    ),
    LineRule("MSG020", "no-system", turns.no_system, "row", "info", CHATS, default=False),
    LineRule("TOOL001", "bad-tool-call", tool.bad_tool_call, "row", "error", CHATS, needs=TOOLS),
    LineRule("TOOL002", "arguments-not-json", tool.arguments_not_json, "row", "error", CHATS, needs=TOOLS),
    LineRule(
        "TOOL003",
        "arguments-not-object",
        tool.arguments_not_object,
        "row",
        "error",
        CHATS,
        "safe",
        needs=TOOLS,
    ),
    LineRule(
        "TOOL004", "arguments-break-schema", tool.arguments_break_schema, "row", "error", CHATS, needs=TOOLS
    ),
    LineRule("TOOL005", "undefined-tool", tool.undefined_tool, "row", "error", CHATS, needs=TOOLS),
    LineRule("TOOL006", "orphan-tool-result", tool.orphan_tool_result, "row", "error", CHATS, needs=TOOLS),
    LineRule("TOOL007", "unanswered-call", tool.unanswered_call, "row", "warning", CHATS, needs=TOOLS),
    LineRule("TOOL008", "bad-tool-definition", tool.bad_tool_definition, "row", "error", CHATS, needs=TOOLS),
    LineRule("TOOL009", "too-many-tools", tool.too_many_tools, "row", "error", CHATS, needs=TOOLS),
    LineRule("TOOL010", "tool-id-form", tool.tool_id_form, "row", "error", CHATS, "safe", needs=TOOLS),
    LineRule("TOOL011", "tools-unsupported", tool.tools_unsupported, "row", "error", CHATS, needs=TOOLS),
    LineRule("PART001", "bad-part", part.bad_part, "row", "error", CHATS, needs=PARTS),
    LineRule("PART002", "image-outside-user", part.image_outside_user, "row", "error", CHATS, needs=IMAGES),
    LineRule("PART003", "too-many-images", part.too_many_images, "row", "error", CHATS, needs=IMAGES),
    LineRule("PART004", "image-reference", part.image_reference, "row", "error", CHATS, needs=IMAGES),
    LineRule("PART005", "image-too-large", part.image_too_large, "row", "error", CHATS, needs=IMAGES),
    LineRule("PREF001", "bad-pair", pref.bad_pair, "row", "error", PAIRS),
    LineRule("PREF002", "identical-pair", pref.identical_pair, "row", "warning", PAIRS),
    LineRule("PREF003", "input-ends-with-assistant", pref.input_ends_with_assistant, "row", "error", PAIRS),
    SetRule("PREF004", "length-bias", pref.length_bias, "warning", tally=pref.LengthTally, needs=SIDES),
    LineRule("RFT001", "last-not-user", rft.last_not_user, "row", "error", PROMPTS),
    LineRule("RFT002", "no-grader-field", rft.no_grader_field, "row", "error", PROMPTS),
    SetRule("RFT003", "unsteady-fields", rft.unsteady_fields, "error", tally=rft.FieldTally),
    TokenRule("LEN001", "example-too-long", length.example_too_long, "error", CHATS),
    TokenRule("LEN002", "reply-truncated", length.reply_truncated, "warning"),
    TokenRule("LEN003", "reply-lost", length.reply_lost, "error"),
    SetRule("LEN004", "length-outlier", length.length_outlier, "info"),
    TokenRule("MASK001", "double-bos", mask.double_bos, "error", CHATS),
    SetRule("MASK002", "end-of-turn-untrained", mask.end_of_turn_untrained, "error"),
    TokenRule("MASK003", "nothing-trained", mask.nothing_trained, "error"),
    TokenRule("MASK004", "control-token-in-text", mask.control_token_in_text, "warning", CHATS),
    SetRule("MASK005", "no-generation-marks", mask.no_generation_marks, "info"),
    TokenRule("MASK006", "prompt-not-prefix", mask.prompt_not_prefix, "error"),
    SetRule("DUP001", "exact-duplicate", dup.exact_duplicate, "warning", "unsafe"),
    SetRule("DUP002", "near-duplicate", dup.near_duplicate, "info"),
    SetRule("DUP003", "split-leak", dup.split_leak, "error"),
    SetRule("DUP004", "near-leak", dup.near_leak, "warning"),
    SetRule("DUP005", "conflicting-answers", dup.conflicting_answers, "warning"),
    SetRule("DUP006", "padded-to-minimum", dup.padded_to_minimum, "warning"),
    SetRule("DUP007", "answer-in-corpus", dup.answer_in_corpus, "warning"),
    LineRule("TEXT001", "mojibake", text.mojibake, "row", "warning", fix="unsafe", needs=text.GARBLED),
    LineRule(
        "TEXT002", "replacement-character", text.replacement_character, "row", "warning", needs=text.LOST
    ),
    LineRule(
        "TEXT003",
        "invisible-characters",
        text.invisible_characters,
        "row",
        "warning",
        fix="unsafe",
        needs=text.UNSEEN,
    ),
    LineRule(
        "TEXT004", "unfilled-placeholder", text.unfilled_placeholder, "row", "warning", needs=text.HOLES
    ),
    SetRule("TEXT005", "refusal-boilerplate", text.refusal_boilerplate, "warning"),
    SetRule("TEXT006", "answer-in-prompt", text.answer_in_prompt, "info"),
    SetRule("TEXT007", "constant-answer", text.constant_answer, "warning"),
    LineRule("PII001", "secret", pii.secret, "row", "error", needs=SECRET_BYTES),
    LineRule("PII002", "email-address", pii.email_address, "row", "warning", needs=EMAIL_BYTES),
    LineRule("PII003", "card-number", pii.card_number, "row", "error", needs=NUMBER_BYTES),
    LineRule("PII004", "phone-number", pii.phone_number, "row", "info", needs=NUMBER_BYTES),
    LineRule("PII005", "bank-or-national-id", pii.bank_or_national_id, "row", "warning", needs=NUMBER_BYTES),
    SetRule("BAL001", "class-imbalance", bal.class_imbalance, "info"),
    SetRule("BAL002", "system-prompt-drift", bal.system_prompt_drift, "warning"),
    SetRule("BAL003", "class-missing-in-split", bal.class_missing_in_split, "warning"),
    SetRule("BAL004", "shift", bal.shift, "info"),
)


def family_of(code: str) -> str:
    """The family a code belongs to: its letters."""
    return code.rstrip("0123456789")


FAMILIES = tuple(dict.fromkeys(family_of(rule.code) for rule in RULES))


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
    return rule.code in names or family_of(rule.code) in names


def _names(given: tuple[str, ...]) -> frozenset[str]:
    names = frozenset(part.strip().upper() for item in given for part in item.split(",") if part.strip())
    known = {*(rule.code for rule in RULES), *FAMILIES}
    for name in sorted(names - known):
        hint = did_you_mean(name, known)
        raise RuleError(f"unknown rule or family '{name}': families are {', '.join(FAMILIES)}.{hint}")
    return names
