"""How much of what was gone comes back under relearning, beyond what a never-saw model extracts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from resurface.artifacts import Artifact
from resurface.artifacts.parquet import read_parquet
from resurface.errors import UserError
from resurface.memorization.attacks.relearning import FILE, RelearnConfig, RelearnCounts, batches
from resurface.memorization.comparison.genre import match
from resurface.memorization.comparison.paired import widened
from resurface.memorization.near_duplicates import Clusters, clusters_of, of_documents
from resurface.memorization.results import (
    NEVER_SAW,
    NON_MEMBERS,
    Genre,
    Levels,
    RelearningCurve,
    RelearningPoint,
    Split,
)
from resurface.stats.estimate import Estimate
from resurface.stats.intervals import crossed_ratio, difference_of
from resurface.stats.reasons import Reason


class _Beyond(Protocol):
    def __call__(self, *, level: float) -> Estimate: ...


def compare_relearning(
    base: Artifact,
    treated: Sequence[Artifact],
    never: Artifact | None = None,
    *,
    extracted: pa.Table | None = None,
) -> RelearningCurve:
    """How much of V comes back, budget by budget.

    treated: one per seed; never: a model that never saw T or V, trained on the same T. extracted: the windows
    (window_id, doc_id, token_ids) that T and V are of, to find near-duplicates; None: only windows of one
    document are taken to depend on each other.
    Intervals are for new seeds and clusters of documents. They never claim more than the exact binomial one
    of the mean count, rounded up: where nothing comes back there would be no variance, and no bound.

    Raises:
        UserError: relearning of other windows, or with other settings.
    """
    everyone = [base, *treated, *([never] if never is not None else [])]
    if any(a.config != base.config or _windows_of(a) != _windows_of(base) for a in everyone):
        raise UserError(
            "these models relearned other windows, or by other means",
            remedy="relearn all of them with the same texts, base and settings",
        )
    of, counts = _Curves(everyone), RelearnCounts.of(base)
    docs, windows = of.part("V")
    clusters = of_documents(docs) if extracted is None else clusters_of(extracted, windows)
    models = slice(1, 1 + len(treated))
    against = NEVER_SAW if never is not None else NON_MEMBERS if counts.non_members else None
    start = of.column("exact_match", 0, "V")[models]
    missed_unseen = 1 - of.column("exact_match", 0, NON_MEMBERS)[models]
    missed = 1 - of.column("exact_match", 0, "T")[models]
    together = 1 - 0.05 / len(base.config["steps"])
    curve = []
    for step in (0, *base.config["steps"]):
        v, unseen = of.column("exact_match", step, "V"), of.column("exact_match", step, NON_MEMBERS)
        nll = [of.column("suffix_nll", step, part) / counts.suffix for part in ("V", NON_MEMBERS)]
        drawn = trained_on(base, step)
        asked, known = missed[:, drawn], of.column("exact_match", step, "T")[models][:, drawn]
        back = v[models] * (1 - start)
        if against is None:
            beyond: _Beyond = _beyond_nothing
        elif never is not None:
            beyond = partial(_beyond, back, v[-1], clusters)
        else:
            beyond = partial(_beyond_non_members, back, unseen[models] * missed_unseen, clusters)
        curve.append(
            RelearningPoint(
                step=step,
                **dict(_levels(v, unseen, models, never is not None)),
                treated_each=tuple(float(x.mean()) for x in v[models]),
                nll=_levels(nll[0], nll[1], models, never is not None),
                trained=len(drawn),
                learned=float((known * asked).sum() / asked.sum()) if asked.any() else None,
                returned=float(back.mean()),
                recovered=beyond(level=0.95),
                together=beyond(level=together),
            )
        )
    genre = _genre(of, extracted, counts, never is not None)
    return RelearningCurve(
        windows=Split(
            given=counts.given,
            held_back=counts.held_back,
            floor=counts.non_members,
            v_sharing_ngram=counts.v_sharing_ngram,
        ),
        **clusters.counts(),
        gone=float((1 - start).mean()),
        against=against,
        genre=genre if isinstance(genre, Genre) else None,
        genre_reason=genre if isinstance(genre, Reason) else None,
        curve=tuple(curve),
        config=base.config,
    )


def _genre(of: _Curves, extracted: pa.Table | None, counts: RelearnCounts, never: bool) -> Genre | Reason:
    """`match` of the models as they are, before the first step; or why that cannot be determined."""
    if not never:
        return Reason.NO_NEVER_SAW_MODEL
    if not counts.non_members:
        return Reason.NO_UNSEEN_WINDOWS
    docs, windows = of.part(NON_MEMBERS)
    clusters = of_documents(docs) if extracted is None else clusters_of(extracted, windows)
    extracted, unseen = (
        np.hstack([of.column("suffix_nll", 0, part) for part in parts]) / counts.suffix
        for parts in (("T", "V"), (NON_MEMBERS,))
    )
    return match(unseen, extracted[0], clusters)


def trained_on(relearned: Artifact, steps: int) -> list[int]:
    """Windows of T, by their place in it, that so many steps were trained on."""
    settings = {k: v for k, v in relearned.config.items() if k in RelearnConfig.model_fields}
    drawn = batches(RelearnCounts.of(relearned).given, RelearnConfig.model_validate(settings))
    return sorted({i for batch in islice(drawn, steps) for i in batch})


def _levels(v: NDArray[np.float64], unseen: NDArray[np.float64], models: slice, never: bool) -> Levels:
    return Levels(
        base=float(v[0].mean()),
        treated=float(v[models].mean()),
        never=float(v[-1].mean()) if never else None,
        floor=float(unseen[models].mean()) if unseen.shape[1] else None,
    )


def _beyond_nothing(*, level: float = 0.95) -> Estimate:
    return Estimate(None, level=level, reason=Reason.NOTHING_TO_COMPARE_WITH)


def _beyond(
    back: NDArray[np.float64], other: NDArray[np.float64], clusters: Clusters, *, level: float = 0.95
) -> Estimate:
    """Mean of back [seeds, V] minus other [V], with its interval."""
    n = len(clusters.groups)
    recovered, low, high = crossed_ratio(back - other, np.ones(n), clusters.names.tolist(), level=level)
    if low is None or high is None:
        return Estimate(recovered, level=level, reason=Reason.ONE_SEED_AND_CLUSTER)
    shift = float(other.mean())
    least, most = widened((low + shift, high + shift), float(back.sum(1).mean()), clusters, level=level)
    return Estimate.holding(recovered, min(low, least - shift), max(high, most - shift), level=level)


def _beyond_non_members(
    back: NDArray[np.float64], rise: NDArray[np.float64], clusters: Clusters, *, level: float = 0.95
) -> Estimate:
    """Mean of back [seeds, V] minus that of rise [seeds, non-members], which has noise of its own."""
    parts = []
    for hits, of in ((back, clusters), (rise, of_documents([str(i) for i in range(rise.shape[1])]))):
        _, low, high = crossed_ratio(hits, np.ones(hits.shape[1]), of.names.tolist(), level=level)
        ends = widened((low, high), float(hits.sum(1).mean()), of, level=level)
        parts.append((float(hits.mean()), *ends))
    return Estimate.holding(*difference_of(*parts), level=level)


class _Curves:
    """The curves of several models."""

    def __init__(self, relearned: Sequence[Artifact]) -> None:
        names = ["step", "split", "exact_match", "suffix_nll", "doc_id", "window_id"]
        tables = [read_parquet(a.file(FILE), names) for a in relearned]
        self._columns = [{n: np.asarray(t[n].to_pylist(), object) for n in names} for t in tables]

    def part(self, name: str) -> tuple[list[str], list[str]]:
        """Documents and names of the windows of a part, in the order of `column`."""
        first = self._columns[0]
        rows = (first["step"] == 0) & (first["split"] == name)
        return first["doc_id"][rows].tolist(), first["window_id"][rows].tolist()

    def column(self, name: str, step: int, part: str) -> NDArray[np.float64]:
        """[models, windows of a part]: what each model has after so many steps."""
        return np.stack(
            [c[name][(c["step"] == step) & (c["split"] == part)].astype(float) for c in self._columns]
        )


def _windows_of(a: Artifact) -> str:
    return a.inputs["windows"].fingerprint
