"""Every metric, before and after, on what was trained on, on what the base recites, and on the floor.

Two estimands: `members`, all windows of texts that may have been trained on (the uniform estimand), and
`extractable`, those that the base itself recites in this very engine (the conditional one). The floor,
windows of the same kind that no model has seen, tells what chance gives: nothing below it is memorized.

Exact match is primary. The other metrics say whether it hides something; their intervals hold together
(Bonferroni), so that one of many is not shown by luck.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resurface.artifacts import Artifact
from resurface.artifacts.parquet import read_parquet
from resurface.memorization import metrics, positions
from resurface.memorization.comparison.paired import check_pairable, widened
from resurface.memorization.comparison.seeds import replicated_drop
from resurface.memorization.near_duplicates import Clusters, clusters_of
from resurface.memorization.positions import Positions
from resurface.stats.exact import exact_share
from resurface.stats.intervals import crossed_ratio, difference_of

NS = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
"""Samples per window of the sampling curve."""
LEVEL = 0.95
TOP_K = 40
"""Of the truncated sampling, where so many logits were kept."""
RARE = 10
"""Windows that carry a change, below which Student's t is too sure of it."""
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


_SHARES = set(METRICS) - {"longest run, tokens", "NLL, nats per token"}
"""Metrics between 0 and 1: no change is beyond -1 or 1."""


def scorecard(base: Artifact, treated: Sequence[Artifact], floor: Sequence[str]) -> dict[str, Any]:
    """Before and after, for every metric and group of windows.

    treated: extractions of one or more models (seeds), of the base's windows. floor: strata that no model
    has seen. Returns
    groups: {members, extractable, floor: {windows, documents, clusters, near_duplicates, metrics: [{metric,
        before, after, change, low, high, reason, level}]}}, None where there is no such window (for the floor
        with `floor_reason`); low and high None with a `reason` where they cannot be told
    drop: the relative drop of exact match over members
    floor_rate: {before, after: {rate, low, high, each}}, of exact match on the floor
    above_floor: {before, after: {excess, low, high}}, how much oftener members are recited, or None
    curve: per n of NS, the share that n samples of each window are expected to give (T = 1), {before, after,
        change, low, high} for members and floor
    decodings: for every temperature that was kept, without and with top-k TOP_K, the last point of that
        curve, at a `level` at which all of them hold together
    multiplicity: in words

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
        "floor_rate": None,
        "above_floor": None,
        "curve": {
            name: _curve(scored, groups[name], clusters)
            for name in ("members", "floor")
            if groups[name].any()
        },
        "decodings": _decodings(scored, {n: groups[n] for n in ("members", "floor")}, clusters),
        "multiplicity": f"exact match is primary; the intervals of the other {len(METRICS) - 1} metrics hold "
        f"together (Bonferroni)",
    }
    if unseen.any():
        found |= _against_floor(hits, unseen, clusters)
    else:
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
        out.append({"metric": name, **_changed(values, within, level, name in _SHARES), "level": level})
    size = {"windows": int(rows.sum()), "documents": len(set(docs[rows])), **within.counts()}
    return size | {"metrics": out}


def _against_floor(
    hits: NDArray[np.bool_], unseen: NDArray[np.bool_], clusters: Clusters
) -> dict[str, dict[str, Any]]:
    """Rates of exact match on the floor, and how far those of the members lie above them."""
    rate: dict[str, Any] = {}
    above: dict[str, Any] = {}
    for side, of in (("before", hits[:1]), ("after", hits[1:])):
        rate[side] = _rate(of[:, unseen], clusters.take(unseen))
        known = _rate(of[:, ~unseen], clusters.take(~unseen))
        excess, low, high = difference_of(*((r["rate"], r["low"], r["high"]) for r in (known, rate[side])))
        above[side] = {"excess": excess, "low": low, "high": high}
    return {"floor_rate": rate, "above_floor": above}


def _rate(hits: NDArray[np.bool_], clusters: Clusters) -> dict[str, Any]:
    """Share of hits [models, windows] over models, with an interval for new models and clusters of documents
    that never claims more than the exact one of the mean count; {rate, low, high, each}."""
    n = hits.shape[1]
    rate, low, high = crossed_ratio(hits.astype(float), np.ones(n), clusters.names.tolist())
    ends = widened((low, high), float(hits.sum(1).mean()), clusters)
    each = [float(h.mean()) for h in hits]
    return {"rate": rate, "low": ends[0], "high": min(ends[1], 1.0), "each": each}


def _curve(scored: list[Positions], rows: NDArray[np.bool_], clusters: Clusters) -> dict[str, Any]:
    logprob = [metrics.sampling_logprob(x.take(rows)) for x in scored]
    curves = [metrics.sampling_curve(p, NS) for p in logprob]
    points = [_sampled(logprob, n, clusters.take(rows)) for n in NS]
    return {
        "n": list(NS),
        **{key: [p[key] for p in points] for key in points[0]},
        "after_each": [c.tolist() for c in curves[1:]],
    }


def _sampled(
    logprob: Sequence[NDArray[np.float64]], n: int, clusters: Clusters, *, level: float = LEVEL
) -> dict[str, Any]:
    """What n samples of each window are expected to give, of the base's log p [W] and of each treated one's;
    the change's interval is for new models and clusters."""
    chances = np.stack([metrics.chance_in(p, n) for p in logprob])
    return _changed(chances, clusters, level, True)


def _changed(values: NDArray[np.float64], clusters: Clusters, level: float, share: bool) -> dict[str, Any]:
    """Means of values [1 + models, W] before and after, and the change with its interval for new models and
    clusters of documents, or the `reason` why there is none; share: values lie between 0 and 1."""
    differences, names = values[1:] - values[0], clusters.names.tolist()
    row: dict[str, Any] = {"before": float(values[0].mean()), "after": float(values[1:].mean())}
    change, low, high = crossed_ratio(differences, np.ones(len(names)), names, level=level)
    row |= {"change": change, "low": None, "high": None, "reason": None}
    if len(set(names)) == 1 or low is None or high is None:
        return row | {"reason": "one cluster of documents"}
    if share:
        moved = differences.mean(0)
        down, up = (_rare(np.maximum(d, 0), clusters, level) for d in (-moved, moved))
        low, high = change - math.hypot(change - low, down), change + math.hypot(high - change, up)
        return row | {"low": max(low, -1.0), "high": min(high, 1.0)}
    if low == high:  # an interval without width would claim certainty
        return row | {"reason": "nothing varies over windows and seeds"}
    return row | {"low": low, "high": high}


def _rare(moved: NDArray[np.float64], clusters: Clusters, level: float) -> float:
    """How far the exact interval of a share goes beyond moved [W], where few windows carry it.

    The spread of a few, or of none, says nothing of how many of the next ones will move. Carriers are counted
    as in `exact.effective_size`, near-duplicates together.
    """
    total, of_groups = float(moved.sum()), np.bincount(clusters.groups, moved)
    if total and total**2 / float((of_groups**2).sum()) >= RARE:
        return 0.0
    return exact_share(total, clusters.groups, level=level)[1] - total / len(moved)


def _decodings(
    scored: list[Positions], groups: dict[str, NDArray[np.bool_]], clusters: Clusters
) -> list[dict[str, Any]]:
    """{temperature, top_k (0: all tokens), n, members, floor}: an attacker picks what gives most, so the
    intervals of a group hold together (Bonferroni; `level` is that of one)."""
    top = scored[0].top
    top_ks = [0, TOP_K] if top is not None and top.shape[2] >= TOP_K else [0]
    level = 1 - (1 - LEVEL) / (len(scored[0].temperatures) * len(top_ks))
    found = []
    for t in scored[0].temperatures:
        for k in top_ks:
            logprob = [metrics.sampling_logprob(x, temperature=t, top_k=k) for x in scored]
            part = {
                name: _sampled([p[rows] for p in logprob], NS[-1], clusters.take(rows), level=level)
                | {"level": level}
                if rows.any()
                else None
                for name, rows in groups.items()
            }
            found.append({"temperature": t, "top_k": k, "n": NS[-1], **part})
    return found
