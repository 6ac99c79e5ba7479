"""A study's predictors: their values for every pair, how they do against the gains, and a calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resurface.artifacts import Artifact
from resurface.compatibility import GainGrid, predictor_evaluation, predictors
from resurface.models import ModelConfig
from resurface.specs import Study
from resurface.workflows.ranking.candidates import Student, of_subset, values

KIN = {"self": 2.0, "kin": 1.0, "other": 0.0}
"""The lineage label as a predictor; `unknown` has no value."""
SUMS = ("source_gold+excess_nll", "source_gold+rank_surprisal", "source_gold+pilot")
"""Fitted together: what the source can do, and how far from the student it is."""
_PROXIES = {"nll_per_token": -1, "nll_per_byte": -1, "similarity": +1, "similarity_nearest": +1}


def measure_student(
    cfg: Study, student: ModelConfig, texts: Mapping[str, tuple[Artifact, Artifact]], root: Path, short: Any
) -> dict[str, Artifact]:
    """source -> artifact of `predict` for this student; texts: source -> its subset and audited corpus."""
    assert cfg.predictors is not None and cfg.subset.bytes is not None
    found, reader = {}, Student(student, cfg.predictors, cfg.train.start)
    of = {m.id: of_subset(m.id, *texts[m.id], m) for m in cfg.sources}
    own = next((c for c in of.values() if c.source is not None and c.source.id == student.id), None)
    for source, candidate in of.items():
        name = f"{short(student.id)}-on-{short(source)}"
        found[source] = reader.measure(candidate, cfg.train, cfg.subset.bytes, own, root, name=name)
    return found


def rows(artifacts: Mapping[tuple[str, str], Artifact]) -> list[dict[str, Any]]:
    """(source, student) -> artifact, as rows of source, student and what the artifact says."""
    return [
        {"source": source, "student": student} | row
        for (source, student), a in artifacts.items()
        for row in values(a)
    ]


def table(
    grid: GainGrid,
    measured: Sequence[Mapping[str, Any]],
    proxies: Sequence[Mapping[str, Any]],
    before: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """`judging.judge` of all predictors, proxies and baselines of a study.

    measured: rows of `rows`; proxies: rows of source, student, and a value per proxy; before: student ->
    {mean: score}. In the order: predictors, proxies, baselines.
    """
    sources, students, relation = grid.sources, grid.students, grid.relation
    at = {(s, t): (i, j) for i, s in enumerate(sources) for j, t in enumerate(students)}

    def empty() -> NDArray[np.float64]:
        return np.full(relation.shape, np.nan)

    signed: dict[str, NDArray[np.float64]] = {}
    passes: dict[str, dict[str, list[float]]] = {}
    signs = {p.name: p.sign for p in predictors.find()} | _PROXIES
    for row in measured:
        name = row["predictor"]
        matrix = signed.setdefault(name, empty())
        if row["value"] is not None:
            matrix[at[row["source"], row["student"]]] = signs[name] * row["value"]
            for key in ("student_passes", "source_passes"):
                passes.setdefault(name, {}).setdefault(key, []).append(row[key])
    for row in proxies:
        for name in _PROXIES:
            matrix = signed.setdefault(name, empty())
            if row.get(name) is not None:
                matrix[at[row["source"], row["student"]]] = signs[name] * row[name]
    signed["always_self"] = (relation == "self").astype(float)
    signed["lineage"] = np.vectorize(lambda label: KIN.get(label, np.nan), otypes=[float])(relation)
    scores = [before[s]["mean"] if s in before else np.nan for s in sources]
    signed["source_score"] = np.repeat(np.array(scores, float)[:, None], len(students), axis=1)
    costs: dict[str, dict[str, float]] = {
        n: {k: float(np.mean(v)) for k, v in keys.items()} for n, keys in passes.items()
    }
    for name in _PROXIES:
        costs[name] = {"student_passes": float(name.startswith("nll")), "source_passes": 0.0}
    for name in ("always_self", "lineage", "source_score"):
        costs[name] = {"student_passes": 0.0, "source_passes": 0.0}
    sums = {name: name.split("+") for name in SUMS if set(name.split("+")) <= set(passes)}
    known = [p.name for p in predictors.find() if p.name in signed]
    return predictor_evaluation.judge(signed, grid, costs, known, sums)


def calibration(found: Mapping[str, Any]) -> dict[str, Any]:
    """What `predict` needs of a finished study: gains, values of predictors, the recipe, and the verdicts."""
    keep = ("source", "student", "relation", "gain")
    return {
        "study": {
            k: found["study"][k] for k in ("name", "sample", "subset", "train", "evaluate", "predictors")
        },
        "provenance": found["provenance"],
        "pairs": [{k: c[k] for k in keep} for c in found["cells"]],
        "values": [
            {k: r[k] for k in ("source", "student", "predictor", "value", "error")}
            for r in found["predictors"]
        ],
        "selected": found["judged"]["selected"],
        "judged": {
            name: {k: row[k] for k in ("within_student", "interaction", "calibration")}
            for name, row in found["judged"]["predictors"].items()
        },
    }
