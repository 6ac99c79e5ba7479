"""What treatment did to extraction: paired by window, with exact intervals (pure numpy and scipy)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from resurface.artifacts import Artifact
from resurface.artifacts.parquet import read_parquet
from resurface.errors import UserError
from resurface.memorization.near_duplicates import Clusters, clusters_of
from resurface.memorization.text_kinds import KINDS, read_kinds
from resurface.stats.exact import effective_size, exact_share, poisson_interval
from resurface.stats.intervals import clustered_bootstrap, crossed_ratio

MINIMUM_BASELINE_HITS = 60
"""With b baseline hits and none left, up to about 3/b may remain (95%): 60 hits bound it at 5%."""

_COLUMNS = ["window_id", "doc_id", "stratum", "token_ids", "exact_match", "token_accuracy", "shares_ngram"]


def compare(base: Artifact, treated: Artifact, non_members: Sequence[str] = ()) -> dict[str, Any]:
    """Exact-match hits before and after, on the same windows.

    non_members: strata that no model was trained on; they count in `strata` and `documents` alone, and
    `non_members` has how many they are and how many of them are hits {windows, before, after}.
    Returns plain values: those of `paired_drop` over all members, the interval widened to that for new
    clusters of documents where these have several windows (`_for_new_documents`); `strata`, the same per
    stratum, and `kinds` per kind of text (`kinds`; None of an extraction that does not tell);
    `documents`, hits per document; `token_accuracy`, the mean share of suffix tokens that are the greedy
    choice, before and after, and its change with an interval that resamples clusters (`clusters`): it
    says something where there are too few hits to say anything; `clusters` and `near_duplicates`, of all
    windows;
    `held_out`, the same as `paired_drop` on windows that share no n-gram with the synthetic corpus
    (None with `held_out_reason` where no corpus was given).

    Raises:
        UserError: not extraction artifacts, or not of the same windows and start token.
    """
    for a in (base, treated):
        if a.stage != "extract":
            raise UserError(f"{a.path} is a {a.stage} artifact, not an extract artifact")
    old, new = (read_parquet(a.file("windows.parquet"), _COLUMNS) for a in (base, treated))
    new = check_pairable(base, new, treated.config["start_ids"])
    before, after = (np.asarray(t["exact_match"].to_pylist(), bool) for t in (old, new))
    clusters = clusters_of(old)

    def part(rows: NDArray[np.bool_]) -> dict[str, Any]:
        found = paired_drop(before[rows], after[rows], clusters.groups[rows])
        return _for_new_documents(found, before[rows], after[rows], clusters.take(rows))

    strata = np.asarray(old["stratum"].to_pylist(), object)
    member = ~np.isin(strata.astype(str), list(non_members))
    found = part(member) | clusters.take(member).counts()
    found["non_members"] = counted_apart(before, after[None], ~member)
    found["documents"] = _per_document(before, after, old["doc_id"].to_pylist())
    found["strata"] = [{"stratum": s} | part(strata == s) for s in dict.fromkeys(strata)]
    found["kinds"] = per_kind(base, lambda rows: part(rows & member))
    chosen = pa.array(member)
    seen = (old.filter(chosen), new.filter(chosen))
    found["token_accuracy"] = _token_accuracy(seen[0], seen[1], clusters.take(member).names.tolist())
    clean = _shares_none(old, new)
    found["held_out"] = part(clean & member) if clean is not None else None
    if clean is None:
        found["held_out_reason"] = "no synthetic corpus was given, so overlap with it is unknown"
    return found


def counted_apart(
    before: NDArray[np.bool_], after: NDArray[np.bool_], rows: NDArray[np.bool_]
) -> dict[str, Any] | None:
    """Windows of the mask rows [W] and hits among them, after [models, W] as a mean; None of no window."""
    if not rows.any():
        return None
    hits = float(after[:, rows].sum(1).mean())
    return {"windows": int(rows.sum()), "before": int(before[rows].sum()), "after": hits}


def per_kind(
    extraction: Artifact, part: Callable[[NDArray[np.bool_]], dict[str, Any]]
) -> list[dict[str, Any]] | None:
    """`part` of the windows of each kind of text; None if the extraction does not tell kinds."""
    kinds = read_kinds(extraction)
    if kinds is None:
        return None
    return [{"kind": k} | part(kinds == k) for k in KINDS if (kinds == k).any()]


def _token_accuracy(old: pa.Table, new: pa.Table, clusters: list[str]) -> dict[str, Any]:
    before, after = (t["token_accuracy"].to_numpy().astype(float) for t in (old, new))
    change, low, high = clustered_bootstrap(after - before, clusters)
    found: dict[str, Any] = {"before": float(before.mean()), "after": float(after.mean()), "change": change}
    if low != low:
        return found | {"low": None, "high": None, "reason": "one cluster of documents: no interval"}
    return found | {"low": low, "high": high}


def paired_drop(
    before: NDArray[np.bool_], after: NDArray[np.bool_], groups: NDArray[np.int64] | None = None
) -> dict[str, Any]:
    """Relative drop R = 1 - after/before of paired hits [n], with a 95% interval (low, high).

    groups [n]: windows of one number are near-duplicates, which all intervals take for one (`exact_share`);
    None: there are none.

    Without new hits R = 1 - retained/before, and the interval is exact (Clopper-Pearson). New hits
    add a Poisson count to it: then the two exact intervals are taken at 97.5% and combined
    (Bonferroni), which is wider than needed but never too narrow. `retained_low/high` is always
    the plain Clopper-Pearson interval of retained/before.
    `effective_before`: baseline hits as far as they are independent (`effective_size`).
    `none_left_upper`: the 95% upper bound on the share that remains if not one hit were left; no
    drop beyond 1 - none_left_upper can be claimed from this many baseline hits.
    """
    groups = np.arange(len(before)) if groups is None else groups
    t = _tally(before, after)
    b, kept, new = t["before"], t["retained"], t["new"]
    known = groups[before]
    found: dict[str, Any] = t | {
        "effective_before": effective_size(known),
        "relative_drop": None,
        "low": None,
        "high": None,
        "retained_share": None,
        "retained_low": None,
        "retained_high": None,
        "minimum": MINIMUM_BASELINE_HITS,
        "none_left_upper": None,
        "note": None,
    }
    if not b:
        found["reason"] = found["note"] = "no baseline hits: there is nothing that could drop"
        return found
    low, high = exact_share(kept, known)
    found |= {"retained_share": kept / b, "retained_low": low, "retained_high": high}
    found |= {"relative_drop": 1 - t["after"] / b, "low": 1 - high, "high": 1 - low}
    if new:
        low, high = exact_share(kept, known, level=0.975)
        distinct = effective_size(groups[~before & after])
        few, many = (x * new / distinct for x in poisson_interval(distinct, level=0.975))
        found |= {"low": 1 - high - many / b, "high": 1 - low - few / b}
    return found | _claim(b, found["effective_before"], "without near-duplicates")


def _claim(hits: int, enough: float, how: str) -> dict[str, Any]:
    """none_left_upper and note of so many baseline hits, worth `enough` independent ones."""
    upper, note = 1 - 0.05 ** (1 / enough), None
    if enough < MINIMUM_BASELINE_HITS:
        independent = f"{hits}" if enough == hits else f"{hits}, worth {enough:.3g} {how},"
        note = (
            f"not enough baseline hits to claim -95%: {independent} of at least {MINIMUM_BASELINE_HITS} "
            f"(the most that {enough:.3g} can show is -{1 - upper:.0%}, one-sided 95%)"
        )
    return {"none_left_upper": upper, "note": note}


def _for_new_documents(
    found: dict[str, Any], before: NDArray[np.bool_], after: NDArray[np.bool_], clusters: Clusters
) -> dict[str, Any]:
    """`paired_drop`, its interval widened to that for new clusters of documents: windows of one document move
    together, and as independent ones they would be too sure. What can be claimed at most counts clusters.
    Of one cluster nothing can be told of others: `note`."""
    if found["relative_drop"] is None or len(set(clusters.names.tolist())) == len(before):
        return found
    _, low, high = crossed_ratio(after[None].astype(float), before, clusters.names.tolist())
    if low is None or high is None:
        single = "all windows are of one cluster of documents: the interval is for these windows alone"
        return found | {"note": single if found["note"] is None else f"{found['note']}; {single}"}
    known = clusters.take(before)
    worth = effective_size(known.names)
    found = found | _claim(found["before"], worth, "if a cluster of documents says one thing")
    low, high = widened((low, high), found["retained"], known)
    # a share that is left is not below 0; more than all may be left
    return found | {"low": min(found["low"], 1 - high), "high": max(found["high"], min(1 - low, 1.0))}


def widened(
    ends: tuple[float | None, float | None], count: float, clusters: Clusters, *, level: float = 0.95
) -> tuple[float, float]:
    """The interval `ends` (at `level`) of a share of these windows, widened to the exact one of `count`.

    Where nothing varies, or clusters of documents are few, too little tells how alike the windows of a
    document are: then a cluster counts as one window (`exact_share`). count: a mean over models may lie
    between whole numbers; the exact interval is that of both.
    """
    low, high = ends
    few = low == high or effective_size(clusters.names) < MINIMUM_BASELINE_HITS
    names = clusters.names if few else clusters.groups
    least = exact_share(min(math.floor(count), len(names)), names, level=level)[0]
    most = exact_share(min(math.ceil(count), len(names)), names, level=level)[1]
    return (
        least if low is None else max(0.0, min(low, least)),
        most if high is None else max(high, most),
    )


def _tally(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> dict[str, Any]:
    return {name: int(rows.sum()) for name, rows in _counted(before, after).items()}


def _per_document(
    before: NDArray[np.bool_], after: NDArray[np.bool_], docs: Sequence[str]
) -> list[dict[str, Any]]:
    """`_tally` of the windows of each document, in the order in which they come."""
    place = {doc: i for i, doc in enumerate(dict.fromkeys(docs))}
    member = np.asarray([place[doc] for doc in docs], np.int64)
    counts = {
        name: np.bincount(member[rows], minlength=len(place)).tolist()
        for name, rows in _counted(before, after).items()
    }
    return [{"doc_id": doc} | {name: n[i] for name, n in counts.items()} for doc, i in place.items()]


def _counted(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> dict[str, NDArray[np.bool_]]:
    return {
        "windows": np.ones(len(before), bool),
        "before": before,
        "after": after,
        "retained": before & after,
        "new": ~before & after,
    }


def check_pairable(base: Artifact, new: pa.Table, start_ids: Sequence[int]) -> pa.Table:
    """`new` (windows of the treated model) in the window order of `base`.

    Raises:
        UserError: other windows, other tokens, or another start than in `base`.
    """
    if list(base.config["start_ids"]) != list(start_ids):
        raise UserError(
            f"{base.path} was scored behind other start tokens",
            remedy="extract both with the same start",
        )
    old = read_parquet(base.file("windows.parquet"), ["window_id", "token_ids"])
    remedy = "extract both with the same texts, prefix, suffix, stride, max_windows(_per_stratum), seed"
    place = {w: i for i, w in enumerate(new["window_id"].to_pylist())}
    ids = old["window_id"].to_pylist()
    missing = sum(w not in place for w in ids)
    if missing or len(place) != len(ids):
        extra = len(place) - (len(ids) - missing)
        raise UserError(
            f"{base.path} holds other windows ({missing} only there, {extra} only here)",
            remedy=remedy,
        )
    new = new.take(pa.array([place[w] for w in ids]))
    if new["token_ids"].to_pylist() != old["token_ids"].to_pylist():
        raise UserError(
            f"the texts of {base.path} are cut into other tokens here",
            remedy="compare models that have the same tokenizer",
        )
    return new


def _shares_none(old: pa.Table, new: pa.Table) -> NDArray[np.bool_] | None:
    """Windows known to share no n-gram with either side's corpus [n]; None if nothing is known."""
    sides = [t["shares_ngram"].to_pylist() for t in (old, new)]
    sides = [s for s in sides if any(x is not None for x in s)]
    if not sides:
        return None
    return np.asarray([all(x is False for x in row) for row in zip(*sides, strict=True)], bool)
