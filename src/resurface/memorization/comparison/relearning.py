"""How much of what was gone comes back under relearning, beyond what a model that never saw it tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from resurface.artifacts import Artifact
from resurface.artifacts.parquet import read_parquet
from resurface.errors import UserError
from resurface.memorization.attacks.relearning import FILE, RelearnConfig, batches
from resurface.memorization.comparison.genre import match
from resurface.memorization.comparison.paired import widened
from resurface.memorization.near_duplicates import Clusters, clusters_of, of_documents
from resurface.stats.intervals import crossed_ratio, difference_of


def compare_relearning(
    base: Artifact,
    treated: Sequence[Artifact],
    never: Artifact | None = None,
    *,
    extracted: pa.Table | None = None,
) -> dict[str, Any]:
    """How much of V comes back, budget by budget.

    treated: one per seed; never: a model that never saw T or V, trained on the same T. extracted: the windows
    (window_id, doc_id, token_ids) that T and V are of, which tell near-duplicates; None: only windows of one
    document are taken to depend on each other.
    Returns `windows` {T, V, floor}, `clusters` and `near_duplicates` of V; `gone`, the share of V that the
    treated models do not recite before the first step; `curve`, per step: base, treated (mean over seeds),
    treated_each, never, floor (the treated models on it): shares recited, None where there is no such model
    or window; nll, the same four in nats per token of the suffix; returned, the share of V that a treated
    model recites now and did not before the first step; recovered, that minus what the never-saw model
    recites (or what returned of the floor), with low, high (95%, for new seeds and clusters of documents) and
    `together` {low, high, level}, which hold at all budgets at once (Bonferroni); trained, how many windows
    of T were trained on by then; learned, which share of these, of what a treated model did not recite
    before, it recites now (None of none); `against`: "never-saw model", "floor" or None; `genre`, whether the
    never-saw model knows text of this kind as the base does (the fields of `genre.Genre`; None with
    `genre_reason` where there is no such model, or no window of the floor).
    The interval never claims more than the exact binomial one of the mean count, rounded up: where nothing
    comes back there would be no variance, and the claim no bound.

    Raises:
        UserError: relearning of other windows, or with other settings.
    """
    everyone = [base, *treated, *([never] if never is not None else [])]
    if any(a.config != base.config or _windows_of(a) != _windows_of(base) for a in everyone):
        raise UserError(
            "these models relearned other windows, or by other means",
            remedy="relearn all of them with the same texts, base and settings",
        )
    of = _Curves(everyone)
    docs, windows = of.part("V")
    clusters = of_documents(docs) if extracted is None else clusters_of(extracted, windows)
    models = slice(1, 1 + len(treated))
    against = "never-saw model" if never is not None else "floor" if base.counts["floor"] else None
    start = of.column("exact_match", 0, "V")[models]
    missed = 1 - of.column("exact_match", 0, "T")[models]
    together = 1 - 0.05 / len(base.config["steps"])
    curve = []
    for step in (0, *base.config["steps"]):
        v, floors = of.column("exact_match", step, "V"), of.column("exact_match", step, "floor")
        row: dict[str, Any] = {"step": step, **_levels(v, floors, models, never is not None)}
        row |= {"treated_each": [float(x.mean()) for x in v[models]]}
        nll = [of.column("suffix_nll", step, part) / base.counts["suffix"] for part in ("V", "floor")]
        row["nll"] = _levels(nll[0], nll[1], models, never is not None)
        drawn = trained_on(base, step)
        asked, known = missed[:, drawn], of.column("exact_match", step, "T")[models][:, drawn]
        learned = float((known * asked).sum() / asked.sum()) if asked.any() else None
        row |= {"trained": len(drawn), "learned": learned}
        back = v[models] * (1 - start)
        row["returned"] = float(back.mean())
        if against is None:
            reason = "neither a model that never saw them nor a floor to compare with"
            none = {"low": None, "high": None}
            curve.append(
                row | {"recovered": None, **none, "together": none | {"level": together}, "reason": reason}
            )
            continue
        if never is not None:
            beyond = partial(_beyond, back, v[-1], clusters)
        else:
            rise = floors[models] * (1 - of.column("exact_match", 0, "floor")[models])
            beyond = partial(_beyond_floor, back, rise, clusters)
        at_once = beyond(level=together)
        row["together"] = {k: at_once[k] for k in ("low", "high")} | {"level": together}
        curve.append(row | beyond())
    counts = {k: base.counts[k] for k in ("T", "V", "floor", "v_sharing_ngram")}
    found = {"windows": counts, **clusters.counts(), "gone": float((1 - start).mean()), "against": against}
    found |= _genre(of, extracted, base.counts, never is not None)
    return found | {"curve": curve, "config": base.config}


def _genre(of: _Curves, extracted: pa.Table | None, counts: dict[str, Any], never: bool) -> dict[str, Any]:
    """`match` of the models as they are, before the first step."""
    if not never:
        return {"genre": None, "genre_reason": "there is no never-saw model"}
    if not counts["floor"]:
        return {"genre": None, "genre_reason": "there are no non-members, which no model has seen"}
    docs, windows = of.part("floor")
    clusters = of_documents(docs) if extracted is None else clusters_of(extracted, windows)
    recited, unseen = (
        np.hstack([of.column("suffix_nll", 0, part) for part in parts]) / counts["suffix"]
        for parts in (("T", "V"), ("floor",))
    )
    return {"genre": asdict(match(unseen, recited[0], clusters)), "genre_reason": None}


def trained_on(relearned: Artifact, steps: int) -> list[int]:
    """Windows of T, by their place in it, that so many steps were trained on."""
    settings = {k: v for k, v in relearned.config.items() if k in RelearnConfig.model_fields}
    drawn = batches(relearned.counts["T"], RelearnConfig.model_validate(settings))
    return sorted({i for batch in islice(drawn, steps) for i in batch})


def _levels(
    v: NDArray[np.float64], floors: NDArray[np.float64], models: slice, never: bool
) -> dict[str, float | None]:
    return {
        "base": float(v[0].mean()),
        "treated": float(v[models].mean()),
        "never": float(v[-1].mean()) if never else None,
        "floor": float(floors[models].mean()) if floors.shape[1] else None,
    }


def _beyond(
    back: NDArray[np.float64], other: NDArray[np.float64], clusters: Clusters, *, level: float = 0.95
) -> dict[str, Any]:
    """Mean of back [seeds, V] minus other [V], with its interval."""
    n = len(clusters.groups)
    recovered, low, high = crossed_ratio(back - other, np.ones(n), clusters.names.tolist(), level=level)
    if low is None or high is None:
        reason = "one cluster of documents and one seed"
        return {"recovered": recovered, "low": None, "high": None, "reason": reason}
    shift = float(other.mean())
    least, most = widened((low + shift, high + shift), float(back.sum(1).mean()), clusters, level=level)
    return {"recovered": recovered, "low": min(low, least - shift), "high": max(high, most - shift)}


def _beyond_floor(
    back: NDArray[np.float64], rise: NDArray[np.float64], clusters: Clusters, *, level: float = 0.95
) -> dict[str, Any]:
    """Mean of back [seeds, V] minus that of rise [seeds, floor windows], which has noise of its own."""
    parts = []
    for hits, of in ((back, clusters), (rise, of_documents([str(i) for i in range(rise.shape[1])]))):
        _, low, high = crossed_ratio(hits, np.ones(hits.shape[1]), of.names.tolist(), level=level)
        ends = widened((low, high), float(hits.sum(1).mean()), of, level=level)
        parts.append((float(hits.mean()), *ends))
    recovered, low, high = difference_of(*parts)
    return {"recovered": recovered, "low": low, "high": high}


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
    return str(a.manifest["inputs"]["windows"]["fingerprint"])
