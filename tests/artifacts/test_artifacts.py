"""Artifacts: stable identity, nothing believed that does not verify, interruptions that do no harm."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resurface import artifacts
from resurface.artifacts import file_hashes
from resurface.artifacts.disk import atomic_write, disk_errors
from resurface.artifacts.fingerprint import canonical, fingerprint
from resurface.errors import Busy, CorruptArtifact, UserError

CONFIG = {"seed": 1, "rate": 0.1, "name": "x", "none": None, "list": [1, 2]}


def make(out: Path, data: bytes = b"data" * 100, config: dict[str, Any] | None = None) -> artifacts.Artifact:
    with artifacts.build(out, "sample", "n", version=1, config=config or CONFIG, inputs={}) as b:
        if b.artifact:
            return b.artifact
        (b.path / "sub").mkdir(exist_ok=True)
        (b.path / "a.bin").write_bytes(data)
        (b.path / "sub/b.bin").write_bytes(b"b")
        return b.finish(counts={"rows": 3})


# ------------------------------------------------------------------------------ canonical

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda x: st.lists(x, max_size=4) | st.dictionaries(st.text(), x, max_size=4),
    max_leaves=12,
)


def shuffled(value: Any) -> Any:
    """The same value with every mapping built in the other order, and lists as tuples."""
    if isinstance(value, dict):
        return {k: shuffled(v) for k, v in reversed(value.items())}
    return tuple(map(shuffled, value)) if isinstance(value, list) else value


@given(plain)
def test_canonical_is_stable_and_loses_nothing(value: Any) -> None:
    text = canonical(value)
    assert text == canonical(shuffled(value))
    assert text.isascii()
    back = json.loads(text)
    assert back == value and canonical(back) == text  # also 1 != 1.0 != True, as text


@given(plain, plain)
def test_equal_text_only_for_equal_values(a: Any, b: Any) -> None:
    if canonical(a) == canonical(b):
        assert a == b
    assert (fingerprint(a) == fingerprint(b)) == (canonical(a) == canonical(b))


@pytest.mark.parametrize(
    "bad", [{1}, object(), float("nan"), float("inf"), {1: 2}, b"x", Path("x"), [{"a": {"b": {2}}}], 1j]
)
def test_canonical_refuses_what_could_vary(bad: Any) -> None:
    with pytest.raises(TypeError, match="no stable fingerprint"):
        canonical(bad)


# ------------------------------------------------------------------------------ identity and reading


def test_round_trip_and_reuse(tmp_path: Path) -> None:
    made = make(tmp_path)
    assert made.path.name == f"n-{made.fingerprint[:8]}" and made.path.parent.name == "sample"
    loaded = artifacts.load(made.path / "manifest.json", stage="sample")
    assert loaded.manifest == made.manifest and loaded.counts == {"rows": 3} and loaded.config == CONFIG
    assert set(loaded.manifest["files"]) == {"a.bin", "sub/b.bin"}
    before = made.path.stat().st_mtime_ns
    assert make(tmp_path, b"never written").fingerprint == made.fingerprint
    assert made.path.stat().st_mtime_ns == before
    assert [p.name for p in (tmp_path / "sample").iterdir()] == [made.path.name]


def test_any_change_is_another_artifact(tmp_path: Path) -> None:
    def fp(**change: Any) -> str:
        fields: dict[str, Any] = {
            "version": 1, "config": CONFIG, "inputs": {"corpus": {"fingerprint": "a", "path": "/x"}},
        }  # fmt: skip
        stage = change.pop("stage", "s")
        return artifacts.Build(tmp_path, stage, "n", **{**fields, **change}).fingerprint

    same = fp()
    assert same == fp(inputs={"corpus": {"fingerprint": "a", "path": "/elsewhere"}}), "a path is no identity"
    others = [
        fp(version=2), fp(stage="t"), fp(config=CONFIG | {"seed": 2}), fp(config=CONFIG | {"rate": 1}),
        fp(inputs={}), fp(inputs={"corpus": {"fingerprint": "b"}}), fp(inputs={"base": {"fingerprint": "a"}}),
    ]  # fmt: skip
    assert len({same, *others}) == 1 + len(others)


@given(data=st.data())
def test_every_flipped_bit_is_found(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("flip")
    made = make(root, b"\x00\xff" * 20)
    name = data.draw(st.sampled_from(["a.bin", "sub/b.bin"]))
    raw = bytearray((made.path / name).read_bytes())
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    (made.path / name).write_bytes(raw)
    with pytest.raises(CorruptArtifact, match="fingerprint mismatch"):
        artifacts.load(made.path)
    with pytest.raises(CorruptArtifact):  # and it is not reused silently either
        make(root)


@pytest.mark.parametrize("key", ["config", "inputs", "stage", "stage_version", "fingerprint"])
def test_edited_manifest(tmp_path: Path, key: str) -> None:
    made = make(tmp_path)
    file = made.path / "manifest.json"
    edited = {"config": {}, "inputs": {"x": {"fingerprint": "y"}}, "stage": "t", "stage_version": 9}
    file.write_text(json.dumps(made.manifest | {key: edited.get(key, "0" * 64)}))
    with pytest.raises(CorruptArtifact, match="was changed after"):
        artifacts.load(made.path)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "\x00", '{"schema_version": 1}'])
def test_unreadable_manifest(tmp_path: Path, text: str) -> None:
    made = make(tmp_path)
    (made.path / "manifest.json").write_text(text)
    with pytest.raises(CorruptArtifact, match="cannot be read"):
        artifacts.load(made.path)


def test_missing_and_cut_files(tmp_path: Path) -> None:
    made = make(tmp_path)
    (made.path / "a.bin").write_bytes(b"dat")
    with pytest.raises(CorruptArtifact, match="not the file"):
        artifacts.load(made.path)
    (made.path / "a.bin").unlink()
    with pytest.raises(CorruptArtifact, match=r"lacks its file a\.bin"):
        artifacts.load(made.path)


def test_errors_of_the_caller(tmp_path: Path) -> None:
    made = make(tmp_path)
    with pytest.raises(UserError, match="made by stage sample; this needs one made by train"):
        artifacts.load(made.path, stage="train")
    with pytest.raises(UserError, match="not an artifact"):
        artifacts.load(tmp_path)
    with pytest.raises(UserError, match="unfinished"):
        artifacts.load(tmp_path / "x.part")
    file = made.path / "manifest.json"
    file.write_text(json.dumps(made.manifest | {"schema_version": 99}))
    with pytest.raises(UserError, match="schema version 99"):
        artifacts.load(made.path)


def test_what_is_compared_with_a_manifest_is_read_each_time_and_its_hash_known_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that is an artifact is verified, then fingerprinted: its weights are read once."""
    monkeypatch.setenv("RESURFACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(file_hashes, "SMALL", 0)
    monkeypatch.setattr(file_hashes, "_SETTLED_NS", -(10**18))  # as if all had been written long ago
    made, read = make(tmp_path), []
    names = sorted(made.manifest["files"])
    real, root = file_hashes.file_sha256, made.path.resolve()
    monkeypatch.setattr(
        file_hashes, "file_sha256", lambda p: read.append(p.relative_to(root).as_posix()) or real(p)
    )
    artifacts.load(made.path)
    assert sorted(read) == names
    assert [file_hashes.remembered_sha256(made.path / n) for n in names] == [
        made.manifest["files"][n]["sha256"] for n in names
    ]
    assert sorted(read) == names
    artifacts.load(made.path)  # a note is no proof
    assert sorted(read) == sorted(names * 2)


# ------------------------------------------------------------------------------ building


def test_finish_drops_scratch_and_keeps_what_is_named(tmp_path: Path) -> None:
    with artifacts.build(tmp_path, "s", "n", version=1, config={}, inputs={}) as b:
        (b.path / "keep.bin").write_bytes(b"k")
        (b.path / "scratch").mkdir()
        (b.path / "scratch/x").write_bytes(b"x")
        (b.path / "half.tmp").write_bytes(b"h")
        b.save_state()
        made = b.finish(counts={}, keep={"keep.bin"})
    assert sorted(p.name for p in made.path.iterdir()) == ["keep.bin", "manifest.json"]


def test_a_failed_build_is_found_again(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError),
        artifacts.build(tmp_path, "s", "n", version=1, config={}, inputs={}) as b,
    ):
        (b.path / "piece").write_bytes(b"1")
        b.save_state()
        raise RuntimeError
    assert not b.final.exists()
    with artifacts.build(tmp_path, "s", "n", version=1, config={}, inputs={}) as again:
        assert (again.path / "piece").read_bytes() == b"1" and not again.finished
        again.finish(counts={})
    assert artifacts.load(again.final).counts == {}


CHILD = """
import sys, time
from pathlib import Path
from resurface import artifacts
from resurface.artifacts.disk import atomic_write
out, stop = Path(sys.argv[1]), int(sys.argv[2])
with artifacts.build(out, "s", "n", version=1, config={"k": 1}, inputs={}) as b:
    for i in range(4):
        file = b.path / f"piece-{i}"
        if i == stop:
            print("here", flush=True)
            time.sleep(600)
        if not file.exists():
            atomic_write(file, bytes([i]) * 1000)
            b.save_state()
    if stop == 4:
        print("here", flush=True)
        time.sleep(600)
    b.finish(counts={"pieces": 4})
"""


def child(out: Path, stop: int) -> subprocess.Popen[str]:
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", CHILD, str(out), str(stop)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def stopped(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock and has come as far as the test's parameter says."""
    process = child(tmp_path / "killed", getattr(request, "param", 2))
    assert process.stdout is not None and process.stdout.readline() == "here\n"
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("stopped", [0, 1, 3, 4], indirect=True)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_and_resumed_equals_undisturbed(
    tmp_path: Path, stopped: subprocess.Popen[str], how: signal.Signals
) -> None:
    stopped.send_signal(how)
    stopped.wait()
    assert not list((tmp_path / "killed/s").glob("*/manifest.json"))
    for out in ("killed", "undisturbed"):
        with child(tmp_path / out, -1) as whole:
            assert whole.wait() == 0
    (a,), (b,) = (list((tmp_path / out / "s").iterdir()) for out in ("killed", "undisturbed"))
    assert a.name == b.name, "and neither a .part nor a lock is left"
    assert artifacts.load(a).manifest["files"] == artifacts.load(b).manifest["files"]


def test_one_process_at_a_time(tmp_path: Path, stopped: subprocess.Popen[str]) -> None:
    with (
        pytest.raises(Busy, match="another process is building"),
        artifacts.build(tmp_path / "killed", "s", "n", version=1, config={"k": 1}, inputs={}),
    ):
        pytest.fail("the lock did not hold")
    # other configurations are other artifacts: no lock in common
    with artifacts.build(tmp_path / "killed", "s", "n", version=1, config={"k": 2}, inputs={}) as b:
        b.finish(counts={})
    stopped.kill()
    stopped.wait()
    with artifacts.build(tmp_path / "killed", "s", "n", version=1, config={"k": 1}, inputs={}) as b:
        assert sorted(p.name for p in b.path.glob("piece-*")) == ["piece-0", "piece-1"]


def test_disk_errors_name_the_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write to") as e:
        make(tmp_path / "file")
    assert "--out" in (e.value.remedy or "")
    import errno

    with pytest.raises(UserError, match="no space left"), disk_errors(tmp_path):
        raise OSError(errno.ENOSPC, "full")
    with (
        pytest.raises(UserError, match="GB free"),
        artifacts.build(tmp_path, "s", "n", version=1, config={}, inputs={}, need_bytes=10**18),
    ):
        pytest.fail("there is no disk like that")


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_atomic_write_replaces(first: bytes, second: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "f"
        for data in (first, second):
            atomic_write(file, data)
            assert file.read_bytes() == data
        assert os.listdir(folder) == ["f"]


def test_a_changed_count_is_noticed(tmp_path: Path) -> None:
    made = make(tmp_path)
    file = made.path / artifacts.store.MANIFEST
    manifest = json.loads(file.read_text())
    manifest["counts"]["hits"] = 9
    file.write_text(json.dumps(manifest))
    with pytest.raises(CorruptArtifact, match="was changed after it was written"):
        artifacts.load(made.path)
