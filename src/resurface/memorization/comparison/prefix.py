"""What treatment did to every way of asking: per variant of the prefix, and to whoever tries them all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from resurface.artifacts import Artifact
from resurface.artifacts.parquet import read_parquet
from resurface.errors import UserError
from resurface.memorization.attacks.prefix import FILE
from resurface.memorization.comparison.seeds import replicated_drop
from resurface.memorization.near_duplicates import Clusters, clusters_of, of_documents
from resurface.memorization.results import Drop, PrefixAttack, PrefixAttacks, PrefixDrop
from resurface.stats.estimate import Estimate
from resurface.stats.reasons import Reason

_KEY = ["variant", "copy", "window_id", "prefix_ids"]
_COLUMNS = [*_KEY, "doc_id", "stratum", "exact_match", "reason"]


def compare_prefix_attacks(
    base: Artifact,
    treated: Sequence[Artifact],
    *,
    non_members: Sequence[str] = (),
    extracted: pa.Table | None = None,
) -> PrefixAttacks:
    """Exact-match hits behind each variant of the prefix, before, and after each of several treatments.

    base: prefix attack on the untreated model; treated: one per seed, of the same windows and variants.
    non_members: strata that no model saw. They count apart, and nothing counts as memorized below their rate.
    extracted: the windows (window_id, doc_id, token_ids) that were attacked, to find near-duplicates;
    None: only windows of one document are taken to depend on each other.

    Raises:
        UserError: not attacks on the same windows, prefixes and start token, or no such stratum.
        ValueError: nothing treated.
    """
    if not treated:
        raise ValueError("no treated model")
    tables = [_read(base, a) for a in (base, *treated)]
    first = tables[0]
    windows = list(dict.fromkeys(first["window_id"].to_pylist()))
    place = {w: i for i, w in enumerate(windows)}
    window = np.asarray([place[w] for w in first["window_id"].to_pylist()])  # [n]: of each row
    docs, strata = np.empty((2, len(windows)), object)
    docs[window], strata[window] = first["doc_id"].to_pylist(), first["stratum"].to_pylist()
    if unknown := sorted(set(non_members) - set(strata)):
        raise UserError(
            f"{base.path} has no stratum {unknown[0]!r}",
            remedy="name one of: " + ", ".join(sorted(set(strata))),
        )
    unseen = np.isin(strata, list(non_members))
    clusters = of_documents(docs.tolist()) if extracted is None else clusters_of(extracted, windows)

    exact = [t["exact_match"].to_pylist() for t in tables]
    measured = np.asarray([all(x is not None for x in row) for row in zip(*exact, strict=True)], bool)
    hits = np.asarray([[x is True for x in column] for column in exact], bool)  # [A, n]

    def part(hit: NDArray[np.bool_], of: NDArray[np.int64]) -> PrefixDrop:
        """hit [A, rows], of [rows]: the window of each."""
        seen = ~unseen[of]
        apart = _drop(hit[:, ~seen], clusters.take(of[~seen])) if len(non_members) else None
        return _drop(hit[:, seen], clusters.take(of[seen])).extended(PrefixDrop, floor=apart)

    names = list(zip(*(first[c].to_pylist() for c in ("variant", "copy")), strict=True))
    variants = []
    for variant, draw in dict.fromkeys(names):
        rows = np.asarray([n == (variant, draw) for n in names])
        chosen = rows & measured
        reasons = [r for r, inside in zip(first["reason"].to_pylist(), rows, strict=True) if inside and r]
        found = part(hits[:, chosen], window[chosen])
        which = {"variant": variant, "draw": draw, "not_possible": dict(Counter(reasons))}
        variants.append(found.extended(PrefixAttack, **which))
    some = np.zeros((len(tables), len(windows)), bool)
    for row, hit in zip(some, hits, strict=True):
        row[window[hit & measured]] = True
    asked = np.unique(window[measured])
    return PrefixAttacks(variants=tuple(variants), any_variant=part(some[:, asked], asked))


def _drop(hits: NDArray[np.bool_], clusters: Clusters) -> Drop:
    """`replicated_drop` of hits [A, windows], base first; of no windows nothing is counted."""
    if hits.shape[1]:
        return replicated_drop(hits[0], hits[1:], clusters)
    return Drop(
        windows=0,
        **clusters.counts(),
        before=None,
        effective_before=None,
        clusters_before=None,
        after=None,
        after_each=None,
        relative=Estimate.missing(Reason.NO_COMMON_WINDOWS),
    )


def _read(base: Artifact, attack: Artifact) -> pa.Table:
    """The rows of `attack`, which have to be the answers to the questions of `base`."""
    for a in (base, attack):
        if a.stage != "probe":
            raise UserError(
                f"{a.path} is a {a.stage} artifact, not a prefix attack (stage probe)",
                remedy="give what `resurface verdict` wrote under probe/",
            )
    if attack.config["start_ids"] != base.config["start_ids"]:
        raise UserError(
            f"{attack.path} was attacked behind other start tokens than {base.path}",
            remedy="attack both with the same --start",
        )
    rows = read_parquet(attack.file(FILE), _COLUMNS)
    same = attack.inputs["windows"].fingerprint == base.inputs["windows"].fingerprint
    if not same or not rows.select(_KEY).equals(read_parquet(base.file(FILE), _KEY)):
        raise UserError(
            f"{attack.path} attacked other prefixes or windows than {base.path}",
            remedy="attack both with the same windows, tokenizer, prefixes, perturbations, copies and seed",
        )
    return rows
