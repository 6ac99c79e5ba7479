"""What several seeds of one treatment show together: capability, and the control arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resurface import memorization
from resurface.artifacts import Artifact
from resurface.artifacts.parquet import read_parquet
from resurface.benchmarks.chance import uninformative
from resurface.controls import SELF, Controls, Path, compare_paths
from resurface.memorization.near_duplicates import clusters_of
from resurface.stages.evaluation import headline_items
from resurface.stats.intervals import holm, t_interval, together, variance_of_mean


def capability(base: Artifact, treated: Sequence[Artifact]) -> dict[str, Any]:
    """Capability over seeds: `overall` (mean over tasks) and `tasks`, as change of the headline metric.

    Each has base, mean, change, low, high (95%, over new seeds and new items), each (per seed) and
    item_variance (of the change, by items alone). A task has `uninformative` where it is at ceiling or at
    chance (`resurface.benchmarks.chance`), else None; `informative` is `overall` without these, None with a
    `reason` where there are none of them or none are left.
    """
    before, after = headline_items(base), [headline_items(a) for a in treated]
    tasks: dict[str, dict[str, Any]] = {}
    for task, items in before.items():
        docs = sorted(set(items).intersection(*(a[task] for a in after)))
        if not docs:
            tasks[task] = {"n": 0, "change": None, "reason": "no item has this metric in every model"}
            continue
        table = np.array([[a[task][d] - items[d] for d in docs] for a in after])
        level = sum(items.values()) / len(items)
        row = {"n": len(docs), "base": level, "each": table.mean(1).tolist()}
        row["item_variance"] = variance_of_mean(table.mean(0))
        tasks[task] = (
            {"n": len(docs)} | combined([row]) | {"uninformative": uninformative(task, level, len(docs))}
        )
    return {"tasks": tasks, **means(tasks)}


def means(tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """`overall` and `informative` of rows of tasks."""
    known = {t: row for t, row in tasks.items() if row["change"] is not None}
    if not known:
        none = {"change": None, "reason": "no task has a score per item"}
        return {"overall": none, "informative": none}
    found = {"overall": combined(list(known.values()))}
    useful = [row for row in known.values() if row["uninformative"] is None]
    why = (
        "no task is at ceiling or at chance"
        if len(useful) == len(known)
        else "every task is at ceiling or at chance"
    )
    some = 0 < len(useful) < len(known)
    return found | {"informative": combined(useful) if some else {"change": None, "reason": why}}


def combined(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean over tasks from rows of theirs: base, each (per seed), item_variance, n; as `crossed_mean`."""
    each = np.mean([row["each"] for row in rows], 0)
    items = together([(row["item_variance"] / len(rows) ** 2, row["n"] - 1) for row in rows])
    change, low, high = t_interval(float(each.mean()), [items, (variance_of_mean(each), len(each) - 1)])
    level = sum(row["base"] for row in rows) / len(rows)
    return {
        "base": level, "mean": level + change, "change": change, "low": low, "high": high,
        "each": each.tolist(), "item_variance": items[0],
    }  # fmt: skip


# ------------------------------------------------------------------------------ control arms


def arms(
    base: dict[str, Any],
    measured: Sequence[Sequence[dict[str, Any]]],
    cfg: Controls,
    non_members: Sequence[str] = (),
) -> dict[str, Any]:
    """The control arms over seeds.

    base: scores and extraction of the untreated model; measured: per seed, the rows of `attribution`;
    non_members: strata that no model has seen, which count in no drop.
    Returns `points`, one per arm and dose (capability, extraction, l2_distance, loss: means over seeds);
    `margins`, from `controls.compare_paths`, with `p_holm`: two-sided, after Holm over all arms and margins
    that have a p (`comparisons` of them); or None with a `reason`; `skipped`, arms with the reason.
    """
    skipped = {r["arm"]: r["skipped"] for rows in measured for r in rows if "skipped" in r}
    places = [(r["arm"], r["dose"]) for r in measured[0] if r["arm"] not in skipped]
    of = {(r["arm"], r["dose"], s): r for s, rows in enumerate(measured) for r in rows if "dose" in r}
    seeds = range(len(measured))
    points = [_point(base, [of[arm, dose, s] for s in seeds], non_members) for arm, dose in places]
    names = list(dict.fromkeys(arm for arm, _ in places))
    doses = {name: [d for arm, d in places if arm == name] for name in names}
    found: dict[str, Any] = {"points": points, "skipped": skipped}
    docs = _shared_items([base, *of.values()])
    if not docs:
        return found | {"margins": None, "reason": "no task has an item with a score in every model"}
    paths = {
        name: [_path(base, [of[name, d, s] for d in doses[name]], doses[name], docs) for s in seeds]
        for name in names
    }
    windows = read_parquet(
        base["extraction"].file("windows.parquet"), ["exact_match", "doc_id", "stratum", "token_ids"]
    )
    before = np.asarray(windows["exact_match"].to_pylist(), bool)
    member = ~np.isin(np.asarray(windows["stratum"].to_pylist(), object).astype(str), list(non_members))
    own = paths.pop(SELF)
    if not before[member].any():
        return found | {"margins": None, "reason": "no baseline hits: there is nothing that could drop"}
    names = clusters_of(windows).names[member].tolist()
    own, paths = _of_windows(own, member), {name: _of_windows(p, member) for name, p in paths.items()}
    return found | with_holm(compare_paths(own, paths, before[member], names, cfg.margins))


def with_holm(compared: dict[str, Any]) -> dict[str, Any]:
    """`p_holm` in every row of `controls.compare_paths`, and `comparisons`: all that is reported together.

    Rows have p one-sided; either direction may be claimed, so twice the smaller tail is adjusted.
    """
    rows = [r for margin in compared["margins"] for r in margin["arms"].values()]
    known = [r for r in rows if r["p"] is not None]
    for r in rows:
        r["p_holm"] = None
    for r, p in zip(known, holm([2 * min(r["p"], 1 - r["p"]) for r in known]).tolist(), strict=True):
        r["p_holm"] = p
    return compared | {"comparisons": len(known)}


def _of_windows(paths: Sequence[Path], rows: NDArray[np.bool_]) -> list[Path]:
    return [replace(p, hits=p.hits[:, rows]) for p in paths]


def _point(base: dict[str, Any], rows: list[dict[str, Any]], non_members: Sequence[str]) -> dict[str, Any]:
    losses = [r["loss"] for r in rows]
    return {
        "arm": rows[0]["arm"],
        "kind": rows[0]["kind"],
        "dose": rows[0]["dose"],
        "scale": [r["scale"] for r in rows],
        "l2_distance": float(np.mean([r["l2_distance"] for r in rows])),
        "loss": float(np.mean(losses)) if None not in losses else None,
        **capability(base["scores"], [r["scores"] for r in rows]),
        "extraction": memorization.compare_replicates(
            base["extraction"], [r["extraction"] for r in rows], non_members
        ).as_json(),
    }


def _shared_items(rows: list[dict[str, Any]]) -> dict[str, list[int]]:
    """task -> items that have a score in every model."""
    scores = [headline_items(r["scores"]) for r in rows]
    both = {t: sorted(set(scores[0][t]).intersection(*(s[t] for s in scores))) for t in scores[0]}
    return {t: docs for t, docs in both.items() if docs}


def _path(
    base: dict[str, Any], rows: list[dict[str, Any]], doses: list[float], docs: dict[str, list[int]]
) -> Path:
    before, after = headline_items(base["scores"]), [headline_items(r["scores"]) for r in rows]
    items = tuple(
        np.array([[a[t][d] - before[t][d] for d in wanted] for a in after]) for t, wanted in docs.items()
    )
    order = read_parquet(base["extraction"].file("windows.parquet"), ["window_id"])["window_id"].to_pylist()
    hits = []
    for r in rows:
        table = read_parquet(r["extraction"].file("windows.parquet"), ["window_id", "exact_match"])
        of = dict(zip(table["window_id"].to_pylist(), table["exact_match"].to_pylist(), strict=True))
        hits.append([of[w] for w in order])
    return Path(tuple(doses), items, np.asarray(hits, bool))
