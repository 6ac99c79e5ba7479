"""Several finished sweeps of one recipe as one piece of evidence: another machine is no new seed.

A seed is a cluster: what it gave on each machine is averaged, and the interval is over seeds. Two files that
hold the same seed of the same machine with the same result are one file copied. Machines are a fixed factor:
two or three of them say what they differ by, and nothing of others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from resurface.benchmarks.chance import uninformative
from resurface.errors import UserError
from resurface.stats.exact import exact_share
from resurface.stats.intervals import t_interval, variance_of_mean
from resurface.workflows.seeds import combined, means


def pool(sweeps: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """name -> what sweep.json holds, of one point each; see the module's head.

    Returns seeds, machines (of every file), tasks, overall, informative (as `workflows.seeds.capability`, but
    each is a seed's mean over machines), machine_difference {change, low, high, each} of the second machine
    minus the first on seeds that both have, or None; extraction: windows, before, after (mean),
    relative_drop, low, high; duplicates: seeds that a file merely repeats.

    Item variances of means over machines are bounded from above (the answers on two machines are taken to
    move together), and those of extraction by the binomial's.

    Raises:
        UserError: several points, other tasks, another number of items or base score, other windows.
    """
    if len(sweeps) < 2:
        raise UserError("pooling needs two sweeps or more")
    points = {name: _only_point(name, s) for name, s in sweeps.items()}
    first, reference = next(iter(points.items()))
    tasks = [t for t, r in reference["tasks"].items() if r["change"] is not None]
    for name, p in points.items():
        if _identity(p, tasks) != _identity(reference, tasks):
            raise UserError(
                f"{name} and {first} do not measure the same tasks, items, base and windows",
                remedy="pool sweeps of one recipe",
            )
    machines = {name: _machine(s) for name, s in sweeps.items()}
    held, duplicates = _held(points, machines)
    seeds = sorted({seed for seed, _ in held})
    rows = {t: _pooled(t, seeds, held, points, machines) for t in tasks}
    return {
        "files": list(sweeps),
        "machines": machines,
        "seeds": seeds,
        "duplicates": duplicates,
        "tasks": rows,
        **means(rows),
        "machine_difference": _machines_apart(held, seeds, list(dict.fromkeys(machines.values()))),
        "extraction": _extraction(reference, held, seeds),
    }


def _only_point(name: str, sweep: Mapping[str, Any]) -> dict[str, Any]:
    if len(sweep["points"]) != 1:
        raise UserError(f"{name} has {len(sweep['points'])} points", remedy="pool sweeps of one recipe each")
    return dict(sweep["points"][0])


def _identity(point: Mapping[str, Any], tasks: Sequence[str]) -> Any:
    known = point["tasks"]
    e = point["extraction"]
    scores = [(t, known[t]["n"], round(known[t]["base"], 3)) if t in known else None for t in tasks]
    windows = None if e is None else [(s["stratum"], s["windows"], s["before"]) for s in e["strata"]]
    return len(known), scores, windows


def _machine(sweep: Mapping[str, Any]) -> str:
    made = sweep["provenance"]["machine"]
    return ", ".join(str(made[k]) for k in ("cpu", "accelerator") if made.get(k))


Held = dict[tuple[int, str], dict[str, Any]]
"""(seed, machine) -> change per task and overall, and windows extracted after."""


def _held(points: Mapping[str, Mapping[str, Any]], machines: Mapping[str, str]) -> tuple[Held, list[str]]:
    held: Held = {}
    duplicates = []
    for name, p in points.items():
        for i, seed in enumerate(p["seeds"]):
            row = {t: r["each"][i] for t, r in p["tasks"].items() if r["change"] is not None}
            row["overall"] = p["overall"]["each"][i]
            row["after"] = None if p["extraction"] is None else p["extraction"]["all"]["after_each"][i]
            key = seed, machines[name]
            if key in held:
                if held[key] != row:
                    raise UserError(
                        f"{name} has another result of seed {seed} on a machine of the same name",
                        remedy="say which one is to count: leave the other out",
                    )
                duplicates.append(f"{name}: seed {seed}")
            held[key] = row
    return held, duplicates


def _of_seed(held: Held, seed: int, key: str) -> float:
    """Mean over the machines that have this seed."""
    return float(np.mean([row[key] for (s, _), row in held.items() if s == seed]))


def _pooled(
    task: str,
    seeds: Sequence[int],
    held: Held,
    points: Mapping[str, Mapping[str, Any]],
    machines: Mapping[str, str],
) -> dict[str, Any]:
    of_machines: dict[str, list[float]] = {}
    for name, p in points.items():
        of_machines.setdefault(machines[name], []).append(p["tasks"][task]["item_variance"] ** 0.5)
    # the files of one machine repeat each other, of which the surest is whole
    error = float(np.mean([min(x) for x in of_machines.values()]))
    first = next(iter(points.values()))["tasks"][task]
    row = {"n": first["n"], "base": first["base"], "each": [_of_seed(held, s, task) for s in seeds]}
    row["item_variance"] = error**2
    mark = uninformative(task, first["base"], first["n"])
    return {"n": first["n"]} | combined([row]) | {"uninformative": mark}


def _machines_apart(held: Held, seeds: Sequence[int], machines: Sequence[str]) -> dict[str, Any] | None:
    if len(machines) != 2:
        return None
    both = [s for s in seeds if all((s, m) in held for m in machines)]
    if not both:
        return None
    each = [held[s, machines[1]]["overall"] - held[s, machines[0]]["overall"] for s in both]
    change, low, high = t_interval(float(np.mean(each)), [(variance_of_mean(np.array(each)), len(each) - 1)])
    return {"change": change, "low": low, "high": high, "each": each, "seeds": both}


def _extraction(point: Mapping[str, Any], held: Held, seeds: Sequence[int]) -> dict[str, Any] | None:
    """Members alone, as a sweep counts them."""
    e = point["extraction"]
    if e is None or not e["all"]["before"]:
        return None
    windows, before = e["all"]["windows"], e["all"]["before"]
    each = np.array([_of_seed(held, s, "after") for s in seeds]) / before
    left = float(each.mean())
    _, low, high = t_interval(
        left, [(left * (1 - left) / before, before - 1), (variance_of_mean(each), len(each) - 1)]
    )
    least, most = (exact_share(round(left * before), np.arange(before))[i] for i in (0, 1))
    low, high = max(0.0, min(low or 0.0, least)), min(1.0, max(high or 0.0, most))
    return {
        "windows": windows, "before": before, "after": left * before, "after_each": (each * before).tolist(),
        "relative_drop": 1 - left, "low": 1 - high, "high": 1 - low,
    }  # fmt: skip
