"""Who builds an artifact holds its lock, and another one is refused, or waits.

Programs that share a directory, on one machine or several, meet in these locks alone. A lock goes with the
process that holds it, however it ends.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from resurface import progress
from resurface.errors import Busy, UserError

_EVERY_S = 0.5
_waits: ContextVar[bool] = ContextVar("waits", default=False)


@dataclass(frozen=True)
class Waiting:
    """A call within which an artifact that another process is building is waited for, and then used.

    Of a job whose inputs other jobs need as well, such as a corpus. Picklable where the call is.
    """

    call: Callable[[], Any]

    def __call__(self) -> Any:
        token = _waits.set(True)
        try:
            return self.call()
        finally:
            _waits.reset(token)


def waiting(call: Callable[[], Any]) -> Callable[[], Any]:
    """The call as another process has to make it, to wait where this one would."""
    return Waiting(call) if _waits.get() else call


def acquire(lock: BinaryIO, final: Path) -> None:
    """Lock what `final` is built under, until the file is closed.

    Raises:
        Busy: another process holds it; within `Waiting` this one waits.
        UserError: the file system has no locks.
    """
    told = False
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            if e.errno not in (errno.EAGAIN, errno.EACCES):
                raise UserError(
                    f"{final.parent} cannot be locked: {os.strerror(e.errno or 0)}",
                    remedy="choose an --out on a file system with locks (NFS: not mounted with nolock)",
                ) from e
            if not _waits.get():
                raise Busy(f"another process is building {final}", remedy="wait for it, or stop it") from e
        if not told:
            progress.note(f"waiting for {final}, which another process is building")
            told = True
        progress.stop_if_interrupted()
        time.sleep(_EVERY_S)
