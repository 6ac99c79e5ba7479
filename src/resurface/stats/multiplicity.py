"""Holm's adjustment over everything that is reported together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from resurface.stats.intervals import holm


def adjust(tests: Iterable[tuple[dict[str, Any], str]]) -> int:
    """Set `KEY_holm` beside every p value, over all that there are; returns how many.

    tests: (row, key of its p value), which may be missing or None: then it counts for nothing.
    """
    known = [(row, key) for row, key in tests if row.get(key) is not None]
    if known:
        for (row, key), p in zip(known, holm([row[key] for row, key in known]), strict=True):
            row[f"{key}_holm"] = float(p)
    return len(known)
