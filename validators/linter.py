"""The linter: plan byte ranges, lint each, merge.

`merge` adds up the line numbers, runs the rules over sets and sorts. Memory follows the longest line, plus
fixed bytes a row where rows are compared.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from .columns import Columns
from .findings import SEVERITIES, Finding, Severity, printable
from .ignoring import Ignores
from .inputs import Paths, sources
from .kept import Kept, in_all
from .parts import Checks, Part, Settings, Source, finding, lint_line
from .pool import pieces_for, processes, run
from .ranges import Task, plan_file
from .rereading import rows_again, rows_held
from .rows import DataError, Row
from .rules import SetRule, choose_rules
from .rules.subjects import FORMAT_NAMES, Collection, FileFacts, Line
from .statistics import system_prompts
from .strict_json import Decoded
from .suggest import did_you_mean
from .tables import hub_name
from .targets import Target, load_target

if TYPE_CHECKING:
    from .tokens import Tokenizer


class FileReport(msgspec.Struct, frozen=True):
    """One file of a report.

    `distinct` counts examples that differ in more than case and white space; None where no chosen rule
    compares rows. `sha256` is that of the bytes on disk, None for what is no file or was not asked for.
    """

    path: str
    sha256: str | None
    format: str | None
    lines: int
    examples: int
    distinct: int | None
    statistics: dict[str, Any]


class LintReport(msgspec.Struct, frozen=True):
    """The findings of a lint, sorted by path, line and code.

    `counts` and `fixable` are of all that was found, of which `findings` may hold only the first. Very many are
    on disk while the report lives, and are read anew each time.
    """

    files: tuple[FileReport, ...]
    findings: Sequence[Finding]
    counts: dict[Severity, int]
    fixable: int = 0

    @property
    def total(self) -> int:
        """How many findings there are."""
        return sum(self.counts.values())

    def count(self, severity: Severity) -> int:
        """How many findings have a severity."""
        return self.counts[severity]

    def as_dict(self, limit: int = 0) -> dict[str, Any]:
        """The report as the `workbench.lint/1` object, with at most `limit` findings (0: all)."""
        shown = self.findings[:limit] if limit else self.findings
        return {
            "schema": "workbench.lint/1",
            "files": [msgspec.structs.asdict(file) for file in self.files],
            "findings": [found.as_dict() for found in shown],
            "summary": {
                "errors": self.count("error"),
                "warnings": self.count("warning"),
                "infos": self.count("info"),
                "omitted": self.total - len(shown),
            },
        }


def lint(
    paths: Paths,
    *,
    target: str | Target = "generic",
    input_format: str = "auto",
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    against: Paths = (),
    tokenizer: str | Tokenizer | None = None,
    max_length: int | None = None,
    columns: Columns | None = None,
    ignores: Ignores | None = None,
    token_limit: int | None = None,
    keep: int = 0,
    jobs: int | None = 1,
    hashes: bool = True,
) -> LintReport:
    """Lint one file or several; several are taken for splits of one dataset and held against each other.

    A path may be a file, a folder, a pattern, `hf://owner/name`, or a `Source` where a file goes by another
    name (standard input). `columns` turn table rows into chats. `select` and `ignore` name rules or
    families, `ignores` those that are off for some files. `against` are further files to find leaks from.
    With a tokenizer (or its name) tokens are counted; `token_limit` is what the target or model takes,
    `max_length` where training cuts. At most `keep` findings are held (0: all), the others counted. `jobs`
    processes share large files (None: one a processor). Without `hashes` no file's sha256 is told, which
    takes a pass over it. Any bytes give findings; raises DataError for a file that cannot be read,
    RuleError and TargetError for unknown names.
    """
    files, others = sources(paths), sources(against)
    settings = _settings(target, input_format, select, ignore, tokenizer, max_length)
    settings = replace(
        settings, columns=columns, keep=keep, ignores=ignores or Ignores(), token_limit=token_limit
    )
    return lint_sources(files, settings, others, jobs=processes(jobs), hashes=hashes)


def lint_rows(
    rows: Iterable[Row],
    path: str,
    *,
    target: str | Target = "generic",
    input_format: str = "auto",
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    tokenizer: str | Tokenizer | None = None,
    max_length: int | None = None,
) -> LintReport:
    """Lint rows that are already decoded, such as a table turned into chats; findings have no columns."""
    return lint_tables(
        {path: rows},
        target=target,
        input_format=input_format,
        select=select,
        ignore=ignore,
        tokenizer=tokenizer,
        max_length=max_length,
    )


def lint_tables(
    tables: Mapping[str, Iterable[Row]],
    *,
    target: str | Target = "generic",
    input_format: str = "auto",
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    tokenizer: str | Tokenizer | None = None,
    max_length: int | None = None,
) -> LintReport:
    """Lint several decoded files by name; like files given to `lint`, they count as splits of one set."""
    settings = _settings(target, input_format, select, ignore, tokenizer, max_length)
    parts = []
    for path, rows in tables.items():
        checks = Checks(settings, path)
        part = checks.part(FileFacts(path))
        for row in rows:
            part.facts.lines = max(part.facts.lines, row.line)
            line = Line(row.line, None, Decoded(row.value), settings.target, input_format)
            lint_line(line, checks, part)
        if isinstance(rows, Sequence):
            part.facts.reread = partial(rows_held, rows)
        parts.append([part])
    return merge(parts, [None] * len(parts), settings, ())


def lint_sources(
    files: Sequence[Source],
    settings: Settings,
    against: Sequence[Source] = (),
    *,
    jobs: int = 1,
    hashes: bool = True,
) -> LintReport:
    """Lint files under the names given for them."""
    own = {source.path.resolve() for source in files}
    others = [source for source in against if source.path.resolve() not in own]
    tasks = [_plan(source, jobs) for source in (*files, *others)]
    done = run([task for planned in tasks for task in planned], _for_input(settings, files, jobs), jobs)
    # Parts are joined as they come: what a range found is not held beside what the file has.
    joined = [_join(next(done) for _ in planned) for planned in tasks]
    for part, source in zip(joined, (*files, *others), strict=True):
        place = source.label if hub_name(source.label) else source.path
        part.facts.reread = partial(rows_again, place, settings.columns)
    parts = [[part] for part in joined[: len(files)]]
    compared = tuple(part.facts for part in joined[len(files) :])
    return merge(parts, [_sha256(source) if hashes else None for source in files], settings, compared)


def _for_input(settings: Settings, files: Sequence[Source], jobs: int) -> Settings:
    """The settings with the faster token counter, where each process has enough to count."""
    if settings.tokenizer is None:
        return settings
    from .tokens import for_input

    size = sum(source.path.stat().st_size for source in files if source.path.is_file())
    return replace(settings, tokenizer=for_input(settings.tokenizer, size // jobs))


def _plan(source: Source, jobs: int) -> list[Task]:
    """The tasks of one file: ranges where it can be cut and that pays."""
    size = 0 if hub_name(source.label) or not source.path.is_file() else source.path.stat().st_size
    return plan_file(source, pieces_for(size, jobs))


def merge(
    files: Sequence[Sequence[Part]],
    digests: Sequence[str | None],
    settings: Settings,
    against: tuple[FileFacts, ...],
) -> LintReport:
    """Join the parts of each file, run the rules over sets, and sort the findings."""
    reports, all_facts, kept = [], [], []
    for parts, digest in zip(files, digests, strict=True):
        part = _join(iter(parts))
        kept.append(part.findings)
        if not _has_reference_fields(part):
            kept.append(part.unless_reinforcement)
        elif settings.input_format == "auto":
            kept.append(part.if_reinforcement)
            part.facts.formats["reinforcement"] = part.facts.formats.pop("chat")
        all_facts.append(part.facts)
        reports.append(_file_report(part, digest, settings))
    data = Collection(tuple(all_facts), against)
    order = {printable(facts.path): i for i, facts in enumerate(all_facts)}

    def place(found: Finding) -> tuple[Any, ...]:
        first = order.get(found.path, len(order))
        return first, found.path, found.line or 0, found.code, found.column or 0, found.where or ""

    kept.append(of_sets := Kept(settings.keep, place))
    for rule in settings.rules:
        if isinstance(rule, SetRule):
            for fault in rule.check(data, settings.target):
                if fault.path and rule.code in settings.ignores.codes(fault.path):
                    continue
                of_sets.add_anywhere(finding(rule, fault, fault.path or "", settings.target))
    return LintReport(
        tuple(reports),
        in_all(kept, place, settings.keep),
        {severity: sum(one.counts[severity] for one in kept) for severity in SEVERITIES},
        sum(one.fixable for one in kept),
    )


def _join(parts: Iterator[Part]) -> Part:
    """One part of a whole file from those of its ranges, line numbers added up."""
    whole = next(parts)
    for part in parts:
        facts, later = whole.facts, part.facts
        lines = facts.lines
        whole.findings.join(part.findings, lines)
        whole.unless_reinforcement.join(part.unless_reinforcement, lines)
        whole.if_reinforcement.join(part.if_reinforcement, lines)
        whole.profile.join(part.profile, lines)
        for role, count in part.ends.items():
            whole.ends[role] = whole.ends.get(role, 0) + count
        if whole.reference_keys is None or part.reference_keys is None:
            whole.reference_keys = (
                part.reference_keys if whole.reference_keys is None else whole.reference_keys
            )
        else:
            whole.reference_keys &= part.reference_keys
        for name, (count, line) in later.formats.items():
            before, first = facts.formats.get(name, (0, line + lines))
            facts.formats[name] = (before + count, first)
        facts.fingerprints.extend(later.fingerprints, lines)
        facts.texts.join(later.texts, lines)
        for code, tally in later.tallies.items():
            facts.tallies[code].join(tally, lines)
        if facts.tokens is not None and later.tokens is not None:
            facts.tokens.join(later.tokens, lines)
        facts.lines += later.lines
        facts.rows += later.rows
    return whole


def _has_reference_fields(part: Part) -> bool:
    """Whether every chat row has the same further key, and more rows end with the user than the assistant."""
    return bool(part.reference_keys) and part.ends.get("user", 0) > part.ends.get("assistant", 0)


def _file_report(part: Part, digest: str | None, settings: Settings) -> FileReport:
    facts, profile = part.facts, part.profile
    prints = facts.fingerprints
    compared = bool(len(prints)) or not facts.rows
    statistics: dict[str, Any] = profile.as_dict()
    if len(prints):
        statistics["system_prompts"] = system_prompts(prints.system, prints.line)
    if facts.tokens is not None:
        limit = settings.max_length if settings.token_limit is None else settings.token_limit
        statistics["tokens"] = facts.tokens.as_dict(limit)
    return FileReport(
        path=printable(facts.path),
        sha256=digest,
        format=max(facts.formats, key=lambda name: facts.formats[name][0], default=None),
        lines=facts.lines,
        examples=sum(count for count, _ in facts.formats.values()),
        distinct=_distinct(prints.example) if compared else None,
        statistics=statistics,
    )


def _distinct(digests: array[int]) -> int:
    """How many digests differ; by sorting where a set would take much memory."""
    if len(digests) < 100_000:
        return len(set(digests))
    import numpy as np

    ordered = np.sort(np.frombuffer(digests, np.uint64))
    return int(np.count_nonzero(ordered[1:] != ordered[:-1])) + 1


def _settings(
    target: str | Target,
    input_format: str,
    select: Sequence[str],
    ignore: Sequence[str],
    tokenizer: str | Tokenizer | None,
    max_length: int | None,
) -> Settings:
    if input_format != "auto" and input_format not in FORMAT_NAMES:
        hint = did_you_mean(input_format, FORMAT_NAMES)
        raise DataError(
            f"unknown input format '{input_format}': known are auto, {', '.join(FORMAT_NAMES)}.{hint}"
        )
    profile = load_target(target) if isinstance(target, str) else target
    if isinstance(tokenizer, str):
        from .tokens import load_tokenizer

        tokenizer = load_tokenizer(tokenizer)
    return Settings(profile, choose_rules(tuple(select), tuple(ignore)), input_format, tokenizer, max_length)


def _sha256(source: Source) -> str | None:
    if hub_name(source.label):
        return None
    with source.path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
