"""What a study says of predictors of the gain, as a table and in words; every number is in matrix.json."""

from __future__ import annotations

from collections.abc import Sequence

from resurface.compatibility.results import (
    Evaluation,
    PredictorRow,
    PredictorValue,
    StudyResult,
    Tested,
)
from resurface.report.document import Bullets, Paragraph, Section, Table
from resurface.report.format import Cells, counted, p_number
from resurface.report.reasons import said
from resurface.stats.estimate import Estimate

_HEADER = [
    "predictor", "within student", "p (Holm)", "interaction", "p (Holm)", "off-diagonal",
    "beyond lineage", "p (Holm)", "regret", "held-out error", "95% held", "Brier", "student passes",
]  # fmt: skip
_BRIEF = [0, 1, 3, 6, 9, 12]


def section(found: StudyResult) -> list[Section]:
    """The table of predictors, with what it means and shows; none where none was measured."""
    if found.judged is None:
        return []
    adjusted = f" ({found.judged.holm})" if found.judged.holm else ""
    meaning = (
        "Mean Spearman correlation with the gain over sources within a student; correlation of the two "
        "interactions; the first without a student's own text; the first beyond what the lineage label "
        "tells; points lost by taking the source that it likes best (best and taken are scored on "
        "another subset than the best was chosen on); root mean squared error in points of a line "
        "fitted on pairs of other models (in brackets: of their mean gain alone), the share of its 95% "
        "intervals that hold the gain, and the Brier score of its P(gain > 0) (in brackets: of their "
        "share of gains above 0); cost in passes of the student over the scored documents. 95% "
        "jackknife intervals over sources and students; one-sided p of relabelling the sources. More is "
        "better after fixed signs. In brackets: p adjusted by Holm over all tests of this "
        f"table{adjusted}."
    )
    return [
        Section(
            "Predictors of the gain, before training",
            [
                Paragraph(meaning, detail=True),
                Table(*cells(found.judged), brief=_BRIEF),
                Bullets(lines(found.judged, found.predictors or ())),
            ],
        )
    ]


def cells(judged: Evaluation) -> Cells:
    """Header and rows of the table of predictors."""
    return _HEADER, [_row(name, row) for name, row in judged.predictors.items()]


def lines(judged: Evaluation, measured: Sequence[PredictorValue]) -> list[str]:
    """The ceiling, the random choice, what was selected, what beats the naive baselines, what is missing."""
    top, lost = judged.ceiling, judged.random.regret
    out = [
        f"Ceiling, what a perfect predictor of this noisy truth can reach: {_number(top.within_student)} "
        f"within students, {_number(top.interaction)} of the interaction."
    ]
    if lost.value is not None:
        out.append(f"A random choice of the source loses {_points(lost)} points.")
    chosen = judged.selected
    if chosen.name is None:
        out.append(f"No predictor is selected: {said(chosen.reason)}.")
    else:
        out.append(
            f"Selected: {chosen.name}. Chosen anew without each student in turn, what was chosen "
            f"({', '.join(sorted(set(chosen.chosen)))}) ranks for that student with a mean correlation "
            f"of {_number(chosen.held_out)}."
        )
    return [*out, *_shown(judged), *_beating(judged), *_missing(measured)]


_TESTS = {
    "within_student": "ranking sources within a student",
    "partial": "ranking beyond the lineage label",
    "interaction": "telling the interaction",
}


def _shown(judged: Evaluation) -> list[str]:
    """Per test, which predictors are shown to be better than chance; adjusted over the whole table."""
    out = []
    for key, what in _TESTS.items():
        won = judged.better_than_chance(key)
        if won:
            out.append(f"Shown to be better than chance at {what}: {', '.join(won)}.")
        elif won is not None:
            out.append(f"No predictor is shown to be better than chance at {what}.")
    return out


def _beating(judged: Evaluation) -> list[str]:
    """One line per kind of comparison with the naive baselines."""
    out = []
    for key, what in (("rank", "ranks better"), ("error", "predicts held-out pairs with less error")):
        found = judged.beating(key)
        if found is None:
            continue
        bases = " and ".join(found.baselines)
        if found.shown:
            out.append(f"Shown: {', '.join(found.shown)} {what} than {bases}.")
        elif found.above:
            out.append(
                f"Not shown that any predictor {what} than {bases}: {', '.join(found.above)} did, but not by "
                "a difference whose interval excludes 0."
            )
        else:
            out.append(f"Not shown that any predictor {what} than {bases}: none did.")
    return out


def _missing(measured: Sequence[PredictorValue]) -> list[str]:
    """What has no value, by predictor and reason."""
    pairs: dict[tuple[str, str | None], list[str]] = {}
    for row in measured:
        if row.value is None:
            pairs.setdefault((row.predictor, row.reason), []).append(f"{row.source} -> {row.student}")
    return [
        f"{name}: not measured for {counted(len(which), 'pair')}, such as {which[0]}: {said(reason)}."
        for (name, reason), which in pairs.items()
    ]


def _row(name: str, row: PredictorRow) -> list[str]:
    line = row.calibration
    error = held = brier = "-"
    if line.rmse is not None and line.rmse_mean is not None:
        error = f"{100 * line.rmse:.2f} ({100 * line.rmse_mean:.2f})"
        held = f"{line.coverage:.0%}"
        brier = f"{line.brier:.2f} ({line.brier_mean:.2f})"
    return [
        f"{name} ({row.sources} x {row.students})",
        _interval(row.within_student), _p(row.within_student), _interval(row.interaction),
        _p(row.interaction), _interval(row.off_diagonal), _interval(row.partial), _p(row.partial),
        _points(row.regret), error, held, brier, _number(row.student_passes, ".1f"),
    ]  # fmt: skip


def _number(x: float | None, form: str = "+.2f") -> str:
    return "-" if x is None else format(x, form)


def _interval(e: Estimate) -> str:
    if e.value is None:
        return "-"
    return f"{e.value:+.2f}" + (f" [{e.low:+.2f}, {e.high:+.2f}]" if e.known else "")


def _points(e: Estimate) -> str:
    if e.value is None:
        return "-"
    shown = f"{100 * e.value:.1f}"
    return shown + ("" if e.low is None or e.high is None else f" [{100 * e.low:.1f}, {100 * e.high:.1f}]")


def _p(row: Tested) -> str:
    if row.p is None or row.p_holm is None:
        return "-"
    return f"{p_number(row.p)} ({p_number(row.p_holm)})"
