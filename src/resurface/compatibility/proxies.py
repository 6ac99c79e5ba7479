"""An intrinsic score of a corpus that is said to fail at predicting its utility (METHODS D): mean NLL.

It stays in every study, so that whoever proposes a better predictor has to beat it there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from resurface.engines.base import Engine

DOCUMENTS = 512  # of a corpus that are scored: the standard error is far below the differences


@dataclass(frozen=True)
class Text:
    """Documents as a student would see them: its tokenizer, behind its start ids."""

    documents: Sequence[str]
    tokenizer: Any
    start_ids: Sequence[int]


def mean_nll(engine: Engine, text: Text, *, most: int = DOCUMENTS) -> dict[str, float]:
    """Mean negative log-likelihood (nats) per token and per UTF-8 byte of the first documents."""
    documents = [d for d in text.documents if d][:most]
    encoded = text.tokenizer(documents, add_special_tokens=False, verbose=False)["input_ids"]
    limit = getattr(getattr(engine, "model", None), "config", None)
    context = getattr(limit, "max_position_embeddings", None) or 1 << 30
    ids = [[*text.start_ids, *x][:context] for x in encoded]
    scores = engine.score(ids)
    total = -sum(float(s.logprob.sum(dtype=np.float64)) for s in scores)
    tokens = sum(len(s.logprob) for s in scores)
    size = sum(len(d.encode()) for d in documents)
    return {"nll_per_token": total / tokens, "nll_per_byte": total / size}


def within_student(
    cells: Sequence[Mapping[str, Any]], proxies: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Per proxy: Spearman's rank correlation with the gain over sources, within each student, and its mean.

    A proxy that ranks sources right for every student has mean 1 (or -1, for NLL, where less is
    better). Null where a student's values are all equal or there are fewer than 3 sources.
    """
    from scipy.stats import spearmanr

    gains = {(c["source"], c["student"]): c["gain"] for c in cells}
    names = [k for k in (proxies[0] if proxies else {}) if k not in ("source", "student")]
    students = list(dict.fromkeys(p["student"] for p in proxies))
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        each: dict[str, float | None] = {}
        for student in students:
            rows = [p for p in proxies if p["student"] == student]
            x = [p[name] for p in rows]
            y = [gains[p["source"], student] for p in rows]
            usable = len(rows) > 2 and len(set(x)) > 1 and len(set(y)) > 1
            each[student] = float(spearmanr(x, y).statistic) if usable else None
        known = [v for v in each.values() if v is not None]
        found[name] = {"mean": float(np.mean(known)) if known else None, "students": each}
    return found
