"""Predictors of the gain that a corpus will give a student (METHODS D): a file each.

To add one, add a file that defines `PREDICTORS`; it is found by itself.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from resurface.compatibility.predictors.base import Estimate, Pair, Predictor, Reader, Training
from resurface.errors import UserError
from resurface.stats.reasons import Unmeasured

__all__ = ["Estimate", "Pair", "Predictor", "Reader", "Row", "Training", "find", "measure"]


@cache
def _all() -> dict[str, Predictor]:
    found: dict[str, Predictor] = {}
    for module in sorted(m.name for m in pkgutil.iter_modules(__path__)):
        for one in getattr(importlib.import_module(f"{__name__}.{module}"), "PREDICTORS", ()):
            if one.name in found:
                raise RuntimeError(f"two predictors are called {one.name}")
            found[one.name] = one
    return found


def find(names: Sequence[str] = ()) -> list[Predictor]:
    """The predictors of these names; none named: all.

    Raises:
        UserError: there is none of that name.
    """
    if unknown := [n for n in names if n not in _all()]:
        raise UserError(f"no predictor {unknown[0]!r}", remedy="there are: " + ", ".join(_all()))
    return [_all()[n] for n in names] if names else list(_all().values())


@dataclass(frozen=True)
class Row:
    """What a predictor says of a pair, a column of predictors.parquet each; a value of None has a reason."""

    predictor: str
    value: float | None = None
    error: float | None = None
    student_passes: float | None = None
    source_passes: float | None = None
    reason: str | None = None


def measure(pair: Pair, names: Sequence[str] = ()) -> list[Row]:
    """One row per predictor; where something is missing, `reason` says what."""
    return [_measured(one, pair) for one in find(names)]


def _measured(one: Predictor, pair: Pair) -> Row:
    if lacking := next((why for n in one.needs if (why := pair.lacks(n))), None):
        return Row(one.name, reason=lacking)
    try:
        found = one.measure(pair)
    except Unmeasured as e:
        return Row(one.name, reason=str(e))
    return Row(one.name, found.value, found.error, found.student_passes, found.source_passes)
