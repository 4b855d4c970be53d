"""Coroutines for a caller that is none: asked in an event loop of its own, answered as they finish."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
Ask = Callable[[T], Awaitable[R]]


def as_finished(
    session: Callable[[], AbstractAsyncContextManager[Ask[T, R]]], items: Iterable[T], at_once: int
) -> Iterator[R]:
    """Yield ask(item) of each item as it finishes, where `ask` is what `session` opens.

    No more than `at_once` items are taken and not yet consumed, so memory stays flat. After a failure none is
    taken any more, what is under way ends by itself, and then the failure is raised. Closing the iterator
    cancels what is under way. The thread and its loop are gone when the iterator ends.
    """
    done: queue.SimpleQueue[R | None] = queue.SimpleQueue()
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Semaphore, asyncio.Task[None]]] = Future()
    failure: list[BaseException] = []

    async def one(ask: Ask[T, R], item: T, room: asyncio.Semaphore) -> None:
        try:
            done.put(await ask(item))
        except Exception as error:
            failure.append(error)
            room.release()

    async def all_of() -> None:
        room, task = asyncio.Semaphore(at_once), asyncio.current_task()
        assert task is not None
        started.set_result((asyncio.get_running_loop(), room, task))
        async with session() as ask, asyncio.TaskGroup() as group:
            for item in items:
                await room.acquire()
                if failure:
                    return
                group.create_task(one(ask, item, room))

    def run() -> None:
        try:
            asyncio.run(all_of())
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # of the session or the items themselves
            failure.append(error)
            if not started.done():
                started.set_exception(error)
        finally:
            done.put(None)

    thread = threading.Thread(target=run, name="server", daemon=True)
    thread.start()
    loop, room, task = started.result()
    ended = False
    try:
        while (result := done.get()) is not None:
            yield result
            _tell(loop, room.release)
        ended = True
    finally:
        if not ended:
            _tell(loop, task.cancel)
        thread.join()
    if failure:
        raise failure[0]


def _tell(loop: asyncio.AbstractEventLoop, what: Callable[[], object]) -> None:
    """Call something in the loop, unless that has ended by itself."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(what)
