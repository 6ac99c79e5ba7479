"""Packing, checkpoints, and that training trains."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import psutil
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from resurface import artifacts, hardware, models
from resurface.artifacts import parquet
from resurface.errors import Diverged, UserError
from resurface.models import ModelConfig
from resurface.stages import training
from resurface.trainer.config import TrainConfig
from resurface.trainer.packing import pack


@given(st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=30), min_size=1), st.integers(2, 17))
def test_packing_loses_no_token(documents, cutoff):
    blocks = pack([np.array(d, np.int32) for d in documents], cutoff)
    flat = [t for d in documents for t in d]
    kept = [int(t) for b in blocks for t in b]
    lost = len(flat) - len(kept)
    assert lost == (1 if len(flat) % cutoff == 1 else 0)
    assert kept == flat[: len(kept)]
    assert all(len(b) == cutoff for b in blocks[:-1])


@pytest.fixture
def subset(tmp_path):
    rng = np.random.default_rng(0)
    ids = [[0, *(rng.integers(1, 600, 40) % 7 + 50).tolist()] for _ in range(60)]
    table = pa.table({"sample_id": list(range(60)), "input_ids": pa.array(ids, pa.list_(pa.int32()))})
    with artifacts.build(tmp_path, "subset", "s", version=1, config={}, inputs={}) as b:
        parquet.write_parquet(table, b.path / "subset-0.parquet")
        return b.finish({"tokens": 2460})


def quick(**change):
    base = dict(learning_rate=5e-3, epochs=2, batch_size=8, micro_batch_size=4, cutoff=64, save_steps=4)
    return TrainConfig(**{**base, **change})


@pytest.mark.parametrize("method", ["full", "lora"])
def test_training_lowers_the_loss_and_keeps_every_epoch(tiny_model_dir, subset, tmp_path, method):
    ref = models.resolve(ModelConfig(id=str(tiny_model_dir)))
    a = training.train(ref, subset, quick(method=method), tmp_path)
    steps = parquet.read_parquet(a.file("metrics.parquet")).to_pylist()
    assert len(steps) == a.counts["steps"] == 2 * -(-a.counts["blocks"] // 8)
    assert steps[-1]["loss"] < steps[0]["loss"] - 0.05
    # warmup, then a cosine down to zero
    rates = [s["learning_rate"] for s in steps]
    assert max(rates) <= 5e-3 and rates[-1] < max(rates) / 5
    assert list(training.checkpoints(a)) == [1, 2]
    before = models.load_model(ref).state_dict()
    for path in training.checkpoints(a).values():
        tuned = models.resolve(ModelConfig(id=str(path)))
        assert tuned.kind == "checkpoint"
        after = models.load_model(tuned).state_dict()
        assert after.keys() == before.keys()
        assert any(not torch.equal(before[k], after[k]) for k in before)
    assert models.resolve(ModelConfig(id=str(a.path))).path.name == "epoch-2"
    assert not [p for p in a.path.rglob("*") if p.suffix in (".pt", ".pth", ".bin", ".pkl")]


def test_checkpoints_keep_the_precision_of_the_source(tiny_model_dir, subset, tmp_path):
    half = tmp_path / "half"
    ref = models.resolve(ModelConfig(id=str(tiny_model_dir)))
    models.load_model(ref, "bfloat16").save_pretrained(half)
    models.load_tokenizer(ref).save_pretrained(half)
    a = training.train(models.resolve(ModelConfig(id=str(half))), subset, quick(epochs=1), tmp_path)
    from safetensors.torch import load_file

    saved = load_file(training.checkpoints(a)[1] / "model.safetensors")
    assert {v.dtype for v in saved.values()} == {torch.bfloat16}


def test_every_nth_epoch_and_always_the_last(tiny_model_dir, subset, tmp_path):
    ref = models.resolve(ModelConfig(id=str(tiny_model_dir)))
    a = training.train(ref, subset, quick(epochs=5, checkpoint_every=2), tmp_path)
    assert list(training.checkpoints(a)) == [2, 4, 5]


def test_bad_settings_are_refused_before_work(tiny_model_dir, subset, tmp_path):
    ref = models.resolve(ModelConfig(id=str(tiny_model_dir)))
    with pytest.raises(UserError, match="takes 1024 positions"):
        training.train(ref, subset, quick(cutoff=1024), tmp_path)
    with pytest.raises(UserError, match="no replicate 3"):
        training.train(ref, subset, quick(), tmp_path, replicate=3)
    with pytest.raises(UserError, match="not a multiple"):
        training.train(ref, subset, quick(batch_size=6), tmp_path)
    assert not (tmp_path / "train").exists() or not list((tmp_path / "train").glob("*-????????"))


@pytest.mark.parametrize("fast", [True, False, None])
def test_auto_precision_is_resolved_and_part_of_the_identity(
    tiny_model_dir, subset, tmp_path, monkeypatch, fast
):
    monkeypatch.setattr(training, "cpu_bfloat16", lambda: hardware.Bfloat16(fast=fast, reason="a test"))
    ref = models.resolve(ModelConfig(id=str(tiny_model_dir)))
    a = training.train(ref, subset, quick(epochs=1), tmp_path, device="cpu")
    assert a.config["precision"] == ("bfloat16" if fast else "float32")
    named = training.train(
        ref, subset, quick(epochs=1, precision=a.config["precision"]), tmp_path, device="cpu"
    )
    assert named.path == a.path


def test_a_diverged_training_is_no_result(tiny_model_dir, subset, tmp_path):
    ref = models.resolve(ModelConfig(id=str(tiny_model_dir)))
    with pytest.raises(Diverged, match="diverged at step") as e:
        # beyond the bounds of a recipe
        wild = quick(warmup=0, precision="float32").model_copy(update={"learning_rate": 1e30})
        training.train(ref, subset, wild, tmp_path)
    assert "learning_rate" in e.value.remedy
    assert not list((tmp_path / "train").glob("*-????????"))


def test_epochs_are_summed_up(tiny_model_dir, subset, tmp_path):
    ref = models.resolve(ModelConfig(id=str(tiny_model_dir)))
    a = training.train(ref, subset, quick(), tmp_path)
    steps = parquet.read_parquet(a.file("metrics.parquet")).to_pylist()
    epochs = parquet.read_parquet(a.file("epochs.parquet")).to_pylist()
    half = len(steps) // 2
    assert [e["epoch"] for e in epochs] == [1, 2]
    for e, part in zip(epochs, (steps[:half], steps[half:]), strict=True):
        tokens = [s["tokens"] for s in part]
        assert e["loss"] == pytest.approx(np.average([s["loss"] for s in part], weights=tokens))
        assert sum(tokens) == a.counts["tokens"] - a.counts["blocks"]
        assert e["learning_rate"] == part[-1]["learning_rate"]
    assert a.counts["loss_by_epoch"]["2"] == pytest.approx(epochs[1]["loss"], abs=1e-6)


def test_two_processes_train_one_model(tiny_model_dir, subset, tmp_path):
    """torchrun, gloo, two CPU processes: one artifact, and step for step the losses of one process.

    39 blocks by 8 leave a last step with 7: to each process its share, no block twice.
    """
    options = ["--learning-rate", "5e-3", "--epochs", "2", "--batch-size", "8", "--micro-batch-size", "4",
               "--cutoff", "64", "--precision", "float32", "--device", "cpu"]  # fmt: skip
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0",
               "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "-m", "resurface",
               "train", str(tiny_model_dir), str(subset.path), *options, "--out", str(tmp_path / "two"),
               "--json"]  # fmt: skip
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=250)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count('"fingerprint"') == 1  # rank 0 speaks
    (path,) = (tmp_path / "two" / "train").glob("model-????????")
    two = artifacts.load(path)
    ref = models.resolve(ModelConfig(id=str(tiny_model_dir)))
    cfg = quick(precision="float32", save_steps=50)
    one = training.train(ref, subset, cfg, tmp_path / "one", device="cpu")
    assert two.fingerprint == one.fingerprint and two.counts["steps"] == one.counts["steps"]
    logged = [parquet.read_parquet(a.file("metrics.parquet")) for a in (one, two)]
    assert logged[0]["tokens"].to_pylist() == logged[1]["tokens"].to_pylist()
    for name in ("loss", "learning_rate", "grad_norm"):
        assert logged[1][name].to_pylist() == pytest.approx(logged[0][name].to_pylist(), rel=1e-4), name
    assert list(training.checkpoints(two)) == [1, 2]
    again = subprocess.run(command, capture_output=True, text=True, env=env, timeout=250)
    assert again.returncode == 0 and str(path) in again.stdout, again.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["full", "lora"])
def test_two_processes_that_are_killed_go_on_where_they_were(tiny_neox_dir, subset, tmp_path, method):
    options = ["--learning-rate", "5e-3", "--epochs", "6", "--batch-size", "4", "--micro-batch-size", "2",
               "--cutoff", "64", "--precision", "float32", "--device", "cpu", "--save-steps", "7",
               "--method", method]  # fmt: skip

    def start(out):
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend",
                   "c10d", "--rdzv-endpoint", "localhost:0", "-m", "resurface", "train", str(tiny_neox_dir),
                   str(subset.path), *options, "--out", str(out)]  # fmt: skip
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)

    def finish(out):
        process = start(out)
        _, err = process.communicate(timeout=280)
        assert process.returncode == 0, err[-3000:]
        (path,) = out.glob("train/model-????????")
        return artifacts.load(path)

    whole = finish(tmp_path / "whole")
    cut = start(tmp_path / "cut")
    while cut.poll() is None and not list(tmp_path.glob("cut/train/*.part/trainer/*/complete")):
        time.sleep(0.01)
    parent = psutil.Process(cut.pid)
    for process in (*parent.children(recursive=True), parent):  # torchrun gives each a session of its own
        process.kill()
    cut.communicate()
    assert list(tmp_path.glob("cut/train/*.part/trainer/checkpoint-*/complete"))
    assert finish(tmp_path / "cut").manifest["files"] == whole.manifest["files"]


@pytest.mark.parametrize("step", [10, 20])
def test_a_kill_right_after_the_last_step_of_an_epoch_loses_no_checkpoint(
    tiny_model_dir, subset, tmp_path, monkeypatch, step
):
    """A resume point at the end of an epoch exists, and the process dies before the epoch's end is logged."""
    ref = models.resolve(ModelConfig(id=str(tiny_model_dir)))
    cfg = quick(batch_size=4, save_steps=5, precision="float32")
    whole = training.train(ref, subset, cfg, tmp_path / "whole", device="cpu")
    assert whole.counts["steps"] == 20

    from transformers.trainer_callback import CallbackHandler

    real = CallbackHandler.on_epoch_end

    def die(self, args, state, control):
        if state.global_step == step:
            raise KeyboardInterrupt
        return real(self, args, state, control)

    monkeypatch.setattr(CallbackHandler, "on_epoch_end", die)
    with pytest.raises(KeyboardInterrupt):
        training.train(ref, subset, cfg, tmp_path / "cut", device="cpu")
    monkeypatch.setattr(CallbackHandler, "on_epoch_end", real)
    resumed = training.train(ref, subset, cfg, tmp_path / "cut", device="cpu")
    assert resumed.manifest["files"] == whole.manifest["files"]
