"""From what a user names to files: one file, several, folders, patterns, data sets of the hub."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path

from .blocks import unpacked_name
from .findings import printable
from .parts import Source
from .reading import SUFFIXES
from .rows import DataError
from .tables import hub_name

Paths = str | Path | Source | Sequence[str | Path | Source]

_PATTERN = frozenset("*?[")


def sources(paths: Paths) -> list[Source]:
    """The files that are meant, in order; one that is named twice is read once.

    A folder stands for the data files in it, at any depth; a pattern (`data/*.jsonl`, `**` for any
    depth) for the files that match. Raises DataError where a folder or a pattern has none.
    """
    given = [paths] if isinstance(paths, (str, Path, Source)) else list(paths)
    named = [source for path in given for source in _sources(path)]
    return list({_key(source): source for source in reversed(named)}.values())[::-1]


def _sources(given: str | Path | Source) -> Iterator[Source]:
    if isinstance(given, Source):
        if given.path.is_dir():
            yield from _found_in(given.path)
        else:
            yield given
        return
    path, text = Path(given), str(given)
    if hub_name(text):
        yield Source(path, text)
    elif path.is_dir():
        yield from _found_in(path)
    elif _PATTERN & set(text) and not path.exists():
        found = sorted(Path(match) for match in glob.glob(text, recursive=True))  # noqa: PTH207
        files = [match for match in found if match.is_file()]
        if not files:
            raise DataError(f"{printable(text)}: no file matches this pattern.")
        yield from (Source(match, str(match)) for match in files)
    else:
        yield Source(path, text)


def _found_in(folder: Path) -> Iterator[Source]:
    return (Source(path, str(path), folder) for path in _inside(folder))


def _inside(folder: Path) -> list[Path]:
    """The data files in a folder, hidden ones aside."""
    files = sorted(
        path
        for path in folder.rglob("*")
        if unpacked_name(path).suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not files:
        kinds = ", ".join(SUFFIXES)
        raise DataError(f"{printable(str(folder))}: no data file ({kinds}) is in this folder.")
    return files


def _key(source: Source) -> str:
    return source.label if hub_name(source.label) else str(source.path.resolve())
