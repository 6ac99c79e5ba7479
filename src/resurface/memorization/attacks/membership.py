"""Membership inference: can windows of the pretraining data be told from others of the same kind?

AUC and TPR at a low FPR of each attack (`membership_scores`), before and after treatment. They measure
*any* difference between the two groups: if the non-members come from another source or time than the
members, it is the text that is told apart, not the memory (Duan et al. 2024, arXiv 2402.07841). The
paired change on the same windows suffers least from it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from resurface.errors import UserError
from resurface.memorization.attacks.membership_scores import ATTACKS, Floats, ScoresOf, attack_scores, loss
from resurface.memorization.attacks.roc import Bools, auc, both_groups, resample, tpr_at_fpr
from resurface.stats.intervals import clustered_bootstrap

NLL_MARGIN = 0.1
"""Nats per token by which text that was never trained on may get worse: 10% of perplexity, and what half
of the parameters cost a model of 1e9 (406.4 N^-0.34, Hoffmann et al. 2022, arXiv 2203.15556)."""
CAPABILITY_MARGIN = 1.0
"""Points: the margin of equivalence that the reports use."""


def membership(
    before: ScoresOf,
    after: ScoresOf | None = None,
    *,
    texts: Sequence[str],
    members: ArrayLike,
    clusters: Sequence[str],
    reference_logprob: Floats | None = None,
    capability_change: tuple[float, float | None, float | None] | None = None,
    k: float = 0.2,
    fpr: float = 0.01,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Every attack on the model before and, where given, after treatment, on the same W windows.

    texts: the scored tokens as text; members: bool [W]; clusters: of each window, by document and
    near-duplication; reference_logprob: [W, P] of a reference model; capability_change: (change, low,
    high) in points, 1.0 being a hundredth of accuracy; k: share of tokens of min-k%.

    Returns plain values: `rows`, per attack {attack, before, after, change}; `before` and `after` hold
    auc, low, high, reason, tpr, tpr_low, tpr_high, tpr_reason, note; `change` (after - before) has auc,
    low, high, reason. Intervals are 95% percentile bootstraps by document, members and non-members
    apart; like all of their kind they are too narrow with few documents. What cannot be told is None
    with a reason. `utility`: mean NLL of the non-members, nats per token, and its rise with an
    interval. `warning`: plain words where utility collapsed, else None. Also the counts and settings.

    Raises:
        UserError: no members or no non-members, or a document in both.
        ValueError: shapes that do not fit, or k or fpr outside (0, 1].
    """
    if not 0 < k <= 1 or not 0 < fpr <= 1:
        raise ValueError(f"k and fpr are shares above 0, not {k} and {fpr}")
    models = [before] if after is None else [before, after]
    _, m = both_groups(loss(before.logprob), members)
    arrays = [s.logprob for s in models] + ([] if reference_logprob is None else [reference_logprob])
    if len({a.shape for a in arrays}) > 1 or {len(texts), len(clusters)} != {len(m)}:
        raise ValueError("models, reference, texts, members and clusters are not of the same windows")
    documents = _documents(m, clusters)
    few = "one document on a side: no interval" if min(documents.values()) == 1 else None

    scored = [attack_scores(s, texts, reference_logprob, k) for s in models]
    there = {(a, i): s for i, of in enumerate(scored) for a, s in of.items() if not isinstance(s, str)}
    areas, heights = resample(list(there.values()), m, clusters, fpr=fpr, draws=draws, seed=seed)
    at = {key: j for j, key in enumerate(there)}

    def side(attack: str, i: int) -> dict[str, Any]:
        s = scored[i][attack]
        if isinstance(s, str):
            nothing = dict.fromkeys(("auc", "low", "high", "tpr", "tpr_low", "tpr_high", "note"))
            return nothing | {"reason": s, "tpr_reason": s}
        j = at[attack, i]
        tpr, unresolved = tpr_at_fpr(s, m, fpr)
        of_tpr = _interval(heights[j], unresolved or few)
        found = {"auc": auc(s, m)} | _interval(areas[j], few) | {"tpr": tpr}
        return found | {f"tpr_{name}": x for name, x in of_tpr.items()} | {"note": _note(found)}

    def change(attack: str, row: dict[str, Any]) -> dict[str, Any]:
        missing = [s for of in scored if isinstance(s := of[attack], str)]
        if missing:
            return {"auc": None, "low": None, "high": None, "reason": missing[0]}
        moved = areas[at[attack, 1]] - areas[at[attack, 0]]
        return {"auc": row["after"]["auc"] - row["before"]["auc"]} | _interval(moved, few)

    rows = []
    for attack in ATTACKS:
        row = {"attack": attack, "before": side(attack, 0), "after": None, "change": None}
        if after is not None:
            row["after"] = side(attack, 1)
            row["change"] = change(attack, row)
        rows.append(row)
    utility = None if after is None else _utility(before, after, m, clusters)
    found: dict[str, Any] = {"members": int(m.sum()), "non_members": int((~m).sum())} | documents
    found |= {"smallest_fpr": 1 / found["non_members"], "fpr": fpr, "k": k, "draws": draws, "seed": seed}
    return found | {"rows": rows, "utility": utility, "warning": _warning(utility, capability_change)}


def _documents(members: Bools, clusters: Sequence[str]) -> dict[str, int]:
    inside = {str(c) for c, x in zip(clusters, members, strict=True) if x}
    outside = {str(c) for c, x in zip(clusters, members, strict=True) if not x}
    if both := inside & outside:
        raise UserError(
            f"{len(both)} documents have windows of members and of non-members: {min(both)!r}",
            remedy="a document is a member or not: leave these out, or give their parts names of their own",
        )
    return {"member_documents": len(inside), "non_member_documents": len(outside)}


def _interval(drawn: Floats, reason: str | None) -> dict[str, Any]:
    """95% percentile interval (Efron 1979) of draws; nothing but the reason where one is given."""
    low, high = (float(x) for x in np.quantile(drawn, [0.025, 0.975]))
    if reason is None and low == high:
        # [1, 1] would claim certainty: with groups fully apart, a resample cannot bring them together
        reason = "the resamples do not differ, so they cannot say how sure this is"
    if reason is not None:
        return {"low": None, "high": None, "reason": reason}
    return {"low": low, "high": high, "reason": None}


def _note(found: dict[str, Any]) -> str | None:
    below = found["auc"] == 0 if found["high"] is None else found["high"] < 0.5
    if not below:
        return None
    return (
        "members score lower than non-members, which gives them away as well: turned round, the attack "
        f"has AUC {1 - found['auc']:.3f}"
    )


def _utility(before: ScoresOf, after: ScoresOf, members: Bools, clusters: Sequence[str]) -> dict[str, Any]:
    old, new = (-loss(s.logprob)[~members] for s in (before, after))
    names = [c for c, member in zip(clusters, members, strict=True) if not member]
    rise, low, high = clustered_bootstrap(new - old, names)
    found = {
        "nll_before": float(old.mean()),
        "nll_after": float(new.mean()),
        "rise": rise,
        "margin": NLL_MARGIN,
    }
    if math.isnan(low):
        return found | {"low": None, "high": None, "reason": "one document: no interval"}
    return found | {"low": low, "high": high, "reason": None}


def _warning(
    utility: dict[str, Any] | None, capability_change: tuple[float, float | None, float | None] | None
) -> str | None:
    """The estimates decide, not the ends of their intervals: to miss a broken model is the worse error."""
    said = []
    if utility is not None and utility["rise"] > NLL_MARGIN:
        said.append(
            f"text it was never trained on costs {utility['rise']:.2f}{_bounds(utility)} nats per token more "
            f"than before (margin {NLL_MARGIN:g})"
        )
    if capability_change is not None and capability_change[0] < -CAPABILITY_MARGIN:
        change, low, high = capability_change
        shown = "no interval" if low is None or high is None else f"{low:+.1f}, {high:+.1f}"
        said.append(f"capability changed by {change:+.1f} [{shown}] points (margin {CAPABILITY_MARGIN:g})")
    if not said:
        return None
    return (
        f"The treated model is worse as a model: {' and '.join(said)}. "
        "A low AUC of a broken model is no privacy: compare with damage of the same size."
    )


def _bounds(row: dict[str, Any]) -> str:
    return "" if row["low"] is None else f" [{row['low']:.2f}, {row['high']:.2f}]"
