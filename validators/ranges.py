"""One byte range of one file: its findings, and what the rules over sets need from it.

A range is linted alone and knows no absolute line numbers, so ranges can go to other processes later.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from .examples import parse_example
from .findings import Fault, Finding, printable
from .fingerprints import fingerprint
from .reading import BOM, DataError, archive_kind, array_items, container_of, read_head, read_rows
from .rules import CHATS, LineRule, Rule
from .rules.subjects import FileFacts, Fingerprint, Line, extra_keys, read_line
from .strict_json import Decoded, locate
from .targets import Target

if TYPE_CHECKING:
    from .tokens import Tokenizer

SYSTEM_ROLES = ("system", "developer")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class Source:
    """A file to lint: where its bytes are, and the name to show for it."""

    path: Path
    label: str


@dataclass(frozen=True, slots=True)
class Settings:
    """What every range needs to know."""

    target: Target
    rules: tuple[Rule, ...]
    input_format: str = "auto"
    tokenizer: Tokenizer | None = None
    max_length: int | None = None


@dataclass(slots=True)
class Part:
    """What one range says. Lines count from 1 within the range.

    `unless_reinforcement` are findings that fall away if the file turns out to be for reinforcement.
    """

    facts: FileFacts
    findings: list[Finding] = field(default_factory=list)
    unless_reinforcement: list[Finding] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    uncounted: int = 0
    no_system: int = 0
    reference_keys: frozenset[str] | None = None
    ends: dict[str, int] = field(default_factory=dict)


def lint_file(source: Source, settings: Settings) -> list[Part]:
    """Lint one file, range by range; a table or a JSON array is one range."""
    container = container_of(source.path)
    head = read_head(source.path)
    if container in ("csv", "parquet"):
        return [_lint_table(source, settings)]
    if kind := archive_kind(head):
        fault = Fault(f"the file is a {kind} archive", "Unpack it first.", line=1)
        return [_lint_one_fault(source, "FMT001", fault, settings)]
    if head.startswith(_UTF16):
        fault = Fault("the file is UTF-16", "Save it as UTF-8: iconv -f UTF-16 -t UTF-8 IN > OUT.", line=1)
        return [_lint_one_fault(source, "FMT001", fault, settings)]
    if container == "json" and head.removeprefix(BOM).lstrip().startswith(b"["):
        return [_lint_array(source, settings)]
    if head.removeprefix(BOM).lstrip().partition(b"\n")[0].strip() in (b"[", b"{"):
        cure = "Write one row a line; an array: jq -c '.[]' IN > OUT.jsonl."
        fault = Fault("the JSON is spread over lines, so no line is a row", cure, line=1)
        return [_lint_one_fault(source, "FMT007", fault, settings)]
    return [lint_range(source, lo, hi, settings) for lo, hi in plan(source.path)]


def plan(path: Path, pieces: int = 1) -> list[tuple[int, int]]:
    """Cut a file into at most `pieces` byte ranges that each begin at the start of a line."""
    size = path.stat().st_size
    cuts = {0, size}
    with path.open("rb") as file:
        for piece in range(1, pieces):
            file.seek(size * piece // pieces)
            file.readline()
            cuts.add(file.tell())
    ordered = sorted(cuts)
    return list(pairwise(ordered)) or [(0, 0)]


def lint_range(source: Source, lo: int, hi: int, settings: Settings) -> Part:
    """Lint the lines that begin in [lo, hi)."""
    part = Part(_new_facts(source))
    with source.path.open("rb") as file:
        file.seek(lo)
        position = lo
        while position < hi:
            raw = file.readline()
            if not raw:
                break
            skipped = 0
            if position == 0 and raw.startswith(BOM):
                part.facts.bom = True
                raw, skipped = raw[len(BOM) :], len(BOM)
                position += skipped
            position += len(raw)
            part.facts.lines += 1
            text = raw.removesuffix(b"\n").removesuffix(b"\r")
            if not text and not raw:
                continue
            line = read_line(part.facts.lines, text, settings.target, settings.input_format)
            lint_line(line, settings, part, skipped)
    return part


def _lint_array(source: Source, settings: Settings) -> Part:
    part = Part(_new_facts(source))
    data = source.path.read_bytes()
    part.facts.bom = data.startswith(BOM)
    part.facts.lines = data.count(b"\n") + (not data.endswith(b"\n"))
    try:
        for number, column, raw in array_items(source.path, data):
            line = read_line(number, raw, settings.target, settings.input_format)
            lint_line(line, settings, part, column - 1)
    except DataError:
        # The array as a whole is broken: its one fault is found as that of one long line.
        line = read_line(1, data.removeprefix(BOM), settings.target, settings.input_format)
        lint_line(line, settings, part)
    return part


def _lint_table(source: Source, settings: Settings) -> Part:
    part = Part(_new_facts(source))
    try:
        for row in read_rows(source.path):
            part.facts.lines = max(part.facts.lines, row.line)
            line = Line(row.line, None, Decoded(row.value), settings.target, settings.input_format)
            lint_line(line, settings, part)
    except DataError as error:
        if part.facts.rows or source.path.stat().st_size:
            part.facts.rows += 1
            _whole_file("FMT007", Fault(str(error), "Mend the table where it is broken."), part, settings)
    return part


def _lint_one_fault(source: Source, code: str, fault: Fault, settings: Settings) -> Part:
    """A file that is wrong as a whole: one finding, where every line would give one."""
    part = Part(_new_facts(source))
    part.facts.rows = part.facts.lines = 1
    _whole_file(code, fault, part, settings)
    return part


def lint_line(line: Line, settings: Settings, part: Part, skipped: int = 0) -> None:
    """Run the line and row rules on one line and take down what the rules over sets need."""
    path = part.facts.path
    blank = line.raw is not None and not line.raw.strip(b" \t\r")
    valued = not (blank or line.decoded.broken)
    undecided = settings.input_format == "auto" and line.format == "chat" and bool(extra_keys(line.value))
    for rule in _line_rules(settings.rules, line.format, valued):
        provisional = undecided and "reinforcement" not in rule.formats and bool(rule.formats)
        findings = part.unless_reinforcement if provisional else part.findings
        for fault in rule.check(line, settings.target):
            findings.append(finding(rule, fault, path, settings.target, line, skipped))
    if not blank:
        part.facts.rows += 1
    if valued and isinstance(line.value, dict):
        _take_down(line, settings, part)


@lru_cache
def _line_rules(rules: tuple[Rule, ...], row_format: str | None, valued: bool) -> tuple[LineRule, ...]:
    """The rules that look at a line of this format; without a value only those for raw lines do."""
    return tuple(
        rule
        for rule in rules
        if isinstance(rule, LineRule)
        and (rule.scope == "line" or valued)
        and (not rule.formats or row_format in rule.formats)
    )


def _take_down(line: Line, settings: Settings, part: Part) -> None:
    facts = part.facts
    if line.format is not None:
        count, first = facts.formats.get(line.format, (0, line.number))
        facts.formats[line.format] = (count + 1, first)
        facts.fingerprints.append(Fingerprint(line.number, *fingerprint(line.value, line.format)))
    if line.format == "chat":
        keys = extra_keys(line.value)
        part.reference_keys = keys if part.reference_keys is None else part.reference_keys & keys
    if line.roles is not None:
        part.ends[line.roles[-1]] = part.ends.get(line.roles[-1], 0) + 1
        part.no_system += not any(role in SYSTEM_ROLES for role in line.roles)
    if settings.tokenizer is not None and line.format in CHATS:
        try:
            part.lengths.append(settings.tokenizer.count_example(parse_example(line.value)))
        except ValueError:  # no valid chat, or one that the chat template refuses
            part.uncounted += 1


def finding(
    rule: Rule, fault: Fault, path: str, target: Target, line: Line | None = None, skipped: int = 0
) -> Finding:
    """A rule's fault as a finding with its place. `skipped` bytes stand before the line's own."""
    number, column = (line.number if line else fault.line), None
    if line is not None and line.raw is not None:
        offset = fault.offset if fault.offset is not None else locate(line.raw, fault.where or "")
        before = line.raw[: offset or 0]
        number = line.number + before.count(b"\n")
        column = len(before) - before.rfind(b"\n") + (skipped if number == line.number else 0)
    return Finding(
        code=rule.code,
        name=rule.name,
        severity=fault.severity or target.severity.get(rule.code, rule.severity),
        path=printable(path),
        line=number,
        column=column,
        where=None if fault.where is None else printable(fault.where),
        message=printable(fault.message),
        help=printable(fault.help),
        fixable=rule.fix == "safe" if fault.fixable is None else fault.fixable,
    )


def _whole_file(code: str, fault: Fault, part: Part, settings: Settings) -> None:
    """One finding for the file, where every line would give one."""
    rule = next((rule for rule in settings.rules if rule.code == code), None)
    if rule is not None:
        part.findings.append(finding(rule, fault, part.facts.path, settings.target))


def _new_facts(source: Source) -> FileFacts:
    return FileFacts(source.label, source.path.stat().st_size, suffix=source.path.suffix.lower())
