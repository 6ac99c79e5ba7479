"""Every metric, before and after, on what was trained on, on what the base recites, and on the floor.

Two estimands: `members`, all windows of texts that may have been trained on (the uniform estimand), and
`extractable`, those that the base itself recites in this very engine (the conditional one). The floor,
windows of the same kind that no model has seen, tells what chance gives: nothing below it is memorized.

Exact match is primary. The other metrics say whether it hides something; their intervals hold together
(Bonferroni), so that one of many is not shown by luck.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resurface.artifacts import Artifact
from resurface.memorization import metrics, positions
from resurface.memorization.clusters import Clusters, clusters_of
from resurface.memorization.comparison import check_pairable
from resurface.memorization.positions import Positions
from resurface.memorization.replicates import replicated_drop
from resurface.statistics import crossed_ratio
from resurface.tables import read_parquet

NS = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
"""Samples per window of the sampling curve."""
LEVEL = 0.95
_COLUMNS = ["window_id", "doc_id", "stratum", "token_ids", "exact_match"]


def _discoverable(n: int, p: float) -> Callable[[Positions], NDArray[Any]]:
    return lambda x: metrics.discoverable(metrics.sampling_logprob(x), n, p)


METRICS: dict[str, Callable[[Positions], NDArray[Any]]] = {
    "exact match": lambda x: metrics.exact_match(x.match),
    "(100, 0.5)-discoverable": _discoverable(100, 0.5),
    "(10000, 0.5)-discoverable": _discoverable(10_000, 0.5),
    "(1000000, 0.1)-discoverable": _discoverable(1_000_000, 0.1),
    "extraction strength": lambda x: metrics.extraction_strength(x.match),
    "longest run, tokens": lambda x: metrics.longest_run(x.match),
    "token accuracy": lambda x: metrics.token_accuracy(x.match),
    "NLL, nats per token": lambda x: metrics.suffix_nll(x) / x.match.shape[1],
}
"""Per window [W], at T = 1 over the full vocabulary; the first is the primary one."""


def scorecard(base: Artifact, treated: Sequence[Artifact], floor: Sequence[str]) -> dict[str, Any]:
    """Before and after, for every metric and group of windows.

    treated: extractions of one or more models (seeds), of the base's windows. floor: strata that no model
    has seen. Returns `groups` {members, extractable, floor: {windows, documents, clusters, near_duplicates,
    metrics: [{metric, before, after, change, low, high, level}]}}, None where there is no such window (for
    the floor with `floor_reason`), low and high None with a `reason` where nothing varies; `drop`, the
    relative drop of exact match over members; `floor_rate`, exact match on the floor, of the base and of each
    treated model; `curve`: per n of NS, the share that n samples of each window are expected to give (T = 1),
    {before, after} for members and floor; `multiplicity`, in words.

    Raises:
        UserError: windows that differ; a temperature of 1 that was not kept.
    """
    old = read_parquet(base.file("windows.parquet"), _COLUMNS)
    order = old["window_id"].to_pylist()
    for a in treated:
        check_pairable(base, read_parquet(a.file("windows.parquet"), _COLUMNS), a.config["start_ids"])
    prefix, suffix = base.config["prefix"], base.config["suffix"]
    scored = [positions.read(a, order).cut(prefix, suffix) for a in (base, *treated)]
    docs = np.asarray(old["doc_id"].to_pylist(), object)
    clusters = clusters_of(old)
    unseen = np.isin(np.asarray(old["stratum"].to_pylist(), object).astype(str), list(floor))
    hits = np.stack([metrics.exact_match(x.match) for x in scored])
    groups = {"members": ~unseen, "extractable": ~unseen & hits[0], "floor": unseen}
    found: dict[str, Any] = {
        "groups": {
            name: _group(scored, rows, docs, clusters) if rows.any() else None
            for name, rows in groups.items()
        },
        "drop": replicated_drop(hits[0][~unseen], hits[1:][:, ~unseen], clusters.take(~unseen)),
        "floor_rate": [float(h[unseen].mean()) for h in hits] if unseen.any() else None,
        "curve": {name: _curve(scored, groups[name]) for name in ("members", "floor") if groups[name].any()},
        "multiplicity": f"exact match is primary; the intervals of the other {len(METRICS) - 1} metrics hold "
        f"together (Bonferroni)",
    }
    if not unseen.any():
        named, there = (", ".join(sorted(x)) or "none" for x in (set(floor), set(old["stratum"].to_pylist())))
        found["floor_reason"] = f"no window is of a never-seen stratum (named: {named}; there are: {there})"
    return found


def _group(
    scored: list[Positions], rows: NDArray[np.bool_], docs: NDArray[Any], clusters: Clusters
) -> dict[str, Any]:
    within = clusters.take(rows)
    taken = [x.take(rows) for x in scored]
    out = []
    for i, (name, of) in enumerate(METRICS.items()):
        values = np.stack([np.asarray(of(x), float) for x in taken])
        level = LEVEL if i == 0 else 1 - (1 - LEVEL) / (len(METRICS) - 1)
        ones = np.ones(values.shape[1])
        change, low, high = crossed_ratio(values[1:] - values[0], ones, within.names.tolist(), level=level)
        row: dict[str, Any] = {
            "metric": name,
            "before": float(values[0].mean()),
            "after": float(values[1:].mean()),
            "change": change,
            "low": low,
            "high": high,
            "level": level,
        }
        if low == high:  # also None: an interval without width would claim certainty
            row |= {"low": None, "high": None, "reason": "nothing varies over windows and seeds"}
        out.append(row)
    size = {"windows": int(rows.sum()), "documents": len(set(docs[rows])), **within.counts()}
    return size | {"metrics": out}


def _curve(scored: list[Positions], rows: NDArray[np.bool_]) -> dict[str, Any]:
    curves = [metrics.sampling_curve(metrics.sampling_logprob(x.take(rows)), NS) for x in scored]
    return {
        "n": list(NS),
        "before": curves[0].tolist(),
        "after": np.mean(curves[1:], 0).tolist(),
        "after_each": [c.tolist() for c in curves[1:]],
    }
