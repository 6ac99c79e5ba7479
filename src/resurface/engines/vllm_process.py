"""vLLM in a process of its own: what `engines.vllm` calls there.

A document takes two requests: one draws it and gives the log-probabilities of drawing, one reads it again, as
a prompt, and gives those of the model at T = 1. vLLM gives one kind per engine, and of prompts the latter.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resurface.engines.base import Sample, SamplingParams, seed_of
from resurface.engines.memory import room
from resurface.errors import Diverged

_PATIENCE = 0.5  # seconds of work between two answers
_BLOCK = 128  # tokens that memory is given out by
_LEAST = 2**28  # bytes


@dataclass(frozen=True)
class Setup:
    """What is loaded, and how.

    length: tokens of a document at most, with what it is given. rows: documents that are drawn together.
    on_cpu: without compiling, which takes minutes there, and with as much memory as that many documents need;
    a GPU's is taken whole.
    """

    directory: str
    dtype: str
    length: int
    rows: int
    on_cpu: bool
    trust_remote_code: bool


def start(setup: Setup) -> None:
    """Load the model and draw a document of one token, which shows whether it can be done at all."""
    global _engine, _rows
    from transformers import AutoConfig
    from vllm import EngineArgs, LLMEngine

    config = AutoConfig.from_pretrained(setup.directory, trust_remote_code=setup.trust_remote_code)
    need = room(config.get_text_config(), setup.rows, setup.length + _BLOCK)
    args = EngineArgs(
        model=setup.directory,
        dtype=setup.dtype,
        max_model_len=setup.length,
        max_num_seqs=setup.rows,
        enforce_eager=setup.on_cpu,
        kv_cache_memory_bytes=max(need, _LEAST) if setup.on_cpu else None,
        trust_remote_code=setup.trust_remote_code,
        skip_tokenizer_init=True,
        logprobs_mode="processed_logprobs",
        generation_config="vllm",  # or defaults of the model's file shape the distribution
        enable_prefix_caching=False,
        disable_log_stats=True,
        use_tqdm_on_load=False,
    )
    _engine, _rows = LLMEngine.from_engine_args(args), setup.rows
    begin((0,), (0,), SamplingParams(1.0, 0, 1, (), 0))
    while not more()[1]:
        pass


def begin(given: tuple[int, ...], sample_ids: Sequence[int], params: SamplingParams) -> None:
    """From now on `more` gives these samples; those of before are dropped."""
    global _drawing
    drop()
    _drawing = _Drawing(_engine, _rows, given, sample_ids, params)


def more() -> tuple[list[Sample], bool]:
    """Samples that have ended, as soon as there are some or half a second has passed; whether they are the
    last.

    Raises:
        Diverged: a log-probability is not finite.
    """
    return _drawing.more()


def drop() -> None:
    """Draw no more."""
    global _drawing
    if _drawing is not None:
        _drawing.abort()
    _drawing = None


_engine: Any = None
_rows = 0
_drawing: Any = None


@dataclass(frozen=True)
class _Drawn:
    token_ids: list[int]
    logprobs: list[float]
    finish_reason: str


class _Drawing:
    """Requests on their way: never more than two batches, so that any number of samples may be asked for."""

    def __init__(
        self,
        engine: Any,
        rows: int,
        given: tuple[int, ...],
        sample_ids: Sequence[int],
        params: SamplingParams,
    ) -> None:
        self._engine, self._most = engine, 2 * rows
        self._given, self._params = given, params
        self._waiting: Iterator[int] = iter(sample_ids)
        self._more = True
        self._open: dict[str, int] = {}  # request -> sample
        self._drawn: dict[int, _Drawn] = {}

    def more(self) -> tuple[list[Sample], bool]:
        finished: list[Sample] = []
        until = time.monotonic() + _PATIENCE
        while not finished and time.monotonic() < until:
            self._fill()
            if not self._open:
                break
            for output in self._engine.step():
                if output.finished:
                    finished += self._ended(output)
        return finished, not self._open and not self._more

    def abort(self) -> None:
        self._engine.abort_request(list(self._open))
        while self._engine.has_unfinished_requests():
            self._engine.step()

    def _fill(self) -> None:
        while self._more and len(self._open) < self._most:
            if (i := next(self._waiting, None)) is None:
                self._more = False
                return
            self._ask(f"draw {i}", i, self._given, _drawing_params(self._params, i))

    def _ask(self, request: str, sample_id: int, prompt: Sequence[int], params: Any) -> None:
        self._open[request] = sample_id
        self._engine.add_request(request, {"prompt_token_ids": list(prompt)}, params)

    def _ended(self, output: Any) -> Iterator[Sample]:
        i, (choice,) = self._open.pop(output.request_id), output.outputs
        if output.request_id.startswith("draw"):
            ids = list(choice.token_ids)
            taus = [at[t].logprob for at, t in zip(choice.logprobs, ids, strict=True)]
            self._drawn[i] = _Drawn(ids, taus, choice.finish_reason)
            # the last token is asked for by name, as a prompt of the model's whole length has no successor
            self._ask(f"read {i}", i, [*self._given, *ids[:-1]], _reading_params(ids[-1]))
            return
        drawn = self._drawn.pop(i)
        *before, last = drawn.token_ids
        read = (output.prompt_logprobs or [])[len(self._given) :]
        raws = [at[t].logprob for at, t in zip(read, before, strict=True)]
        raws.append(choice.logprobs[0][last].logprob)
        yield Sample(
            i,
            np.array(drawn.token_ids, np.int32),
            _finite(raws),
            _finite(drawn.logprobs),
            drawn.finish_reason,
        )


def _drawing_params(params: SamplingParams, sample_id: int) -> Any:
    from vllm import SamplingParams as Theirs

    return Theirs(
        temperature=params.temperature,
        top_k=params.top_k,
        top_p=params.top_p,
        min_tokens=params.min_tokens,
        max_tokens=params.max_new_tokens,
        stop_token_ids=list(params.stop_ids),
        ignore_eos=True,  # what ends a document is in stop_ids, and nothing else
        seed=seed_of(params.seed, sample_id),
        logprobs=0,
        **_QUIET,
    )


def _reading_params(last: int) -> Any:
    from vllm import SamplingParams as Theirs

    return Theirs(
        temperature=1.0, max_tokens=1, prompt_logprobs=0, logprob_token_ids=[last], ignore_eos=True, seed=0,
        **_QUIET,
    )  # fmt: skip


_QUIET: Mapping[str, Any] = {"detokenize": False}


def _finite(values: Sequence[float]) -> NDArray[np.float32]:
    found = np.array(values, np.float32)
    if not np.isfinite(found).all():
        raise Diverged(
            "the model's logits are not finite: a document has log-probabilities that are no numbers",
            remedy="draw in float32: --dtype float32",
        )
    return found
