"""How much extraction an arm removes for what it costs in capability, and whether another removes more.

A path is an arm's measurements at several doses, from the base on: change of capability and relative drop
of extraction, joined by straight lines. Its `reach` at a margin of m points is the largest drop anywhere on
it where no more than m points are lost. Arms are compared by it: at equal cost, not at equal dose.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resurface.exact import exact_share
from resurface.statistics import replicate_interval, resampled

Floats = NDArray[np.float64]
DRAWS = 2000


@dataclass(frozen=True)
class Path:
    """One arm's measurements for one seed, on items and windows that all arms share.

    doses [D], in order; items: per task, after minus before of every item [D, n_task]; hits [D, W]: windows
    recited.
    """

    doses: tuple[float, ...]
    items: tuple[Floats, ...]
    hits: NDArray[np.bool_]


def reach(capability: Floats, drop: Floats, margin: float) -> Floats:
    """Largest drop on each path where at most `margin` is lost; 0 at the base, which every path begins at.

    capability, drop [..., D]: change of capability and relative drop at the doses, in the order of the path,
    without the base; margin in the units of capability. Returns [...].
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
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Any]:
    """Reach of self-training (`own`) and of every other arm at every margin, and the difference.

    own, others: a path per seed, the same seeds in each; before [W]: windows that the base recites, clusters:
    a name per window; margins in points. Windows (by cluster) and items are resampled together for all arms;
    the interval adds the spread over seeds (`statistics.replicate_interval`), and ends where values do: a
    reach lies in [0, 1]. Where an arm leaves nothing, or all, its end is the exact bound of none of the
    baseline's hits, clusters counting as one, and p takes that in. Doses below 0 are left out: they lead away
    from what training did.
    Returns {"margins": [{"margin", "self": {reach, low, high}, "arms": {name: {reach, low, high, difference,
    difference_low, difference_high, p}}}]}; reach and difference are relative drops (1 = everything). p: of
    difference <= 0, one-sided, from the t distribution of the interval. Where there is no interval its ends
    and p are None, with a `reason` (of the difference: `difference_reason`).
    """
    found: list[dict[str, Any]] = []
    names = np.asarray(clusters, object).astype(str)
    paths = [_forward(p) for arm in (own, *others.values()) for p in arm]
    measured = iter(_measured(paths, before, names, draws, seed))
    of_arms = {name: [next(measured) for _ in arm] for name, arm in {"self": own, **others}.items()}
    told = len(set(clusters)) > 1
    unseen = exact_share(0, names[before])[1]
    for margin in margins:
        drawn = {
            name: np.stack([reach(c, d, margin / 100) for c, d in arm]) for name, arm in of_arms.items()
        }  # [seeds, 1 + draws]; column 0 is the data themselves
        reached = {name: _reached(x, told, unseen) for name, x in drawn.items()}
        (row, ends), mine = reached.pop("self"), drawn.pop("self")
        rows = {
            name: theirs | _difference(mine - drawn[name], ends, other, told)
            for name, (theirs, other) in reached.items()
        }
        found.append({"margin": margin, "self": row, "arms": rows})
    return {"margins": found}


def _reached(drawn: Floats, told: bool, unseen: float) -> tuple[dict[str, Any], tuple[float, float]]:
    """Reach with its interval, and how far that goes below and above it on account of `unseen` alone.

    unseen: the largest share of the baseline's windows that may still be recited where none is seen to be. An
    arm that leaves nothing has no variance, or only that of capability; of other windows it may leave some.
    """
    row = _interval(drawn, told, least=0)
    del row["p"], row["df"]
    row = {"reach": row.pop("mean"), **row}
    below, above = (unseen if told and (drawn[:, 0] == end).all() else 0.0 for end in (1, 0))
    if below or above:
        at = row["reach"]
        low, high = (at if row[end] is None else row[end] for end in ("low", "high"))
        row |= {"low": min(low, at - below), "high": max(high, at + above)}
        row.pop("reason", None)
    return row, (below, above)


def _difference(
    drawn: Floats, own: tuple[float, float], other: tuple[float, float], told: bool
) -> dict[str, Any]:
    """Self-training minus an arm; own, other: how far the reach of each goes below and above (`_reached`)."""
    gap = _interval(drawn, told, least=-1)
    at, df = gap.pop("mean"), gap.pop("df") or math.inf
    if any((*own, *other)):  # as in `statistics.difference_of`; draws give the rest
        low, high = (at if gap[end] is None else gap[end] for end in ("low", "high"))
        below, above = math.hypot(at - low, own[0], other[1]), math.hypot(high - at, own[1], other[0])
        gap |= {"low": max(at - below, -1.0), "high": min(at + above, 1.0), "p": _p(at, below, df)}
        gap.pop("reason", None)
    found = {"difference": at, "p": gap.pop("p")}
    return found | {f"difference_{key}": value for key, value in gap.items()}


def _p(at: float, below: float, df: float) -> float:
    """One-sided, of a value <= 0: what an interval from at - below on (95%, Student's t) leaves to it."""
    from scipy.stats import t as student

    if not below:
        return float(at <= 0)
    return float(student.sf(at / below * student.ppf(0.975, df), df))


def _interval(drawn: Floats, told: bool, least: float) -> dict[str, Any]:
    """`replicate_interval` within [least, 1]; told: False where windows are of one cluster of documents."""
    row: dict[str, Any] = replicate_interval(drawn)
    if not told:
        return row | {"low": None, "high": None, "p": None, "reason": "one cluster of documents"}
    if row["low"] is None:
        return row | {"reason": "nothing varies over seeds and draws"}
    return row | {"low": max(row["low"], least), "high": min(row["high"], 1.0)}


def _forward(path: Path) -> Path:
    keep = [i for i, d in enumerate(path.doses) if d > 0]
    doses = tuple(path.doses[i] for i in keep)
    return Path(doses, tuple(x[keep] for x in path.items), path.hits[keep])


def _measured(
    paths: Sequence[Path], before: NDArray[np.bool_], names: NDArray[np.str_], draws: int, seed: int
) -> list[tuple[Floats, Floats]]:
    """Change of capability and relative drop of every path, each [1 + draws, D].

    One set of draws for all of them: they answer the same items and know the same windows. Draws without
    baseline hits are left out (where these are few), for nothing could drop in them.
    """
    ends = np.cumsum([len(p.doses) for p in paths])[:-1]
    tasks = [np.concatenate([p.items[i] for p in paths]).T for i in range(len(paths[0].items))]
    change = np.mean([_drawn(x, draws, seed + i) / len(x) for i, x in enumerate(tasks)], 0)
    hits = np.concatenate([before[None], *(p.hits for p in paths)]).T.astype(float)
    _, member = np.unique(names, return_inverse=True)
    of_clusters = np.zeros((int(member.max()) + 1, hits.shape[1]))
    np.add.at(of_clusters, member, hits)
    left = _drawn(of_clusters, draws, seed + len(tasks))
    could = left[:, 0] > 0
    drop = 1 - left[could, 1:] / left[could, :1]
    return list(zip(np.split(change[could], ends, 1), np.split(drop, ends, 1), strict=True))


def _drawn(values: Floats, draws: int, seed: int) -> Floats:
    """Sums over items [n, columns] in the data, then in bootstrap draws of items: [1 + draws, columns]."""
    return np.concatenate([values.sum(0)[None], *(w @ values for w in resampled(len(values), draws, seed))])
