"""Verbatim memorization: windows of known texts, one-pass extraction, other prefixes, paired
comparison, membership."""

from resurface.memorization.comparison import check_pairable, clopper_pearson, compare, paired_drop
from resurface.memorization.extraction import extract
from resurface.memorization.membership import membership
from resurface.memorization.membership_scores import ScoresOf
from resurface.memorization.perturbations import recased, replaced, respaced
from resurface.memorization.probe_comparison import compare_probes
from resurface.memorization.probing import ProbeConfig, probe
from resurface.memorization.replicates import compare_replicates, replicated_drop
from resurface.memorization.roc import auc, tpr_at_fpr
from resurface.memorization.windows import ExtractConfig, Windows, make_windows

__all__ = [
    "ExtractConfig",
    "ProbeConfig",
    "ScoresOf",
    "Windows",
    "auc",
    "check_pairable",
    "clopper_pearson",
    "compare",
    "compare_probes",
    "compare_replicates",
    "extract",
    "make_windows",
    "membership",
    "paired_drop",
    "probe",
    "recased",
    "replaced",
    "replicated_drop",
    "respaced",
    "tpr_at_fpr",
]
