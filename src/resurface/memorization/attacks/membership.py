"""Membership inference: are windows of the pretraining data distinguishable from others?

AUC and TPR at a low FPR of each attack (`membership_scores`), before and after treatment. They measure
*any* difference between the two groups: if the non-members come from another source or time than the
members, it is the text that is distinguished, not the memory (Duan et al. 2024, arXiv 2402.07841). The
paired change on the same windows suffers least from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike

from resurface.errors import UserError
from resurface.memorization.attacks.membership_scores import ATTACKS, Floats, ScoresOf, attack_scores, loss
from resurface.memorization.attacks.roc import Bools, auc, both_groups, resample, tpr_at_fpr
from resurface.memorization.results import (
    Area,
    AttackRow,
    Capability,
    Membership,
    Roc,
    Utility,
    Warned,
)
from resurface.stats.estimate import Estimate
from resurface.stats.intervals import clustered_bootstrap
from resurface.stats.reasons import Reason

NLL_MARGIN = 0.1
"""Nats per token by which text that was never trained on may get worse: 10% of perplexity, and what half
of the parameters cost a model of 1e9 (406.4 N^-0.34, Hoffmann et al. 2022, arXiv 2203.15556)."""


def membership(
    before: ScoresOf,
    after: ScoresOf | None = None,
    *,
    texts: Sequence[str],
    members: ArrayLike,
    clusters: Sequence[str],
    reference_logprob: Floats | None = None,
    capability: Capability | None = None,
    k: float = 0.2,
    fpr: float = 0.01,
    draws: int = 1000,
    seed: int = 0,
) -> Membership:
    """Every attack on the model before and, where given, after treatment, on the same W windows.

    texts: the scored tokens as text; members: bool [W]; clusters: of each window, by document and
    near-duplication; reference_logprob: [W, P] of a reference model; capability: what else is known of the
    treated model; k: share of tokens of min-k%.

    Intervals are 95% percentile bootstraps by document, members and non-members apart; like all of their
    kind they are too narrow with few documents.

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
    few = Reason.ONE_DOCUMENT_ON_A_SIDE if min(documents.values()) == 1 else None

    scored = [attack_scores(s, texts, reference_logprob, k) for s in models]
    there = {(a, i): s for i, of in enumerate(scored) for a, s in of.items() if not isinstance(s, Reason)}
    areas, heights = resample(list(there.values()), m, clusters, fpr=fpr, draws=draws, seed=seed)
    at = {key: j for j, key in enumerate(there)}

    def side(attack: str, i: int) -> Roc:
        s = scored[i][attack]
        if isinstance(s, Reason):
            return Roc(auc=Estimate.missing(s), tpr=Estimate.missing(s), note=None)
        j = at[attack, i]
        area = _estimate(auc(s, m), areas[j], few)
        tpr, unresolved = tpr_at_fpr(s, m, fpr)
        height = Estimate.missing(unresolved) if unresolved else _estimate(tpr, heights[j], few)
        return Roc(auc=area, tpr=height, note=_note(area))

    def change(attack: str, old: Roc, new: Roc) -> Area:
        missing = [s for of in scored if isinstance(s := of[attack], Reason)]
        if missing:
            return Area(auc=Estimate.missing(missing[0]))
        assert old.auc.value is not None and new.auc.value is not None
        moved = areas[at[attack, 1]] - areas[at[attack, 0]]
        return Area(auc=_estimate(new.auc.value - old.auc.value, moved, few))

    rows = []
    for attack in ATTACKS:
        old = side(attack, 0)
        new = None if after is None else side(attack, 1)
        moved = None if new is None else change(attack, old, new)
        rows.append(AttackRow(attack=attack, before=old, after=new, change=moved))
    utility = None if after is None else _utility(before, after, m, clusters)
    others = int((~m).sum())
    return Membership(
        members=int(m.sum()),
        non_members=others,
        **documents,
        smallest_fpr=1 / others,
        fpr=fpr,
        k=k,
        draws=draws,
        seed=seed,
        rows=tuple(rows),
        utility=utility,
        capability=capability,
        warnings=tuple(_warnings(utility, capability)),
    )


def _documents(members: Bools, clusters: Sequence[str]) -> dict[str, int]:
    inside = {str(c) for c, x in zip(clusters, members, strict=True) if x}
    outside = {str(c) for c, x in zip(clusters, members, strict=True) if not x}
    if both := inside & outside:
        raise UserError(
            f"{len(both)} documents have windows of members and of non-members: {min(both)!r}",
            remedy="a document is a member or not: leave these out, or give their parts names of their own",
        )
    return {"member_documents": len(inside), "non_member_documents": len(outside)}


def _estimate(value: float | None, drawn: Floats, reason: str | None) -> Estimate:
    """With the 95% percentile interval (Efron 1979) of draws, or the reason why it has none."""
    low, high = (float(x) for x in np.quantile(drawn, [0.025, 0.975]))
    if reason is None and low == high:
        # [1, 1] would claim certainty: with groups fully apart, a resample cannot bring them together
        reason = Reason.EQUAL_RESAMPLES
    if value is None or reason is not None:
        return Estimate(value, reason=reason)
    return Estimate.holding(value, low, high)


def _note(area: Estimate) -> str | None:
    assert area.value is not None
    below = area.value == 0 if area.high is None else area.high < 0.5
    return Reason.TURNED_ROUND.about(f"{1 - area.value:.3f}") if below else None


def _utility(before: ScoresOf, after: ScoresOf, members: Bools, clusters: Sequence[str]) -> Utility:
    old, new = (-loss(s.logprob)[~members] for s in (before, after))
    names = [c for c, member in zip(clusters, members, strict=True) if not member]
    rise, low, high = clustered_bootstrap(new - old, names)
    one = math.isnan(low)
    return Utility(
        nll_before=float(old.mean()),
        nll_after=float(new.mean()),
        rise=Estimate(rise, reason=Reason.ONE_DOCUMENT) if one else Estimate.holding(rise, low, high),
        margin=NLL_MARGIN,
    )


def _warnings(utility: Utility | None, capability: Capability | None) -> Iterator[Warned]:
    """The estimates decide, not the ends of their intervals: to miss a broken model is the worse error."""
    if utility is not None and (utility.rise.value or 0.0) > utility.margin:
        yield Warned.NLL_ROSE
    if capability is not None and (capability.change.value or 0.0) < -capability.margin:
        yield Warned.CAPABILITY_FELL
