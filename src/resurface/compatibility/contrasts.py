"""Self, same lineage, other: contrasts of gains within students and within sources (METHODS D).

    G_st = mu + alpha_s + beta_t + delta_self [s = t] + delta_same [one lineage, s != t] + e

Source s, student t; mean gains [S, T]. Both deltas are adjusted for both effects by least squares, so
neither a good source nor a student with little room passes for lineage. Means over cells of different
students are no contrast, for each relation has other students. Pairs of unknown lineage have an effect of
their own.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from resurface.compatibility.grid import Lineages
from resurface.compatibility.results import ContrastEstimate, Identified, Needed
from resurface.stats.reasons import Reason

Gains = NDArray[np.float64]
Usable = NDArray[np.bool_]

CONTRASTS = {
    "self_vs_same_lineage": ("self", "kin"),
    "same_lineage_vs_other": ("kin", "other"),
    "self_vs_other": ("self", "other"),
}
"""Name -> the relations that it compares; `kin`: the same lineage, but not self."""
_NEEDED = {
    "self_vs_same_lineage": Needed.MODELS_OF_A_LINEAGE,
    "same_lineage_vs_other": Needed.LINEAGES,
    "self_vs_other": Needed.MODELS,
}
_NONE_OF = {
    "self": Reason.NO_SELF_PAIRS,
    "kin": Reason.NO_SAME_LINEAGE_PAIRS,
    "other": Reason.NO_OTHER_LINEAGE_PAIRS,
}


def weights(lineages: Lineages, name: str, usable: Usable | None = None) -> Gains | None:
    """Least-squares weights [S, T] of a contrast: its estimate is their sum of products with the gains.

    usable [S, T]: cells that count (default: all); the others have weight 0. None: not estimable.
    """
    relation = lineages.relation
    usable = np.ones(relation.shape, bool) if usable is None else usable
    rows, columns = np.nonzero(usable)
    n, m = relation.shape
    effects = ("self", "kin", "unknown")  # of other: what the rest is compared with
    design = np.zeros((len(rows), n + m + len(effects)))
    design[np.arange(len(rows)), rows] = 1
    design[np.arange(len(rows)), n + columns] = 1
    for k, label in enumerate(effects):
        design[:, n + m + k] = relation[usable] == label
    wanted = np.zeros(design.shape[1])
    for label, sign in zip(CONTRASTS[name], (1, -1), strict=True):
        if label in effects:
            wanted[n + m + effects.index(label)] = sign
    inverse = np.linalg.pinv(design, rcond=1e-10)
    found = wanted @ inverse
    if not np.allclose(found @ design, wanted, atol=1e-7):
        return None
    spread = np.zeros(relation.shape)
    spread[usable] = found
    return spread


def identify(lineages: Lineages, name: str) -> Identified:
    """Checked on the labels alone, so before anything is run.

    A contrast is identified where it can be estimated without any one pair of models (in both directions),
    same lineage against other also without self pairs: else it is that pair's affinity, which is no lineage.
    """
    one, other = CONTRASTS[name]
    relation = lineages.relation
    both = [(relation == label) for label in (one, other)]
    cells = {label: int(b.sum()) for label, b in zip((one, other), both, strict=True)}
    students = int((both[0].any(0) & both[1].any(0)).sum())
    sources = int((both[0].any(1) & both[1].any(1)).sum())

    yes = Identified(name=name, identified=True, cells=cells, students=students, sources=sources)

    def no(reason: str, remedy: str | None, rests_on: tuple[str, ...] = ()) -> Identified:
        why = {"identified": False, "reason": reason, "remedy": remedy, "rests_on": rests_on}
        return yes.model_copy(update=why)

    more = _NEEDED[name]
    for label, n in cells.items():
        if not n:
            return no(_NONE_OF[label], more)
    if name == "self_vs_other" and (relation == "kin").any():  # the sum of the other two
        for part in (identify(lineages, n) for n in ("self_vs_same_lineage", "same_lineage_vs_other")):
            if not part.identified:
                return no(part.reason or "", part.remedy, part.rests_on)
    usable = relation != "self" if one == "kin" else np.ones(relation.shape, bool)
    if weights(lineages, name, usable) is None:
        return no(Reason.CONFOUNDED, more)
    needed = tuple(_needed(lineages, name, usable))
    if needed:
        return no(Reason.RESTS_ON_PAIRS.about(*needed), more, needed)
    return yes


def _needed(lineages: Lineages, name: str, usable: Usable) -> list[str]:
    """Pairs of models without which the contrast is not estimable."""
    found = []
    models = dict.fromkeys((*lineages.sources, *lineages.students))
    rows, columns = np.array(lineages.sources), np.array(lineages.students)
    for a, b in itertools.combinations(models, 2):
        pair = np.outer(rows == a, columns == b) | np.outer(rows == b, columns == a)
        if (pair & usable).any() and weights(lineages, name, usable & ~pair) is None:
            found.append(f"{a} <-> {b}")
    return found


# ------------------------------------------------------------------------------ estimates


def within(gains: Gains, lineages: Lineages, name: str, axis: int) -> ContrastEstimate:
    """Difference of two relations' mean gains within each student (axis 1) or source (axis 0), and its mean.

    Interval: Student's t over students or sources, as if drawn from more of their kind. The other effect is
    not taken out: a good source counts within students, a student with little room within sources.
    """
    one, other = ((lineages.relation == label) for label in CONTRASTS[name])
    if axis == 0:
        gains, one, other = gains.T, one.T, other.T
    each = [
        float(g[a].mean() - g[b].mean()) for g, a, b in zip(gains.T, one.T, other.T, strict=True)
        if a.any() and b.any()
    ]  # fmt: skip
    if not each:
        none = Reason.NO_STUDENT_HAS_BOTH if axis else Reason.NO_SOURCE_HAS_BOTH
        return ContrastEstimate(None, n=0, reason=none)
    return _t(float(np.mean(each)), float(np.var(each, ddof=1)) / len(each) if len(each) > 1 else None,
              len(each) - 1, len(each))  # fmt: skip


def adjusted(gains: Gains, lineages: Lineages, name: str) -> ContrastEstimate:
    """Least squares with both effects removed; interval of the jackknife that leaves out one student at a
    time (t with students - 1 degrees of freedom), as if students were drawn from more of their kind."""
    w = weights(lineages, name)
    n = len(lineages.students)
    if w is None:
        return ContrastEstimate.missing(Reason.CONFOUNDED)
    value = float((w * gains).sum())
    left = []
    for t in range(n):
        part = weights(lineages.of_student(t), name) if n > 2 else None
        if part is None:
            return ContrastEstimate(value, n=n, reason=Reason.NOT_WITHOUT.about(lineages.students[t]))
        left.append(float((part * np.delete(gains, t, 1)).sum()))
    return _t(value, (n - 1) / n * float(((np.array(left) - np.mean(left)) ** 2).sum()), n - 1, n)


def over_runs(
    gains: Gains, lineages: Lineages, name: str, ms: float, df: int, subsets: int
) -> ContrastEstimate:
    """As `adjusted`, for these very models: what subsets and runs leave open.

    ms, df: mean square of what subsets do within pairs (`variance.mean_squares`, residual), of one
    subset.
    """
    w = weights(lineages, name)
    if w is None:
        return ContrastEstimate.missing(Reason.CONFOUNDED)
    return _t(float((w * gains).sum()), float((w**2).sum()) * ms / subsets, df, None)


def _t(value: float, variance: float | None, df: int, n: int | None) -> ContrastEstimate:
    from scipy.stats import t

    if variance is None or df < 1:
        return ContrastEstimate(value, n=n, reason=Reason.FEW_FOR_INTERVAL)
    half = float(t.ppf(0.975, df)) * variance**0.5
    return ContrastEstimate(value, value - half, value + half, n=n)
