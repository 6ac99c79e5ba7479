"""Shuffled self-text: the tokens of a subset, document by document, in random order.

reads   a subset of a token budget      writes   subset/<name>-<fp8>/subset-0.parquet ...

Lengths, token counts and the budget are those of the subset; nothing that one token says about the
next is left. The artifact is one of stage `subset`, so that whatever reads a subset reads it; its
configuration says `shuffled_from`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from resurface import artifacts
from resurface.artifacts import Artifact
from resurface.artifacts.parquet import read_parquet, write_parquet
from resurface.config import MOST_LENGTH, Config, Seed
from resurface.data import token_ids
from resurface.errors import UserError

STAGE = artifacts.Stage("subset", version=1)


TokenId = Annotated[int, Field(ge=0, lt=2**31)]


class ShuffleConfig(Config):
    """How a subset's documents are shuffled."""

    stop_ids: tuple[TokenId, ...] = Field(default=(), max_length=1000)
    """Ids that end a document, beside the one that it starts with."""
    start_ids: int = Field(default=1, ge=0, le=MOST_LENGTH)
    """How many ids a document starts with that are no text: they stay where they are."""
    seed: Seed = 0
    """Seed of the permutations."""


def shuffle(subset: Artifact, cfg: ShuffleConfig, out: str | Path, *, name: str = "shuffled") -> Artifact:
    """Every replicate of `subset` with the tokens of each document permuted; see `permuted`.

    Raises:
        UserError: not a subset, or one of a byte budget, which holds text and no tokens.
    """
    if subset.stage != "subset":
        raise UserError(f"{subset.path} is a {subset.stage} artifact", remedy="give a subset")
    names = sorted(n for n in subset.manifest["files"] if n.startswith("subset-"))
    tables = {n: read_parquet(subset.file(n)) for n in names}
    if any("input_ids" not in t.column_names for t in tables.values()):
        raise UserError(
            f"{subset.path} holds text, which has no tokens before a student reads it",
            remedy="give a subset of a token budget (--tokens, not --bytes)",
        )
    config = cfg.model_dump(mode="json") | {"shuffled_from": subset.fingerprint}
    config |= {k: v for k, v in subset.config.items() if k == "vocabulary"}
    inputs = {"subset": artifacts.as_input(subset)}

    def write(b: artifacts.Build) -> Mapping[str, Any]:
        for file, rows in tables.items():
            documents = token_ids.from_column(rows["input_ids"], str(subset.path))
            numbered = zip(rows["sample_id"].to_pylist(), documents, strict=True)
            ids = [permuted(x, i, cfg.seed, cfg.stop_ids, cfg.start_ids) for i, x in numbered]
            place = rows.schema.get_field_index("input_ids")
            field = rows.schema.field(place)
            write_parquet(rows.set_column(place, field, [pa.array(ids, field.type)]), b.path / file)
        return subset.counts

    return STAGE.make(out, name, write, config=config, inputs=inputs, keep=set(names))


def permuted(
    ids: NDArray[np.int32], sample_id: int, seed: int, stop_ids: Collection[int] = (), start_ids: int = 1
) -> NDArray[np.int32]:
    """The ids [n] of one document in an order drawn from (seed, sample_id).

    The first `start_ids`, which start the document, stay; so does the last if it ends the document: if
    it is one of these again (a separator is both) or of `stop_ids`. A document that was cut has no such
    end.
    """
    ends = len(ids) > start_ids and (ids[-1] in ids[:start_ids] or int(ids[-1]) in stop_ids)
    found = ids.copy()
    inner = found[start_ids : len(ids) - ends]
    np.random.default_rng([seed, sample_id]).shuffle(inner)
    return found
