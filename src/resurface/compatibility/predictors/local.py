"""Local naturalness: how the student likes every sentence, seeing only the one before (2510.03988)."""

from __future__ import annotations

import re

import numpy as np

from resurface.compatibility.predictors.base import Estimate, Pair, Predictor, ratio
from resurface.models.tokenizing import encode_text
from resurface.stats.reasons import Reason, Unmeasured

_END = re.compile(r"(?<=[.!?;\n])\s+")


def local_logprob(pair: Pair) -> Estimate:
    """Mean log-probability (nats) per token of a sentence given the previous one; the first of a
    document given its start."""
    reader, sequences, parts, owner = pair.student, [], [], []
    for i, document in enumerate(pair.documents):
        before: list[int] = []
        for sentence in filter(None, _END.split(document)):
            # with the space that was before it: tokens are those of the running text
            (whole,) = encode_text(reader.tokenizer, [sentence if not before else " " + sentence])
            ids = whole[: reader.context // 2 - 1]
            if ids:
                head = before or list(reader.start_ids)
                sequences.append(head + ids)
                parts.append(len(ids))
                owner.append(i)
                before = ids
    if not sequences:
        raise Unmeasured(Reason.NO_SENTENCE)
    scores = reader.engine.score(sequences, temperatures=())
    n = len(pair.documents)
    sums, lengths = np.zeros(n), np.zeros(n)
    for i, m, s in zip(owner, parts, scores, strict=True):
        sums[i] += s.logprob[-m:].sum(dtype=np.float64)
        lengths[i] += m
    value, error = ratio(sums, lengths)
    return Estimate(value, error, sum(map(len, sequences)) / pair.tokens)


PREDICTORS = [
    Predictor(
        "local_logprob",
        "log-probability of sentences, seeing only the one before (arXiv 2510.03988)",
        +1,
        local_logprob,
    )
]
