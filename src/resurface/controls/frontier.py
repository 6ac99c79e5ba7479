"""How much extraction an arm removes for what it costs in capability, and whether another removes more.

A path is an arm's measurements at several interpolation strengths, from the base on: change of capability and
relative drop of extraction, joined by straight lines. `largest_drop` is the largest anywhere on it where no
more than a margin of m points is lost. Arms are compared by it: at equal cost, not at equal strength.

Of several seeds it is that of their mean path, capability and drop averaged at each strength. (The mean of
each seed's own asks another question, and where a path is steep it is well below: a seed that loses
more than the margin pulls it down, one that loses less cannot pull it up as far.)

Its interval is that of the path, turned: the largest drop for the least that capability and drop may be at
every strength, and for the most, since it is far from linear in both. It errs to the wide side: it holds the
truth in more than 99% of simulated sweeps of five seeds and eight arms (results/simulations/controls.json).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from resurface.controls.arms import SELF
from resurface.controls.results import ArmDrop, AtMargin, LargestDrop
from resurface.stats.estimate import Estimate
from resurface.stats.exact import exact_share
from resurface.stats.intervals import Part, crossed_mean_parts, crossed_ratio_parts, half_widths
from resurface.stats.reasons import Reason

Floats = NDArray[np.float64]
TAIL = 0.025
_TAILS = np.geomspace(1e-9, 0.5, 240)
"""Tails for which ends are known, and so the p values that can be given: steps of 9%."""


@dataclass(frozen=True)
class Path:
    """One arm's measurements for one seed, on items and windows that all arms share.

    strengths [D], in order; items: per task, after minus before of every item [D, n_task]; hits [D, W]:
    windows extracted.
    """

    strengths: tuple[float, ...]
    items: tuple[Floats, ...]
    hits: NDArray[np.bool_]


def largest_drop(capability: Floats, drop: Floats, margin: float) -> Floats:
    """Largest drop on each path where at most `margin` is lost; 0 at the base, which every path begins at.

    capability, drop [..., D]: change of capability and relative drop at the strengths, in the order of the
    path, without the base; margin in the units of capability. Returns [...].
    """
    zero = np.zeros((*capability.shape[:-1], 1))
    c, d = np.concatenate([zero, capability], -1), np.concatenate([zero, drop], -1)
    allowed = c >= -margin
    best = np.where(allowed, d, -np.inf).max(-1)
    c0, c1, d0, d1 = c[..., :-1], c[..., 1:], d[..., :-1], d[..., 1:]
    crosses = allowed[..., :-1] != allowed[..., 1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        at = d0 + (d1 - d0) * (-margin - c0) / (c1 - c0)
    return np.maximum(best, np.where(crosses, at, -np.inf).max(-1))


def compare_paths(
    own: Sequence[Path],
    others: Mapping[str, Sequence[Path]],
    before: NDArray[np.bool_],
    clusters: Sequence[str],
    margins: Sequence[float],
) -> tuple[AtMargin, ...]:
    """Largest drop of self-training (`own`) and of every other arm at every margin, and the difference.

    own, others: a path per seed, the same seeds in each; before [W]: windows extracted from the base;
    clusters: a name per window; margins in points. Strengths below 0 are left out: they lead away from what
    training did.
    Intervals (95%) are for new seeds, items and clusters of documents (`intervals.crossed_mean_parts`,
    `crossed_ratio_parts`). Where an arm leaves nothing, or all, that is bounded by the exact interval of none
    of the baseline's hits, clusters counting as one. Of a difference, squares of the distances to the ends
    that matter are added (`intervals.difference_of`): that all arms answer the same items is not used.
    p of a difference: the tail whose interval just reaches 0; None where there is no interval.
    """
    names = np.asarray(clusters, object).astype(str)
    several = len(set(names.tolist())) > 1
    of = {
        name: _band([_forward(p) for p in arm], before, names) for name, arm in {SELF: own, **others}.items()
    }
    found = []
    for margin in margins:
        at = {name: _Ends.of(band, margin / 100) for name, band in of.items()}
        mine = at.pop(SELF)
        arms = {name: _beside(mine, theirs, several) for name, theirs in at.items()}
        found.append(AtMargin(margin=margin, own=LargestDrop(reach=mine.estimate(several)), arms=arms))
    return tuple(found)


@dataclass(frozen=True)
class _Band:
    """A mean path and what is uncertain of it: change of capability and drop [D], with parts for each."""

    capability: Floats
    drop: Floats
    capability_parts: list[list[Part]]
    drop_parts: list[list[Part]]

    @cached_property
    def half(self) -> tuple[Floats, Floats]:
        """Half-widths [1 + tails, D] of capability and drop, with TAIL, then `_TAILS`, on either side."""
        tails = (TAIL, *_TAILS.tolist())
        c, d = (
            np.stack([half_widths(parts, tails) for parts in each], 1)
            for each in (self.capability_parts, self.drop_parts)
        )
        return c, d


@dataclass(frozen=True)
class _Ends:
    """Largest drop of a mean path within a margin; low, high [1 + tails]: ends at TAIL, then at `_TAILS`."""

    value: float
    low: Floats
    high: Floats

    @classmethod
    def of(cls, band: _Band, margin: float) -> _Ends:
        """margin: a share."""
        c, d = band.half
        low = largest_drop(band.capability - c, band.drop - d, margin)
        high = np.minimum(largest_drop(band.capability + c, band.drop + d, margin), 1.0)
        return cls(float(largest_drop(band.capability, band.drop, margin)), low, high)

    def estimate(self, several: bool) -> Estimate:
        return _known(self.value, float(self.low[0]), float(self.high[0]), several)


def _known(value: float, low: float, high: float, several: bool) -> Estimate:
    """With its ends, or why there are none; several: False where windows are of one cluster of documents."""
    if several and low < high:
        return Estimate.holding(value, low, high)
    return Estimate(value, reason=Reason.NOTHING_VARIES if several else Reason.SAME_DOCUMENTS)


def _beside(mine: _Ends, theirs: _Ends, several: bool) -> ArmDrop:
    """An arm's largest drop, and self-training minus it."""
    gap = mine.value - theirs.value
    below, above = _below(mine, theirs), _below(theirs, mine)
    difference = _known(gap, float(max(gap - below[0], -1.0)), float(min(gap + above[0], 1.0)), several)
    p = None
    if difference.known:
        p = _tail(gap, below[1:]) if gap >= 0 else 1 - _tail(-gap, above[1:])
    return ArmDrop(reach=theirs.estimate(several), difference=difference, p=p)


def _below(one: _Ends, other: _Ends) -> Floats:
    """How far the interval of one minus other goes below the difference [1 + tails]."""
    return np.asarray(np.hypot(one.value - one.low, other.high - other.value))


def _tail(gap: float, below: Floats) -> float:
    """The tail whose interval just reaches 0 from a difference `gap` >= 0; interpolated in its logarithm."""
    if not gap:
        return 0.5
    # `below` falls as tails grow: interp wants what rises
    return float(np.exp(np.interp(-gap, -below, np.log(_TAILS))))


def _forward(path: Path) -> Path:
    keep = [i for i, d in enumerate(path.strengths) if d > 0]
    strengths = tuple(path.strengths[i] for i in keep)
    return Path(strengths, tuple(x[keep] for x in path.items), path.hits[keep])


def _band(paths: Sequence[Path], before: NDArray[np.bool_], names: NDArray[np.str_]) -> _Band:
    """The mean path of the seeds."""
    changes, drops = [], []
    for i in range(len(paths[0].strengths)):
        changes.append(
            crossed_mean_parts([np.stack([p.items[t][i] for p in paths]) for t in range(len(paths[0].items))])
        )
        hits = np.stack([p.hits[i] for p in paths])
        left, parts = crossed_ratio_parts(hits, before, names.tolist())
        # of windows of which none is left, or all, the next may be otherwise
        if not hits.any() or (hits == before).all():
            one = half_widths([(1.0, math.inf)], [TAIL])[0]
            parts = [((exact_share(0, names[before])[1] / one) ** 2, math.inf)]
        drops.append((1 - left, parts))
    return _Band(
        np.array([c for c, _ in changes]),
        np.array([d for d, _ in drops]),
        [parts for _, parts in changes],
        [parts for _, parts in drops],
    )
