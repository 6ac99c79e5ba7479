"""Stage `subset`: K training sets of an exact token budget out of a corpus.

reads   a sample or audit artifact      writes   subset/<name>-<fp8>/subset-0.parquet ...
run     resurface subset runs/x/audit/corpus-1a2b3c4d --tokens 5000000 --count 3

With a budget in tokens, a token is what training sees: the start token and every sampled token; the
last document of a subset is cut so that the budget is met exactly. With a budget in bytes a subset
is a set of whole documents, as text: every student of a matrix gets the same ones, and `train`
encodes them with the student's own tokenizer (also where the student is the source).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from resurface import artifacts, token_rows
from resurface.artifacts import Artifact
from resurface.config import MOST_TOKENS, Config, Seed
from resurface.errors import UserError, reading
from resurface.tables import read_corpus, write_parquet

STAGE_VERSION = 1
_SCHEMA = pa.schema([("sample_id", pa.int64()), ("input_ids", pa.list_(pa.int32()))])
_TEXT_SCHEMA = pa.schema([("sample_id", pa.int64()), ("text", pa.string()), ("ended", pa.bool_())])


class SubsetConfig(Config):
    """Defaults are the reference settings of arXiv 2605.31126."""

    tokens: int = Field(default=5_000_000, gt=0, le=MOST_TOKENS)
    """Exact size of each subset."""
    bytes: int | None = Field(default=None, gt=0, le=MOST_TOKENS)
    """Size in UTF-8 bytes of text instead, to the first document that reaches it (for a matrix)."""
    count: int = Field(default=3, gt=0, le=1000)
    """How many subsets (K): replicates of the experiment."""
    disjoint: bool = True
    """No document in two subsets; needs count x tokens in the corpus."""
    with_replacement: bool = False
    """A document may be drawn several times, even within a subset."""
    seed: Seed = 0
    """Seed of the draws."""

    @model_validator(mode="after")
    def _bounded(self) -> SubsetConfig:
        if self.count * (size := self.bytes or self.tokens) > MOST_TOKENS:
            unit = "bytes" if self.bytes else "tokens"
            raise ValueError(
                f"count x {unit} is {self.count * size:,}; {MOST_TOKENS:,} {unit} are the most there can be"
            )
        return self


def subset(corpus: Artifact, cfg: SubsetConfig, out: str | Path, *, name: str = "subset") -> Artifact:
    """Draw `cfg.count` subsets of exactly `cfg.tokens` tokens, or of at least `cfg.bytes` bytes.

    Raises:
        UserError: the corpus is smaller than what is asked of it.
    """
    if corpus.stage not in ("sample", "collect", "audit"):
        raise UserError(f"{corpus.path} is a {corpus.stage} artifact", remedy="give a corpus")
    inputs = {"corpus": artifacts.as_input(corpus)}
    config = cfg.model_dump(mode="json")
    if cfg.bytes is not None:
        return _text_subsets(corpus, cfg, out, name, config, inputs)
    start_ids = start_of(corpus)
    table = read_corpus(corpus, ["sample_id", "token_ids"])
    docs = [
        np.concatenate([start_ids, x]).astype(np.int32)
        for x in token_rows.from_column(table["token_ids"], str(corpus.path))
    ]
    sample_ids = table["sample_id"].to_numpy()
    chosen = choose([len(d) for d in docs], cfg)  # refuses before anything is written
    with artifacts.build(out, "subset", name, version=STAGE_VERSION, config=config, inputs=inputs) as b:
        if b.artifact is not None:
            return b.artifact
        for k, picks in enumerate(chosen):
            rows = {
                "sample_id": [int(sample_ids[i]) for i, _ in picks],
                "input_ids": [docs[i][:n] for i, n in picks],
            }
            write_parquet(pa.table(rows, schema=_SCHEMA), b.path / f"subset-{k}.parquet")
        counts = {"tokens": cfg.tokens, "count": cfg.count, "documents": [len(p) for p in chosen]}
        return b.finish(counts, keep={f"subset-{k}.parquet" for k in range(cfg.count)})


def _text_subsets(
    corpus: Artifact,
    cfg: SubsetConfig,
    out: str | Path,
    name: str,
    config: dict[str, Any],
    inputs: dict[str, dict[str, Any]],
) -> Artifact:
    table = read_corpus(corpus, ["sample_id", "text", "finish_reason"])
    sizes = [len(t.encode()) for t in table["text"].to_pylist()]
    chosen = choose_whole(sizes, cfg)
    with artifacts.build(out, "subset", name, version=STAGE_VERSION, config=config, inputs=inputs) as b:
        if b.artifact is not None:
            return b.artifact
        ended = pa.compute.equal(table["finish_reason"], "stop")
        for k, picks in enumerate(chosen):
            columns = [table["sample_id"], table["text"], ended]
            rows = pa.table([c.take(pa.array(picks)) for c in columns], schema=_TEXT_SCHEMA)
            write_parquet(rows, b.path / f"subset-{k}.parquet")
        counts = {
            "bytes": [sum(sizes[i] for i in picks) for picks in chosen],
            "count": cfg.count,
            "documents": [len(p) for p in chosen],
        }
        return b.finish(counts, keep={f"subset-{k}.parquet" for k in range(cfg.count)})


def choose_whole(sizes: list[int], cfg: SubsetConfig) -> list[list[int]]:
    """Which documents: cfg.count lists, each of at least cfg.bytes bytes. sizes: bytes of each.

    Documents without text are never drawn.

    Raises:
        UserError: not enough bytes.
    """
    assert cfg.bytes is not None
    shared = cfg.disjoint and not cfg.with_replacement
    usable = [i for i, n in enumerate(sizes) if n]
    total = sum(sizes)
    rng = np.random.default_rng(cfg.seed)
    order = iter(rng.permutation(usable).tolist())
    subsets = []
    for k in range(cfg.count):
        if not shared and k:
            order = iter(rng.permutation(usable).tolist())
        picks: list[int] = []
        left = cfg.bytes
        while left > 0:
            i = usable[int(rng.integers(len(usable)))] if cfg.with_replacement and usable else next(order, -1)
            if i < 0:
                raise UserError(
                    f"{cfg.count} x {cfg.bytes:,} bytes are more than the corpus of {total:,} bytes holds"
                    + (" for disjoint subsets" if shared else ""),
                    remedy="sample more, or ask for fewer bytes, or --no-disjoint, or --with-replacement",
                )
            picks.append(i)
            left -= sizes[i]
        subsets.append(picks)
    return subsets


def start_of(corpus: Artifact) -> list[int]:
    """The start ids a corpus was sampled from; an audited corpus carries them along."""
    what = f"{corpus.path}: start_tokens of its manifest"
    with reading(what):
        return token_rows.from_list(corpus.config["start_tokens"]["start_ids"], what).tolist()


def choose(lengths: list[int], cfg: SubsetConfig) -> list[list[tuple[int, int]]]:
    """Which documents, and how many tokens of each: count lists of (document, tokens).

    lengths: tokens of each document, start token included. Each list sums to cfg.tokens exactly.

    Raises:
        UserError: not enough tokens.
    """
    total = sum(lengths)
    rng = np.random.default_rng(cfg.seed)
    shared = cfg.disjoint and not cfg.with_replacement
    need = cfg.tokens * (cfg.count if shared else 1)
    if not lengths or (need > total and not cfg.with_replacement):
        remedy = "sample more, or ask for fewer tokens"
        if shared and cfg.tokens <= total:
            remedy += ", or let subsets overlap with --no-disjoint"
        raise UserError(
            f"the budget of {need:,} tokens is larger than the corpus of {total:,} tokens",
            remedy=remedy + ", or allow repeats with --with-replacement",
        )
    subsets = []
    order = iter(rng.permutation(len(lengths)).tolist())
    for k in range(cfg.count):
        if not shared and k:
            order = iter(rng.permutation(len(lengths)).tolist())
        picks: list[tuple[int, int]] = []
        left = cfg.tokens
        while left:
            i = int(rng.integers(len(lengths))) if cfg.with_replacement else next(order, -1)
            if i < 0:  # the tails that earlier subsets cut off are missing at the end
                raise UserError(
                    f"the corpus of {total:,} tokens is too small for {cfg.count} disjoint subsets of "
                    f"{cfg.tokens:,} tokens: documents are cut where a subset ends",
                    remedy="sample a little more, or use --no-disjoint",
                )
            n = min(lengths[i], left)
            picks.append((i, n))
            left -= n
        subsets.append(picks)
    return subsets
