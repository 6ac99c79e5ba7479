"""Engine `vllm` for real, on a CPU: what the contract of all engines does not say."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from resurface import doctor, workflows
from resurface.artifacts.parquet import read_corpus
from resurface.engines import registry
from resurface.engines.base import SamplingParams
from resurface.engines.hf import HFEngine
from resurface.engines.loaded_model import LoadedModel
from resurface.engines.registry import Options
from resurface.errors import UserError
from resurface.models import ModelConfig, load_model
from resurface.specs import load_recipe
from resurface.stages.sampling import CorpusCounts
from vllm_here import needs_vllm, vllm_serving


def with_marks(test: Any) -> Any:
    for mark in needs_vllm:
        test = mark(test)
    return test


@contextlib.contextmanager
def opened(name: str, rows: int = 8, **change: Any) -> Iterator[Any]:
    loaded = LoadedModel.open(ModelConfig(id=name), "auto")
    engine: Any = registry.open_sampler("vllm", dataclasses.replace(loaded, **change), Options(rows))
    with contextlib.closing(engine):
        yield engine


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
def test_without_it_the_command_that_installs_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="engine vllm is not installed") as found:
        workflows.run(load_recipe("lab", overrides=["sample.engine=vllm"]), tmp_path / "run")
    assert "pip install 'resurface[vllm]'" in (found.value.remedy or "")
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match="engine vllm is not installed"):
        workflows.sample("lab:a-small", out=tmp_path, samples=1, max_new_tokens=60, engine="vllm")
    status = {e.name: e for e in registry.statuses()}
    assert status["vllm"].version is None and status["vllm"].install == "pip install 'resurface[vllm]'"
    assert status["hf"].version and status["endpoint"].install is None


@with_marks
@pytest.mark.parametrize("name", ["lab:a-small", "lab:b-medium", "lab:c-large"])
def test_documents_of_the_whole_context_have_the_log_probabilities_of_hf(name: str) -> None:
    """GPT-NeoX, Llama and Qwen2; the last token of such a document has no successor."""
    p = SamplingParams(1.25, 250, 255, (0,), 0)
    with opened(name) as engine:
        found = list(engine.sample([0], range(10), p))
    model = load_model(engine._model.ref, "float32")
    for s in found:
        assert len(s.token_ids) > 250
        (want,) = HFEngine(model).score([[0, *s.token_ids.tolist()]], temperatures=(1.25,))
        np.testing.assert_allclose(s.logprobs, want.logprob, atol=1e-3)
        # behind min_tokens nothing is masked
        at_tau = want.logit[250:] / 1.25 - want.logsumexp[250:, 0]
        np.testing.assert_allclose(s.logprobs_tau[250:], at_tau, atol=1e-3)


@with_marks
def test_the_stages_take_its_corpus(tmp_path: Path) -> None:
    options: Any = dict(min_tokens=5, max_new_tokens=40, batch_size=8, engine="vllm")
    corpus = workflows.sample("lab:a-small", out=tmp_path, samples=40, **options)
    again = workflows.sample("lab:a-small", out=tmp_path / "again", tokens=900, **options)
    engine = CorpusCounts.of(corpus).engine
    assert engine is not None and (engine.name, engine.per_sample_streams) == ("vllm", True)
    assert engine.version and any("51187" in note for note in engine.notes)
    assert engine.logprobs_reason is engine.logprobs_tau_reason is None
    assert not psutil.Process().children(), "what it took is free again"
    rows, few = read_corpus(corpus).to_pylist(), read_corpus(again).to_pylist()
    assert [r["token_ids"] for r in few] == [r["token_ids"] for r in rows[: len(few)]], "seed and id decide"
    assert None not in [r[k] for r in rows for k in ("logprobs", "logprobs_tau")]
    audited = workflows.audit(corpus, out=tmp_path, benchmarks=("lab:facts",), ngram=4)
    assert workflows.subset(audited, out=tmp_path, tokens=200, count=1).counts["tokens"] == 200
    assert workflows.sample("lab:a-small", out=tmp_path, samples=40, **options).path == corpus.path
    assert {e.name: e.version for e in doctor.diagnose().engines}["vllm"] == engine.version


@with_marks
def test_what_it_cannot_do_is_refused(tiny_model_dir: Path) -> None:
    with opened("lab:a-small") as engine, pytest.raises(UserError, match=r"not draw at temperature 0\.005"):
        engine.sample([0], [0], SamplingParams(0.005, 0, 4, (), 0))
    with (
        pytest.raises(UserError, match="is for a CPU, and the model is on cuda:0"),
        opened("lab:a-small", device="cuda:0"),
    ):
        pass
    # attention of 8 numbers a head, which its kernels for CPUs do not have
    with opened(str(tiny_model_dir)) as engine, pytest.raises(UserError, match="vLLM cannot run") as found:
        list(engine.sample([0], [0], SamplingParams(1.0, 0, 4, (), 0)))
    assert "--engine hf" in (found.value.remedy or "")


@with_marks
def test_longer_documents_start_it_again() -> None:
    with opened("lab:a-small") as engine:
        pids = []
        for length in (16, 8, 32):
            (s,) = engine.sample([0], [3], SamplingParams(1.0, length, length, (0,), 0))
            assert len(s.token_ids) == length
            pids.append(engine._child._process.pid)
    assert pids[0] == pids[1] != pids[2]
    assert not any(psutil.pid_exists(p) for p in pids)


@with_marks
def test_ctrl_c_ends_its_process_too(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "resurface", "sample", "lab:a-small", "--engine", "vllm"]
    command += ["--samples", "100000", "--min-tokens", "0", "--batch-size", "4", "--out", str(tmp_path)]
    command += ["--max-new-tokens", "16"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not list(tmp_path.glob("sample/*.part/corpus-*.parquet")):
        assert process.poll() is None
        time.sleep(0.1)
    (child,) = psutil.Process(process.pid).children()
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "continues where it was" in err and "Traceback" not in err
    psutil.wait_procs([child], timeout=30)
    assert not child.is_running()


@with_marks
def test_its_server_as_drawn(tmp_path: Path) -> None:
    """A server that gives log-probabilities of drawing, by the command line."""
    with vllm_serving("lab:a-small", "--logprobs-mode", "processed_logprobs") as url:
        command = [sys.executable, "-m", "resurface", "sample", "lab:a-small", "--engine", "endpoint"]
        command += ["--endpoint", url, "--samples", "20", "--min-tokens", "5", "--max-new-tokens", "30"]
        subprocess.run([*command, "--out", str(tmp_path)], check=True, timeout=300)
    corpus = workflows.stages.given(next(tmp_path.glob("sample/*")), "sample")
    engine = CorpusCounts.of(corpus).engine
    assert engine is not None and engine.logprobs_reason == "server_gives_drawn_only"
    assert read_corpus(corpus)["logprobs_tau"].null_count == 0
