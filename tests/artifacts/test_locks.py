"""Who needs what another is building: refused, or made to wait and given it."""

from __future__ import annotations

import errno
import fcntl
import pickle
import threading
from functools import partial
from pathlib import Path

import pytest

from resurface import artifacts
from resurface.artifacts import Waiting, waiting
from resurface.errors import Busy, UserError

STAGE = artifacts.Stage("s", 1)


def make(out: Path, made: list[str] | None = None) -> artifacts.Artifact:
    def write(b: artifacts.Build) -> dict[str, int]:
        (b.path / "data").write_text("x")
        if made is not None:
            made.append("again")
        return {}

    return STAGE.make(out, "n", write, config={}, inputs={})


def test_a_waiting_call_is_given_what_the_other_has_built(tmp_path: Path) -> None:
    made: list[str] = []
    got: list[artifacts.Artifact] = []
    with artifacts.build(tmp_path, "s", "n", version=1, config={}, inputs={}) as b:
        with pytest.raises(Busy):
            make(tmp_path)
        waiter = threading.Thread(target=lambda: got.append(Waiting(partial(make, tmp_path, made))()))
        waiter.start()
        waiter.join(1.2)
        assert waiter.is_alive() and not got
        (b.path / "data").write_text("first")
        b.finish({})
    waiter.join(20)
    assert got[0].file("data").read_text() == "first" and not made
    assert sorted(p.name for p in (tmp_path / "s").iterdir()) == [got[0].path.name]


def test_a_waiting_call_goes_on_where_the_other_has_died(tmp_path: Path) -> None:
    got: list[artifacts.Artifact] = []
    waiter = threading.Thread(target=lambda: got.append(Waiting(partial(make, tmp_path))()))
    with artifacts.build(tmp_path, "s", "n", version=1, config={}, inputs={}):
        waiter.start()
        waiter.join(0.2)
    waiter.join(20)
    assert got[0].file("data").read_text() == "x"


def test_another_process_waits_where_this_one_would(tmp_path: Path) -> None:
    call = partial(make, tmp_path)
    assert waiting(call) is call
    found: list[object] = []
    Waiting(lambda: found.append(waiting(call)))()
    assert found == [Waiting(call)]
    sent = pickle.loads(pickle.dumps(found[0]))
    assert isinstance(sent, Waiting) and sent().file("data").exists()
    assert waiting(call) is call  # it ends with the call


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    for call in (make, Waiting(partial(make, tmp_path))):
        with pytest.raises(UserError, match="cannot be locked: No locks available") as e:
            call(tmp_path) if call is make else call()  # type: ignore[operator, call-arg]
        assert not isinstance(e.value, Busy) and "--out" in (e.value.remedy or "")
