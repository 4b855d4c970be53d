"""Rules that are off for some files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from .rules import RuleError, choose_rules


class Ignores(msgspec.Struct, frozen=True):
    """Patterns of file names, and the codes that are off for the files they match.

    A pattern is held against the path from `folder` (where the configuration stands) and against the bare
    file name; `*` matches folders too.
    """

    patterns: tuple[tuple[str, frozenset[str]], ...] = ()
    folder: str = ""

    def codes(self, label: str) -> frozenset[str]:
        """The codes that are off for a file."""
        if not self.patterns:
            return frozenset()
        path = Path(label)
        names = {label, path.name, path.absolute().as_posix()}
        if label != "-":
            names.add(Path(os.path.relpath(path.absolute(), Path(self.folder).absolute())).as_posix())
        return frozenset[str]().union(
            *(codes for pattern, codes in self.patterns if any(fnmatchcase(n, pattern) for n in names))
        )


def read_ignores(given: Mapping[str, Iterable[str]], folder: Path) -> Ignores:
    """The table of a configuration: pattern → codes or families. Raises RuleError for unknown names."""
    patterns = tuple((pattern, _codes(tuple(names))) for pattern, names in given.items())
    return Ignores(patterns, str(folder))


def parse_ignores(flags: Iterable[str], folder: Path) -> Ignores:
    """The values of `--per-file-ignores`, each `PATTERN:CODES`. Raises RuleError."""
    table: dict[str, list[str]] = {}
    for flag in flags:
        pattern, colon, codes = flag.rpartition(":")
        if not (colon and pattern and codes.strip(" ,")):
            raise RuleError(
                f"--per-file-ignores takes PATTERN:CODES, such as 'test*.jsonl:DUP,MSG011', not '{flag}'."
            )
        table.setdefault(pattern, []).append(codes)
    return read_ignores(table, folder)


def _codes(names: tuple[str, ...]) -> frozenset[str]:
    named = tuple(name for name in names if name.strip(" ,"))
    return frozenset(rule.code for rule in choose_rules(named)) if named else frozenset()
