"""Which membership attack distinguishes most, over the treated models of a verdict."""

from __future__ import annotations

from collections.abc import Sequence

from resurface.memorization.results import Membership
from resurface.stats.estimate import Estimate


def areas(tables: Sequence[Membership], attack: str) -> list[Estimate]:
    """AUC of an attack on each treated model."""
    rows = [t.of(attack) for t in tables]
    return [r.after.auc for r in rows if r.after is not None]


def mean_area(tables: Sequence[Membership], attack: str) -> float | None:
    """Mean AUC over the treated models; None unless all of them have one."""
    found = [a.value for a in areas(tables, attack)]
    known = [a for a in found if a is not None]
    return sum(known) / len(known) if known and len(known) == len(found) else None


def strongest_before(tables: Sequence[Membership]) -> str:
    """The attack whose AUC on the base is furthest from a half: below it, the attack turned round does as
    much."""
    return max((r.attack for r in tables[0].rows), key=lambda a: _apart(tables[0].of(a).before.auc.value))


def strongest_after(tables: Sequence[Membership]) -> str | None:
    """The same on the treated models, on average; None where no attack has a value on all of them.

    `reference` is none of them: it distinguishes the treated model from the base, so it shows that something
    changed, not what is left.
    """
    found = {r.attack: mean_area(tables, r.attack) for r in tables[0].rows if r.attack != "reference"}
    known = [attack for attack, area in found.items() if area is not None]
    return max(known, key=lambda attack: _apart(found[attack]), default=None)


def _apart(area: float | None) -> float:
    return -1.0 if area is None else abs(area - 0.5)
