"""Stage `subset`: K training sets of an exact token budget out of a corpus.

reads   a sample or audit artifact      writes   subset/<name>-<fp8>/subset-0.parquet ...
run     resurface subset runs/x/audit/corpus-1a2b3c4d --tokens 5000000 --count 3

A token is what training sees: the start token and every sampled token. The last document of a
subset is cut so that the budget is met exactly.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import Field

from resurface import artifacts
from resurface.artifacts import Artifact
from resurface.config import Config
from resurface.errors import UserError
from resurface.tables import read_corpus, write_parquet

STAGE_VERSION = 1
_SCHEMA = pa.schema([("sample_id", pa.int64()), ("input_ids", pa.list_(pa.int32()))])


class SubsetConfig(Config):
    """Defaults are the reference settings of arXiv 2605.31126."""

    tokens: int = Field(default=5_000_000, gt=0)
    """Exact size of each subset."""
    count: int = Field(default=3, gt=0)
    """How many subsets (K): replicates of the experiment."""
    disjoint: bool = True
    """No document in two subsets; needs count x tokens in the corpus."""
    with_replacement: bool = False
    """A document may be drawn several times, even within a subset."""
    seed: int = Field(default=0, ge=0)
    """Seed of the draws."""


def subset(corpus: Artifact, cfg: SubsetConfig, out: str | Path, *, name: str = "subset") -> Artifact:
    """Draw `cfg.count` subsets of exactly `cfg.tokens` tokens.

    Raises:
        UserError: the corpus is smaller than what is asked of it.
    """
    if corpus.stage not in ("sample", "audit"):
        raise UserError(f"{corpus.path} is a {corpus.stage} artifact", remedy="give a corpus")
    start_ids = start_of(corpus)
    inputs = {"corpus": artifacts.as_input(corpus)}
    config = cfg.model_dump(mode="json")
    table = read_corpus(corpus, ["sample_id", "token_ids"])
    docs = [np.concatenate([start_ids, x]).astype(np.int32) for x in _ids(table["token_ids"])]
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


def _ids(column: pa.ChunkedArray) -> list[np.ndarray]:
    return [np.asarray(x.values, dtype=np.int32) for x in column]


def start_of(corpus: Artifact) -> list[int]:
    """The start ids a corpus was sampled from; an audited corpus carries them along."""
    return list(corpus.config["start_tokens"]["start_ids"])


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
