"""Holm's adjustment over everything that is reported together."""

from __future__ import annotations

from collections.abc import Sequence

from resurface.stats.intervals import holm


def adjusted(ps: Sequence[float | None]) -> list[float | None]:
    """Holm's adjusted p values, over all that there are, in the given order; None where none is given."""
    known = [p for p in ps if p is not None]
    after = iter(holm(known).tolist() if known else ())
    return [None if p is None else next(after) for p in ps]
