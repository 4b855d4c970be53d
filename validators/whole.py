"""Files that are no lines to cut: tables, JSON arrays, archives; each is linted at once."""

from __future__ import annotations

from typing import Literal

from .arrays import ArrayError, ArrayReader
from .blocks import PackedError, open_data, packing
from .findings import Fault
from .json_scanner import ScanFault
from .parts import Checks, Part, Settings, Source, finding, lint_line, mapped, new_facts
from .reading import (
    BOM,
    ONE_A_LINE,
    DataError,
    archive_kind,
    container_of,
    hub_name,
    read_head,
    read_rows,
)
from .rules.subjects import Line, read_line
from .strict_json import SCANNABLE, Decoded

Shape = Literal["lines", "packed", "table", "array", "archive", "utf-16", "spread"]

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_UNPACK = "Unpack it first."
_SAVE_AS_UTF8 = "Save it as UTF-8: iconv -f UTF-16 -t UTF-8 IN > OUT."


def shape_of(source: Source) -> Shape:
    """How the file holds its rows, by its name and first bytes. Raises DataError if it cannot be opened."""
    if hub_name(source.label):
        return "table"
    head = read_head(source.path)
    container = container_of(source.path)
    if container in ("csv", "parquet"):
        return "table"
    packed = packing(head) is not None
    if packed:
        head = _unpacked_head(source)
    elif archive_kind(head):
        return "archive"
    if head.startswith(_UTF16):
        return "utf-16"
    text = head.removeprefix(BOM).lstrip()
    # Standard input has no name to go by.
    if (container == "json" or source.label == "-") and text.startswith(b"["):
        return "array"
    if text.partition(b"\n")[0].strip() in (b"[", b"{"):
        return "spread"
    return "packed" if packed else "lines"


def lint_table(source: Source, settings: Settings) -> Part:
    """Lint the rows of a table, as they are or as the chats that the settings make of them."""
    checks = Checks(settings, source.label)
    part = checks.part(new_facts(source))
    try:
        for row in read_rows(source.label if hub_name(source.label) else source.path):
            part.facts.lines = max(part.facts.lines, row.line)
            line = Line(row.line, None, Decoded(row.value), settings.target, settings.input_format)
            lint_line(mapped(line, settings), checks, part)
    except DataError as error:
        if hub_name(source.label) and not part.facts.rows:
            raise
        if part.facts.rows or part.facts.size:
            part.facts.rows += 1
            whole_fault("FMT007", Fault(str(error), "Mend the table where it is broken."), part, settings)
    return part


def lint_array(source: Source, settings: Settings) -> Part:
    """Lint the items of a JSON array, one at a time."""
    checks = Checks(settings, source.label)
    part = checks.part(new_facts(source))
    target, fault = settings.target, None
    try:
        with open_data(source.path) as file:
            reader = ArrayReader(file, target.max_row_bytes)
            try:
                for item in reader.items():
                    line = read_line(item.line, item.raw, target, settings.input_format)
                    if item.length is not None:
                        line = too_long(item.line, item.raw, item.length, settings)
                    lint_line(mapped(line, settings), checks, part, item.column - 1)
            except ArrayError as error:
                fault = error
                reader.drain()
    except PackedError as error:
        return lint_fault(source, "FMT001", _broken(error), settings)
    if fault is not None:
        part = checks.part(new_facts(source))
        line = _broken_array(source, fault, reader.size, settings)
        lint_line(line, checks, part, 0 if line.number == 1 else fault.column - 1)
    part.facts.bom, part.facts.lines = reader.bom, reader.lines
    return part


def _broken_array(source: Source, fault: ArrayError, size: int, settings: Settings) -> Line:
    """An array that is no JSON as one long line, with all its faults; in a large file with the first."""
    if size > SCANNABLE:
        decoded = Decoded(None, (ScanFault("invalid", 0, None, str(fault)),))
        return Line(fault.line, b"[", decoded, settings.target, settings.input_format)
    with open_data(source.path) as file:
        return read_line(1, file.read().removeprefix(BOM), settings.target, settings.input_format)


def too_long(number: int, head: bytes, length: int, settings: Settings) -> Line:
    """A row over the cap, of which nothing is known but its length."""
    line = Line(number, head[:64], Decoded(None, ()), settings.target, settings.input_format)
    line.length = length
    return line


def lint_unreadable(source: Source, shape: Shape, settings: Settings) -> Part:
    """A file that is wrong as a whole: one finding, where every line would give one."""
    if shape == "archive":
        kind = archive_kind(read_head(source.path))
        return lint_fault(source, "FMT001", Fault(f"the file is a {kind} archive", _UNPACK, line=1), settings)
    if shape == "utf-16":
        return lint_fault(source, "FMT001", Fault("the file is UTF-16", _SAVE_AS_UTF8, line=1), settings)
    fault = Fault("the JSON is spread over lines, so no line is a row", ONE_A_LINE, line=1)
    return lint_fault(source, "FMT007", fault, settings)


def lint_fault(source: Source, code: str, fault: Fault, settings: Settings) -> Part:
    """A part that says one thing of the whole file."""
    part = Checks(settings, source.label).part(new_facts(source))
    part.facts.rows = part.facts.lines = 1
    whole_fault(code, fault, part, settings)
    return part


def whole_fault(code: str, fault: Fault, part: Part, settings: Settings) -> None:
    """Take down one finding for the file, if its rule was chosen."""
    rule = next((rule for rule in settings.rules if rule.code == code), None)
    if rule is not None and code not in settings.ignores.codes(part.facts.path):
        part.findings.add(finding(rule, fault, part.facts.path, settings.target))


def _broken(error: PackedError) -> Fault:
    return Fault(f"the compressed file is broken or cut short: {error}", "Pack or fetch it again.", line=1)


def _unpacked_head(source: Source) -> bytes:
    """The first unpacked bytes; none where that fails, which reading the file will tell."""
    try:
        with open_data(source.path) as file:
            return file.read(4096)
    except PackedError:
        return b""
