"""Stage `predict`: what every predictor says of one corpus for one student.

reads   a student, a corpus      writes   predict/<name>-<fp8>/predictors.parquet (one row per predictor)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import Field

from resurface import artifacts
from resurface.artifacts import Artifact
from resurface.artifacts.parquet import write_parquet
from resurface.compatibility import predictors
from resurface.compatibility.predictors import Pair
from resurface.config import MOST_BATCH, Config, Names, Seed

STAGE = artifacts.Stage("predict", version=3)
FILE = "predictors.parquet"

SCHEMA = pa.schema(
    [
        ("predictor", pa.string()),
        ("value", pa.float64()),
        ("error", pa.float64()),
        ("student_passes", pa.float64()),
        ("source_passes", pa.float64()),
        ("reason", pa.string()),
    ]
)


class PredictorsConfig(Config):
    """What predictors of a gain look at."""

    names: Names = ()
    """Predictors to measure; none named: all."""
    documents: int = Field(default=512, gt=1, le=10**7)
    """Documents of a corpus that are scored."""
    tasks: Names = ()
    """Development tasks, for predictors that need a benchmark: other ones than those that are reported."""
    items: int = Field(default=64, gt=1, le=10**7)
    """Items of each of these tasks, evenly spread."""
    batch_size: int = Field(default=32, gt=0, le=MOST_BATCH)
    """Documents per forward pass."""
    seed: Seed = 0
    """Of projections, splits, clusters and the pilot's order."""


class PredictCounts(artifacts.Counts):
    """Of predictors: how many, and how many have a value."""

    predictors: int
    measured: int


def measure_pair(
    make: Callable[[], Pair],
    cfg: PredictorsConfig,
    training: Mapping[str, Any],
    inputs: Mapping[str, Mapping[str, Any]],
    out: str | Path,
    *,
    name: str,
    dtype: str,
) -> Artifact:
    """Measure `cfg.names`; `make` loads what they look at, and is called only if there is work.

    training: plain values that decide the pilot; inputs: everything else that decides a value.

    Raises:
        UserError: no such predictor.
    """
    names = [p.name for p in predictors.find(cfg.names)]
    config = cfg.model_dump(mode="json", exclude={"batch_size"}) | {"names": names, "dtype": dtype}
    config["training"] = dict(training)

    def write(b: artifacts.Build) -> PredictCounts:
        rows = predictors.measure(make(), names)
        write_parquet(pa.Table.from_pylist([asdict(r) for r in rows], schema=SCHEMA), b.path / FILE)
        return PredictCounts(predictors=len(rows), measured=sum(r.value is not None for r in rows))

    return STAGE.make(out, name, write, config=config, inputs=inputs, keep={FILE})
