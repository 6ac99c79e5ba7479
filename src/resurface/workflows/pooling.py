"""Several finished sweeps of one recipe as one piece of evidence: another machine is no new seed.

A seed is a cluster: what it gave on each machine is averaged, and the interval is over seeds. Two files that
hold the same seed of the same machine with the same result are one file copied. Machines are a fixed factor:
two or three of them say what they differ by, and nothing of others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from resurface.errors import UserError
from resurface.results import (
    MachineDifference,
    NoChange,
    OverallChange,
    Pooled,
    PooledDrop,
    SweepPoint,
    SweepResult,
    TaskChange,
)
from resurface.stats.estimate import Estimate
from resurface.stats.exact import exact_share
from resurface.stats.intervals import t_interval, variance_of_mean
from resurface.stats.reasons import Reason
from resurface.workflows.seeds import Seeds, means, task_change


def pool(sweeps: Mapping[str, SweepResult]) -> Pooled:
    """Sweeps by name, of one point each; see the module's head.

    `each` of the result is a seed's mean over machines. Item variances of means over machines are bounded
    from above (the answers on two machines are taken to move together), and those of extraction by the
    binomial's.

    Raises:
        UserError: several points, other tasks, another number of items or base score, other windows,
            no scores.
    """
    if len(sweeps) < 2:
        raise UserError("pooling needs two sweeps or more", remedy="name the directories of two")
    points = {name: _only_point(name, s) for name, s in sweeps.items()}
    first, reference = next(iter(points.items()))
    for name, p in points.items():
        if _identity(p) != _identity(reference):
            raise UserError(
                f"{name} and {first} do not measure the same tasks, items, base and windows",
                remedy="pool sweeps of one recipe",
            )
    machines = {name: _machine(s) for name, s in sweeps.items()}
    held, duplicates = _held(points, machines)
    seeds = sorted({seed for seed, _ in held})
    tasks = {t: _pooled(t, seeds, held, points, machines) for t in _known(reference)}
    overall, informative = means(list(tasks.values()))
    return Pooled(
        files=tuple(sweeps),
        machines=machines,
        seeds=tuple(seeds),
        duplicates=duplicates,
        tasks=tasks,
        overall=overall,
        informative=informative,
        machine_difference=_machines_apart(held, seeds, list(dict.fromkeys(machines.values()))),
        extraction=_extraction(reference, held, seeds),
    )


def _only_point(name: str, sweep: SweepResult) -> SweepPoint:
    if len(sweep.points) != 1:
        raise UserError(f"{name} has {len(sweep.points)} points", remedy="pool sweeps of one recipe each")
    return sweep.points[0]


def _overall(name: str, point: SweepPoint) -> OverallChange:
    if isinstance(point.overall, NoChange):
        raise UserError(f"{name} has no task with a score per item", remedy="leave it out")
    return point.overall


def _known(point: SweepPoint) -> dict[str, TaskChange]:
    """Tasks that have a change."""
    return {t: row for t, row in point.tasks.items() if isinstance(row, TaskChange)}


def _identity(point: SweepPoint) -> Any:
    """What has to be the same in all."""
    scores = {t: (row.n, round(row.base, 3)) for t, row in _known(point).items()}
    e = point.extraction
    windows = None if e is None else [(s.stratum, s.windows, s.before) for s in e.strata]
    return len(point.tasks), scores, windows


def _machine(sweep: SweepResult) -> str:
    of = sweep.provenance.machine
    return ", ".join(filter(None, (of.cpu, of.accelerator)))


@dataclass(frozen=True)
class _Seed:
    """What a seed gave on a machine: changes per task and of their mean, and windows extracted after."""

    tasks: dict[str, float]
    overall: float
    after: float | None


Held = dict[tuple[int, str], _Seed]
"""(seed, machine) -> what it gave."""


def _held(points: Mapping[str, SweepPoint], machines: Mapping[str, str]) -> tuple[Held, tuple[str, ...]]:
    held: Held = {}
    duplicates = []
    for name, p in points.items():
        for i, seed in enumerate(p.seeds):
            row = _Seed(
                {t: r.each[i] for t, r in _known(p).items()},
                _overall(name, p).each[i],
                _after(p, i),
            )
            key = seed, machines[name]
            if key in held:
                if held[key] != row:
                    raise UserError(
                        f"{name} has another result of seed {seed} on a machine of the same name",
                        remedy="say which one is to count: leave the other out",
                    )
                duplicates.append(f"{name}: seed {seed}")
            held[key] = row
    return held, tuple(duplicates)


def _after(point: SweepPoint, seed: int) -> int | None:
    """Windows extracted after the seed with this number."""
    if point.extraction is None or point.extraction.all.after_each is None:
        return None
    return point.extraction.all.after_each[seed]


def _pooled(
    task: str,
    seeds: Sequence[int],
    held: Held,
    points: Mapping[str, SweepPoint],
    machines: Mapping[str, str],
) -> TaskChange:
    of_machines: dict[str, list[float]] = {}
    for name, p in points.items():
        of_machines.setdefault(machines[name], []).append(_known(p)[task].item_variance ** 0.5)
    # the files of one machine repeat each other, of which the surest is whole
    error = float(np.mean([min(x) for x in of_machines.values()]))
    first = _known(next(iter(points.values())))[task]
    each = tuple(float(np.mean([r.tasks[task] for (s, _), r in held.items() if s == seed])) for seed in seeds)
    return task_change(task, Seeds(first.n, first.base, each, error**2))


def _machines_apart(held: Held, seeds: Sequence[int], machines: Sequence[str]) -> MachineDifference | None:
    if len(machines) != 2:
        return None
    both = [s for s in seeds if all((s, m) in held for m in machines)]
    if not both:
        return None
    each = [held[s, machines[1]].overall - held[s, machines[0]].overall for s in both]
    change, low, high = t_interval(float(np.mean(each)), [(variance_of_mean(np.array(each)), len(each) - 1)])
    difference = Estimate(change, low, high, reason=Reason.ONE_SEED if low is None else None)
    return MachineDifference(change=difference, each=tuple(each), seeds=tuple(both))


def _extraction(point: SweepPoint, held: Held, seeds: Sequence[int]) -> PooledDrop | None:
    """Members alone, as a sweep counts them."""
    e = point.extraction
    if e is None or not e.all.before:
        return None
    windows, before = e.all.windows, e.all.before
    known = {key: r.after for key, r in held.items() if r.after is not None}
    each = np.array([np.mean([n for (s, _), n in known.items() if s == seed]) for seed in seeds]) / before
    left = float(each.mean())
    _, low, high = t_interval(
        left, [(left * (1 - left) / before, before - 1), (variance_of_mean(each), len(each) - 1)]
    )
    least, most = (exact_share(round(left * before), np.arange(before))[i] for i in (0, 1))
    if low is not None and high is not None:  # else one window and one seed: the exact ends alone
        least, most = max(0.0, min(low, least)), min(1.0, max(high, most))
    return PooledDrop(
        windows=windows,
        before=before,
        after=left * before,
        after_each=tuple((each * before).tolist()),
        relative_drop=Estimate.holding(1 - left, 1 - most, 1 - least),
    )
