"""A process of this machine that does calls for another one, each with a thread of its own or several.

multiprocessing's `spawn` runs the user's script again in every process, so that a script without
`if __name__ == "__main__"` fails, or works twice. These import what they are asked to call, and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, Self

from resurface import progress
from resurface.errors import ResurfaceError

_START = "import sys; sys.path[:] = {path!r}; from resurface.executors.child import main; main()"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")


class Died(ResurfaceError):
    """A process ended in the middle of a call (killed, or out of memory)."""


class Child:
    """A running process; its standard error is ours, and so is its end."""

    def __init__(
        self, *, threads: int = 1, quiet: bool = True, environment: Mapping[str, str] | None = None
    ) -> None:
        """threads: of a matrix product. quiet: it shows no progress. environment: further variables."""
        # -P: the working directory is no place to import from, unless it was for us
        command = [sys.executable, "-P", "-c", _START.format(path=sys.path)]
        given = {**os.environ, **dict.fromkeys(THREADS, str(threads)), **(environment or {})}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=given)
        self._sends(quiet)

    def call(self, work: Callable[[], Any]) -> Any:
        """What `work` returns there: it must be picklable, and not of the user's script.

        Raises:
            Exception: what it raised; by its name where that cannot travel.
            Died: the process ended.
        """
        try:
            self._sends(work)
            assert self._process.stdout is not None
            error, value = pickle.load(self._process.stdout)
        except (EOFError, OSError, ValueError, pickle.UnpicklingError) as e:
            raise Died("a process died (killed, or out of memory)") from e
        if error is not None:
            raise error
        return value

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def end(self) -> None:
        """End it, whatever it does; who has ended is not harmed."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError, ValueError):  # what was not sent cannot be any more
                assert pipe is not None
                pipe.close()

    def _sends(self, what: Any) -> None:
        assert self._process.stdin is not None
        sent = pickle.dumps(what)
        try:
            self._process.stdin.write(sent)
            self._process.stdin.flush()
        except OSError as e:
            raise Died("a process died as it started") from e


def main() -> None:
    """The life of such a process: calls, one after the other, until who asks is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # our parent deals with Ctrl-C
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    asked, answers = _pipes()
    progress.set_quiet(pickle.load(asked))
    while True:
        try:
            work = pickle.load(asked)
        except EOFError:
            return
        except Exception as e:  # it cannot be imported here
            answer: tuple[Exception | None, Any] = (ResurfaceError(f"{type(e).__name__}: {e}"), None)
        else:
            try:
                answer = (None, work())
            except Exception as e:
                answer = (sendable(e), None)
        answers.write(pickle.dumps(answer))
        answers.flush()


def _pipes() -> tuple[BinaryIO, BinaryIO]:
    """Where calls come from and answers go to. Whatever else prints goes to standard error."""
    asked, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return asked, answers


def sendable(e: Exception) -> Exception:
    """An exception that another process can read."""
    try:
        pickle.loads(pickle.dumps(e))
    except Exception:
        return ResurfaceError(f"{type(e).__name__}: {e}")
    return e


def end_with(parent: int) -> None:
    """Whose parent was killed has nobody to work for."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
