"""Predictors of the gain that a corpus will give a student (METHODS D): a file each.

To add one, add a file that defines `PREDICTORS`; it is found by itself.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from functools import cache
from typing import Any

from resurface.compatibility.predictors.base import Estimate, Pair, Predictor, Reader, Training, Unmeasured
from resurface.errors import UserError

__all__ = ["Estimate", "Pair", "Predictor", "Reader", "Training", "find", "measure"]


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


def measure(pair: Pair, names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """One row per predictor: {predictor, value, error, student_passes, source_passes, reason}.

    Where something is missing the value is None, and `reason` says what.
    """
    rows = []
    for one in find(names):
        row: dict[str, Any] = {"predictor": one.name, "value": None, "error": None}
        row |= {"student_passes": None, "source_passes": None}
        row["reason"] = next((why for n in one.needs if (why := pair.lacks(n))), None)
        if row["reason"] is None:
            try:
                found = one.measure(pair)
            except Unmeasured as e:
                row["reason"] = str(e)
            else:
                row |= {"value": found.value, "error": found.error}
                row |= {"student_passes": found.student_passes, "source_passes": found.source_passes}
        rows.append(row)
    return rows
