"""Verbatim memorization: windows of known texts, one-pass extraction, paired comparison."""

from resurface.memorization.comparison import check_pairable, clopper_pearson, compare, paired_drop
from resurface.memorization.extraction import extract
from resurface.memorization.replicates import compare_replicates, replicated_drop
from resurface.memorization.windows import ExtractConfig, Windows, make_windows

__all__ = [
    "ExtractConfig",
    "Windows",
    "check_pairable",
    "clopper_pearson",
    "compare",
    "compare_replicates",
    "extract",
    "make_windows",
    "paired_drop",
    "replicated_drop",
]
