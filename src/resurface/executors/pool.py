"""Units of work done by this process and by helpers of one thread each, whoever is free.

    units -> this process | a helper | another -> one stream of what comes of them

Threads of one process meet after every matrix product: beside another busy program one of them is always
late, and the others wait for it. These never meet. Who does a unit decides nothing but when it is done.
"""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from typing import Any, Generic, TypeVar

from resurface import progress
from resurface.errors import shortened
from resurface.executors.child import Child, Died

Holds = TypeVar("Holds")
Item = TypeVar("Item")


SMALL = 3e7
"""Weights of a model below which a process has one thread even where it works alone: a second one saves a
third of the time on a quiet machine, and beside a busy process multiplies it."""


class Pool(Generic[Holds]):
    """This process and its helpers, which start when there is first something to do, and end with the pool.

    here: what units of this process work on. there: makes the like of it in a helper; picklable.
    """

    def __init__(self, here: Holds, there: Callable[[], Holds], helpers: int) -> None:
        self._here = here
        self._helpers = [_Helper(there) for _ in range(helpers)]
        weakref.finalize(self, _end_all, self._helpers)

    def stream(self, units: Iterable[Callable[[Holds], Iterable[Item]]]) -> Generator[Item, None, None]:
        """What comes of all units, in any order between them; units may have no end.

        units: each works on what a process holds, and yields the same in every process; picklable.

        This process begins at once and works with one thread until the stream is closed. A unit whose helper
        died is done by another process.

        Raises:
            Exception: what a unit raised, here or in a helper.
        """
        work = _Work(units)
        for helper in self._helpers:
            threading.Thread(target=helper.help, args=(work,), daemon=True).start()
        try:
            with one_thread():
                while True:
                    unit, over = work.take()
                    if unit is not None:
                        for item in unit(self._here):
                            yield item
                            yield from work.arrived()
                    yield from work.arrived(wait=unit is None and not over)
                    if over:
                        return
        finally:
            for helper in work.stop():
                helper.end()


def _end_all(helpers: list[_Helper]) -> None:
    for helper in helpers:
        helper.end()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """torch has one thread for a matrix product."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Work:
    """Units that wait, who is at one, and what has come of them."""

    def __init__(self, units: Iterable[Any]) -> None:
        self._units = iter(units)
        self._lock = threading.Lock()
        self._returned: list[Any] = []
        self._busy: dict[_Helper, Any] = {}
        self.stopped = False
        self._arrived: queue.SimpleQueue[list[Any] | Exception | str] = queue.SimpleQueue()

    def take(self, by: _Helper | None = None) -> tuple[Any, bool]:
        """The next unit, None if there is none now; and whether all is done."""
        with self._lock:
            if self.stopped:
                return None, True
            unit = self._returned.pop() if self._returned else next(self._units, None)
            if unit is not None and by is not None:
                self._busy[by] = unit
            return unit, unit is None and not self._busy

    def done(self, by: _Helper, items: list[Any]) -> None:
        self._arrived.put(items)  # before it counts as done
        with self._lock:
            self._busy.pop(by, None)

    def says(self, note: str) -> None:
        with self._lock:
            if not self.stopped:
                self._arrived.put(note)

    def failed(self, by: _Helper, e: Exception) -> None:
        """`e`: what its unit raised; where the helper itself died, another process does the unit."""
        if not isinstance(e, Died):
            self._arrived.put(e)
        with self._lock:
            if (unit := self._busy.pop(by, None)) is not None and isinstance(e, Died):
                self._returned.append(unit)

    def arrived(self, *, wait: bool = False) -> Iterator[Any]:
        """Items of helpers that are here. wait: up to a second for some, where there are none."""
        with contextlib.suppress(queue.Empty):
            while True:
                found = self._arrived.get(block=wait, timeout=1.0 if wait else None)
                wait = False
                if isinstance(found, Exception):
                    raise found
                if isinstance(found, str):
                    progress.note(found)
                else:
                    yield from found
        progress.stop_if_interrupted()

    def stop(self) -> list[_Helper]:
        """Nobody takes a unit any more. Returns who is at one that nobody waits for."""
        with self._lock:
            self.stopped = True
            return list(self._busy)


class _Helper:
    """A process that holds something, and a lock: one thread at a time speaks to it."""

    def __init__(self, there: Callable[[], Any]) -> None:
        self._there = there
        self._turn = threading.Lock()
        self._change = threading.Lock()
        self._child: Child | None = None
        self._ends = 0

    def help(self, work: _Work) -> None:
        """Do units until there are none."""
        with self._turn:
            if work.stopped:  # while this helper was busy for another stream
                return
            try:
                child = self._child or self._started()
            except Exception as e:  # most often memory: the others do without it
                self.end()
                work.says(f"a helping process cannot start: {shortened(str(e), 300)}")
                return
            try:
                while (unit := work.take(by=self)[0]) is not None:
                    work.done(self, child.call(partial(_do, unit)))
            except Exception as e:
                self.end()
                work.failed(self, e)

    def _started(self) -> Child:
        ends, child = self._ends, Child()
        with self._change:
            if self._ends == ends:
                self._child = child
        if self._child is not child:  # ended while it started
            child.end()
        child.call(partial(_hold, self._there))
        return child

    def end(self) -> None:
        with self._change:
            child, self._child = self._child, None
            self._ends += 1
        if child is not None:
            child.end()


_held: Any = None
"""In a helper: what its units work on."""


def _hold(there: Callable[[], Any]) -> None:
    global _held
    _held = there()


def _do(unit: Callable[[Any], Iterable[Any]]) -> list[Any]:
    return list(unit(_held))
