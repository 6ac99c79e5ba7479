"""What workflows ask of an executor, and what all of them make of a job that fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from resurface import progress
from resurface.errors import ResurfaceError, UserError, shortened

Job = Callable[[], Any]
Failed = dict[str, str]
"""Name of a job -> why it failed."""

FAILURES = (ResurfaceError, RuntimeError, OSError, MemoryError)
"""What ends a job and no other; anything else is a bug."""
DIED = "its process died (killed, or out of memory)"


class Executor(Protocol):
    """Where independent jobs run."""

    @property
    def slots(self) -> int:
        """How many jobs can run at a time."""
        ...

    def check(self, root: Path) -> None:
        """Before any work: whoever runs jobs sees the directory that they write to.

        Raises:
            UserError: somebody does not.
        """
        ...

    def run(self, label: str, jobs: Mapping[str, Job]) -> Failed:
        """Call every job (name -> job); returns those that failed twice.

        What jobs return is dropped: a job finds its results again where it put them (artifacts), so jobs
        that were done before a crash cost nothing the second time. It must be picklable and write no
        artifact of another job.

        A job that fails, or whose process dies, does not keep the others from being done; it is tried once
        more after them. Bad input, a bug or Ctrl-C ends all jobs at once.

        Raises:
            UserError: from a job: all jobs would meet it.
            ResurfaceError: no job can be started.
        """
        ...


def run_jobs(label: str, jobs: Mapping[str, Job], executor: Executor) -> None:
    """As `Executor.run`; what failed twice is raised once everything else is done.

    Raises:
        ResurfaceError: names every job that failed, and why.
    """
    raise_failed(label, executor.run(label, jobs), len(jobs))


def raise_failed(label: str, failed: Failed, total: int) -> None:
    """One ResurfaceError that names all of `failed`, if there are any, of `total` jobs."""
    if failed:
        each = "".join(f"\n  {name}: {why}" for name, why in failed.items())
        raise ResurfaceError(
            f"{label}: {len(failed)} of {total} jobs failed, twice each:{each}",
            remedy="everything else is finished and kept; the same command tries only these again",
        )


def again(label: str, jobs: Mapping[str, Job], failed: Failed) -> dict[str, Job]:
    """The jobs that failed, in their order of failing."""
    if failed:
        progress.note(f"== {label}: once more what failed ({len(failed)})")
    return {name: jobs[name] for name in failed}


def noted(name: str, e: BaseException) -> str:
    """Why a job failed, which is reported at once; raises `e` if it says that the input is at fault."""
    if isinstance(e, UserError):
        raise e
    if isinstance(e, ResurfaceError):
        why = e.message + (f" ({e.remedy})" if e.remedy else "")
    else:
        why = shortened(f"{type(e).__name__}: {e}", 1000)
    progress.note(f"failed: {name}: {why}")
    return why
