"""The findings of a lint in their order: so many in memory, the others in a temporary file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import IO, Any, overload

import msgspec

from .findings import SEVERITIES, Finding, Severity

# So many findings are held; then the first half of them goes to disk, so many at a time.
HELD = 20_000
_PACKED = 200

Place = Callable[[Finding], Any]


def in_file(found: Finding) -> tuple[Any, ...]:
    """Where a finding of one file stands among those of the file."""
    return found.line or 0, found.code, found.column or 0, found.where or ""


class Kept:
    """Findings, the first `limit` of them held (0: all) and all of them counted; `place` orders them."""

    __slots__ = ("counts", "disk", "findings", "fixable", "limit", "place")

    def __init__(self, limit: int = 0, place: Place = in_file) -> None:
        self.limit = limit
        self.place = place
        self.findings: list[Finding] = []
        self.disk: _Disk | None = None
        self.counts = dict.fromkeys(SEVERITIES, 0)
        self.fixable = 0

    def add(self, finding: Finding) -> None:
        """Take down one finding, behind those before it."""
        self.counts[finding.severity] += 1
        self.fixable += finding.fixable
        if not self.limit or len(self.findings) < self.limit:
            self._hold(finding)

    def leave_out(self, severity: Severity, fixable: bool) -> None:
        """Count a finding that is not held."""
        self.counts[severity] += 1
        self.fixable += fixable

    def add_anywhere(self, finding: Finding) -> None:
        """Take down one finding that need not stand behind the others."""
        self.counts[finding.severity] += 1
        self.fixable += finding.fixable
        self._hold(finding)
        if self.limit and len(self.findings) >= 2 * self.limit + 1000:
            self.findings = sorted(self.findings, key=self.place)[: self.limit]

    def join(self, later: Kept, lines: int = 0) -> None:
        """Put the findings of a later range behind these; `lines` stand before that range."""
        for severity, count in later.counts.items():
            self.counts[severity] += count
        self.fixable += later.fixable
        room = self.limit - len(self.findings) if self.limit else None
        for found in islice(later.in_order() if later.disk else later.findings, room):
            moved = found.line + lines if found.line is not None else None
            self._hold(msgspec.structs.replace(found, line=moved) if lines else found)

    def __len__(self) -> int:
        return len(self.findings) + (self.disk.count if self.disk else 0)

    def in_order(self) -> Iterator[Finding]:
        """All that are held, in order."""
        runs = self.disk.runs() if self.disk else ()
        yield from merge(*runs, sorted(self.findings, key=self.place), key=self.place)

    def _hold(self, finding: Finding) -> None:
        self.findings.append(finding)
        if not self.limit and len(self.findings) >= HELD:
            self.findings.sort(key=self.place)
            self.disk = self.disk or _Disk(self.place)
            self.disk.write(self.findings[: HELD // 2])
            del self.findings[: HELD // 2]

    def __reduce__(self) -> tuple[Any, ...]:
        # To another process they go as they are: a range has not many.
        found = list(self.in_order()) if self.disk else self.findings
        return _sent, (self.limit, self.place, found, self.counts, self.fixable)


def _sent(limit: int, place: Place, found: list[Finding], counts: dict[Any, int], fixable: int) -> Kept:
    kept = Kept(limit, place)
    kept.findings, kept.counts, kept.fixable = found, counts, fixable
    return kept


def in_all(kept: Sequence[Kept], place: Place, limit: int) -> Sequence[Finding]:
    """The findings of all, in order: the first `limit` (0: all)."""
    if any(one.disk for one in kept):
        return Findings(kept, place)
    return tuple(sorted((found for one in kept for found in one.findings), key=place)[: limit or None])


class _Disk:
    """Findings in a temporary file, in runs that are in order; most often one run holds them all."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.count = 0
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as its findings
        # Of each run the place of its last finding, and where its pieces stand in the file.
        self._runs: list[tuple[Any, list[tuple[int, int]]]] = []

    def write(self, found: Sequence[Finding]) -> None:
        """Put findings behind the others; they are in order among themselves."""
        pieces: list[tuple[int, int]] = []
        if self._runs and self._runs[-1][0] <= self._place(found[0]):
            pieces = self._runs.pop()[1]
        self.count += len(found)
        self._file.seek(0, 2)
        for first in range(0, len(found), _PACKED):
            data = msgspec.msgpack.encode(found[first : first + _PACKED])
            pieces.append((self._file.tell(), len(data)))
            self._file.write(data)
        self._runs.append((self._place(found[-1]), pieces))

    def runs(self) -> list[Iterator[Finding]]:
        """Each run from its beginning."""
        return [self._read(pieces) for _, pieces in self._runs]

    def _read(self, pieces: Iterable[tuple[int, int]]) -> Iterator[Finding]:
        decoder = msgspec.msgpack.Decoder(list[Finding])
        for start, size in pieces:
            self._file.seek(start)
            yield from decoder.decode(self._file.read(size))


class Findings(Sequence[Finding]):
    """Findings of which most are on disk: read again, in order, each time they are asked for."""

    def __init__(self, kept: Sequence[Kept], place: Place) -> None:
        self._kept, self._place = kept, place

    def __iter__(self) -> Iterator[Finding]:
        return merge(*(one.in_order() for one in self._kept), key=self._place)

    def __len__(self) -> int:
        return sum(map(len, self._kept))

    @overload
    def __getitem__(self, index: int) -> Finding: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Finding, ...]: ...

    def __getitem__(self, index: int | slice) -> Finding | tuple[Finding, ...]:
        if isinstance(index, slice):
            return tuple(islice(self, *index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return next(islice(self, index % len(self), None))
