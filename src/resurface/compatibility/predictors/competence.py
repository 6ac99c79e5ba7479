"""What the source itself can do: a score of its quality, the same for all students."""

from __future__ import annotations

import numpy as np

from resurface.compatibility.predictors.base import Estimate, Pair, Predictor
from resurface.compatibility.predictors.items import continuations, gold_logprobs


def source_gold(pair: Pair) -> Estimate:
    """Log-probability per byte of the gold answers under the source, in nats, mean over tasks."""
    assert pair.source is not None
    found = gold_logprobs(pair.source, pair.benchmark)
    errors = [x.std(ddof=1) / len(x) ** 0.5 if len(x) > 1 else np.nan for x in found.values()]
    error = float(np.sqrt(np.square(errors).sum()) / len(errors))
    items = sum(len(x) for ids, _ in continuations(pair.source, pair.benchmark).values() for x in ids)
    value = float(np.mean([x.mean() for x in found.values()]))
    return Estimate(value, error if np.isfinite(error) else None, 0.0, items / pair.tokens)


PREDICTORS = [
    Predictor(
        "source_gold",
        "log-probability of the gold answers under the source",
        +1,
        source_gold,
        ("source", "benchmark"),
    )
]
