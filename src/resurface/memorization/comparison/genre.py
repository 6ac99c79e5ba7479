"""Is the model that never saw the texts behind in these texts alone, or in all text of their kind?

What a treated model regains beyond a never-saw model is memory only if both know the genre: one that never
read a verse, or a pseudo-word, has to learn that first, and seems to show that something was hidden. Windows
that nobody was trained on, of the members' genre, tell: they must cost the never-saw model no more than they
cost the base.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resurface.memorization.near_duplicates import Clusters
from resurface.stats.intervals import crossed_ratio

MARGIN = 0.05
"""Of the distance in nats per token between what the base recites and the non-members: that distance is what
memorizing made, and of what was gone, this share is what recovery is ruled out below. Models that read the
same text and differ in initialisation or order alone differ by less (0.01 and 0.05 nats per token where 5% of
the distance is 0.34: lab:a-medium-order and lab:a-medium-init against lab:a-medium, passages "never")."""


@dataclass(frozen=True)
class Genre:
    """What non-members cost models before any relearning, in nats per token of the suffix.

    windows, clusters: of non-members. base, treated (mean over seeds), never: their costs.
    more: never minus base, with low, high (95%, paired by window, for new clusters of documents; None for one
    cluster). margin: up to which more is taken for none. matched: True if high is within it, False if low is
    above it, else None with a reason.
    """

    windows: int
    clusters: int
    base: float
    treated: float
    never: float
    more: float
    low: float | None
    high: float | None
    margin: float
    matched: bool | None
    reason: str | None


def match(
    unseen: NDArray[np.float64], recited: NDArray[np.float64], clusters: Clusters, *, share: float = MARGIN
) -> Genre:
    """Whether the last model is matched in genre with the first.

    unseen [models, W]: nats per token of the non-members, of the base, the treated models and the never-saw
    model; recited [windows]: of what the base recites, for the base; clusters: of the W non-members; share:
    of the distance between both, which is the margin.
    """
    base, *treated, never = unseen
    margin = share * max(float(base.mean() - recited.mean()), 0.0)
    more, low, high = crossed_ratio(never - base, np.ones(len(base)), clusters.names.tolist())
    matched, reason = None, None
    if low is None or high is None:
        reason = "the non-members are of one cluster of documents"
    elif high <= margin:
        matched = True
    elif low > margin:
        matched = False
    else:
        reason = f"the interval leaves open whether it is more than the margin of {margin:.2f}"
    return Genre(
        windows=len(base),
        clusters=clusters.counts()["clusters"],
        base=float(base.mean()),
        treated=float(np.mean(treated)),
        never=float(never.mean()),
        more=more,
        low=low,
        high=high,
        margin=margin,
        matched=matched,
        reason=reason,
    )
