"""Asynchronous work for a caller that is not: in a thread of its own, as the caller's may have a loop already
(a notebook's has)."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

from resurface import progress

T = TypeVar("T")


class _Over:
    """The work is done."""


class Results(Generic[T]):
    """What the work has found and nobody has taken yet."""

    def __init__(self) -> None:
        self.queue: queue.SimpleQueue[T | BaseException | _Over] = queue.SimpleQueue()

    def put(self, found: T) -> None:
        self.queue.put(found)

    async def room(self, most: int) -> None:
        """Wait until at most so many are there: who takes them may be slower."""
        while self.queue.qsize() > most:
            await asyncio.sleep(0.05)


def stream(work: Callable[[Results[T]], Coroutine[Any, Any, None]]) -> Generator[T, None, None]:
    """What `work` puts into its results, as it comes. Closing the stream, or a Ctrl-C, cancels the work.

    Raises:
        BaseException: what the work raised.
    """
    results, loop = Results[T](), asyncio.new_event_loop()
    task = loop.create_task(work(results))
    thread = threading.Thread(target=_run, args=(loop, task, results.queue), daemon=True)
    thread.start()
    try:
        while True:
            try:
                found = results.queue.get(timeout=1.0)
            except queue.Empty:
                progress.stop_if_interrupted()
                continue
            if isinstance(found, _Over):
                return
            if isinstance(found, BaseException):
                raise found
            yield found
    finally:
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            loop.call_soon_threadsafe(task.cancel)
        thread.join(timeout=10.0)


def _run(loop: asyncio.AbstractEventLoop, task: asyncio.Task[None], says: queue.SimpleQueue[Any]) -> None:
    try:
        loop.run_until_complete(task)
    except BaseException as e:
        says.put(e)
    else:
        says.put(_Over())
    finally:
        loop.close()
