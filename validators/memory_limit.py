"""A bound on how much memory a stretch of Python may take."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

_STATM = Path("/proc/self/statm")


@contextlib.contextmanager
def memory_limit(more: int) -> Iterator[None]:
    """Let an allocation in the body fail with MemoryError where the process would grow by more bytes than that.

    It works on Linux and in the main thread; elsewhere the body runs unbounded. A stricter limit that is set
    already stays.
    """
    if threading.current_thread() is not threading.main_thread() or not _STATM.exists():
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = int(_STATM.read_bytes().split(b" ", 1)[0]) * resource.getpagesize() + more
    taken = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min([wanted, *taken]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
