"""What every engine that draws has to do, over all of them; vLLM in its own environment (-m vllm)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from completions_server import NAME, serving
from resurface.engines import registry
from resurface.engines.base import Sample, Sampler, SamplingParams
from resurface.engines.endpoint import EndpointEngine
from resurface.engines.hf import HFEngine
from resurface.engines.loaded_model import LoadedModel
from resurface.engines.registry import Options
from resurface.models import ModelConfig, load_model, resolve
from vllm_here import needs_vllm, vllm_serving

MODEL = "lab:a-small"
START = [0, 9, 4]


def params(**change: Any) -> SamplingParams:
    base = dict(temperature=1.3, min_tokens=4, max_new_tokens=24, stop_ids=(0, 7), seed=3)
    return SamplingParams(**{**base, **change})


@pytest.fixture(scope="module")
def model() -> Any:
    return load_model(resolve(ModelConfig(id=MODEL)), "float32")


@contextlib.contextmanager
def hf(model: Any) -> Iterator[Sampler]:
    yield HFEngine(model, 16)


def endpoint(kind: str) -> Callable[[Any], contextlib.AbstractContextManager[Sampler]]:
    @contextlib.contextmanager
    def opened(model: Any) -> Iterator[Sampler]:
        with serving(model, logprobs=kind) as server:
            yield EndpointEngine(server.url, NAME, START, 8)

    return opened


@contextlib.contextmanager
def vllm(model: Any) -> Iterator[Sampler]:
    loaded = LoadedModel.open(ModelConfig(id=MODEL), "auto")
    engine: Any = registry.open_sampler("vllm", loaded, Options(batch_size=16))
    with contextlib.closing(engine):
        yield engine


@contextlib.contextmanager
def vllm_server(model: Any) -> Iterator[Sampler]:
    with vllm_serving(MODEL) as url:
        yield EndpointEngine(url, MODEL, START, 8)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(hf, id="hf"),
        pytest.param(endpoint("raw"), id="endpoint-raw"),
        pytest.param(endpoint("processed"), id="endpoint-processed"),
        pytest.param(vllm, id="vllm", marks=needs_vllm),
        pytest.param(vllm_server, id="endpoint-vllm", marks=needs_vllm),
    ],
)
def engine(request: pytest.FixtureRequest, model: Any) -> Iterator[Sampler]:
    with request.param(model) as opened:
        yield opened


def drawn(engine: Sampler, n: int, p: SamplingParams) -> list[Sample]:
    return sorted(engine.sample(START, range(n), p), key=lambda s: s.sample_id)


def test_every_sample_comes_once(engine: Sampler) -> None:
    ids = [11, 2, 300, 7, *range(400, 430)]
    assert sorted(s.sample_id for s in engine.sample(START, ids, params())) == sorted(ids)


def test_documents_end_where_they_should(engine: Sampler) -> None:
    """Half of the vocabulary ends a document: none before min_tokens, none in its middle."""
    stops = tuple(range(300))
    ends = set()
    for s in drawn(engine, 32, params(stop_ids=stops, min_tokens=6, max_new_tokens=8)):
        ids = s.token_ids.tolist()
        assert s.token_ids.dtype == np.int32
        assert all(i >= 300 for i in ids[:-1]) and len(ids) > 6
        assert s.finish_reason == ("stop" if ids[-1] < 300 else "length")
        assert s.finish_reason == "stop" or len(ids) == 8
        ends.add(s.finish_reason)
    assert ends == {"stop", "length"}


def test_log_probabilities_are_those_of_the_model(engine: Sampler, model: Any) -> None:
    p = params(top_k=50, temperature=0.7)
    can = engine.capabilities
    for s in drawn(engine, 12, p):
        with torch.no_grad():
            logits = model(torch.tensor([[*START, *s.token_ids.tolist()]])).logits[0, len(START) - 1 : -1]
        ids = torch.from_numpy(s.token_ids.astype(np.int64))[:, None]
        at_1 = logits.log_softmax(-1).gather(1, ids)[:, 0]
        allowed = logits.clone()
        allowed[: p.min_tokens, list(p.stop_ids)] = -torch.inf
        kth = allowed.topk(p.top_k, -1).values[:, -1:]
        at_tau = (
            (allowed.masked_fill(allowed < kth, -torch.inf) / p.temperature).log_softmax(-1).gather(1, ids)
        )
        assert torch.isfinite(at_tau).all(), "what is left out is not drawn"
        for found, want, missing in (
            (s.logprobs, at_1, can.no_logprobs),
            (s.logprobs_tau, at_tau[:, 0], can.no_logprobs_tau),
        ):
            if missing is None:
                assert found is not None and found.dtype == np.float32
                np.testing.assert_allclose(found, want, atol=2e-4)
            else:
                assert found is None


def test_where_nothing_is_changed_there_is_one_log_probability(engine: Sampler) -> None:
    for s in drawn(engine, 4, params(temperature=1.0, min_tokens=0, stop_ids=(0,))):
        assert s.logprobs is not None and s.logprobs_tau is not None
        np.testing.assert_allclose(s.logprobs, s.logprobs_tau, atol=2e-4)


def test_the_first_token_is_drawn_from_the_distribution(engine: Sampler, model: Any) -> None:
    p = params(min_tokens=1, max_new_tokens=1)
    n = 800
    with torch.no_grad():
        logits = model(torch.tensor([START])).logits[0, -1].double()
    logits[list(p.stop_ids)] = -torch.inf
    expected = (logits / p.temperature).softmax(-1).numpy() * n
    counts = np.bincount([int(s.token_ids[0]) for s in drawn(engine, n, p)], minlength=len(expected))
    assert not counts[list(p.stop_ids)].any()
    # rare tokens in groups that are expected often enough
    order = np.argsort(-expected)
    groups = np.cumsum(expected[order]) // 20
    bins = [(counts[order][groups == g].sum(), expected[order][groups == g].sum()) for g in np.unique(groups)]
    seen, want = np.array([b for b in bins if b[1] >= 5]).T
    chi2 = ((seen - want) ** 2 / want).sum()
    assert stats.chi2.sf(chi2, len(want) - 1) > 1e-4


def test_the_seed_and_the_sample_decide(engine: Sampler) -> None:
    """In float32 on one machine, with other samples beside it."""
    a = {s.sample_id: s.token_ids.tolist() for s in engine.sample(START, range(24), params())}
    b = {s.sample_id: s.token_ids.tolist() for s in engine.sample(START, [20, 3, 11], params())}
    assert all(a[i] == ids for i, ids in b.items())
    assert len({tuple(ids) for ids in a.values()}) == 24
    other = {s.sample_id: s.token_ids.tolist() for s in engine.sample(START, [20, 3], params(seed=4))}
    assert other != {i: a[i] for i in other}


def test_a_caller_that_has_enough_closes_the_iterator(engine: Sampler) -> None:
    drawing = engine.sample(START, range(10**6), params())
    with contextlib.closing(drawing):
        few = [next(drawing) for _ in range(20)]
    assert len({s.sample_id for s in few}) == 20
    assert len(drawn(engine, 3, params())) == 3, "and asks again"


def test_temperature_must_be_positive(engine: Sampler) -> None:
    with pytest.raises(ValueError, match="temperature"):
        list(engine.sample(START, [0], params(temperature=0)))
