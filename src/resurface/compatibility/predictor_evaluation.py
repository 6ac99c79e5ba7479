"""How good is a predictor of gains? The protocol of METHODS D, as one row per predictor.

A predictor may lack values, and is evaluated on the largest block where it has them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resurface.compatibility.calibration import cross_validated
from resurface.compatibility.grid import GainGrid, Matrix
from resurface.compatibility.predictor_statistics import (
    Statistic,
    ceiling,
    interval,
    mean,
    off_diagonal,
    off_diagonal_interaction,
    ranks,
    regret,
    regret_of,
    residuals,
    tested,
    tested_partial,
    untested,
    within_student,
)
from resurface.compatibility.rank_tests import LEAST
from resurface.compatibility.results import (
    Beats,
    CrossValidated,
    Evaluation,
    PredictorRow,
    RandomChoice,
    Selected,
    Tested,
)
from resurface.stats import multiplicity
from resurface.stats.estimate import Estimate
from resurface.stats.reasons import Reason

TESTED = ("within_student", "interaction", "partial")
"""What of a row is tested."""
NAIVE = ("lineage", "nll_per_byte")
"""What a predictor has to beat to be worth its cost."""


@dataclass(frozen=True)
class Cost:
    """Mean cost of a predictor for one pair, in forward passes over the scored documents."""

    student: float
    source: float


def evaluate(
    values: Mapping[str, Matrix],
    truth: GainGrid,
    costs: Mapping[str, Cost],
    candidates: Sequence[str] = (),
    sums: Mapping[str, Sequence[str]] | None = None,
) -> Evaluation:
    """How good predictors are, and which is selected.

    values: name -> signed values [S, T] (more promises more), NaN where there is none. candidates: of these
    names one is selected. sums: name -> predictors that are fitted together; their value is the gain
    predicted from pairs of other models, so there is no test by relabelling.
    """
    values, costs, fitted = dict(values), dict(costs), {}
    everything = np.arange(len(truth.sources)), np.arange(len(truth.students))
    for name, parts in (sums or {}).items():
        fitted[name] = np.stack([values[p] for p in parts], -1)
        values[name] = cross_validated(fitted[name], truth.mean, _models(*everything, truth))[:, :, 0]
        costs[name] = Cost(sum(costs[p].student for p in parts), sum(costs[p].source for p in parts))
    rows = {}
    for name, v in values.items():
        beats = {
            base: _beats(v, values[base], truth, fitted=name in fitted)
            for base in NAIVE
            if base in values and base != name
        }
        cost = costs.get(name)
        passes = {"student_passes": cost and cost.student, "source_passes": cost and cost.source}
        rows[name] = _row(v, truth, fitted.get(name)).model_copy(update=passes | {"beats": beats})
    chance = interval(lambda v, t: regret_of(None, t), np.zeros(truth.mean.shape), truth)
    found = Evaluation(
        predictors=rows,
        random=RandomChoice(regret=chance),
        ceiling=ceiling(truth.gains),
        selected=_selected({n: values[n] for n in candidates}, truth),
    )
    return with_holm(found)


def with_holm(found: Evaluation) -> Evaluation:
    """Holm over all three tests of all rows, for they are read together."""
    tests = [getattr(row, key).p for row in found.predictors.values() for key in TESTED]
    adjusted = iter(multiplicity.adjusted(tests))
    rows = {
        name: row.model_copy(
            update={key: replace(getattr(row, key), p_holm=next(adjusted)) for key in TESTED}
        )
        for name, row in found.predictors.items()
    }
    return found.model_copy(update={"predictors": rows, "holm": sum(p is not None for p in tests)})


def block(values: Matrix) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Students with at least LEAST values, and the sources that have one for all of these."""
    known = np.isfinite(values)
    t = np.flatnonzero(known.sum(0) >= LEAST)
    return np.flatnonzero(known[:, t].all(1)) if len(t) else np.zeros(0, np.int64), t


def _row(v: Matrix, truth: GainGrid, fitted: Matrix | None = None) -> PredictorRow:
    """fitted: the values [S, T, p] that `v` was predicted from, if it was."""
    s, t = block(v)
    if len(s) < LEAST or len(t) < 2:
        why = Reason.FEW_MEASURED.about(str(LEAST), "2")
        return PredictorRow(
            sources=len(s),
            students=len(t),
            within_student=Tested.missing(why),
            interaction=Tested.missing(why),
            off_diagonal=Estimate.missing(why),
            off_diagonal_interaction=Estimate.missing(why),
            partial=Tested.missing(why),
            regret=Estimate.missing(why),
            calibration=CrossValidated(pairs=0, reason=why),
            families_out=CrossValidated(pairs=0, reason=why),
        )
    rows, columns = truth.families()  # of all models: those that are left out may connect others
    families = [rows[i] for i in s], [columns[j] for j in t]
    v, truth = v[np.ix_(s, t)], truth.part(s, t)
    features = v if fitted is None else fitted[np.ix_(s, t)]
    models = _models(np.arange(len(s)), np.arange(len(t)), truth)
    row = PredictorRow(
        sources=len(s),
        students=len(t),
        within_student=tested(ranks, v, truth),
        interaction=tested(residuals, v, truth),
        off_diagonal=interval(off_diagonal, v, truth),
        off_diagonal_interaction=interval(off_diagonal_interaction, v, truth),
        partial=tested_partial(v, truth),
        regret=interval(regret, v, truth),
        calibration=_calibration(features, truth, models),
        families_out=_calibration(features, truth, families),
    )
    if fitted is None:
        return row
    return row.model_copy(update={key: untested(getattr(row, key)) for key in TESTED})


def _models(s: NDArray[np.int64], t: NDArray[np.int64], truth: GainGrid) -> tuple[list[str], list[str]]:
    """A label per model, the same for a source and the student that it is."""
    rows = [f"source {i}" for i in s]
    columns = [next((rows[i] for i in s if truth.relation[i, j] == "self"), f"student {j}") for j in t]
    return rows, columns


def _calibration(v: Matrix, truth: GainGrid, groups: tuple[Sequence[str], Sequence[str]]) -> CrossValidated:
    """groups: a label per source and per student; pairs that share one are left out together."""
    found = cross_validated(v, truth.mean, groups)
    flat = cross_validated(np.zeros(truth.mean.shape), truth.mean, groups)
    known = np.isfinite(found[:, :, 0])
    if not known.any():
        return CrossValidated(pairs=0, reason=Reason.FEW_HELD_OUT)
    y, p, base = truth.mean[known], found[known], flat[known]
    won = (y > 0).astype(float)
    return CrossValidated(
        pairs=int(known.sum()),
        rmse=float(np.sqrt(np.mean((y - p[:, 0]) ** 2))),
        rmse_mean=float(np.sqrt(np.mean((y - base[:, 0]) ** 2))),
        coverage=float(((y >= p[:, 1]) & (y <= p[:, 2])).mean()),
        brier=float(np.mean((won - p[:, 3]) ** 2)),
        brier_mean=float(np.mean((won - base[:, 3]) ** 2)),
    )


def _beats(v: Matrix, base: Matrix, truth: GainGrid, *, fitted: bool) -> Beats:
    """By how much, where both have values: in rank correlation, and in cross-validated squared error."""
    both = np.where(np.isfinite(v) & np.isfinite(base), v, np.nan)
    s, t = block(both)
    if len(s) < LEAST or len(t) < 2:
        why = Reason.FEW_WITH_BOTH
        return Beats(rank=Estimate.missing(why), error=Estimate.missing(why))
    v, base, truth = v[np.ix_(s, t)], base[np.ix_(s, t)], truth.part(s, t)
    rank = _paired(within_student, v, base, truth)
    models = _models(np.arange(len(s)), np.arange(len(t)), truth)
    predicted = [cross_validated(base, truth.mean, models)[:, :, 0]]
    # `v` is a prediction already where it was fitted
    predicted += [v if fitted else cross_validated(v, truth.mean, models)[:, :, 0]]
    errors = [(p - truth.mean) ** 2 for p in predicted]
    error = interval(lambda x, _: mean(x.ravel()), errors[0] - errors[1], truth)
    return Beats(rank=rank, error=error)


def _paired(statistic: Statistic, v: Matrix, base: Matrix, truth: GainGrid) -> Estimate:
    """Interval of the difference of a statistic between two predictors."""
    stacked = v + 1j * base  # one matrix, so that both lose the same source or student

    def difference(x: Any, part: GainGrid) -> float:
        return statistic(x.real, part) - statistic(x.imag, part)

    return interval(difference, stacked, truth)


def _selected(values: Mapping[str, Matrix], truth: GainGrid) -> Selected:
    """Which predictor ranks best, and what that choice is worth on a student that it was not made on.

    For every student the best is chosen on the others (that student as a source left out, too); its rank
    correlation for this student is left out.
    """
    whole = {n: v for n, v in values.items() if np.isfinite(v).all()}
    s, t = truth.mean.shape
    if not whole or t < 3 or s <= LEAST:
        return Selected(name=None, reason=Reason.NO_CHOICE)
    chosen, reached, lost = [], [], []
    for j in range(t):
        rows = np.flatnonzero(truth.relation[:, j] != "self")
        others = np.delete(np.arange(t), j)
        scores = {
            n: within_student(v[np.ix_(rows, others)], truth.part(rows, others)) for n, v in whole.items()
        }
        best = max(scores, key=lambda n: np.nan_to_num(scores[n], nan=-2.0))
        chosen.append(best)
        column, one = whole[best][:, [j]], truth.part(np.arange(s), np.array([j]))
        reached.append(within_student(column, one))
        lost.append(regret(column, one))
    overall = {n: within_student(v, truth) for n, v in whole.items()}
    return Selected(
        name=max(overall, key=lambda n: np.nan_to_num(overall[n], nan=-2.0)),
        held_out=mean(reached) if np.isfinite(reached).any() else None,
        regret=mean(lost) if np.isfinite(lost).any() else None,
        chosen=tuple(chosen),
    )
