"""One piece of work by several processes of this machine at once, each with a thread of its own.

The processes find each other as torch's do under torchrun: RANK, WORLD_SIZE and an address on this machine.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

from resurface import progress
from resurface.errors import ResurfaceError
from resurface.executors.local import end_with

_LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"


def together(label: str, work: Callable[[], Any], processes: int) -> None:
    """Call `work`, which must be picklable, in each of so many new processes; the first shows its progress.

    What it returns is dropped: it leaves its results where its caller finds them (artifacts).

    Raises:
        Exception: what `work` raised in the first process that failed; the others are ended.
        ResurfaceError: a process that died.
    """
    context = multiprocessing.get_context("spawn")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    members: dict[Any, Any] = {}
    progress.note(f"{label}: {processes} processes of one thread")
    try:
        for rank in range(processes):
            here, there = context.Pipe(duplex=False)
            members[here] = context.Process(target=_member, args=(rank, processes, port, there, work))
            members[here].start()
            there.close()
        _finish(label, dict(members))
    finally:
        for member in members.values():
            member.terminate()  # who is done is not harmed
        for member in members.values():
            member.join()


def _finish(label: str, running: dict[Any, Any]) -> None:
    """Until each has said that it is done. A message comes before its process's end, or not at all."""
    while running:
        for ready in wait(list(running), timeout=1.0):
            try:
                error = ready.recv()  # type: ignore[union-attr, call-arg]
            except EOFError:
                raise ResurfaceError(
                    f"{label}: one of its processes died (killed, or out of memory)",
                    remedy="the same command goes on where it was; with one process: RESURFACE_PROCESSES=1",
                ) from None
            if error is not None:
                raise error  # type: ignore[misc]
            del running[ready]


def _member(rank: int, world: int, port: int, told: Connection, work: Callable[[], Any]) -> None:
    """The life of one process. The parent deals with Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    progress.set_quiet(rank > 0)
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": _LOOPBACK, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
    }  # fmt: skip
    if (torch := sys.modules.get("torch")) is not None:  # came in with the work: too late for the variables
        torch.set_num_threads(1)
    try:
        work()
        told.send(None)
    except Exception as e:
        told.send(_sendable(e))


def _sendable(e: Exception) -> Exception:
    """An exception that another process can read."""
    import pickle

    try:
        pickle.loads(pickle.dumps(e))
    except Exception:
        return ResurfaceError(f"{type(e).__name__}: {e}")
    return e
