"""Engine `endpoint` against servers on loopback that are not as they should be, and the stages behind it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completions_server import NAME, Completions, serving
from resurface import workflows
from resurface.artifacts.parquet import read_corpus
from resurface.engines import server as http
from resurface.engines.base import SamplingParams, seed_of
from resurface.engines.completions import Choice, choice_of, wrong
from resurface.engines.endpoint import EndpointEngine
from resurface.errors import ResurfaceError, UserError
from resurface.executors import Shard
from resurface.models import ModelConfig, load_model, resolve
from resurface.specs import load_recipe, load_study
from resurface.stages.sampling import CorpusCounts, SampleConfig
from resurface.stats.reasons import Reason
from resurface.workflows.ranking.candidates import drawn as drawn_nats

MODEL = "lab:a-small"
P = SamplingParams(1.25, 2, 12, (0,), 0)


@pytest.fixture(scope="module")
def model() -> Any:
    return load_model(resolve(ModelConfig(id=MODEL)), "float32")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_FIRST_WAIT", 0.01)
    monkeypatch.delenv(http.KEY, raising=False)


def opened(server: Completions, served: str = NAME, requests: int = 4) -> EndpointEngine:
    return EndpointEngine(server.url, served, [0], requests)


def draw(engine: EndpointEngine, n: int = 4) -> list[Any]:
    return list(engine.sample([0], range(n), P))


# ------------------------------------------------------------------------------ servers that are refused


@pytest.mark.parametrize(
    ("behaviour", "served", "what", "remedy"),
    [
        ({"key": "secret-of-theirs"}, NAME, "wants a key", http.KEY),
        ({}, "other", "does not serve 'other'; it serves: 'tiny'", "--served-model"),
        ({"token_prompts": False}, NAME, "does not take a prompt as token ids: it was given 3", "vLLM"),
        ({"ids": "none"}, NAME, "text without its token ids", "return_token_ids"),
        ({"ids": "none", "logprobs": "none"}, NAME, "text without its token ids", "return_token_ids"),
        ({"redirects_to": "http://elsewhere.test/v1"}, NAME, "redirects to http://elsewhere.test", "trust"),
    ],
)
def test_a_server_that_cannot_is_refused_before_any_work(
    model: Any, behaviour: dict[str, Any], served: str, what: str, remedy: str
) -> None:
    with serving(model, **behaviour) as server:
        with pytest.raises(UserError) as found:
            opened(server, served)
        assert what in found.value.message and remedy in (found.value.remedy or "")
        assert len(str(found.value).splitlines()) == 2
        assert all(body["max_tokens"] == 1 for body in server.seen)


def test_nobody_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(UserError, match="does not answer") as found:
        EndpointEngine(f"http://127.0.0.1:{port}", NAME, [0], 1)
    assert "--endpoint" in (found.value.remedy or "")


def test_another_service_is_there() -> None:
    """Its answer is no JSON, and then no list of models."""
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Page(BaseHTTPRequestHandler):
        text = b"<html>"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.text)))
            self.end_headers()
            self.wfile.write(self.text)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        for Page.text, what in ((b"<html>", "JSON objects"), (b"[1]", "JSON objects"), (b"{}", "no models")):
            with pytest.raises(UserError, match=what):
                EndpointEngine(f"http://127.0.0.1:{server.server_address[1]}", NAME, [0], 1)
        server.shutdown()


def test_a_server_that_ignores_min_tokens_is_noticed(model: Any) -> None:
    with serving(model, honours_min_tokens=False) as server:
        engine = opened(server)
        p = SamplingParams(1.25, 11, 12, tuple(range(500)), 0)
        with pytest.raises(UserError, match=r"otherwise than it was asked to: .*min_tokens 11"):
            list(engine.sample([0], range(50), p))


# ------------------------------------------------------------------------------ keys, failures


def test_the_key_is_of_the_environment_and_is_never_said(
    model: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with serving(model, key="a-key-of-some-length") as server:
        monkeypatch.setenv(http.KEY, "a-key-of-some-length")
        corpus = workflows.sample(MODEL, config(server, samples=4), tmp_path)
        assert len(server.seen) == 6
        for file in tmp_path.rglob("*"):
            assert not file.is_file() or b"a-key-of" not in file.read_bytes()
        assert "a-key-of" not in json.dumps(corpus.manifest)
        monkeypatch.setenv(http.KEY, "another-key-of-theirs")
        with pytest.raises(UserError) as found:
            opened(server)
        assert "another-key" not in str(found.value)


@pytest.mark.parametrize("key", ["schlüssel-der-anderen", "of two\nlines-and-more"])
def test_a_key_that_is_none_is_not_sent(model: Any, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv(http.KEY, key)
    with serving(model) as server, pytest.raises(UserError, match="other characters") as found:
        opened(server)
    assert not server.headers and key[:6] not in str(found.value)


def test_a_prompt_need_not_fit_three_times(model: Any) -> None:
    with serving(model) as server:
        EndpointEngine(server.url, NAME, [0, *range(5, 205)], 1)
    assert {len(body["prompt"]) for body in server.seen} == {201}


def test_a_key_does_not_follow_a_redirect(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(http.KEY, "a-key-of-some-length")
    with serving(model) as other, serving(model, redirects_to=f"{other.url}/v1/models") as server:
        with pytest.raises(UserError, match="redirects"):
            opened(server)
        assert not other.headers and server.headers


@pytest.mark.parametrize(
    "failures",
    [[(429, "0")], [(503, "0"), (500, "")], [(429, "soon")] * 5],
    ids=["busy", "starting", "busy for long"],
)
def test_a_server_that_fails_for_a_while_is_asked_again(model: Any, failures: list[tuple[int, str]]) -> None:
    with serving(model) as server:
        engine = opened(server, requests=1)
        whole = {s.sample_id: s.token_ids.tolist() for s in draw(engine)}
        server.behaviour.failures = list(failures)
        assert {s.sample_id: s.token_ids.tolist() for s in draw(engine)} == whole
        assert sum(server.statuses[status] for status, _ in set(failures)) == len(failures)


def test_a_server_that_fails_for_good_ends_the_work(model: Any) -> None:
    with serving(model) as server:
        engine = opened(server, requests=2)
        server.behaviour.failures = [(500, "0")] * 1000
        with pytest.raises(ResurfaceError, match=r"failed 6 times in a row \(HTTP status 500: too busy\)"):
            draw(engine)
        assert server.statuses[500] <= 12


def test_a_server_that_goes_away_ends_the_work(model: Any) -> None:
    with serving(model) as server:
        engine = opened(server)
    with pytest.raises(ResurfaceError, match="6 times in a row"):
        draw(engine)


# ------------------------------------------------------------------------------ requests


def test_a_request_leaves_nothing_to_the_server(model: Any) -> None:
    with serving(model) as server:
        engine = opened(server)
        draw(engine)
        body = server.seen[-1]
    assert body["prompt"] == [0] and body["ignore_eos"] is True
    neutral = {"top_p": 1, "top_k": 0, "min_p": 0, "repetition_penalty": 1, "presence_penalty": 0}
    assert neutral.items() <= body.items()
    assert {b["seed"] for b in server.seen[2:]} == {seed_of(0, i) for i in range(4)}


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**40))
def test_seeds_fit_into_what_servers_take_and_differ(seed: int, sample_id: int) -> None:
    found = seed_of(seed, sample_id)
    assert 0 <= found < 2**63
    assert found != seed_of(seed, sample_id + 1) and found == seed_of(seed, sample_id)


def test_ids_are_read_from_the_names_of_tokens(model: Any) -> None:
    with serving(model, ids="names") as server, serving(model) as other:
        assert [s.token_ids.tolist() for s in draw(opened(server, requests=1))] == [
            s.token_ids.tolist() for s in draw(opened(other, requests=1))
        ]


@pytest.mark.parametrize(
    "choice",
    [
        {"token_ids": [1, -2]}, {"token_ids": [2**31]},
        {"token_ids": "12"}, {"token_ids": [True]}, {"text": "a"}, {},
        {"logprobs": {"tokens": ["token_id:1", "b"]}}, {"logprobs": {"tokens": ["token_id:x"]}},
    ],
)  # fmt: skip
def test_what_has_no_ids_is_not_encoded_again(choice: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="without its token ids"):
        choice_of({"choices": [choice]})
    for answer in ({}, {"choices": []}, {"choices": [choice, choice]}, {"choices": [1]}):
        with pytest.raises(UserError, match="not one choice"):
            choice_of(answer)


@pytest.mark.parametrize(
    ("ids", "finish", "what"),
    [
        ([5] * 12, "length", None),
        ([5, 5, 0], "stop", None),
        ([5, 0], "stop", "token 2 of a document is a stop id"),  # min_tokens is 2
        ([5, 0, 5, 0], "stop", "token 2 of a document is a stop id"),
        ([5] * 11 + [0], "length", "token 12 of a document is a stop id"),
        ([5, 5, 5], "stop", "which is no stop id"),
        ([5] * 11, "length", "11 tokens"),
        ([5] * 13, "length", "13 tokens"),
        ([], "stop", "0 tokens"),
        ([5] * 12, "abort", "finish_reason 'abort'"),
    ],
)
def test_what_a_document_must_be(ids: list[int], finish: str, what: str | None) -> None:
    found = wrong(Choice(ids, finish, None, None, None), P, scored=False)
    assert found is None if what is None else what in (found or "")


# ------------------------------------------------------------------------------ stages


def config(server: Completions, **change: Any) -> SampleConfig:
    base = dict(min_tokens=2, max_new_tokens=12, batch_size=4, temperature=1.0)
    where = dict(engine="endpoint", endpoint=server.url, served_model=NAME)
    return SampleConfig(**{**base, **where, **change})


@pytest.mark.parametrize(
    ("kind", "lacks", "reasons"),
    [
        ("raw", ["logprobs_tau"], (None, Reason.SERVER_GIVES_MODEL_ONLY)),
        ("processed", ["logprobs"], (Reason.SERVER_GIVES_DRAWN_ONLY, None)),
        ("none", ["logprobs", "logprobs_tau"], (Reason.SERVER_GIVES_NONE, Reason.SERVER_GIVES_NONE)),
    ],
)
def test_missing_is_null_with_a_reason_through_all_stages(
    model: Any, tmp_path: Path, kind: str, lacks: list[str], reasons: tuple[Reason | None, ...]
) -> None:
    with serving(model, logprobs=kind) as server:
        corpus = workflows.sample(MODEL, config(server, samples=12), tmp_path)
    engine = CorpusCounts.of(corpus).engine
    assert engine is not None and engine.name == "endpoint" and engine.version == "1.2.3"
    assert (engine.logprobs_reason, engine.logprobs_tau_reason) == reasons
    assert not engine.per_sample_streams and "cannot be checked" in engine.notes[0]
    rows = read_corpus(corpus)
    for name in ("logprobs", "logprobs_tau"):
        assert rows[name].null_count == (12 if name in lacks else 0)
    for action in ("reject", "cut"):
        audited = workflows.audit(corpus, out=tmp_path, benchmarks=("lab:facts",), ngram=4, action=action)
        kept = read_corpus(audited)
        assert kept["logprobs_tau"].null_count == (len(kept) if "logprobs_tau" in lacks else 0)
    subset = workflows.subset(audited, out=tmp_path, tokens=40, count=1)
    assert subset.counts["tokens"] == 40
    assert (None in drawn_nats(audited).values()) == ("logprobs_tau" in lacks)


def test_shards_that_a_server_drew_say_so_when_they_are_put_together(model: Any, tmp_path: Path) -> None:
    with serving(model, logprobs="raw") as server:
        cfg = config(server, samples=8)
        for i in (1, 2):
            workflows.sample_shard(MODEL, Shard(i, 2), cfg, tmp_path)
        whole = workflows.sample(MODEL, cfg, tmp_path / "whole")
    merged = workflows.merge(tmp_path)
    assert merged.fingerprint == whole.fingerprint and merged.counts == whole.counts
    assert CorpusCounts.of(merged).engine is not None


def test_a_corpus_is_continued_and_is_the_same(model: Any, tmp_path: Path) -> None:
    with serving(model) as server:
        cfg = config(server, samples=16)
        whole = workflows.sample(MODEL, cfg, tmp_path / "whole")
        server.behaviour.fails_for = frozenset({seed_of(0, 10)})
        with pytest.raises(ResurfaceError, match="in a row"):
            workflows.sample(MODEL, cfg, tmp_path / "again")
        shards = len(list((tmp_path / "again").glob("sample/*.part/corpus-*.parquet")))
        assert 1 <= shards <= 2
        server.behaviour.fails_for = frozenset()
        server.seen.clear()
        again = workflows.sample(MODEL, cfg, tmp_path / "again")
        done = {seed_of(0, i) for i in range(4 * shards)}
        assert done.isdisjoint(body["seed"] for body in server.seen)
    assert again.fingerprint == whole.fingerprint
    assert read_corpus(again).equals(read_corpus(whole))
    assert workflows.sample(MODEL, cfg, tmp_path / "again").path == again.path, "without the server"


def test_the_engine_is_part_of_the_identity(model: Any, tmp_path: Path) -> None:
    with serving(model) as server:
        theirs = workflows.sample(MODEL, config(server, samples=4), tmp_path)
    plain = {
        k: v for k, v in config(server, samples=4).model_dump().items() if k in ("samples", "temperature")
    }
    ours = workflows.sample(MODEL, out=tmp_path, **plain, min_tokens=2, max_new_tokens=12, batch_size=4)
    assert ours.fingerprint != theirs.fingerprint and theirs.config["engine"] == "endpoint"
    assert not {"engine", "endpoint", "served_model"} & set(ours.config) and "engine" not in ours.counts


def test_ctrl_c_ends_it_at_once(model: Any, tmp_path: Path) -> None:
    """A real process whose server is slow."""
    with serving(model) as server:
        where = ["--engine", "endpoint", "--endpoint", server.url, "--served-model", NAME]
        size = ["--samples", "1000", "--max-new-tokens", "8", "--min-tokens", "0", "--batch-size", "4"]
        command = [sys.executable, "-m", "resurface", "sample", MODEL, *where, *size, "--out", str(tmp_path)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
        while len(server.seen) < 12:
            assert process.poll() is None
            time.sleep(0.05)
        server.behaviour.slow = 30.0
        time.sleep(0.2)
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert "continues where it was" in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"engine": "vllm2"}, "is one of hf, vllm, endpoint"),
        ({"engine": "endpoint"}, "go together"),
        ({"endpoint": "http://127.0.0.1:1"}, "go together"),
        ({"served_model": "x"}, "none is given"),
        ({"engine": "endpoint", "endpoint": "127.0.0.1:8000"}, "no URL"),
        ({"engine": "endpoint", "endpoint": "ftp://127.0.0.1"}, "no URL"),
        ({"engine": "endpoint", "endpoint": "http://127.0.0.1:99999"}, "(?i)port"),
        ({"engine": "endpoint", "endpoint": "http://[::1"}, "IPv6"),
        ({"engine": "endpoint", "endpoint": "http://127.0.0.1/v1?key=hidden-key"}, "more than an address"),
        ({"engine": "endpoint", "endpoint": "http://me:hidden-key@127.0.0.1"}, "more than an address"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, Any], what: str) -> None:
    with pytest.raises(UserError, match=what) as found:
        SampleConfig(**options)
    assert "hidden-key" not in str(found.value)


def test_a_study_has_no_endpoint() -> None:
    where = ["sample.engine=endpoint", "sample.endpoint=http://127.0.0.1:1"]
    with pytest.raises(UserError, match="a server has one model, and a study several sources"):
        load_study("lab-matrix", overrides=where)


@contextlib.contextmanager
def _unused_port() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


def test_a_run_asks_before_any_work(tmp_path: Path) -> None:
    with _unused_port() as url:
        recipe = load_recipe(
            "lab", overrides=["sample.engine=endpoint", f"sample.endpoint={url}", "sample.served_model=tiny"]
        )
        with pytest.raises(UserError, match="does not answer"):
            workflows.run(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()
