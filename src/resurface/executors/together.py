"""One piece of work by several processes of this machine at once, each with a thread of its own.

The processes find each other as torch's do under torchrun: RANK, WORLD_SIZE and an address on this machine.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any

from resurface import progress
from resurface.errors import ResurfaceError
from resurface.executors.child import Child, Died

_LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"


def together(label: str, work: Callable[[], Any], processes: int) -> None:
    """Call `work`, which must be picklable, in each of so many new processes; the first shows its progress.

    What it returns is dropped: it leaves its results where its caller finds them (artifacts).

    Raises:
        Exception: what `work` raised in the first process that failed; the others are ended.
        ResurfaceError: a process that died.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    progress.note(f"{label}: {processes} processes of one thread")
    members: list[Child] = []
    threads = ThreadPoolExecutor(processes)
    try:
        for rank in range(processes):
            given = {
                "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes),
                "LOCAL_WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
                "GLOO_SOCKET_IFNAME": _LOOPBACK,
                # else each writes that its own settings may be slow
                "TORCH_CPP_LOG_LEVEL": os.environ.get("TORCH_CPP_LOG_LEVEL", "ERROR"),
            }  # fmt: skip
            members.append(Child(quiet=progress.is_quiet() or rank > 0, environment=given))
        left: set[Future[Any]] = {threads.submit(member.call, partial(_dropped, work)) for member in members}
        while left:
            # a second at a time: that is where an interrupt is noticed
            done, left = wait(left, timeout=1.0, return_when=FIRST_COMPLETED)
            for one in done:
                one.result()
    except Died as e:
        raise ResurfaceError(
            f"{label}: one of its processes died (killed, or out of memory)",
            remedy="the same command goes on where it was; with one process: RESURFACE_PROCESSES=1",
        ) from e
    finally:
        for member in members:
            member.end()
        threads.shutdown()


def _dropped(work: Callable[[], Any]) -> None:
    """What it returns stays where it is: it may be large, or unable to travel."""
    work()
