"""Run folders read once: what was decoded or derived stays until one of the files it came from is another.

Streamlit draws a page anew at every click; without this each click would decode the folder again. A file is
known by its path, time, size and inode. No Streamlit in here.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from workbench.files import StoredRows
from workbench.records import Payment
from workbench.runs import Run

P = ParamSpec("P")
T = TypeVar("T")

# What a file or a folder is known by; None where there is none.
Identity = tuple[int, int, int] | None
Seen = dict[Path, Identity]

# Objects of larger files are only kept as what was derived from them.
KEPT_BYTES = 8 << 20
KEPT_BYTES_IN_ALL = 64 << 20
KEPT_RESULTS = 512
# What is derived of a large run takes hundreds of megabytes.
KEPT_RUNS = 8


def identity(path: Path) -> Identity:
    """What a file is known by: time in nanoseconds, size in bytes, inode."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


class ReadOnce(Run):
    """A run folder whose files are decoded once. What it returns is shared: never change it."""

    __slots__ = ()

    def experiment_text(self) -> str | None:
        """The experiment file as it was run last."""
        _note(self.folder / "experiment.yaml")
        return super().experiment_text()

    def payments(self) -> Iterator[Payment]:
        """What the ledger holds, the oldest first."""
        _note(self.ledger)
        return super().payments()

    def contenders(self) -> list[str]:
        """Names of the contenders that have begun."""
        # A contender begins with its folder, and its file is a new entry of that.
        folder = self.folder / "contenders"
        for path in (folder, *(folder.iterdir() if folder.is_dir() else ())):
            _note(path)
        return super().contenders()

    def _read_json(self, name: str, kind: str) -> dict[str, Any] | None:
        path = self.folder / name
        known = _note(path)
        value = _files.get((path, kind), {path: known})
        if value is _ABSENT:
            value = super()._read_json(name, kind)
            if known is not None and known[1] <= KEPT_BYTES:
                _files.put((path, kind), {path: known}, value)
        return value  # type: ignore[no-any-return]

    def _read_rows(self, name: str, row_type: type[T]) -> Iterator[T]:
        _note(self.folder / name)
        return super()._read_rows(name, row_type)

    def _stored(self, name: str, row_type: type[T]) -> StoredRows[T]:
        _note(self.folder / name)
        return super()._stored(name, row_type)


def derived(function: Callable[Concatenate[Run, P], T]) -> Callable[Concatenate[Run, P], T]:
    """Keep what a function of a run (and of arguments that hash) returns while every file it read is the same.

    Functions may use one another: the outer one depends on all that the inner ones read. Results are shared
    by all sessions: never change them.
    """

    # By its code: Streamlit runs a page's file anew at every click, and its functions are new ones then.
    code: CodeType = function.__code__
    known = (code.co_filename, code)

    def kept(run: Run, /, *args: P.args, **kwargs: P.kwargs) -> T:
        once = ReadOnce(run.folder, run.whole)
        key = (once.whole or once.folder, once.folder, known, args, tuple(sorted(kwargs.items())))
        value = _results.get(key)
        if value is _ABSENT:
            with _watching() as seen:
                value = function(once, *args, **kwargs)
            _results.put(key, seen, value)
            _pass_on(seen)
        return value  # type: ignore[no-any-return]

    functools.update_wrapper(kept, function)
    return kept


# -- what was read ---------------------------------------------------------------------------------------

_reading: ContextVar[Seen | None] = ContextVar("reading", default=None)


def _note(path: Path) -> Identity:
    """Take a file down as read by whatever is being derived."""
    known = identity(path)
    if (seen := _reading.get()) is not None:
        seen.setdefault(path, known)
    return known


def _pass_on(seen: Seen) -> None:
    """What an inner result came from, the outer one came from too."""
    if (outer := _reading.get()) is not None:
        for path, known in seen.items():
            outer.setdefault(path, known)


@contextlib.contextmanager
def _watching() -> Iterator[Seen]:
    seen: Seen = {}
    token = _reading.set(seen)
    try:
        yield seen
    finally:
        _reading.reset(token)


# -- what is kept ----------------------------------------------------------------------------------------

_ABSENT = object()


@dataclass(slots=True)
class _Kept(Generic[T]):
    """The last values that fit, each with the files it came from; used by all sessions' threads."""

    fit: Callable[[OrderedDict[Any, tuple[Seen, Any]]], bool]
    values: OrderedDict[Any, tuple[Seen, Any]] = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, key: Any, seen: Seen | None = None) -> Any:
        """The value where its files are still the same (as `seen` knows them, else as they lie there)."""
        with self.lock:
            found = self.values.get(key)
        if found is None:
            return _ABSENT
        then, value = found
        now = seen if seen is not None else {path: identity(path) for path in then}
        if now != then:
            return _ABSENT
        with self.lock:
            if key in self.values:
                self.values.move_to_end(key)
        _pass_on(then)
        return value

    def put(self, key: Any, seen: Seen, value: Any) -> None:
        with self.lock:
            self.values[key] = (seen, value)
            self.values.move_to_end(key)
            while not self.fit(self.values):
                self.values.popitem(last=False)


def _few_bytes(files: OrderedDict[Any, tuple[Seen, Any]]) -> bool:
    return (
        sum(known[1] for seen, _ in files.values() for known in seen.values() if known) <= KEPT_BYTES_IN_ALL
    )


def _few_runs(results: OrderedDict[Any, tuple[Seen, Any]]) -> bool:
    return len(results) <= KEPT_RESULTS and len({whole for whole, *_ in results}) <= KEPT_RUNS


_files: _Kept[Any] = _Kept(_few_bytes)
_results: _Kept[Any] = _Kept(_few_runs)
