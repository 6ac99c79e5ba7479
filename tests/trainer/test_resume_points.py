"""Resume points survive power loss, damage and a clock that is set back; a full disk is one line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
import torch

from resurface import models
from resurface.errors import UserError
from resurface.models import ModelConfig
from resurface.stages import training
from resurface.trainer import disk_need, epoch_models, resume_points
from test_training import quick, subset  # noqa: F401
from test_training_families import stop_at

CFG = dict(batch_size=4, save_steps=4, precision="float32")  # 10 steps per epoch, points after 4, 8, 12 ...


@pytest.fixture
def ref(tiny_model_dir):
    return models.resolve(ModelConfig(id=str(tiny_model_dir)))


@pytest.fixture
def said(monkeypatch):
    """Every note of the test."""
    notes = []
    monkeypatch.setattr("resurface.progress.note", notes.append)
    return notes


def empty(file):
    file.write_bytes(b"")


def truncated(file):
    file.write_bytes(file.read_bytes()[:-100])


def flipped(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def missing(file):
    file.unlink()


@pytest.fixture
def points(tmp_path):
    """work folder with whole points 4 (before epoch 1) and 8, 12 (after it), and the epoch's folder."""

    def fill(folder, *names):
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_bytes(name.encode() * 100)

    fill(tmp_path / "epoch-1", "model.safetensors", "config.json")
    epochs = {"epoch-1": resume_points.Digest.of(tmp_path / "epoch-1")}
    work = tmp_path / "trainer"
    for step in (4, 8, 12):
        fill(work / f"checkpoint-{step}", "weights.safetensors", "optimizer.pt")
    resume_points.complete(work / "checkpoint-4", {})
    shutil.copytree(work / "checkpoint-4", tmp_path / "kept")  # two points are kept: put it back
    resume_points.complete(work / "checkpoint-8", epochs)
    resume_points.complete(work / "checkpoint-12", epochs)
    assert not (work / "checkpoint-4").exists()
    shutil.move(tmp_path / "kept", work / "checkpoint-4")
    return work


@pytest.mark.parametrize("damage", [empty, truncated, flipped, missing])
@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.pt", "complete"])
def test_a_damaged_point_gives_way_to_the_older_one(points, said, damage, name):
    damage(points / "checkpoint-12" / name)
    found = resume_points.newest_whole(points, points.parent)
    assert found.step == 8 and set(found.epochs) == {"epoch-1"}
    assert not (points / "checkpoint-12").exists()
    # without its marker it was torn by a kill, which is the usual thing
    assert (name == "complete" and damage is missing) or "step 12 is damaged" in said[0]
    assert all("going back to step 8" in note for note in said)


@pytest.mark.parametrize("damage", [empty, truncated, flipped, missing])
def test_a_damaged_epoch_takes_the_points_behind_it_along(points, said, damage):
    damage(points.parent / "epoch-1" / "model.safetensors")
    found = resume_points.newest_whole(points, points.parent)
    assert found.step == 4
    assert not (points.parent / "epoch-1").exists()  # made again on the way
    assert len(said) == 2


def test_without_a_whole_point_all_starts_anew(points, said):
    for folder in points.iterdir():
        empty(folder / "optimizer.pt")
    assert resume_points.newest_whole(points, points.parent) is None
    assert "going back to the start" in said[-1]
    assert not list(points.iterdir()) and not (points.parent / "epoch-1").exists()


def test_points_go_by_their_step_whatever_the_clock_says(tmp_path):
    for step, when in ((6, 3e9), (8, 2e9), (10, 1e9), (12, 1e6)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "weights.safetensors").write_bytes(b"w")
        os.utime(folder, (when, when))
        resume_points.complete(folder, {})
        os.utime(folder, (when, when))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-12"]


def test_everything_is_on_the_disk_before_the_marker(tmp_path, monkeypatch):
    """What a power loss after the marker can no longer take: every file, and every folder's names."""
    folder = tmp_path / "checkpoint-4"
    (folder / "inner").mkdir(parents=True)
    for name in ("a", "inner/b"):
        (folder / name).write_bytes(b"x")
    synced, real = [], os.fsync

    def fsync(fd):
        synced.append(os.path.realpath(f"/proc/self/fd/{fd}"))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    resume_points.complete(folder, {})
    marker = next(i for i, path in enumerate(synced) if path.endswith(".tmp"))  # to be renamed
    assert set(synced[:marker]) == {str(folder / x) for x in ("a", "inner/b", "inner")} | {str(folder)}
    assert set(synced[marker + 1 :]) == {str(folder), str(tmp_path)}


@pytest.mark.parametrize("torn", [1, 2])
def test_a_training_goes_on_from_what_a_power_loss_has_left(ref, subset, tmp_path, said, monkeypatch, torn):  # noqa: F811
    whole = training.train(ref, subset, quick(**CFG), tmp_path / "whole", device="cpu")
    with monkeypatch.context() as m:
        stop_at(m, 13)
        with pytest.raises(KeyboardInterrupt):
            training.train(ref, subset, quick(**CFG), tmp_path / "cut", device="cpu")
    (work,) = (tmp_path / "cut").glob("train/*.part/trainer")
    assert {p.name for p in work.iterdir()} == {"checkpoint-8", "checkpoint-12"}
    for step in (12, 8)[:torn]:
        empty(work / f"checkpoint-{step}" / "optimizer.pt")
    said.clear()
    resumed = training.train(ref, subset, quick(**CFG), tmp_path / "cut", device="cpu")
    assert resumed.manifest["files"] == whole.manifest["files"]
    assert f"going back to {'step 8' if torn == 1 else 'the start'}" in "\n".join(said)


def test_weights_of_another_model_are_refused_by_name(tmp_path):
    a, b = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2, bias=False)
    resume_points.save_weights(a, tmp_path / "w")
    with pytest.raises(UserError, match=r"bias is .* missing in the model"):
        resume_points.load_weights(b, tmp_path / "w")
    resume_points.save_weights(b, tmp_path / "w")
    with pytest.raises(UserError, match="bias is missing there"):
        resume_points.load_weights(a, tmp_path / "w")
    with pytest.raises(UserError, match=r"weight is \(2, 3\) there and \(4, 3\) in the model"):
        resume_points.load_weights(torch.nn.Linear(3, 4, bias=False), tmp_path / "w")


# ------------------------------------------------------------------------------ room


@pytest.fixture(scope="module")
def larger(tiny_model_dir, tmp_path_factory):
    """0.6 million weights in bfloat16: files are weights, and hardly anything else."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("larger") / "larger"
    config = LlamaConfig(
        vocab_size=600, hidden_size=160, intermediate_size=320, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=64, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    LlamaForCausalLM(config).bfloat16().save_pretrained(path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_model_dir / name, path / name)
    return models.resolve(ModelConfig(id=str(path)))


@pytest.mark.parametrize(
    "change",
    [
        {},
        dict(method="lora", save_dtype="source"),
        pytest.param(dict(save_steps=9), marks=pytest.mark.slow),
        pytest.param(dict(checkpoint_every=2), marks=pytest.mark.slow),
    ],
)
def test_the_room_that_is_asked_for_is_what_it_takes(larger, subset, tmp_path, monkeypatch, change):  # noqa: F811
    peak = 0

    def measured(real, *args):
        nonlocal peak
        result = real(*args)
        (part,) = tmp_path.glob("train/*.part")
        peak = max(peak, disk_need.size_of(part))
        return result

    for module, name in (
        (epoch_models, "save"),
        (resume_points, "save_weights"),
        (resume_points, "fsync_tree"),
    ):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args, real=real: measured(real, *args))
    asked = []
    monkeypatch.setattr(training, "require_space", lambda path, need, remedy: asked.append(need))
    cfg = dict(batch_size=20, micro_batch_size=10, epochs=3, save_steps=1, save_dtype="float32")
    cfg = quick(**cfg | change)
    training.train(larger, subset, cfg, tmp_path, device="cpu")
    assert 0.75 * asked[0] < peak <= asked[0]


def test_too_little_room_is_said_before_training(ref, subset, tmp_path, monkeypatch):  # noqa: F811
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=100_000))
    with pytest.raises(UserError, match="this needs about") as e:
        training.train(ref, subset, quick(), tmp_path, device="cpu")
    assert "checkpoint_every" in e.value.remedy
    assert not list(tmp_path.glob("train/*.part/trainer"))


def full_for_safetensors(*_):
    from safetensors import SafetensorError

    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


def full_for_torch(*_):
    raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534")


def full_for_python(*_):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("full", [full_for_safetensors, full_for_torch, full_for_python])
def test_a_disk_that_fills_up_is_one_line(ref, subset, tmp_path, monkeypatch, full):  # noqa: F811
    """The errors of a real disk, see below; torch's says nothing, so the disk is asked."""
    monkeypatch.setattr(resume_points, "save_weights", full)
    monkeypatch.setattr("resurface.artifacts.disk._refusal", lambda where: 28)
    with pytest.raises(UserError, match="no space left on the disk that holds") as e:
        training.train(ref, subset, quick(), tmp_path, device="cpu")
    assert "it resumes" in e.value.remedy


SMALL_DISK = """
import sys, torch
from pathlib import Path
from safetensors.torch import save_file
from resurface.artifacts.disk import disk_errors
from resurface.errors import UserError
weights = {str(i): torch.zeros(300_000) for i in range(20)}
for write in (save_file, torch.save):
    try:
        with disk_errors(Path(sys.argv[1])):
            write(weights, sys.argv[1] + "/x")
    except UserError as e:
        print(e.message)
"""


@pytest.mark.slow
def test_a_disk_that_is_really_full(tmp_path):
    """8 MB of memory, mounted where this test alone sees it."""
    script = f"mount -t tmpfs -o size=8m none {tmp_path} && {sys.executable} -c '{SMALL_DISK}' {tmp_path}"
    done = subprocess.run(["unshare", "-m", "bash", "-c", script], capture_output=True, text=True)
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip("nothing can be mounted here: " + done.stderr)
    assert done.stdout.count("no space left on the disk that holds") == 2, done.stderr


def no_memory_on_cuda():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def no_memory_on_the_cpu():
    torch.empty(1 << 55)


@pytest.mark.parametrize("allocate", [no_memory_on_cuda, no_memory_on_the_cpu])
def test_no_memory_is_one_line(ref, subset, tmp_path, monkeypatch, allocate):  # noqa: F811
    from resurface.trainer.packed import PackedTrainer

    monkeypatch.setattr(PackedTrainer, "training_step", lambda *args, **kw: allocate())
    with pytest.raises(UserError, match="no memory is left") as e:
        training.train(ref, subset, quick(), tmp_path, device="cpu")
    assert "micro_batch_size" in e.value.remedy and "gradient_checkpointing" in e.value.remedy
