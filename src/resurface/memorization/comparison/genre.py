"""Is the model that never saw the texts behind in these texts alone, or in all text of their kind?

What a treated model regains beyond a never-saw model is memory only if both know the genre: one that never
read a verse, or a pseudo-word, has to learn that first, and seems to show that something was hidden. Windows
that nobody was trained on, of the members' genre, tell: they must cost the never-saw model no more than they
cost the base.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from resurface.memorization.near_duplicates import Clusters
from resurface.memorization.results import Genre
from resurface.stats.estimate import Estimate
from resurface.stats.intervals import crossed_ratio
from resurface.stats.reasons import Reason

MARGIN = 0.05
"""Of the distance in nats per token between what is extracted and the non-members: that distance is what
memorizing made, and of what was gone, this share is what recovery is ruled out below. Models that read the
same text and differ in initialisation or order alone differ by less (0.01 and 0.05 nats per token where 5% of
the distance is 0.34: lab:a-medium-order and lab:a-medium-init against lab:a-medium, passages "never")."""


def match(
    unseen: NDArray[np.float64], extracted: NDArray[np.float64], clusters: Clusters, *, share: float = MARGIN
) -> Genre:
    """Whether the last model is matched in genre with the first.

    unseen [models, W]: nats per token of the non-members, of the base, the treated models and the never-saw
    model; extracted [windows]: of what is extracted from the base, for it; clusters: of the W non-members;
    share: of the distance between both, which is the margin.
    """
    base, *treated, never = unseen
    margin = share * max(float(base.mean() - extracted.mean()), 0.0)
    value, low, high = crossed_ratio(never - base, np.ones(len(base)), clusters.names.tolist())
    matched, reason = None, None
    if low is None or high is None:
        reason = str(Reason.ONE_CLUSTER_OF_NON_MEMBERS)
        more = Estimate(value, reason=reason)
    else:
        more = Estimate.holding(value, low, high)
        if high <= margin:
            matched = True
        elif low > margin:
            matched = False
        else:
            reason = Reason.MARGIN_INSIDE.about(f"{margin:.2f}")
    return Genre(
        windows=len(base),
        clusters=clusters.counts()["clusters"],
        base=float(base.mean()),
        treated=float(np.mean(treated)),
        never=float(never.mean()),
        more=more,
        margin=margin,
        matched=matched,
        open_reason=reason,
    )
