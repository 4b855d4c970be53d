"""The linter: plan byte ranges, lint each, merge.

`merge` adds up the line numbers, runs the rules over sets and sorts. Memory follows the longest line and
the number of findings, plus one fingerprint a row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from .findings import Finding, Severity, printable
from .ranges import Part, Settings, Source, finding, lint_file, lint_line
from .reading import DataError, Row
from .rules import SetRule, choose_rules
from .rules.subjects import FORMAT_NAMES, Collection, FileFacts, Line
from .strict_json import Decoded
from .suggest import did_you_mean
from .targets import Target, load_target

if TYPE_CHECKING:
    from .tokens import Tokenizer

Paths = str | Path | Source | Sequence[str | Path | Source]


class FileReport(msgspec.Struct, frozen=True):
    """One file of a report. `distinct` counts examples that differ in more than case and white space."""

    path: str
    sha256: str | None
    format: str | None
    lines: int
    examples: int
    distinct: int
    statistics: dict[str, Any]


class LintReport(msgspec.Struct, frozen=True):
    """All findings of a lint, sorted by path, line and code."""

    files: tuple[FileReport, ...]
    findings: tuple[Finding, ...]

    def count(self, severity: Severity) -> int:
        """How many findings have a severity."""
        return sum(found.severity == severity for found in self.findings)

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
                "omitted": len(self.findings) - len(shown),
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
) -> LintReport:
    """Lint one file or several; several are taken for splits of one dataset and held against each other.

    A path may be a `Source` where the file goes by another name (standard input).
    `select` and `ignore` name rules or families. `against` are further files to find leaks from. With a
    tokenizer (or its name) token statistics are counted, cut at `max_length`. Any bytes give findings;
    raises DataError for a file that cannot be read, RuleError and TargetError for unknown names.
    """
    settings = _settings(target, input_format, select, ignore, tokenizer, max_length)
    return lint_sources(_sources(paths), settings, _sources(against))


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
        part = Part(FileFacts(path))
        for row in rows:
            part.facts.lines = max(part.facts.lines, row.line)
            lint_line(Line(row.line, None, Decoded(row.value), settings.target, input_format), settings, part)
        parts.append([part])
    return merge(parts, [None] * len(parts), settings, ())


def lint_sources(sources: Sequence[Source], settings: Settings, against: Sequence[Source] = ()) -> LintReport:
    """Lint files under the names given for them."""
    parts = [lint_file(source, settings) for source in sources]
    own = {source.path.resolve() for source in sources}
    others = [_facts(lint_file(source, settings)) for source in against if source.path.resolve() not in own]
    return merge(parts, [_sha256(source.path) for source in sources], settings, tuple(others))


def merge(
    files: Sequence[Sequence[Part]],
    digests: Sequence[str | None],
    settings: Settings,
    against: tuple[FileFacts, ...],
) -> LintReport:
    """Join the parts of each file, run the rules over sets, and sort the findings."""
    findings: list[Finding] = []
    reports, all_facts = [], []
    for parts, digest in zip(files, digests, strict=True):
        findings += _joined(parts)
        facts = _facts(parts)
        if _is_reinforcement(parts, settings):
            facts.formats["reinforcement"] = facts.formats.pop("chat")
        all_facts.append(facts)
        reports.append(_file_report(facts, parts, digest, settings))
    data = Collection(tuple(all_facts), against)
    for rule in settings.rules:
        if isinstance(rule, SetRule):
            for fault in rule.check(data, settings.target):
                findings.append(finding(rule, fault, fault.path or "", settings.target))
    order = {facts.path: i for i, facts in enumerate(all_facts)}
    findings.sort(
        key=lambda f: (order.get(f.path, 0), f.path, f.line or 0, f.code, f.column or 0, f.where or "")
    )
    return LintReport(tuple(reports), tuple(findings))


def _joined(parts: Sequence[Part]) -> Iterator[Finding]:
    """A file's findings with its own line numbers, less those that fall away for reinforcement."""
    reinforcement = _has_reference_fields(parts)
    base = 0
    for part in parts:
        for found in part.findings + ([] if reinforcement else part.unless_reinforcement):
            moved = None if found.line is None else found.line + base
            yield msgspec.structs.replace(found, line=moved) if base else found
        base += part.facts.lines


def _facts(parts: Sequence[Part]) -> FileFacts:
    """One file's facts from those of its parts."""
    first = parts[0].facts
    facts = FileFacts(first.path, first.size, first.bom, first.suffix)
    for part in parts:
        for name, (count, line) in part.facts.formats.items():
            before, first_line = facts.formats.get(name, (0, line + facts.lines))
            facts.formats[name] = (before + count, first_line)
        for row in part.facts.fingerprints:
            facts.fingerprints.append(
                msgspec.structs.replace(row, line=row.line + facts.lines) if facts.lines else row
            )
        facts.lines += part.facts.lines
        facts.rows += part.facts.rows
    return facts


def _has_reference_fields(parts: Sequence[Part]) -> bool:
    """Whether every chat row has the same further key, and more rows end with the user than the assistant."""
    keys = [part.reference_keys for part in parts if part.reference_keys is not None]
    ends = {role: sum(part.ends.get(role, 0) for part in parts) for role in ("user", "assistant")}
    return bool(keys) and bool(frozenset.intersection(*keys)) and ends["user"] > ends["assistant"]


def _is_reinforcement(parts: Sequence[Part], settings: Settings) -> bool:
    return settings.input_format == "auto" and _has_reference_fields(parts)


def _file_report(
    facts: FileFacts, parts: Sequence[Part], digest: str | None, settings: Settings
) -> FileReport:
    statistics: dict[str, Any] = {"no_system": sum(part.no_system for part in parts)}
    lengths = sorted(length for part in parts for length in part.lengths)
    if settings.tokenizer is not None:
        limit = settings.max_length
        statistics["tokens"] = {
            "tokenizer": settings.tokenizer.name,
            "exact": settings.tokenizer.exact,
            "examples": len(lengths),
            "uncounted": sum(part.uncounted for part in parts),
            "total": sum(lengths),
            "median": lengths[len(lengths) // 2] if lengths else None,
            "max": lengths[-1] if lengths else None,
            "over_limit": None if limit is None else sum(length > limit for length in lengths),
        }
    return FileReport(
        path=printable(facts.path),
        sha256=digest,
        format=max(facts.formats, key=lambda name: facts.formats[name][0], default=None),
        lines=facts.lines,
        examples=sum(count for count, _ in facts.formats.values()),
        distinct=len({row.example for row in facts.fingerprints}),
        statistics=statistics,
    )


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


def _sources(paths: Paths) -> list[Source]:
    """The files to read; one that is named twice is read once."""
    given = [paths] if isinstance(paths, (str, Path, Source)) else list(paths)
    named = [path if isinstance(path, Source) else Source(Path(path), str(path)) for path in given]
    return list({source.path.resolve(): source for source in reversed(named)}.values())[::-1]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
