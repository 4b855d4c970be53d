"""What one byte range says: its findings, and what the rules over sets need from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .examples import parse_example
from .findings import Fault, Finding, Severity, printable
from .fingerprints import fingerprint
from .ignoring import Ignores
from .json_scanner import place_of
from .kept import Kept
from .measuring import Measure, TokenRow
from .passages import spoken
from .personal import without_personal
from .plain import OF_SHAPE, Judge
from .reading import Columns, DataError, hub_name
from .rules import CHATS, PROMPTS, LineRule, Rule, SetRule, TokenRule, family_of
from .rules.subjects import FileFacts, Line, extra_keys
from .statistics import Profile, language_step
from .strict_json import SCANNABLE, Decoded
from .suspects import may_fire, spelt_out
from .targets import Target

if TYPE_CHECKING:
    from .tokens import Tokenizer

# Rules that count tokens: silent, so not asked, where there is no tokenizer.
# So many findings of one rule in one row are held; the others are counted.
MOST_OF_A_RULE = 100
OF_TOKENS = frozenset({"LEN", "MASK"})


@dataclass(frozen=True, slots=True)
class Source:
    """A file to lint: where its bytes are, the name to show for it, the folder that it was found in."""

    path: Path
    label: str
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """What every range needs to know.

    `keep` is how many findings are held (0: all; the rest is counted), `ignores` which rules are off where.
    """

    target: Target
    rules: tuple[Rule, ...]
    input_format: str = "auto"
    tokenizer: Tokenizer | None = None
    max_length: int | None = None
    token_limit: int | None = None
    columns: Columns | None = None
    keep: int = 0
    ignores: Ignores = field(default_factory=Ignores)


@dataclass(slots=True)
class Part:
    """What one range says. Lines count from 1 within the range.

    `unless_reinforcement` are findings that fall away if the file turns out to be for reinforcement,
    `if_reinforcement` those that it then has more.
    """

    facts: FileFacts
    findings: Kept = field(default_factory=Kept)
    unless_reinforcement: Kept = field(default_factory=Kept)
    if_reinforcement: Kept = field(default_factory=Kept)
    profile: Profile = field(default_factory=Profile)
    reference_keys: frozenset[str] | None = None
    ends: dict[str, int] = field(default_factory=dict)


class Checks:
    """The rules chosen for a file, sorted by what they look at; made once a range."""

    def __init__(self, settings: Settings, label: str) -> None:
        silent = OF_TOKENS if settings.tokenizer is None else frozenset()
        off = settings.ignores.codes(label)
        rules = tuple(r for r in settings.rules if r.code not in off and family_of(r.code) not in silent)
        self.settings = settings
        self.line_rules = tuple(rule for rule in rules if isinstance(rule, LineRule))
        self.of_text = tuple(r for r in self.line_rules if family_of(r.code) not in OF_SHAPE)
        self.tallied = tuple(rule for rule in rules if isinstance(rule, SetRule) and rule.tally)
        self.tallied_text = tuple(r for r in self.tallied if family_of(r.code) not in OF_SHAPE)
        self.compares = any(
            isinstance(r, SetRule) and family_of(r.code) not in OF_SHAPE | OF_TOKENS for r in rules
        )
        self.measure: Measure | None = None
        if settings.tokenizer is not None:
            self.measure = Measure(settings.tokenizer, settings.token_limit, settings.max_length)
        self.of_tokens = tuple(r for r in rules if isinstance(r, TokenRule) and _has_say(r, settings))
        self._by_format: dict[tuple[str | None, bool], tuple[LineRule, ...]] = {}
        self.judge = Judge(self.line_rules, settings.target, settings.input_format)

    def rules_for(self, row_format: str | None, valued: bool) -> tuple[LineRule, ...]:
        """The rules that look at a line of this format; without a value only those for raw lines do."""
        if (row_format, valued) not in self._by_format:
            self._by_format[row_format, valued] = tuple(
                rule
                for rule in self.line_rules
                if (rule.scope == "line" or valued) and (not rule.formats or row_format in rule.formats)
            )
        return self._by_format[row_format, valued]

    def part(self, facts: FileFacts) -> Part:
        """An empty part for one range of a file."""
        facts.tallies = {rule.code: rule.tally() for rule in self.tallied if rule.tally}
        facts.tokens = self.measure.facts() if self.measure is not None else None
        profile = Profile(language_step(facts.size))
        keep = self.settings.keep
        return Part(facts, Kept(keep), Kept(keep), Kept(keep), profile)


def new_facts(source: Source) -> FileFacts:
    """What is known of a file before a row is read."""
    if hub_name(source.label):
        return FileFacts(source.label)
    suffix = None if source.label == "-" else source.path.suffix.lower()
    return FileFacts(source.label, source.path.stat().st_size, suffix=suffix)


def mapped(line: Line, settings: Settings) -> Line:
    """The line as the chat that the settings' columns make of it; as it is where they make none."""
    if settings.columns is None or not isinstance(line.value, dict) or line.decoded.broken:
        return line
    try:
        value = settings.columns.chat(line.value)
    except DataError as error:
        line.refused, line.format = str(error), None
        return line
    decoded = Decoded(value, line.decoded.faults)
    return Line(line.number, None, decoded, settings.target, settings.input_format)


def lint_line(line: Line, checks: Checks, part: Part, skipped: int = 0) -> None:
    """Run the line and row rules on one line and take down what the rules over sets need."""
    settings = checks.settings
    blank = line.raw is not None and not line.raw.strip(b" \t\r")
    valued = not (blank or line.decoded.broken or line.length is not None)
    undecided = settings.input_format == "auto" and line.format == "chat" and bool(extra_keys(line.value))
    raw = None if line.raw is None else spelt_out(line.raw, line.value if valued else None)
    fires: dict[int, bool] = {}
    for rule in checks.rules_for(line.format, valued):
        if rule.needs is not None:
            # Rules of one family share a pattern.
            if (key := id(rule.needs)) not in fires:
                fires[key] = may_fire(rule, raw)
            if not fires[key]:
                continue
        provisional = undecided and "reinforcement" not in rule.formats and bool(rule.formats)
        kept = part.unless_reinforcement if provisional else part.findings
        for count, fault in enumerate(rule.check(line, settings.target)):
            if count < MOST_OF_A_RULE:
                kept.add(finding(rule, fault, part.facts.path, settings.target, line, skipped))
            else:
                kept.leave_out(severity_of(rule, fault, settings.target), is_fixable(rule, fault))
    for rule in checks.rules_for("reinforcement", True) if undecided else ():
        for fault in rule.check(line, settings.target) if rule.formats == PROMPTS else ():
            found = finding(rule, fault, part.facts.path, settings.target, line, skipped)
            part.if_reinforcement.add(found)
    if not blank:
        part.facts.rows += 1
    if valued and isinstance(line.value, dict):
        _take_down(line, raw, checks, part, skipped, undecided)


def _take_down(
    line: Line, raw: bytes | None, checks: Checks, part: Part, skipped: int, undecided: bool
) -> None:
    facts = part.facts
    if line.format is not None:
        count, first = facts.formats.get(line.format, (0, line.number))
        facts.formats[line.format] = (count + 1, first)
        if checks.compares:
            own = fingerprint(line.value, line.format, line.number)
            facts.fingerprints.add(own)
            facts.texts.take(own, spoken(line.value, line.format))
            if line.roles is not None:
                part.profile.read([_turn(message) for _, message in line.turns], own.example)
    for rule in checks.tallied:
        if may_fire(rule, raw):
            facts.tallies[rule.code].add(line)
    if line.format == "chat":
        keys = extra_keys(line.value)
        part.reference_keys = keys if part.reference_keys is None else part.reference_keys & keys
    if line.roles is not None:
        part.ends[line.roles[-1]] = part.ends.get(line.roles[-1], 0) + 1
        part.profile.add(line.roles)
    if line.format in CHATS:
        _count_tokens(line, checks, part, skipped, undecided)


def _turn(message: dict[str, Any]) -> tuple[str, str]:
    content = message.get("content")
    return str(message.get("role")), content if isinstance(content, str) else ""


def _has_say(rule: TokenRule, settings: Settings) -> bool:
    """Whether a rule about tokens has what it needs: a limit, a length to cut at, a mask."""
    if rule.code == "LEN001":
        return settings.token_limit is not None
    if family_of(rule.code) == "LEN":
        return settings.max_length is not None
    return settings.tokenizer is not None and settings.tokenizer.kind == "huggingface"


def _count_tokens(line: Line, checks: Checks, part: Part, skipped: int, undecided: bool) -> None:
    """Take down a chat's tokens, where there is a tokenizer and it is a valid chat."""
    tokens = part.facts.tokens
    if checks.measure is None or tokens is None:
        return
    try:
        example = parse_example(line.value, line.number)
    except ValueError:
        tokens.uncounted += 1
        return
    kept = part.unless_reinforcement if undecided else part.findings
    counted = checks.measure.rows([example], tokens)
    take_tokens(counted, line.format, checks, part, kept, lambda _: (line, skipped))


def take_tokens(
    counted: Iterable[TokenRow],
    row_format: str | None,
    checks: Checks,
    part: Part,
    kept: Kept,
    line_of: Callable[[int], tuple[Line, int]],
) -> None:
    """Run the rules about tokens on counted examples; `line_of` finds one's line and its skipped bytes."""
    target = checks.settings.target
    rules = [rule for rule in checks.of_tokens if row_format in rule.formats]
    for row in counted:
        for rule in rules:
            for fault in rule.check(row, target):
                line, skipped = line_of(row.example.line)
                kept.add(finding(rule, fault, part.facts.path, target, line, skipped))


def finding(
    rule: Rule, fault: Fault, path: str, target: Target, line: Line | None = None, skipped: int = 0
) -> Finding:
    """A rule's fault as a finding with its place. `skipped` bytes stand before the line's own."""
    number, column = (line.number if line else fault.line), None
    if line is not None and line.raw is not None:
        offset = fault.offset
        if offset is None and len(line.raw) <= min(line.budget, SCANNABLE):
            found, read = place_of(line.raw, fault.where or "")
            offset, line.budget = found or 0, line.budget - read
        if offset is not None:
            newlines = line.raw.count(b"\n", 0, offset)
            number = line.number + newlines
            column = offset - line.raw.rfind(b"\n", 0, offset) + (0 if newlines else skipped)
    return Finding(
        code=rule.code,
        name=rule.name,
        severity=severity_of(rule, fault, target),
        path=printable(path),
        line=number,
        column=column,
        where=None if fault.where is None else printable(without_personal(fault.where)),
        message=printable(without_personal(fault.message)),
        help=printable(without_personal(fault.help)),
        # A row that is no strict JSON is not rewritten.
        fixable=(rule.fix == "safe" if fault.fixable is None else fault.fixable)
        and not (line is not None and line.decoded.faults),
    )


def severity_of(rule: Rule, fault: Fault, target: Target) -> Severity:
    """How bad a fault is: as it says itself, else as the target says, else as its rule does."""
    return fault.severity or target.severity.get(rule.code, rule.severity)


def is_fixable(rule: Rule, fault: Fault) -> bool:
    """Whether a fault can be mended without loss."""
    return rule.fix == "safe" if fault.fixable is None else fault.fixable
