"""Stage `sample`: draw documents from a model given its start token, or a prompt, alone.

reads   a model            writes   sample/<name>-<fp8>/corpus-00000.parquet ...
run     resurface sample smollm2-135m-instruct --tokens 20000

Sample i depends on (model, configuration, seed, i). Shards are written whole, in order; a killed
run loses at most the shards in progress, one per process, and continues behind the last that is there.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from resurface import artifacts, progress
from resurface.artifacts import Artifact
from resurface.artifacts.parquet import CORPUS_SCHEMA, lossy_documents, read_parquet, write_parquet
from resurface.config import MOST_BATCH, MOST_LENGTH, MOST_TOKENS, Config, Seed
from resurface.engines.base import EngineRecord, Sample, Sampler, SamplingParams
from resurface.engines.registry import ENGINES, Options, check_address
from resurface.errors import quoted
from resurface.models import ModelRef, require_context
from resurface.models.start_tokens import StartTokens
from resurface.models.tokenizing import decode_documents

STAGE = artifacts.Stage("sample", version=2)
_DOCUMENTS = 20_000  # where neither documents nor tokens are given
_OF_ENGINES = {"engine", "endpoint", "served_model"}


class SampleConfig(Config):
    """Defaults are those of the repository of arXiv 2605.31126 (for Qwen2.5), but for the start."""

    samples: int | None = Field(default=None, gt=0, le=10**9)
    """Number of documents. Give this or `tokens`; with neither, 20,000 documents."""
    tokens: int | None = Field(default=None, gt=0, le=MOST_TOKENS)
    """Stop at the first document that brings the corpus to this many tokens."""
    temperature: float = Field(default=1.25, ge=1e-3, le=1e3)
    """Softmax temperature tau, over the full vocabulary."""
    min_tokens: int = Field(default=50, ge=0, le=MOST_LENGTH)
    """No document ends before this many tokens: stop ids are masked until then."""
    max_new_tokens: int = Field(default=1024, gt=0, le=MOST_LENGTH)
    """A document is cut here (finish_reason "length")."""
    top_k: int = Field(default=0, ge=0, le=10**7)
    """0 = off."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """1 = off."""
    start: str = "auto"
    """Start: auto (BOS, else <|endoftext|>), bos, separator, a token of the vocabulary, or prompt:TEXT, which
    documents are drawn behind and which is no part of them."""
    seed: Seed = 0
    """Seed of every document's random stream."""
    batch_size: int = Field(default=64, gt=0, le=MOST_BATCH)
    """Documents that are drawn together."""
    shard_size: int | None = Field(default=None, gt=0, le=10**6)
    """Documents per file, in whole batches: what a crash can cost each process (default: batch_size)."""
    engine: str = "hf"
    """What draws: hf, vllm or endpoint (a server); see `resurface doctor`."""
    endpoint: str | None = None
    """URL of an OpenAI-compatible server; its key, if any, in RESURFACE_API_KEY."""
    served_model: str | None = None
    """The server's name for the model (default: MODEL)."""

    @model_validator(mode="after")
    def _one_engine(self) -> SampleConfig:
        if self.engine not in ENGINES:
            raise ValueError(f"engine: is one of {', '.join(ENGINES)} (not {quoted(self.engine)})")
        if (self.engine == "endpoint") != (self.endpoint is not None):
            raise ValueError("engine endpoint and the URL of an endpoint go together: give both, or neither")
        if self.served_model is not None and self.endpoint is None:
            raise ValueError("served_model is a name of an endpoint's, and none is given")
        if self.endpoint is not None:
            check_address(self.endpoint)
        return self

    @model_validator(mode="after")
    def _one_size(self) -> SampleConfig:
        if self.samples is not None and self.tokens is not None:
            raise ValueError("give samples or tokens, not both")
        if (self.samples or 0) * self.max_new_tokens > MOST_TOKENS:
            raise ValueError(
                f"samples x max_new_tokens is {(self.samples or 0) * self.max_new_tokens:,} tokens, "
                f"more than {MOST_TOKENS:,}"
            )
        if self.min_tokens > self.max_new_tokens:
            raise ValueError(f"min_tokens {self.min_tokens} exceeds max_new_tokens {self.max_new_tokens}")
        if self.shard_size is not None and self.batch_size > self.shard_size:
            raise ValueError(
                f"batch_size {self.batch_size} exceeds shard_size {self.shard_size}, which is drawn at a time"
            )
        return self


def options(cfg: SampleConfig) -> Options:
    """How the engine of `cfg` is opened."""
    return Options(cfg.batch_size, expected_tokens(cfg), cfg.endpoint, cfg.served_model)


def of_another_model(cfg: SampleConfig) -> SampleConfig:
    """The same, for a model that the endpoint, if any, does not serve: by the default engine."""
    if cfg.endpoint is None:
        return cfg
    return cfg.model_copy(update={"engine": "hf", "endpoint": None, "served_model": None})


def expected_tokens(cfg: SampleConfig) -> int:
    """About how many tokens will be drawn; of documents whose lengths are not known yet, a guess."""
    documents = cfg.samples or _DOCUMENTS
    return cfg.tokens or int(documents * math.sqrt(max(cfg.min_tokens, 1) * cfg.max_new_tokens))


def sample(
    ref: ModelRef,
    engine: Sampler,
    tokenizer: Any,
    start: StartTokens,
    cfg: SampleConfig,
    out: str | Path,
    *,
    dtype: str,
    name: str = "corpus",
) -> Artifact:
    """Draw the corpus of `cfg` from a model, given `start` and nothing else.

    engine: that of cfg.engine, which is part of the identity: none draws the documents of another. dtype: the
    precision of the weights, likewise (another precision is another distribution). Returns the artifact; its
    counts are `CorpusCounts`.

    Raises:
        UserError: documents longer than the model's context; the disk is full; another process
            samples the same corpus (Busy).
    """
    require_context(ref, len(start.given) + cfg.max_new_tokens, "a document", "lower sample.max_new_tokens")
    # corpora of the default engine have the identity that they had before there were others
    default = _OF_ENGINES if cfg.engine == "hf" else set()
    config = cfg.model_dump(mode="json", exclude=default)
    config |= {"start_tokens": start.as_dict(), "dtype": dtype}
    inputs = {"model": ref.as_input()}

    def write(b: artifacts.Build) -> CorpusCounts:
        params = SamplingParams(
            temperature=cfg.temperature,
            min_tokens=cfg.min_tokens,
            max_new_tokens=cfg.max_new_tokens,
            stop_ids=start.stop_ids,
            seed=cfg.seed,
            top_k=cfg.top_k,
            top_p=cfg.top_p,
        )
        _sample_shards(b, engine, tokenizer, start, cfg, params)
        shards = sorted(p.name for p in b.path.glob("corpus-*.parquet"))
        counts = _counts([b.path / s for s in shards])
        if cfg.engine == "hf":
            return counts
        lacks = _lacks([b.path / s for s in shards])
        return counts.model_copy(update={"engine": EngineRecord.of(cfg.engine, engine, lacks)})

    return STAGE.make(out, name, write, config=config, inputs=inputs, keep={"corpus-*.parquet"})


class CorpusCounts(artifacts.Counts):
    """Of a sampled corpus."""

    left_out = ("engine",)

    documents: int
    tokens: int
    ended_share: float
    """Of documents, by themselves."""
    text_tokens: int
    """Of the stripped texts, encoded again."""
    without_token: int
    """Ids that have no token in the tokenizer."""
    control_inside: int
    """Control tokens inside documents."""
    lossy_documents: int
    """That have either."""
    engine: EngineRecord | None = None
    """What drew it; None for the default engine."""


def _counts(shards: Sequence[Path]) -> CorpusCounts:
    lengths: list[int] = []
    stopped = lossy = 0
    sums: dict[str, Any] = dict.fromkeys(("text_tokens", "without_token", "control_inside"), 0)
    for shard in shards:
        table = read_parquet(shard, ["token_ids", "finish_reason", *sums])
        lengths += pc.list_value_length(table["token_ids"]).to_pylist()
        stopped += table["finish_reason"].to_pylist().count("stop")
        for name in sums:
            sums[name] += pc.sum(table[name]).as_py()
        lossy += pc.sum(lossy_documents(table)).as_py()
    return CorpusCounts(
        documents=len(lengths),
        tokens=sum(lengths),
        ended_share=round(stopped / len(lengths), 4),
        **sums,
        lossy_documents=lossy,
    )


def _lacks(shards: Sequence[Path]) -> set[str]:
    """Which log-probabilities are not there of every document."""
    names = ("logprobs", "logprobs_tau")
    return {n for n in names if any(read_parquet(s, [n])[n].null_count for s in shards)}


def _sample_shards(
    b: artifacts.Build,
    engine: Sampler,
    tokenizer: Any,
    start: StartTokens,
    cfg: SampleConfig,
    params: SamplingParams,
) -> None:
    wanted = cfg.samples if cfg.samples is not None or cfg.tokens is not None else _DOCUMENTS
    done_docs = done_tokens = shard = 0
    while (file := b.path / f"corpus-{shard:05d}.parquet").exists():
        lengths = pc.list_value_length(read_parquet(file, ["token_ids"])["token_ids"])
        done_docs += len(lengths)
        done_tokens += pc.sum(lengths).as_py()
        shard += 1
    total, done, unit = (wanted, done_docs, "docs") if wanted else (cfg.tokens, done_tokens, "tok")
    assert total is not None
    if done >= total:
        return
    # whole batches, so that those of a resumed run are the same
    size = -(-(cfg.shard_size or cfg.batch_size) // cfg.batch_size) * cfg.batch_size
    # every document has min_tokens
    most = done_docs + size + (total - done) // max(cfg.min_tokens, 1)
    ids = range(done_docs, wanted if wanted else most)
    drawing = engine.sample(start.given, ids, params)
    # whatever ends this, nobody draws on
    with contextlib.closing(drawing), progress.task("sample", total, unit, done) as bar:
        # a token budget may be passed inside the last shard: the bar stops at its end
        drawn = _counted(drawing, bar, documents=bool(wanted))
        for documents in _in_order(drawn, done_docs, size, wanted):
            if not wanted:
                kept = 0
                while kept < len(documents) and done_tokens < total:
                    done_tokens += len(documents[kept].token_ids)
                    kept += 1
                documents = documents[:kept]
            _write_shard(b.path / f"corpus-{shard:05d}.parquet", documents, tokenizer, cfg.seed)
            b.save_state()
            shard += 1
            if not wanted and done_tokens >= total:
                break


def _counted(samples: Iterable[Sample], bar: progress.Task, *, documents: bool) -> Iterator[Sample]:
    """The same; the bar advances by documents or tokens."""
    for one in samples:
        yield one
        bar.advance(1 if documents else len(one.token_ids))


def _in_order(samples: Iterable[Sample], first: int, size: int, end: int | None) -> Iterator[list[Sample]]:
    """Lists of `size` documents by ascending id from `first` on, the last before `end` maybe shorter."""
    waiting: dict[int, Sample] = {}
    for one in samples:
        waiting[one.sample_id] = one
        while True:
            ids = range(first, first + size if end is None else min(first + size, end))
            if not ids or len(waiting) < len(ids) or not all(i in waiting for i in ids):
                break
            yield [waiting.pop(i) for i in ids]
            first += size


def _write_shard(file: Path, drawn: Sequence[Sample], tokenizer: Any, seed: int) -> None:
    found = decode_documents(
        tokenizer, [s.token_ids.tolist() for s in drawn], [s.finish_reason == "stop" for s in drawn]
    )
    columns = {
        "sample_id": [s.sample_id for s in drawn],
        "token_ids": [s.token_ids for s in drawn],
        "text": found.text,
        "logprobs": [s.logprobs for s in drawn],
        "logprobs_tau": [s.logprobs_tau for s in drawn],
        "finish_reason": [s.finish_reason for s in drawn],
        "seed": [seed] * len(drawn),
        "without_token": found.without_token,
        "control_inside": found.control_inside,
        "text_tokens": found.text_tokens,
    }
    write_parquet(pa.table(columns, schema=CORPUS_SCHEMA), file)
