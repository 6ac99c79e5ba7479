"""One step in two processes or in one: the same bytes; and when there are several."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from resurface import hardware, models, workflows
from resurface.artifacts import parquet
from resurface.errors import UserError
from resurface.executors import together
from resurface.models import ModelConfig
from resurface.stages import sampling, subsets, training
from resurface.trainer.config import TrainConfig
from resurface.trainer.packed import BatchOrder
from resurface.trainer.processes import micro_batch, processes


@given(st.integers(1, 256), st.integers(1, 256), st.sampled_from([1, 2, 4]), st.sampled_from(["cpu", "cuda"]))
def test_micro_batches_make_whole_steps_where_those_of_the_settings_do(batch, micro, world, kind):
    cfg = TrainConfig(batch_size=batch, micro_batch_size=micro)
    asked = min(micro, max(batch // world, 1))
    if batch % (asked * world) == 0:  # else `check_batch` refuses
        mine = micro_batch(cfg, world, kind)
        assert 1 <= mine <= micro and batch % (mine * world) == 0


@given(st.integers(1, 60), st.integers(1, 4), st.sampled_from([1, 2, 4]), st.integers(0, 3), st.booleans())
def test_every_block_counts_once_and_all_processes_have_as_many_batches(blocks, micro, world, epoch, whole):
    orders = []
    for rank in range(world):
        order = BatchOrder(blocks, micro, rank, world, seed=0, filled=4 * micro * world if whole else None)
        order.epoch = epoch
        orders.append(list(order))
        assert len(orders[-1]) == len(order)
    assert sorted(i for o in orders for batch in o for i in batch if i >= 0) == list(range(blocks))
    assert len({len(o) for o in orders}) == 1
    if whole:
        assert len(orders[0]) % 4 == 0 and all(len(b) == micro for b in orders[0])


@pytest.fixture
def subset(tiny_model_dir, tmp_path):
    held = ModelConfig(id=str(tiny_model_dir))
    cfg = sampling.SampleConfig(samples=40, min_tokens=20, max_new_tokens=40, batch_size=20)
    corpus = workflows.sample(held, cfg, tmp_path)
    return subsets.subset(corpus, subsets.SubsetConfig(tokens=700, count=1), tmp_path, name="s")


def test_two_processes_give_the_bytes_of_one(tiny_model_dir, subset, tmp_path, monkeypatch):
    """22 blocks by 8 leave a last step with 6: the second process has two blocks of it, and filling."""
    ref = models.resolve(ModelConfig(id=str(tiny_model_dir)))
    cfg = TrainConfig(learning_rate=5e-3, epochs=2, batch_size=8, micro_batch_size=8, cutoff=32,
                      precision="float32", save_steps=50)  # fmt: skip
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)  # which a small model does not use
        one = training.train(ref, subset, cfg, tmp_path / "one", device="cpu")
    finally:
        torch.set_num_threads(before)
    monkeypatch.setattr(training, "processes", lambda *_, **__: 2)
    two = workflows.train(ModelConfig(id=str(tiny_model_dir), device="cpu"), subset, cfg, tmp_path / "two")
    assert (one.counts["processes"], two.counts["processes"]) == (1, 2)
    assert one.counts["blocks"] % 8 == 6
    assert two.manifest["files"] == one.manifest["files"]  # hashes of models and of every step's loss
    assert parquet.read_parquet(two.file("metrics.parquet")).equals(
        parquet.read_parquet(one.file("metrics.parquet"))
    )
    monkeypatch.setattr(together, "together", None)  # what is finished starts no process
    again = workflows.train(ModelConfig(id=str(tiny_model_dir), device="cpu"), subset, cfg, tmp_path / "two")
    assert again.path == two.path


def test_processes_fit_cores_work_and_memory(tiny_model_dir, monkeypatch):
    monkeypatch.delenv(hardware.PROCESSES, raising=False)
    monkeypatch.setattr(hardware, "threads", lambda: 6)
    monkeypatch.setattr(hardware, "free_memory", lambda: 8 << 30)
    path = models.resolve(ModelConfig(id=str(tiny_model_dir))).path
    much = partial(processes, path, 10**9)
    assert much(TrainConfig(batch_size=8)) == 4  # a power of two
    assert much(TrainConfig(batch_size=2, micro_batch_size=2)) == 2
    assert much(TrainConfig(batch_size=7)) == 1
    assert processes(path, 100, TrainConfig(batch_size=8)) == 1  # not worth a start
    monkeypatch.setattr(hardware, "free_memory", lambda: 20 << 20)
    assert much(TrainConfig(batch_size=8, micro_batch_size=2, cutoff=512)) == 1
    monkeypatch.setattr(hardware, "free_memory", lambda: None)  # not told
    monkeypatch.setattr(hardware, "threads", lambda: 1)
    assert much(TrainConfig(batch_size=8)) == 1


@pytest.mark.parametrize("value", ["0", "two", "-1", ""])
def test_no_number_of_processes(tiny_model_dir, monkeypatch, value):
    monkeypatch.setenv(hardware.PROCESSES, value)
    path = models.resolve(ModelConfig(id=str(tiny_model_dir))).path
    with pytest.raises(UserError, match=hardware.PROCESSES):
        processes(path, 10**9, TrainConfig())
