"""Every metric, before and after, on members, on what is extracted from the base, and on non-members.

Two estimands: `members`, all windows of texts that may have been trained on (the uniform estimand), and
`extractable`, those that are extracted from the base in this very engine (the conditional one). Non-members,
windows of the same kind that no model has seen, show what chance gives: nothing below that is memorized.

Exact match is primary. The other metrics say whether it hides something; their intervals hold together
(Bonferroni), so that one of many is not shown by luck.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
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
from resurface.memorization.results import (
    HOLDS_TOGETHER,
    Change,
    Curves,
    Decoding,
    Excess,
    Excesses,
    Groups,
    GroupScores,
    Metric,
    MetricChange,
    Rate,
    Rates,
    SamplingCurve,
    SamplingPoint,
    Scorecard,
)
from resurface.stats.estimate import Estimate
from resurface.stats.exact import exact_share
from resurface.stats.intervals import crossed_ratio, difference_of
from resurface.stats.reasons import Reason

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


METRICS: dict[Metric, Callable[[Positions], NDArray[Any]]] = {
    Metric.EXACT_MATCH: lambda x: metrics.exact_match(x.match),
    Metric.DISCOVERABLE_100: _discoverable(100, 0.5),
    Metric.DISCOVERABLE_10K: _discoverable(10_000, 0.5),
    Metric.DISCOVERABLE_1M: _discoverable(1_000_000, 0.1),
    Metric.EXTRACTION_STRENGTH: lambda x: metrics.extraction_strength(x.match),
    Metric.LONGEST_RUN: lambda x: metrics.longest_run(x.match),
    Metric.TOKEN_ACCURACY: lambda x: metrics.token_accuracy(x.match),
    Metric.NLL_PER_TOKEN: lambda x: metrics.suffix_nll(x) / x.match.shape[1],
}
"""Per window [W], at T = 1 over the full vocabulary; the first is the primary one."""


_SHARES = set(METRICS) - {Metric.LONGEST_RUN, Metric.NLL_PER_TOKEN}
"""Metrics between 0 and 1: no change is beyond -1 or 1."""


def scorecard(base: Artifact, treated: Sequence[Artifact], non_members: Sequence[str]) -> Scorecard:
    """Before and after, for every metric and group of windows.

    treated: extractions of one or more models (seeds), of the base's windows. non_members: strata that
    no model has seen.

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
    unseen = np.isin(np.asarray(old["stratum"].to_pylist(), object).astype(str), list(non_members))
    hits = np.stack([metrics.exact_match(x.match) for x in scored])
    groups = {"members": ~unseen, "extractable": ~unseen & hits[0], "floor": unseen}
    rate, above, why = None, None, None
    if unseen.any():
        rate, above = _against_non_members(hits, unseen, clusters)
    else:
        there = sorted(set(old["stratum"].to_pylist()))
        why = Reason.NO_SUCH_STRATUM.about(" / ".join(sorted(non_members)) or "-", *there)
    asked = {name: rows for name, rows in groups.items() if name != "extractable"}
    return Scorecard(
        groups=Groups(
            **{
                name: _group(scored, rows, docs, clusters) if rows.any() else None
                for name, rows in groups.items()
            }
        ),
        drop=replicated_drop(hits[0][~unseen], hits[1:][:, ~unseen], clusters.take(~unseen)),
        floor_rate=rate,
        above_floor=above,
        curve=Curves(**{name: _curve(scored, rows, clusters) for name, rows in asked.items() if rows.any()}),
        decodings=tuple(_decodings(scored, asked, clusters)),
        multiplicity=HOLDS_TOGETHER,
        floor_reason=why,
    )


def _group(
    scored: list[Positions], rows: NDArray[np.bool_], docs: NDArray[Any], clusters: Clusters
) -> GroupScores:
    within = clusters.take(rows)
    taken = [x.take(rows) for x in scored]
    out = []
    for i, (metric, of) in enumerate(METRICS.items()):
        values = np.stack([np.asarray(of(x), float) for x in taken])
        level = LEVEL if i == 0 else 1 - (1 - LEVEL) / (len(METRICS) - 1)
        changed = _changed(values, within, level, metric in _SHARES)
        out.append(changed.extended(MetricChange, metric=metric.label))
    return GroupScores(
        windows=int(rows.sum()), documents=len(set(docs[rows])), **within.counts(), metrics=tuple(out)
    )


def _against_non_members(
    hits: NDArray[np.bool_], unseen: NDArray[np.bool_], clusters: Clusters
) -> tuple[Rates, Excesses]:
    """Rates of exact match of non-members, and how far those of members lie above them."""
    rate, above = {}, {}
    for side, of in (("before", hits[:1]), ("after", hits[1:])):
        rate[side] = _rate(of[:, unseen], clusters.take(unseen))
        known = _rate(of[:, ~unseen], clusters.take(~unseen))
        apart = difference_of(_whole(known.rate), _whole(rate[side].rate))
        above[side] = Excess(excess=Estimate.holding(*apart))
    return Rates(**rate), Excesses(**above)


def _whole(e: Estimate) -> tuple[float, float, float]:
    assert e.value is not None and e.low is not None and e.high is not None
    return e.value, e.low, e.high


def _rate(hits: NDArray[np.bool_], clusters: Clusters) -> Rate:
    """Share of hits [models, windows] over models, with an interval for new models and clusters of documents
    that never claims more than the exact one of the mean count."""
    n = hits.shape[1]
    rate, low, high = crossed_ratio(hits.astype(float), np.ones(n), clusters.names.tolist())
    ends = widened((low, high), float(hits.sum(1).mean()), clusters)
    each = tuple(float(h.mean()) for h in hits)
    return Rate(rate=Estimate.holding(rate, ends[0], min(ends[1], 1.0)), each=each)


def _curve(scored: list[Positions], rows: NDArray[np.bool_], clusters: Clusters) -> SamplingCurve:
    logprob = [metrics.sampling_logprob(x.take(rows)) for x in scored]
    curves = [metrics.sampling_curve(p, NS) for p in logprob]
    points = [_sampled(logprob, n, clusters.take(rows)).extended(SamplingPoint, n=n) for n in NS]
    return SamplingCurve(points=tuple(points), after_each=tuple(tuple(c.tolist()) for c in curves[1:]))


def _sampled(
    logprob: Sequence[NDArray[np.float64]], n: int, clusters: Clusters, *, level: float = LEVEL
) -> Change:
    """What n samples of each window are expected to give, of the base's log p [W] and of each treated one's;
    the change's interval is for new models and clusters."""
    chances = np.stack([metrics.chance_in(p, n) for p in logprob])
    return _changed(chances, clusters, level, True)


def _changed(values: NDArray[np.float64], clusters: Clusters, level: float, share: bool) -> Change:
    """Means of values [1 + models, W] before and after, and the change with its interval for new models and
    clusters of documents, or the reason why there is none; share: values lie between 0 and 1."""
    moved = _moved(values[1:] - values[0], clusters, level, share)
    return Change(before=float(values[0].mean()), after=float(values[1:].mean()), change=moved)


def _moved(differences: NDArray[np.float64], clusters: Clusters, level: float, share: bool) -> Estimate:
    """Mean of differences [models, W]."""
    names = clusters.names.tolist()
    change, low, high = crossed_ratio(differences, np.ones(len(names)), names, level=level)
    if len(set(names)) == 1 or low is None or high is None:
        return Estimate(change, level=level, reason=Reason.ONE_CLUSTER)
    if share:
        mean = differences.mean(0)
        down, up = (_rare(np.maximum(d, 0), clusters, level) for d in (-mean, mean))
        low, high = change - math.hypot(change - low, down), change + math.hypot(high - change, up)
        return Estimate.holding(change, max(low, -1.0), min(high, 1.0), level=level)
    if low == high:  # an interval without width would claim certainty
        return Estimate(change, level=level, reason=Reason.NO_VARIANCE)
    return Estimate.holding(change, low, high, level=level)


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
) -> Iterator[Decoding]:
    """An attacker picks what gives most, so the intervals of a group hold together (Bonferroni; the level is
    that of one)."""
    top = scored[0].top
    top_ks = [0, TOP_K] if top is not None and top.shape[2] >= TOP_K else [0]
    level = 1 - (1 - LEVEL) / (len(scored[0].temperatures) * len(top_ks))
    for t in scored[0].temperatures:
        for k in top_ks:
            logprob = [metrics.sampling_logprob(x, temperature=t, top_k=k) for x in scored]
            part = {
                name: _sampled([p[rows] for p in logprob], NS[-1], clusters.take(rows), level=level)
                if rows.any()
                else None
                for name, rows in groups.items()
            }
            yield Decoding(temperature=t, top_k=k, n=NS[-1], **part)
