"""What several seeds of one treatment show together: capability, and the control arms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from resurface import memorization
from resurface.artifacts import Artifact
from resurface.controls import SELF, Controls, Path, compare_paths
from resurface.evaluation import headline_items
from resurface.memorization.clusters import clusters_of
from resurface.statistics import crossed_mean, holm
from resurface.tables import read_parquet


def capability(base: Artifact, treated: Sequence[Artifact]) -> dict[str, Any]:
    """Capability over seeds: `overall` (mean over tasks) and `tasks`, as change of the headline metric.

    Each has base, mean, change, low, high (95%, over new seeds and new items) and each (per seed).
    """
    before, after = headline_items(base), [headline_items(a) for a in treated]
    differences: dict[str, list[list[float]]] = {}
    tasks: dict[str, dict[str, Any]] = {}
    for task, items in before.items():
        docs = sorted(set(items).intersection(*(a[task] for a in after)))
        if not docs:
            tasks[task] = {"n": 0, "change": None, "reason": "no item has this metric in every model"}
            continue
        differences[task] = [[a[task][d] - items[d] for d in docs] for a in after]
        tasks[task] = {"n": len(docs)} | _changed([differences[task]], [sum(items.values()) / len(items)])
    if not differences:
        return {"tasks": tasks, "overall": {"change": None, "reason": "no task has a score per item"}}
    levels = [float(tasks[t]["base"]) for t in differences]
    return {"tasks": tasks, "overall": _changed(list(differences.values()), levels)}


def _changed(differences: list[list[list[float]]], levels: list[float]) -> dict[str, Any]:
    change, low, high = crossed_mean(differences)
    level = sum(levels) / len(levels)
    seeds = range(len(differences[0]))
    each = [sum(sum(d[s]) / len(d[s]) for d in differences) / len(differences) for s in seeds]
    return {
        "base": level, "mean": level + change, "change": change, "low": low, "high": high, "each": each,
    }  # fmt: skip


# ------------------------------------------------------------------------------ control arms


def arms(base: dict[str, Any], measured: Sequence[Sequence[dict[str, Any]]], cfg: Controls) -> dict[str, Any]:
    """The control arms over seeds.

    base: scores and extraction of the untreated model; measured: per seed, the rows of `attribution`.
    Returns `points`, one per arm and dose (capability, extraction, l2_distance, loss: means over seeds);
    `margins`, from `controls.compare_paths`, with `p_holm` over arms (of those that have a p), or None with
    a `reason`; `skipped`, arms with the reason.
    """
    skipped = {r["arm"]: r["skipped"] for rows in measured for r in rows if "skipped" in r}
    places = [(r["arm"], r["dose"]) for r in measured[0] if r["arm"] not in skipped]
    of = {(r["arm"], r["dose"], s): r for s, rows in enumerate(measured) for r in rows if "dose" in r}
    seeds = range(len(measured))
    points = [_point(base, [of[arm, dose, s] for s in seeds]) for arm, dose in places]
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
    windows = read_parquet(base["extraction"].file("windows.parquet"), ["exact_match", "doc_id", "token_ids"])
    before = np.asarray(windows["exact_match"].to_pylist(), bool)
    own = paths.pop(SELF)
    if not before.any():
        return found | {"margins": None, "reason": "no baseline hits: there is nothing that could drop"}
    found |= compare_paths(own, paths, before, clusters_of(windows).names.tolist(), cfg.margins)
    for row in found["margins"]:
        known = {name: r["p"] for name, r in row["arms"].items() if r["p"] is not None}
        adjusted = dict(zip(known, holm(list(known.values())).tolist(), strict=True))
        for name, r in row["arms"].items():
            r["p_holm"] = adjusted.get(name)
    return found


def _point(base: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    losses = [r["loss"] for r in rows]
    return {
        "arm": rows[0]["arm"],
        "kind": rows[0]["kind"],
        "dose": rows[0]["dose"],
        "scale": [r["scale"] for r in rows],
        "l2_distance": float(np.mean([r["l2_distance"] for r in rows])),
        "loss": float(np.mean(losses)) if None not in losses else None,
        **capability(base["scores"], [r["scores"] for r in rows]),
        "extraction": memorization.compare_replicates(base["extraction"], [r["extraction"] for r in rows]),
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
