"""Settings of the computation are obeyed: seen in the layers while they are trained."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from transformers.models.llama.modeling_llama import LlamaMLP

from resurface import models
from resurface.models import ModelConfig
from resurface.stages import training
from resurface.trainer import processes
from test_training_families import quick, subset  # noqa: F401


@dataclass
class Seen:
    """Of the calls of a layer's MLP in training: dtypes of results and weights, threads of torch."""

    calls: int = 0
    results: list[torch.dtype] = field(default_factory=list)
    weights: set[torch.dtype] = field(default_factory=set)
    threads: set[int] = field(default_factory=set)


@pytest.fixture
def seen(monkeypatch):
    found, real = Seen(), LlamaMLP.forward

    def forward(self, x):
        found.calls += self.training  # before: computing again stops within, at what is needed last
        out = real(self, x)
        if self.training:
            found.results.append(out.dtype)
            found.weights |= {p.dtype for p in self.parameters()}
            found.threads.add(torch.get_num_threads())
        return out

    monkeypatch.setattr(LlamaMLP, "forward", forward)
    return found


def trained(model_dir, given, tmp_path, **change):
    ref = models.resolve(ModelConfig(id=str(model_dir)))
    return training.train(ref, given, quick(epochs=1, **change), tmp_path, device="cpu")


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("packing", ["joined", "masked"])
def test_gradient_checkpointing_computes_layers_again(
    tiny_model_dir,
    subset,  # noqa: F811
    tmp_path,
    seen,
    method,
    packing,
):
    """19 blocks by 2 are 10 passes through 2 layers, and as many again in the backward pass."""
    how = dict(method=method, packing=packing)
    plain = trained(tiny_model_dir, subset, tmp_path, **how)
    passes, last = seen.calls, plain.counts["final_loss"]
    assert passes == 2 * -(-plain.counts["blocks"] // 2)
    again = trained(tiny_model_dir, subset, tmp_path, gradient_checkpointing=True, **how)
    assert seen.calls - passes == 2 * passes
    assert again.fingerprint != plain.fingerprint
    assert again.counts["final_loss"] == pytest.approx(last, abs=1e-5)


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("packing", ["joined", "masked"])
def test_bfloat16_multiplies_in_bfloat16_over_float32_weights(
    tiny_model_dir,
    subset,  # noqa: F811
    tmp_path,
    seen,
    method,
    packing,
):
    how = dict(method=method, packing=packing)
    full = trained(tiny_model_dir, subset, tmp_path, precision="float32", **how)
    assert set(seen.results) == {torch.float32}
    seen.results.clear()
    half = trained(tiny_model_dir, subset, tmp_path, precision="bfloat16", **how)
    assert set(seen.results) == {torch.bfloat16} and seen.weights == {torch.float32}
    assert half.counts["final_loss"] != full.counts["final_loss"]
    assert half.counts["final_loss"] == pytest.approx(full.counts["final_loss"], rel=0.01)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_a_small_model_has_one_thread_and_its_manifest_says_so(
    tiny_model_dir,
    subset,  # noqa: F811
    tmp_path,
    seen,
    two_threads,
    monkeypatch,
):
    a = trained(tiny_model_dir, subset, tmp_path / "small")
    assert seen.threads == {1} and a.manifest["provenance"]["machine"]["threads"] == 1
    assert a.counts["processes"] == 1
    assert torch.get_num_threads() == 2
    seen.threads.clear()
    monkeypatch.setattr(processes, "SMALL", 1)
    b = trained(tiny_model_dir, subset, tmp_path / "large")
    assert seen.threads == {2} and b.manifest["provenance"]["machine"]["threads"] == 2
    assert a.fingerprint == b.fingerprint  # facts, not identity


def test_threads_of_processes_and_of_other_devices_are_not_touched(tiny_model_dir, two_threads):
    path = models.resolve(ModelConfig(id=str(tiny_model_dir))).path
    for world, kind, expected in ((1, "cpu", 1), (2, "cpu", 2), (1, "cuda", 2)):
        with processes.threads(path, world, kind):
            assert torch.get_num_threads() == expected
