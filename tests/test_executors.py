"""Jobs in processes: all are done, an error ends them, nobody is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from resurface.errors import ResurfaceError, UserError
from resurface.executors import run_jobs


def note(folder: Path, name: str) -> None:
    (folder / name).write_text(f"{os.getpid()} {os.environ.get('OMP_NUM_THREADS')}")


def fail(folder: Path) -> None:
    raise UserError("this cannot be used", remedy="use another")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def sleep(folder: Path, name: str) -> None:
    note(folder, name)
    time.sleep(60)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_is_done(tmp_path, workers):
    run_jobs("test", [partial(note, tmp_path, str(i)) for i in range(5)], workers)
    pids = {p.read_text().split()[0] for p in tmp_path.iterdir()}
    assert len(list(tmp_path.iterdir())) == 5
    assert (str(os.getpid()) in pids) == (workers == 1)


def test_the_cores_are_divided(tmp_path):
    run_jobs("test", [partial(note, tmp_path, str(i)) for i in range(2)], 2)
    threads = {p.read_text().split()[1] for p in tmp_path.iterdir()}
    assert threads == {str(max(1, len(os.sched_getaffinity(0)) // 2))}


def test_an_error_of_a_job_is_raised_as_it_is(tmp_path):
    with pytest.raises(UserError, match="this cannot be used") as e:
        run_jobs("test", [partial(fail, tmp_path), partial(sleep, tmp_path, "x")], 2)
    assert e.value.remedy == "use another"
    workers = [p for p in psutil.Process().children() if "spawn_main" in " ".join(p.cmdline())]
    assert not workers


def test_a_worker_that_dies_is_an_error_with_a_remedy(tmp_path):
    with pytest.raises(ResurfaceError, match="a worker process died"):
        run_jobs("test", [die, partial(note, tmp_path, "x")], 2)


PROGRAM = """
import sys
from functools import partial
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_executors as t
from resurface.executors import run_jobs
if __name__ == '__main__':
    run_jobs('test', [partial(t.sleep, Path({out!r}), str(i)) for i in range(2)], 2)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_nobody_works_on_when_the_parent_is_gone(tmp_path, how):
    out = tmp_path / "out"
    out.mkdir()
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(tests=str(Path(__file__).parent), out=str(out)))
    parent = subprocess.Popen(
        [sys.executable, str(program)], stderr=subprocess.DEVNULL, start_new_session=True
    )
    while len(list(out.iterdir())) < 2:
        assert parent.poll() is None
        time.sleep(0.05)
    workers = [psutil.Process(int(p.read_text().split()[0])) for p in out.iterdir()]
    parent.send_signal(how)
    parent.wait(30)
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]
