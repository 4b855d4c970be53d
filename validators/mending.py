"""What `lint --fix` mends: one small function a rule, applied line by line, written whole or not at all.

A fix runs only where its rule fires on the row and calls the fault fixable, so what the lint counts is what
is mended. Rows that are no strict JSON stay as they are: nothing that cannot be read is rewritten. Every
byte outside a fix is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from .findings import Fault, printable
from .fingerprints import fingerprint
from .parts import Source
from .reading import BOM, MAX_ROW_BYTES, archive_kind, container_of, hub_name, read_head
from .row_fixes import ROW_FIXES
from .rules import LineRule, Rule, choose_rules
from .rules.subjects import read_line
from .suspects import may_fire
from .targets import Target, load_target
from .writing import compression_of, open_lines, replacing

# Mended as the file is read, not in a row: byte-order mark, blank lines, repeated rows.
FILE_FIXES = ("FMT002", "FMT006", "DUP001")

# A fix that opens the way for another is followed by it; more rounds than this mean two that quarrel.
_ROUNDS = 50
NO_CODES: tuple[str, ...] = ()


class Plan(msgspec.Struct, frozen=True):
    """Which rules mend, and for which target."""

    target: Target
    rows: tuple[LineRule, ...]
    file: frozenset[str]
    unsafe: bool = False
    input_format: str = "auto"


class Change(msgspec.Struct, frozen=True):
    """One line before and after, with its newline; `new` is empty where the line goes. Codes say why."""

    number: int
    old: bytes
    new: bytes
    codes: tuple[str, ...] = ()


class Mended(msgspec.Struct, frozen=True):
    """What was mended in one file: how often by code. `refused` says why a file was left alone."""

    path: str
    fixed: dict[str, int]
    refused: str | None = None


def plan_mending(
    *,
    target: str | Target = "generic",
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    input_format: str = "auto",
    unsafe: bool = False,
) -> Plan:
    """Choose the fixes: those of the rules that run; such as lose something only where `unsafe` allows it.

    Raises RuleError and TargetError for unknown names.
    """
    profile = load_target(target) if isinstance(target, str) else target
    chosen = choose_rules(tuple(select), tuple(ignore))
    order = list(ROW_FIXES)
    rows = [rule for rule in chosen if isinstance(rule, LineRule) and rule.code in ROW_FIXES]
    rows = [rule for rule in rows if unsafe or rule.fix != "unsafe"]
    file = {rule.code for rule in chosen if rule.code in FILE_FIXES and (unsafe or rule.fix != "unsafe")}
    return Plan(
        profile, tuple(sorted(rows, key=lambda r: order.index(r.code))), frozenset(file), unsafe, input_format
    )


def mend_file(source: Source, plan: Plan) -> Mended:
    """Mend one file in place; gzip and zstd files stay such. A file with nothing to mend is not touched.

    On any failure the original stays whole. Raises DataError for a file that cannot be read, that is
    read-only, or that changes meanwhile; OSError where the disk refuses.
    """
    pipe = "standard input" if source.label == "-" else "a pipe"
    no_file = f"{pipe} has no file to write to. Save it first, or use --diff."
    if refused := no_file if Path(source.label) != source.path else _leads_out(source) or why_not(source):
        return Mended(printable(source.label), {}, refused)
    fixed: Counter[str] = Counter()
    with open_lines(source.path) as lines, replacing(source.path, compression_of(source.path)) as copy:
        changed = False
        for change in mended_lines(lines, plan):
            copy.write(change.new)
            changed |= change.new != change.old
            fixed.update(change.codes)
        if changed:
            copy.keep()
    return Mended(printable(source.label), dict(sorted(fixed.items())))


def _leads_out(source: Source) -> str | None:
    if source.folder is None or source.path.resolve().is_relative_to(source.folder.resolve()):
        return None
    return "it is a link to a file outside the folder. Name that file to mend it."


def file_changes(source: Source, plan: Plan) -> Iterator[Change]:
    """Every line of a file with what mending would make of it; nothing is written."""
    with open_lines(source.path) as lines:
        yield from mended_lines(lines, plan)


def why_not(source: Source) -> str | None:
    """Why a file cannot be mended in place, or None. Raises DataError where it cannot be opened."""
    convert = "Write it as JSON Lines first: workbench convert IN OUT.jsonl --to chat."
    if hub_name(source.label):
        return "a data set of the hub has no file to write to. Save it as JSON Lines first."
    head = read_head(source.path)
    container = container_of(source.path)
    if container in ("csv", "parquet"):
        return f"a table ({container}) is not mended. {convert}"
    kind = archive_kind(head)
    if kind not in (None, "gzip", "zstd"):
        return f"the file is a {kind} archive. Unpack it first."
    with open_lines(source.path) as lines:
        first = lines.read(4096).removeprefix(BOM)
    if first.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in first:
        return "the file is UTF-16 or binary. Save it as UTF-8: iconv -f UTF-16 -t UTF-8 IN > OUT."
    if container == "json" and first.lstrip().startswith(b"["):
        return f"a JSON array is not mended. {convert}"
    if first.lstrip().partition(b"\n")[0].strip() in (b"[", b"{"):
        return "its JSON is spread over lines. Write one row a line first: jq -c '.[]' IN > OUT.jsonl."
    return None


def mended_lines(lines: Iterable[bytes], plan: Plan) -> Iterator[Change]:
    """Mend the lines of one file, in order; the new bytes joined are the new file."""
    seen: set[int] = set()
    # What the first line that stays begins with, and the code if that is new.
    prefix, mark, at_start = b"", NO_CODES, True
    for number, old in enumerate(lines, 1):
        raw = old
        if number == 1 or (at_start and old.startswith(BOM)):
            # With the blank lines before it gone, a row's mark is the file's.
            prefix, raw, told = _bom(old, plan)
            mark = told or mark
        change = _mend_line(number, old, raw, plan, seen)
        if at_start and change.new:
            change = Change(number, old, prefix + change.new, (*mark, *change.codes))
            at_start = False
        yield change


def _mend_line(number: int, old: bytes, raw: bytes, plan: Plan, seen: set[int]) -> Change:
    body = raw.removesuffix(b"\n").removesuffix(b"\r")
    ending = raw[len(body) :]
    if not body.strip(b" \t\r"):
        blank = "FMT006" in plan.file
        return Change(number, old, b"" if blank else raw, ("FMT006",) if blank else ())
    if len(body) > MAX_ROW_BYTES:
        return Change(number, old, raw)
    body, codes = mend_row(body, plan)
    if "DUP001" in plan.file:
        line = read_line(number, body, plan.target, plan.input_format)
        if not line.decoded.broken and line.format is not None:
            digest = fingerprint(line.value, line.format, number).example
            if digest in seen:
                return Change(number, old, b"", ("DUP001",))
            seen.add(digest)
    return Change(number, old, body + ending, codes)


def mend_row(raw: bytes, plan: Plan) -> tuple[bytes, tuple[str, ...]]:
    """One row's bytes (without the newline) after all its fixes, and the code of each fault mended."""
    from .rewriting import rewrite

    codes: list[str] = []
    for _ in range(_ROUNDS):
        # An escape may spell what a rule looks for.
        held = None if b"\\u" in raw else raw
        rules = [rule for rule in plan.rows if may_fire(rule, held)]
        if not rules:
            break
        line = read_line(1, raw, plan.target, plan.input_format)
        if line.decoded.faults or not isinstance(line.value, dict):
            break
        for rule in rules:
            if rule.formats and line.format not in rule.formats:
                continue
            faults = [fault for fault in rule.check(line, plan.target) if mends(rule, fault, plan.unsafe)]
            if not faults:
                continue
            value = ROW_FIXES[rule.code](line.value, plan.target)
            mended = rewrite(raw, line.value, value)
            if mended != raw:
                raw = mended
                codes += [rule.code] * len(faults)
                break
        else:
            break
    return raw, tuple(codes)


def mends(rule: Rule, fault: Fault, unsafe: bool) -> bool:
    """Whether a fault of a rule is one that a fix takes away."""
    if fault.fixable is False or (rule.fix == "unsafe" and not unsafe):
        return False
    return bool(rule.fix) or bool(fault.fixable)


def _bom(first: bytes, plan: Plan) -> tuple[bytes, bytes, tuple[str, ...]]:
    """The mark that the mended file begins with, the first line without one, and the code if that is new."""
    if not first.startswith(BOM):
        wanted = "FMT002" in plan.file and plan.target.bom == "required"
        return (BOM, first, ("FMT002",)) if wanted else (b"", first, ())
    if _refuses_bom(plan):
        return b"", _without_bom(first), ("FMT002",)
    return BOM, first.removeprefix(BOM), ()


def _refuses_bom(plan: Plan) -> bool:
    return "FMT002" in plan.file and plan.target.bom == "refused"


def _without_bom(raw: bytes) -> bytes:
    while raw.startswith(BOM):
        raw = raw.removeprefix(BOM)
    return raw


def mending_line(results: Sequence[Mended]) -> str:
    """One line for people: what was mended, by code, over all files."""
    total: Counter[str] = Counter()
    for result in results:
        total.update(result.fixed)
    if not total:
        return "Nothing was mended."
    rules = ", ".join(f"{code} {count:,}" for code, count in sorted(total.items()))
    return f"Mended {total.total():,} ({rules})."
