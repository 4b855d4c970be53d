"""Files in byte ranges, and the findings of one range.

`plan` cuts a file, `lint_range` looks at the rows that begin in a range, alone and without knowing where
it runs; `linter.merge` puts the parts together. A table, a JSON array or a compressed file is one range.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import msgspec

from .block_prints import of_block
from .blocks import Block, PackedError, blocks, open_data
from .findings import Fault
from .parts import (
    Checks,
    Part,
    Settings,
    Source,
    finding,
    lint_line,
    mapped,
    new_facts,
    take_tokens,
)
from .plain import Plain, example_of, is_plain, value_of
from .reading import BOM
from .rules import LineRule, SetRule
from .rules.subjects import Line, read_line
from .strict_json import Decoded
from .suspects import suspects
from .whole import lint_array, lint_table, lint_unreadable, shape_of, too_long, whole_fault

__all__ = ["Part", "Settings", "Source", "Task", "finding", "lint_range", "lint_task", "plan", "plan_file"]


_LARGE = 1 << 22


class Task(msgspec.Struct, frozen=True):
    """A piece of work: the rows of a file that begin in [lo, hi), or the whole file at once (None)."""

    source: Source
    range: tuple[int, int] | None


def plan_file(source: Source, pieces: int = 1) -> list[Task]:
    """The tasks of one file. Raises DataError for one that cannot be opened."""
    if shape_of(source) != "lines":
        return [Task(source, None)]
    return [Task(source, span) for span in plan(source.path, pieces)]


def plan(path: Path, pieces: int = 1) -> list[tuple[int, int]]:
    """Cut a file into at most `pieces` byte ranges; a row belongs to the range it begins in."""
    size = path.stat().st_size
    return list(pairwise(sorted({size * piece // pieces for piece in range(pieces + 1)}))) or [(0, 0)]


def lint_task(task: Task, settings: Settings) -> Part:
    """Do one task."""
    source = task.source
    if task.range is not None:
        return lint_range(source, *task.range, settings)
    shape = shape_of(source)
    if shape == "table":
        return lint_table(source, settings)
    if shape == "array":
        return lint_array(source, settings)
    if shape in ("lines", "packed"):
        return lint_range(source, 0, None, settings)
    return lint_unreadable(source, shape, settings)


def lint_range(source: Source, lo: int, hi: int | None, settings: Settings) -> Part:
    """Lint the lines that begin in [lo, hi); None: to the end of what may be a compressed file."""
    checks = Checks(settings, source.label)
    part = checks.part(new_facts(source))
    read = 0
    # An allocator that has seen a block of this size go keeps smaller ones at hand (glibc's threshold for
    # mapping memory moves); else each array of a block costs the system's pages anew.
    bytearray(_LARGE)
    try:
        with open_data(source.path) as file:
            for block in blocks(file, lo, hi, settings.target.max_row_bytes):
                begins_file = lo == 0 and part.facts.lines == 0 and not part.facts.bom
                _lint_block(block, checks, part, begins_file)
                read += len(block.data)
    except PackedError as error:
        message = f"the compressed file is broken or cut short: {error}"
        fault = Fault(message, "Pack or fetch it again.", line=part.facts.lines + 1)
        whole_fault("FMT001", fault, part, settings)
        part.facts.lines, part.facts.rows = part.facts.lines + 1, part.facts.rows + 1
    if hi is None:
        part.facts.size = read
    return part


def _lint_block(block: Block, checks: Checks, part: Part, begins_file: bool) -> None:
    """Lint whole lines: all at once where they are plain and clean, else one by one."""
    data, skipped = block.data, 0
    if begins_file and data.startswith(BOM):
        part.facts.bom = True
        data, skipped = data[len(BOM) :], len(BOM)
        if not data:
            return
    settings = checks.settings
    cap = settings.target.max_row_bytes
    if block.length is not None:
        part.facts.lines += 1
        lint_line(too_long(part.facts.lines, data, block.length, settings), checks, part, skipped)
        return
    fast = settings.columns is None
    rows = checks.judge.rows(data) if fast and len(data) <= cap else None
    if rows is not None:
        _take_plain(rows, data, checks, part, skipped)
        return
    waiting: list[bytes] = []
    for raw in _lines(data):
        if fast and len(raw) <= cap and is_plain(raw):
            waiting.append(raw)
            continue
        skipped = _take_waiting(waiting, checks, part, skipped)
        part.facts.lines += 1
        lint_line(_read(part.facts.lines, raw, settings), checks, part, skipped)
        skipped = 0
    _take_waiting(waiting, checks, part, skipped)


def _take_waiting(waiting: list[bytes], checks: Checks, part: Part, skipped: int) -> int:
    """Lint lines that seem plain, together if they are; what is then still skipped before the next line."""
    if not waiting:
        return skipped
    data = b"\n".join(waiting)
    rows = checks.judge.rows(data)
    if rows is not None:
        _take_plain(rows, data, checks, part, skipped)
    else:
        for raw in waiting:
            one = checks.judge.rows(raw) if len(waiting) > 1 else None
            if one is not None:
                _take_plain(one, raw, checks, part, skipped)
            else:
                part.facts.lines += 1
                lint_line(_read(part.facts.lines, raw, checks.settings), checks, part, skipped)
            skipped = 0
    waiting.clear()
    return 0


def _lines(data: bytes) -> list[bytes]:
    """Lines without their newlines; what stands behind the last one is a line only if it has bytes."""
    lines = data.split(b"\n")
    return lines[:-1] if not lines[-1] else lines


def _read(number: int, raw: bytes, settings: Settings) -> Line:
    raw = raw.removesuffix(b"\r")
    if len(raw) > settings.target.max_row_bytes:
        return too_long(number, raw, len(raw), settings)
    return mapped(read_line(number, raw, settings.target, settings.input_format), settings)


def _take_plain(plain: Plain, data: bytes, checks: Checks, part: Part, skipped: int) -> None:
    """Take down clean plain rows; only rules about texts may have something to say of them."""
    facts, settings = part.facts, checks.settings
    first = facts.lines + 1
    rows = plain.rows
    for order, count in plain.orders.counts():
        name = checks.judge.format_of(order) or "chat"
        before, line = facts.formats.get(name, (0, first))
        facts.formats[name] = (before + count, line)
        part.ends[order[-1]] = part.ends.get(order[-1], 0) + count
        part.profile.add(order, count)
    part.reference_keys = frozenset()
    facts.lines += len(rows)
    facts.rows += len(rows)
    if checks.compares:
        asked = settings.input_format == "reinforcement"
        block = of_block(plain.texts(), plain.orders, first, asked)
        facts.fingerprints.extend(block.prints)
        facts.texts.take_block(block)
        part.profile.read_block(block)
    if checks.measure is not None:
        _count_plain(plain, data, checks, part, first, skipped)
    if checks.of_text or checks.tallied_text:
        _read_texts(plain, data, checks, part, first, skipped)


def _count_plain(plain: Plain, data: bytes, checks: Checks, part: Part, first: int, skipped: int) -> None:
    """Count the tokens of plain rows, all at once."""
    settings, rows, orders = checks.settings, plain.rows, plain.orders
    assert checks.measure is not None and part.facts.tokens is not None

    def line_of(number: int) -> tuple[Line, int]:
        index = number - first
        decoded = Decoded(value_of(rows[index]))
        line = Line(number, _lines(data)[index], decoded, settings.target, settings.input_format)
        return line, 0 if index else skipped

    measure = checks.measure
    over = measure.chats(plain, first, part.facts.tokens)
    by_format: dict[str | None, list[int]] = {}
    for index in range(len(rows)) if over is None else over:
        by_format.setdefault(checks.judge.format_of(orders[index]), []).append(index)
    for row_format, chosen in by_format.items():
        examples = [example_of(rows[index], first + index) for index in chosen]
        if over is None:
            counted = measure.rows(examples, part.facts.tokens)
        else:
            lengths = [over[index] for index in chosen]
            counted = map(measure.row, examples, lengths)
        take_tokens(counted, row_format, checks, part, part.findings, line_of)


def _read_texts(plain: Plain, data: bytes, checks: Checks, part: Part, first: int, skipped: int) -> None:
    """Show plain rows to the rules about texts, each rule only the rows that hold its bytes."""
    settings, path, rows = checks.settings, part.facts.path, plain.rows
    rules: list[LineRule | SetRule] = [*checks.of_text, *checks.tallied_text]
    found = suspects(rules, data, lambda: _lines(data), lambda index: value_of(rows[index]), plain.scan)
    lines = _lines(data) if found else []
    for index, chosen in sorted(found.items()):
        decoded = Decoded(value_of(rows[index]))
        line = Line(first + index, lines[index], decoded, settings.target, settings.input_format)
        for rule in (rules[number] for number in sorted(chosen)):
            if isinstance(rule, SetRule):
                part.facts.tallies[rule.code].add(line)
            elif not rule.formats or line.format in rule.formats:
                for fault in rule.check(line, settings.target):
                    shift = 0 if index else skipped
                    part.findings.add(finding(rule, fault, path, settings.target, line, shift))
