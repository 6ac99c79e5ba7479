"""Units shared out among processes: each is done once, whoever dies, and nobody works when nobody waits."""

from __future__ import annotations

import itertools
import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from resurface import progress
from resurface.errors import UserError
from resurface.executors.pool import Pool


def held() -> str:
    return f"held by {os.getpid()}"


def nothing() -> str:
    raise MemoryError("no room")


def numbers(first: int, here: str):
    time.sleep(0.02)  # else one process does them all
    yield from ((i, here) for i in range(first, first + 3))


def killed_once(file: Path, parent: int, k: int, here: str):
    """The first helper to come here dies."""
    time.sleep(0.02)
    if os.getpid() != parent and not file.exists():
        file.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    yield k


def refused(k: int, here: str):
    if k == 5:
        raise UserError("no such thing", remedy="another")
    yield k


def busy(file: Path, here: str):
    """In a helper: works on, and says so."""
    while here != "here":
        file.write_text(str(time.monotonic()))
        time.sleep(0.02)
    time.sleep(0.02)
    yield 0


@pytest.mark.parametrize("helpers", [0, 1, 2])
def test_every_unit_is_done_once(helpers):
    pool = Pool("here", held, helpers)
    for _ in range(2):  # helpers stay for the next stream
        found = list(pool.stream(partial(numbers, 3 * i) for i in range(150)))
        assert sorted(i for i, _ in found) == list(range(450))
        assert len({who for _, who in found}) <= helpers + 1
    assert (len({who for _, who in found}) > 1) == (helpers > 0)


def test_a_unit_whose_helper_died_is_done_by_another(tmp_path):
    pool = Pool("here", held, 1)
    file = tmp_path / "dead"
    found = list(pool.stream(partial(killed_once, file, os.getpid(), k) for k in range(150)))
    assert file.exists() and sorted(found) == list(range(150))


@pytest.mark.parametrize("helpers", [0, 2])
def test_what_a_unit_raises_is_raised(helpers):
    with pytest.raises(UserError, match="no such thing") as e:
        list(Pool("here", held, helpers).stream(partial(refused, k) for k in range(10)))
    assert e.value.remedy == "another"


def test_a_helper_that_cannot_start_is_no_loss(monkeypatch):
    notes: list[str] = []
    monkeypatch.setattr(progress, "note", notes.append)
    found = list(Pool("here", nothing, 1).stream(partial(numbers, 3 * i) for i in range(200)))
    assert sorted(i for i, _ in found) == list(range(600))
    assert any("no room" in x for x in notes)


def test_who_has_enough_ends_the_work_of_all(tmp_path):
    pool, file = Pool("here", held, 1), tmp_path / "at work"
    stream = pool.stream(partial(busy, file) for _ in itertools.count())
    while not file.exists():
        next(stream)
    stream.close()
    last = file.read_text()
    time.sleep(0.3)
    assert file.read_text() == last


def test_threads_are_as_before(monkeypatch):
    import torch

    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    said: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", said.append)
    assert list(Pool("here", held, 0).stream([partial(numbers, 0)]))
    assert said == [1, 7]
