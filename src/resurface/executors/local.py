"""Independent jobs in several processes of this machine.

Two models of one thread each are faster than one after the other with two threads each, the more so
the smaller they are: threads wait for each other at every matrix product.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from resurface import progress, provenance
from resurface.errors import ResurfaceError

Job = Callable[[], Any]


def run_jobs(label: str, jobs: Sequence[Job], workers: int) -> None:
    """Call every job once, at most `workers` at a time; what they return is dropped.

    A job finds its results again where it put them (artifacts), so jobs that were done before a
    crash cost nothing the second time. It must be picklable and write no artifact of another job.
    With one worker the jobs run here, one after the other; else the cores are divided among the
    workers. The first error ends all jobs and is raised here.

    Raises:
        ResurfaceError: a worker died (out of memory, killed).
    """
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            job()
        return
    workers = min(workers, len(jobs))
    threads = max(1, provenance.machine()["cores"] // workers)
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(threads,)
    )
    progress.note(f"== {label}: {len(jobs)} jobs in {workers} processes of {threads} threads")
    try:
        with progress.task(label, len(jobs), "jobs") as bar:
            waiting = {pool.submit(job) for job in jobs}
            while waiting:
                done, waiting = wait(waiting, timeout=1.0, return_when=FIRST_COMPLETED)
                for future in done:
                    _outcome(label, future)
                bar.advance(len(done))  # also without any: that is where an interrupt is noticed
    except BaseException:  # an error or Ctrl-C: nobody wants the rest; artifacts survive a kill
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _outcome(label: str, future: Future[Any]) -> None:
    try:
        future.result()
    except BrokenProcessPool as e:
        raise ResurfaceError(
            f"{label}: a worker process died", remedy="out of memory? try fewer --workers; it continues"
        ) from e


def _begin(threads: int) -> None:
    """First thing in a worker. The parent deals with Ctrl-C, and shows the progress."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    progress.set_quiet(True)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ[name] = str(threads)
    if (torch := sys.modules.get("torch")) is not None:  # came in with a job's module: too late for OMP
        torch.set_num_threads(threads)


def _end_with(parent: int) -> None:
    """A worker whose parent was killed has nobody to work for."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
