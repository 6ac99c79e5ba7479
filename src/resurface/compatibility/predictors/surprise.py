"""Predictors that read the documents once with the student and look at how it is surprised."""

from __future__ import annotations

import numpy as np

from resurface.compatibility.predictors.base import Estimate, Pair, Predictor, ratio

RANK_MOST = 100  # ranks beyond count as this (2601.14249)


def _nll(pair: Pair) -> np.ndarray:
    """Nats per document, the end token included."""
    return np.array([-s.logprob.sum(dtype=np.float64) for s in pair.scores])


def excess_nll(pair: Pair) -> Estimate:
    """[NLL_student - NLL_source at its sampling temperature] per byte: estimates KL(source | student)."""
    assert pair.source_nll is not None
    value, error = ratio(_nll(pair) - pair.source_nll, pair.bytes)
    return Estimate(value, error, 1.0)


def rank_surprisal(pair: Pair) -> Estimate:
    """Sum over documents of the mean rank (from 1, at most 100) by that of the mean NLL."""
    ranks = [np.minimum(s.rank + 1, RANK_MOST).mean() for s in pair.scores]
    value, error = ratio(ranks, [-s.logprob.mean(dtype=np.float64) for s in pair.scores])
    return Estimate(value, error, 1.0)


def lark(pair: Pair) -> Estimate:
    """Mean over tokens of |softmax - one-hot|^2 = 1 - 2 p_y + sum_v p_v^2, by the mean NLL."""
    # sum_v p_v^2 from the two partition functions: log sum exp(2 z) - 2 log sum exp(z)
    squares = [np.exp(s.logsumexp[:, 1] - 2.0 * s.logsumexp[:, 0], dtype=np.float64) for s in pair.scores]
    steps = [
        (1 - 2 * np.exp(s.logprob, dtype=np.float64) + q).sum()
        for s, q in zip(pair.scores, squares, strict=True)
    ]
    value, error = ratio(steps, _nll(pair))
    return Estimate(value, error, 1.0)


PREDICTORS = [
    Predictor(
        "excess_nll",
        "NLL under the student minus that under the source, per byte",
        -1,
        excess_nll,
        ("log-probabilities",),
    ),
    Predictor("rank_surprisal", "rank of tokens by their surprise (arXiv 2601.14249)", -1, rank_surprisal),
    Predictor("lark", "squared error of predictions by their surprise (arXiv 2605.30651)", +1, lark),
]
