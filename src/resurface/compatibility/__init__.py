"""The utility of a source for a student: gains of a source x student matrix, and what they show."""

from resurface.compatibility.decomposition import decompose
from resurface.compatibility.gains import (
    Cell,
    cell,
    group_means,
    lineage_advantage,
    run_sd,
    self_advantage,
)
from resurface.compatibility.proxies import mean_nll, similarity
from resurface.compatibility.ranks import within_student

__all__ = [
    "Cell",
    "cell",
    "decompose",
    "group_means",
    "lineage_advantage",
    "mean_nll",
    "run_sd",
    "self_advantage",
    "similarity",
    "within_student",
]
