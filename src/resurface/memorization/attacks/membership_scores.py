"""Scores of membership attacks: from a model's log-probabilities of windows to one number per window.

Higher = more like a member. None of them needs more than the probabilities (pure numpy).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resurface.errors import UserError
from resurface.stats.reasons import Reason

ATTACKS = ("loss", "zlib", "min_k", "min_k_plus_plus", "reference")
STD_FLOOR = 1e-4
"""Below it (nats) a position is certain and log p minus its mean is float32 rounding, about 1e-6: with the
floor such a position counts 1e-2 standard deviations at most, and never divides by 0."""

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class ScoresOf:
    """One model's scores of W windows of P scored positions, nats at T = 1, each [W, P].

    logprob: log p of the true token; mean_logprob, std_logprob: mean and standard deviation of
    log p(z) for z drawn from the model at that position, over the whole vocabulary.

    Raises:
        ValueError: not three equal [W, P] arrays.
        UserError: values that are not finite, or a negative standard deviation.
    """

    logprob: Floats
    mean_logprob: Floats
    std_logprob: Floats

    def __post_init__(self) -> None:
        arrays = [self.logprob, self.mean_logprob, self.std_logprob]
        if self.logprob.ndim != 2 or not self.logprob.size or len({a.shape for a in arrays}) > 1:
            raise ValueError(f"need three equal [windows, positions] arrays, not {[a.shape for a in arrays]}")
        if not all(np.isfinite(a).all() for a in arrays) or (self.std_logprob < 0).any():
            raise UserError(
                "the scores of a model are not all finite numbers (standard deviations from 0 up)",
                remedy="its weights are broken (a diverged training?) or overflow: try float32",
            )


def loss(logprob: Floats) -> Floats:
    """Mean log p per token [W] (Yeom et al. 2018, arXiv 1709.01604, who threshold the loss).

    Windows have equal lengths, so the sum of the log p orders them alike.
    """
    return logprob.mean(1, dtype=np.float64)


def zlib_ratio(logprob: Floats, texts: Sequence[str]) -> Floats:
    """Minus log-perplexity per byte of the compressed text [W] (Carlini et al. 2021, arXiv 2012.07805).

    The size is that of `zlib.compress` of UTF-8 at its default level, header included, as in their
    code. They rank by size/log-perplexity; this orders alike, and is 0, not infinite, at perplexity 1.
    """
    sizes = [len(zlib.compress(t.encode())) for t in texts]
    return loss(logprob) / np.asarray(sizes, float)


def min_k(logprob: Floats, k: float = 0.2) -> Floats:
    """Mean log p of the share k of tokens that are least likely [W] (Shi et al. 2024, arXiv 2310.16789).

    Their floor(k P) tokens, but at least one.
    """
    n = max(1, math.floor(k * logprob.shape[1] + 1e-9))  # 0.29 x 100 is 28.999... in floats
    return np.partition(logprob, n - 1, 1)[:, :n].mean(1, dtype=np.float64)


def min_k_plus_plus(scores: ScoresOf, k: float = 0.2) -> Floats:
    """min_k of (log p - mean) / std per position [W] (Zhang et al. 2024, arXiv 2404.02936).

    The std is kept from falling below `STD_FLOOR`; the paper has no such guard.
    """
    std = np.maximum(scores.std_logprob, STD_FLOOR)
    return min_k((scores.logprob.astype(np.float64) - scores.mean_logprob) / std, k)


def reference_difference(logprob: Floats, reference_logprob: Floats) -> Floats:
    """Mean log p minus that of a reference model [W]: a log-likelihood ratio per token.

    Mireshghallah et al. 2022 (arXiv 2203.03929), there of whole sequences; Carlini et al. 2021
    (arXiv 2012.07805) take the quotient of the two log-perplexities instead of the difference.
    """
    return loss(logprob) - loss(reference_logprob)


def attack_scores(
    s: ScoresOf, texts: Sequence[str], reference_logprob: Floats | None, k: float
) -> dict[str, Floats | Reason]:
    """Scores [W] of each of `ATTACKS`, or the reason why there are none."""
    if reference_logprob is None:
        reference: Floats | Reason = Reason.NO_REFERENCE
    elif np.array_equal(s.logprob, reference_logprob):
        reference = Reason.REFERENCE_ITSELF
    else:
        reference = reference_difference(s.logprob, reference_logprob)
    return {
        "loss": loss(s.logprob),
        "zlib": zlib_ratio(s.logprob, texts),
        "min_k": min_k(s.logprob, k),
        "min_k_plus_plus": min_k_plus_plus(s, k),
        "reference": reference,
    }
