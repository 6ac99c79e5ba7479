"""A server of completions on loopback: real HTTP, tokens of a real model by the hf engine.

It speaks what vLLM's server speaks, as far as resurface asks; `faults` make it another kind of server.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch

from resurface.engines.base import SamplingParams
from resurface.engines.hf import HFEngine

NAME = "tiny"


@dataclass
class Behaviour:
    """logprobs: raw (T = 1), processed (as drawn) or none. ids: whether token ids come back, and how:
    field (token_ids), names (token_id:N), or none. key: that it wants. failures: answers before the first
    good one, (status, Retry-After). slow: seconds per request. fails_for: seeds that it always fails with."""

    logprobs: str = "raw"
    ids: str = "field"
    key: str | None = None
    failures: list[tuple[int, str]] = field(default_factory=list)
    token_prompts: bool = True
    honours_min_tokens: bool = True
    redirects_to: str | None = None
    slow: float = 0.0
    fails_for: frozenset[int] = frozenset()


class Completions(ThreadingHTTPServer):
    """seen: bodies of completions, in order. headers: of every request."""

    daemon_threads = True

    def __init__(self, model: Any, behaviour: Behaviour) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.engine, self.behaviour, self.turn = HFEngine(model, 1), behaviour, threading.Lock()
        self.seen: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.statuses: Counter[int] = Counter()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def draw(self, body: dict[str, Any]) -> dict[str, Any]:
        b, prompt = self.behaviour, body["prompt"]
        if not b.token_prompts:  # takes the list for a text, which has other tokens
            prompt = [5] * len(str(prompt))
        params = SamplingParams(
            temperature=body["temperature"],
            min_tokens=body["min_tokens"] if b.honours_min_tokens else 0,
            max_new_tokens=body["max_tokens"],
            stop_ids=tuple(body["stop_token_ids"]),
            seed=body["seed"],
            top_k=body["top_k"],
            top_p=body["top_p"],
        )
        with self.turn:
            (s,) = self.engine.sample(prompt, [0], params)
            top = self.top(prompt, params)
        ids = s.token_ids.tolist()
        choice: dict[str, Any] = {"index": 0, "text": "words", "finish_reason": s.finish_reason}
        if b.ids == "field":
            choice |= {"token_ids": ids, "prompt_token_ids": prompt}
        if b.logprobs != "none":
            values = s.logprobs if b.logprobs == "raw" else s.logprobs_tau
            assert values is not None
            names = [f"token_id:{i}" if b.ids != "none" else "word" for i in ids]
            tops = [{"token_id:1": top}] + [{"token_id:1": -1.0}] * (len(ids) - 1)
            choice["logprobs"] = {"tokens": names, "token_logprobs": values.tolist(), "top_logprobs": tops}
        usage = {"prompt_tokens": len(prompt), "completion_tokens": len(ids)}
        return {"object": "text_completion", "choices": [choice], "usage": usage}

    def top(self, prompt: list[int], p: SamplingParams) -> float:
        """The highest log-probability behind a prompt."""
        if self.behaviour.logprobs == "processed" and p.top_k == 1:
            return 0.0
        with torch.no_grad():
            logits = self.engine.model(torch.tensor([prompt])).logits[0, -1]
        scale = p.temperature if self.behaviour.logprobs == "processed" else 1.0
        return float((logits / scale).log_softmax(-1).max())


class _Handler(BaseHTTPRequestHandler):
    server: Completions
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answers(
            {"/v1/models": {"data": [{"id": NAME}]}, "/version": {"version": "1.2.3"}}.get(self.path)
        )

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        b = self.server.behaviour
        time.sleep(b.slow)
        if b.failures or body["seed"] in b.fails_for:
            status, after = b.failures.pop(0) if b.failures else (500, "0")
            self.says(status, {"error": {"message": "too busy"}}, {"Retry-After": after})
            return
        if body["model"] != NAME:
            self.says(404, {"error": {"message": f"no model {body['model']}"}})
            return
        self.server.seen.append(body)
        self.answers(self.server.draw(body) if self.path == "/v1/completions" else None)

    def answers(self, found: Any) -> None:
        b = self.server.behaviour
        self.server.headers.append(dict(self.headers))
        if b.redirects_to is not None:
            self.says(307, {}, {"Location": b.redirects_to})
        elif b.key is not None and self.headers.get("Authorization") != f"Bearer {b.key}":
            self.says(401, {"error": {"message": f"not {self.headers.get('Authorization')}"}})
        else:
            self.says(200, found) if found is not None else self.says(404, {"error": "no such path"})

    def says(self, status: int, found: Any, headers: dict[str, str] | None = None) -> None:
        self.server.statuses[status] += 1
        data = json.dumps(found).encode()
        with contextlib.suppress(OSError):  # who asked may be gone
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def serving(model: Any, **behaviour: Any) -> Iterator[Completions]:
    """A server that runs until the block ends."""
    server = Completions(model, Behaviour(**behaviour))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
