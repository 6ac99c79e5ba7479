"""How much extraction an arm removes for what it costs in capability, and whether another removes more.

A path is an arm's measurements at several doses, from the base on: change of capability and relative drop
of extraction, joined by straight lines. Its `reach` at a margin of m points is the largest drop anywhere on
it where no more than m points are lost. Arms are compared by it: at equal cost, not at equal dose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resurface.statistics import replicate_interval

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
    reach lies in [0, 1]. Doses below 0 are left out: they lead away from what training did.
    Returns {"margins": [{"margin", "self": {reach, low, high}, "arms": {name: {reach, low, high, difference,
    difference_low, difference_high, p}}}]}; reach and difference are relative drops (1 = everything). p: of
    difference <= 0, one-sided, from the t distribution of the interval. Where there is no interval its ends
    and p are None, with a `reason` (of the difference: `difference_reason`).
    """
    found: list[dict[str, Any]] = []
    paths = {"self": own, **others}
    weights = _Resampled(own[0], before, clusters, draws, seed)
    told = len(own) > 1 or len(set(clusters)) > 1
    measured = {name: [weights.measure(_forward(p)) for p in arm] for name, arm in paths.items()}
    for margin in margins:
        drawn = {
            name: np.stack([reach(c, d, margin / 100) for c, d in arm]) for name, arm in measured.items()
        }  # [seeds, 1 + draws]; column 0 is the data themselves
        mine = drawn.pop("self")
        rows = {}
        for name, theirs in drawn.items():
            gap = _interval(mine - theirs, told, least=-1)
            rows[name] = _reached(theirs, told) | {
                "difference": gap.pop("mean"),
                "p": gap.pop("p"),
                **{f"difference_{key}": value for key, value in gap.items()},
            }
        found.append({"margin": margin, "self": _reached(mine, told), "arms": rows})
    return {"margins": found}


def _reached(drawn: Floats, told: bool) -> dict[str, Any]:
    row = _interval(drawn, told, least=0)
    del row["p"]
    return {"reach": row.pop("mean"), **row}


def _interval(drawn: Floats, told: bool, least: float) -> dict[str, Any]:
    """`replicate_interval` within [least, 1]; told: False where neither windows nor seeds can vary."""
    row: dict[str, Any] = replicate_interval(drawn)
    if not told:
        return row | {"low": None, "high": None, "p": None, "reason": "one seed and one document"}
    if row["low"] is None:
        return row | {"reason": "nothing varies over seeds and draws"}
    return row | {"low": max(row["low"], least), "high": min(row["high"], 1.0)}


def _forward(path: Path) -> Path:
    keep = [i for i, d in enumerate(path.doses) if d > 0]
    doses = tuple(path.doses[i] for i in keep)
    return Path(doses, tuple(x[keep] for x in path.items), path.hits[keep])


class _Resampled:
    """One set of draws for all arms and seeds: they answer the same items and know the same windows."""

    def __init__(
        self, like: Path, before: NDArray[np.bool_], clusters: Sequence[str], draws: int, seed: int
    ) -> None:
        rng = np.random.default_rng(seed)
        self._items = [_counts(rng, x.shape[1], draws) / x.shape[1] for x in like.items]
        _, member = np.unique(np.asarray(clusters, object).astype(str), return_inverse=True)
        of_windows = _counts(rng, int(member.max()) + 1, draws)[:, member]
        self._windows, self._before = of_windows, of_windows @ before

    def measure(self, path: Path) -> tuple[Floats, Floats]:
        """Change of capability and relative drop [1 + draws, D]; a draw without baseline hits drops 0."""
        change = np.mean([w @ x.T for w, x in zip(self._items, path.items, strict=True)], 0)
        left = self._windows @ path.hits.T
        base = self._before[:, None]
        return change, np.where(base > 0, 1 - left / np.maximum(base, 1), 0.0)


def _counts(rng: np.random.Generator, n: int, draws: int) -> Floats:
    """[1 + draws, n]: all ones first, then how often a bootstrap draws each."""
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=draws)
    return np.concatenate([np.ones((1, n)), drawn]).astype(np.float64)
