"""The drop of extraction over replicates (seeds) of one treatment, on the windows that they share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resurface.artifacts import Artifact
from resurface.artifacts.parquet import read_parquet
from resurface.memorization.comparison.paired import check_pairable, counted_apart, per_kind, widened
from resurface.memorization.near_duplicates import Clusters, clusters_of, of_documents
from resurface.stats.exact import effective_size
from resurface.stats.intervals import crossed_ratio

_COLUMNS = ["window_id", "doc_id", "stratum", "token_ids", "exact_match", "shares_ngram"]


def compare_replicates(
    base: Artifact, treated: Sequence[Artifact], floor: Sequence[str] = ()
) -> dict[str, Any]:
    """Exact-match hits before, and after each of several treatments of the same model.

    base: extraction of the untreated model; treated: one per seed, of the same windows. floor: strata that no
    model has seen; they count in none of the parts but their own stratum.
    Returns {"all", "held_out", "strata", "kinds"}, and of the floor `non_members` {windows, before, after} or
    None; each part (per stratum and per kind of text, in lists;
    kinds are None of an extraction that does not tell them) with windows, before, after
    (mean over seeds), after_each (per seed), relative_drop, low, high. `held_out` keeps the windows that
    share no n-gram with the synthetic corpus of *any* seed; it is None where no corpus was given.

    Raises:
        UserError: not of the same windows and start token.
    """
    old = read_parquet(base.file("windows.parquet"), _COLUMNS)
    tables = [
        check_pairable(base, read_parquet(a.file("windows.parquet"), _COLUMNS), a.config["start_ids"])
        for a in treated
    ]
    before = np.asarray(old["exact_match"].to_pylist(), bool)
    after = np.asarray([t["exact_match"].to_pylist() for t in tables], bool)
    clusters = clusters_of(old)
    strata = np.asarray(old["stratum"].to_pylist(), object)
    seen = ~np.isin(strata.astype(str), list(floor))
    shares = [t["shares_ngram"].to_pylist() for t in tables]
    clean = np.asarray([all(x is False for x in row) for row in zip(*shares, strict=True)], bool)
    # a window of fewer words than an n-gram has tells nothing, and is not among the clean ones
    known = all(any(x is not None for x in row) for row in shares)

    def part(chosen: NDArray[np.bool_]) -> dict[str, Any]:
        return replicated_drop(before[chosen], after[:, chosen], clusters.take(chosen))

    return {
        "all": part(seen),
        "held_out": part(clean & seen) if known else None,
        "strata": [{"stratum": s} | part(strata == s) for s in dict.fromkeys(strata)],
        "kinds": per_kind(base, lambda chosen: part(chosen & seen)),
        "non_members": counted_apart(before, after, ~seen),
    }


def replicated_drop(
    before: NDArray[np.bool_], after: NDArray[np.bool_], clusters: Clusters | Sequence[str]
) -> dict[str, Any]:
    """R = 1 - after/before for before [windows], after [seeds, windows]: mean over seeds, 95% interval.

    clusters: of the windows; or their documents, where near-duplicates are not known.
    The interval is for new seeds and new clusters of documents (`intervals.crossed_ratio`), and never claims
    more than the exact binomial interval of the mean count (`comparison.widened`): with no hit left, or all,
    the ratio would have no variance, and the claim no bound.
    Also returned: `clusters`, `near_duplicates` (see `Clusters.counts`), `effective_before`: independent
    baseline hits, `clusters_before`: the same if the windows of a cluster of documents all said one thing.
    """
    known = clusters if isinstance(clusters, Clusters) else of_documents(clusters)
    each = [int(x) for x in after.sum(1)]
    found: dict[str, Any] = {
        "windows": len(before),
        **known.counts(),
        "before": int(before.sum()),
        "effective_before": effective_size(known.groups[before]),
        "clusters_before": effective_size(known.names[before]),
        "after": float(np.mean(each)),
        "after_each": each,
        "relative_drop": None,
        "low": None,
        "high": None,
    }
    if not len(before):
        return found | {"reason": "there is no such window"}
    if not found["before"]:
        return found | {"reason": "no baseline hits: there is nothing that could drop"}
    left, low, high = crossed_ratio(after, before, known.names.tolist())
    found["relative_drop"] = 1 - left
    if low is None or high is None:
        return found | {"reason": "one seed and one cluster of documents: no interval"}
    low, high = widened((low, high), found["after"], known.take(before))
    return found | {"low": 1 - high, "high": 1 - low}
