"""How fast a server is asked: fewer at once after a 429, one at a time while it is away."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from . import BackendError

log = logging.getLogger("workbench.server")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server's failures are borne; all in seconds but `attempts`."""

    attempts: int = 10
    """Failures of one sample, at least, before it becomes an error row."""
    sample: float = 1800.0
    """All attempts of one sample together, without the time in which the server was away."""
    first_wait: float = 0.5
    longest_wait: float = 30.0
    longest_retry_after: float = 120.0
    away: float = 900.0
    """Without any answer at all: then the run stops, to be run again."""
    longest_probe: float = 60.0


def backoff(failures: int, patience: Patience) -> float:
    """Seconds to wait after the n-th failure in a row (from 1): doubled each time, less a random half at most."""
    whole = min(patience.longest_wait, patience.first_wait * 2.0 ** min(failures - 1, 60))
    return whole * (1 - random.random() / 2)


def retry_after(headers: Mapping[str, str], patience: Patience) -> float | None:
    """Seconds that a server asks to wait, as a number or an HTTP date, capped; None where it says nothing usable."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        told = headers.get(name)
        if told is None:
            continue
        try:
            seconds = float(told) * unit
        except ValueError:
            try:
                seconds = parsedate_to_datetime(told).timestamp() - time.time()
            except (ValueError, OverflowError):
                continue
        if not math.isnan(seconds):
            return min(max(seconds, 0.0), patience.longest_retry_after)
    return None


class Pace:
    """Who may ask now. Lives in one event loop; `limit` is what it has learned.

    A 429 halves the limit, once for all that were under way then; every round of answers adds one. While the
    server is away one request at a time tries, after growing waits.
    """

    def __init__(self, most: int, patience: Patience, *, limit: float | None = None) -> None:
        self._most, self._patience = most, patience
        self.limit = float(most if limit is None else limit)
        self.last_good = self.now()
        self._under_way = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._not_before = self._halved = -math.inf
        self._away_since: float | None = None
        self._probes = 0
        self._away_before = 0.0
        self._lost_by: set[str] = set()
        self._stopped = asyncio.Event()
        self._reason: BackendError | None = None

    @staticmethod
    def now() -> float:
        """The clock that all times here are of."""
        return time.monotonic()

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[float]:
        """Wait for a turn to send one request; gives the time at which it starts. Raises the stop's reason."""
        if self._waiting or self._under_way >= self._allowed:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():  # it was handed over in the same moment
                    self._under_way -= 1
                    self._wake()
                raise
        else:
            self._under_way += 1
        try:
            while (wait := self._not_before - self.now()) > 0 and self._reason is None:
                await self.sleep(wait)
            if self._reason is not None:
                raise BackendError(str(self._reason))
            yield self.now()
        finally:
            self._under_way -= 1
            self._wake()

    async def sleep(self, seconds: float) -> None:
        """Sleep, unless all is stopped meanwhile. Raises the stop's reason."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), seconds)
        if self._reason is not None:
            raise BackendError(str(self._reason))

    def stop(self, reason: BackendError) -> None:
        """Nothing more is sent: everyone who waits gets the reason."""
        self._reason = self._reason or reason
        self._stopped.set()
        self._wake()

    def good(self) -> None:
        """A good answer came."""
        self.alive()
        self.last_good = self.now()
        self.limit = min(self._most, self.limit + 1 / self.limit)
        self._wake()

    def alive(self) -> None:
        """The server said something that only a server in service says."""
        self._lost_by.clear()
        if self._away_since is not None:
            self._away_before += self.now() - self._away_since
            self._away_since, self._probes, self._not_before = None, 0, -math.inf
            log.warning("The server answers again.")
            self._wake()

    def busy(self, sent: float, wait: float | None) -> None:
        """A 429 to a request sent at `sent`; with a Retry-After nobody asks before it is over."""
        self.alive()
        if sent > self._halved:
            self._halved, self.limit = self.now(), max(1.0, self.limit / 2)
        if wait is not None:
            self._not_before = max(self._not_before, self.now() + wait)

    def lost(self, who: str, what: str, *, surely: bool) -> None:
        """A request got no answer; the server is away where that is sure, or where it befalls several in a row."""
        self._lost_by.add(who)
        if self._away_since is None:
            if not surely and len(self._lost_by) < min(5, 2 * self._most):
                return
            self._away_since = self.now()
        wait = min(self._patience.longest_probe, 2.0 ** (self._probes + 1) * self._patience.first_wait)
        if self.now() < self._not_before:  # others that were under way when it went
            return
        self._probes += 1
        self._not_before = self.now() + wait
        left = self._patience.away - (self.now() - self._away_since)
        log.warning(
            "%s. Waiting: next try in %.0f s, for another %.0f min at most. Ctrl-C stops; what is finished is kept.",
            what,
            wait,
            max(0.0, left) / 60,
        )

    def away_for(self) -> float:
        """Seconds since the server went away; 0 while it is there."""
        return 0.0 if self._away_since is None else self.now() - self._away_since

    def away_in_all(self) -> float:
        """Seconds that the server was away so far, all absences together."""
        return self._away_before + self.away_for()

    @property
    def _allowed(self) -> int:
        return 1 if self._away_since is not None else int(self.limit)

    def _wake(self) -> None:
        """Hand free turns to those who wait, the longest first; after a stop to all, so that they hear of it."""
        while self._waiting and (self._reason is not None or self._under_way < self._allowed):
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._under_way += 1
