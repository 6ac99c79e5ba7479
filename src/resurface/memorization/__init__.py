"""Verbatim memorization: windows of known texts, one-pass extraction, other prefixes, paired
comparison, membership."""

from resurface.memorization.attacks import Attacks
from resurface.memorization.comparison import (
    MINIMUM_BASELINE_HITS,
    check_pairable,
    compare,
    paired_drop,
)
from resurface.memorization.extraction import extract
from resurface.memorization.membership import membership
from resurface.memorization.membership_scores import ScoresOf
from resurface.memorization.perturbations import recased, replaced, respaced
from resurface.memorization.probe_comparison import compare_probes
from resurface.memorization.probing import ProbeConfig, probe
from resurface.memorization.relearning import RelearnConfig, relearn, split
from resurface.memorization.relearning_comparison import compare_relearning
from resurface.memorization.replicates import compare_replicates, replicated_drop
from resurface.memorization.roc import auc, tpr_at_fpr
from resurface.memorization.scorecard import scorecard
from resurface.memorization.windows import ExtractConfig, Windows, make_windows

__all__ = [
    "MINIMUM_BASELINE_HITS",
    "Attacks",
    "ExtractConfig",
    "ProbeConfig",
    "RelearnConfig",
    "ScoresOf",
    "Windows",
    "auc",
    "check_pairable",
    "compare",
    "compare_probes",
    "compare_relearning",
    "compare_replicates",
    "extract",
    "make_windows",
    "membership",
    "paired_drop",
    "probe",
    "recased",
    "relearn",
    "replaced",
    "replicated_drop",
    "respaced",
    "scorecard",
    "split",
    "tpr_at_fpr",
]
