"""Would source and student go on alike where the student is? Top-k overlap at the student's states."""

from __future__ import annotations

import numpy as np

from resurface.compatibility.predictors.base import TOP, Estimate, Pair, Predictor, Reader, ratio


def topk_overlap(pair: Pair) -> Estimate:
    """Mean over the positions of the student's own documents of |top-k of both| / k; 0 to 1."""
    assert pair.source is not None
    ids = pair.student.encode(pair.own)
    context = min(pair.student.context, pair.source.context)
    ids = [x[:context] for x in ids]

    def tops(reader: Reader, key: str) -> list[np.ndarray]:
        # a student's own text is the same for all its sources: it is read once
        return list(
            reader.once(
                (key, tuple(pair.own)), lambda: [s.top_ids for s in reader.engine.score(ids, top=TOP)]
            )
        )

    mine, theirs = tops(pair.student, "top-k"), tops(pair.source, "top-k of another")
    shared = [
        (a[:, :, None] == b[:, None, :]).any(2).sum() / a.shape[1] for a, b in zip(mine, theirs, strict=True)
    ]
    value, error = ratio(shared, [len(a) for a in mine])
    read = sum(map(len, ids)) / pair.tokens
    return Estimate(value, error, read, read)


PREDICTORS = [
    Predictor(
        "topk_overlap",
        f"share of the {TOP} likeliest tokens that are common, at the student's states",
        +1,
        topk_overlap,
        ("source", "vocabulary", "own text"),
    )
]
