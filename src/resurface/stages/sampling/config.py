"""What a sampled corpus is: the options, and the blocks that it is drawn and written in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import Field, model_validator

from resurface.config import MOST_BATCH, MOST_LENGTH, MOST_TOKENS, Config, Seed
from resurface.engines.registry import ENGINES, Options, check_address
from resurface.errors import quoted

_DOCUMENTS = 20_000  # where neither documents nor tokens are given


class SampleConfig(Config):
    """Defaults are those of the repository of arXiv 2605.31126 (for Qwen2.5), but for the start."""

    samples: int | None = Field(default=None, gt=0, le=10**9)
    """Documents: this or `tokens`; with neither, 20,000."""
    tokens: int | None = Field(default=None, gt=0, le=MOST_TOKENS)
    """Stop at the document that makes it this many tokens."""
    temperature: float = Field(default=1.25, ge=1e-3, le=1e3)
    """Softmax temperature tau, over the full vocabulary."""
    min_tokens: int = Field(default=50, ge=0, le=MOST_LENGTH)
    """No document ends before: stop ids are masked until then."""
    max_new_tokens: int = Field(default=1024, gt=0, le=MOST_LENGTH)
    """A document is cut here."""
    top_k: int = Field(default=0, ge=0, le=10**7)
    """0 = off."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """1 = off."""
    start: str = "auto"
    """auto (BOS, else <|endoftext|>), bos, separator, a token, or prompt:TEXT, no part of a document."""
    seed: Seed = 0
    """Seed of every document's random stream."""
    batch_size: int = Field(default=64, gt=0, le=MOST_BATCH)
    """Documents that are drawn together."""
    shard_size: int | None = Field(default=None, gt=0, le=10**6)
    """Documents per file, in whole batches; else one batch."""
    engine: str = "hf"
    """What draws: hf, vllm or endpoint, a server. See doctor."""
    endpoint: str | None = None
    """URL of the server; its key, if any, in RESURFACE_API_KEY."""
    served_model: str | None = None
    """The server's name for the model, if not MODEL."""

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


@dataclass(frozen=True)
class Blocks:
    """A corpus in runs of documents, each a file: block k is drawn alike, whoever draws it."""

    size: int
    """Documents of each, in whole batches: so batches are the same wherever one begins."""
    documents: int | None
    """Of the corpus; None where tokens decide."""
    tokens: int
    """Of the corpus, where documents do not decide."""
    longest: int
    """Tokens of a document."""
    shortest: int

    @classmethod
    def of(cls, cfg: SampleConfig) -> Blocks:
        size = -(-(cfg.shard_size or cfg.batch_size) // cfg.batch_size) * cfg.batch_size
        documents = cfg.samples if cfg.samples is not None or cfg.tokens is not None else _DOCUMENTS
        return cls(size, documents, cfg.tokens or 0, cfg.max_new_tokens, max(cfg.min_tokens, 1))

    @property
    def most(self) -> int:
        """Blocks that there are at most."""
        documents = self.documents if self.documents is not None else -(-self.tokens // self.shortest)
        return -(-documents // self.size)

    def ids(self, k: int) -> range:
        """The documents of block k."""
        first = k * self.size
        return range(
            first, first + self.size if self.documents is None else min(first + self.size, self.documents)
        )

    def needed(self, there: Mapping[int, int]) -> Iterator[int]:
        """Every block that the corpus needs, as far as can be told; there: block -> its tokens, if drawn.

        Of a corpus of so many tokens, blocks are needed until those before them hold as many; one that is not
        there counts for nine tenths of the mean of the others, where there are none for all that it can hold.
        The first that is missing is always among them.
        """
        mean = sum(there.values()) / len(there) if there else self.size * self.longest / 0.9
        held, k = 0.0, 0
        while k < self.most and (self.documents is not None or held < self.tokens):
            yield k
            held += there.get(k, 0.9 * mean)
            k += 1
