"""Several processes at one piece of work: they find each other, fail together, and leave what one would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from resurface.errors import ResurfaceError, UserError
from resurface.executors.child import Child
from resurface.executors.together import together


def note_rank(out: Path) -> None:
    import torch
    import torch.distributed as dist

    dist.init_process_group("gloo")
    mine = torch.tensor([float(os.environ["RANK"]) + 1])
    dist.all_reduce(mine)
    (out / os.environ["RANK"]).write_text(f"{mine.item():g} of {dist.get_world_size()}")
    dist.destroy_process_group()


def fail(rank: str, how: str) -> None:
    if os.environ["RANK"] != rank:
        signal.pause()  # a collective that will never come together
    if how == "refuse":
        raise UserError("no such thing", remedy="another")
    if how == "unpicklable":
        raise _Odd(lambda: None)
    os.kill(os.getpid(), signal.SIGKILL)


class _Odd(Exception):
    pass


def test_processes_find_each_other_and_each_works_once(tmp_path):
    together("a sum", partial(note_rank, tmp_path), 2)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"0": "3 of 2", "1": "3 of 2"}


@pytest.mark.parametrize("rank", ["0", "1"])
def test_what_one_raises_ends_all_and_is_raised(rank):
    with pytest.raises(UserError, match="no such thing") as e:
        together("a failure", partial(fail, rank, "refuse"), 2)
    assert e.value.remedy == "another"


def test_an_error_that_cannot_travel_is_told_by_name():
    with pytest.raises(ResurfaceError, match="_Odd"):
        together("a failure", partial(fail, "1", "unpicklable"), 2)


def test_a_killed_process_ends_all():
    with pytest.raises(ResurfaceError, match="died"):
        together("a death", partial(fail, "1", "die"), 2)


def test_a_plain_script_runs_once(tmp_path):
    """One without `if __name__ == "__main__"`, which multiprocessing would run again in each process."""
    script = tmp_path / "mine.py"
    script.write_text(
        "import os\nfrom resurface.executors.together import together\n"
        "print('once')\ntogether('a call', os.getpid, 2)\nprint('done')\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "once\ndone\n"), done.stderr


def test_what_a_call_prints_is_no_answer(capfd):
    with Child() as child:
        assert child.call(partial(os.write, 1, b"printed\n")) == 8
    assert capfd.readouterr().err == "printed\n"
