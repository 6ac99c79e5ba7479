"""A ranking of corpora in a table and words; every number comes from `workflows.predict`."""

from __future__ import annotations

from resurface.compatibility.prediction import Measured, Ranking
from resurface.report.document import Document, Table
from resurface.report.format import Cells, gain
from resurface.report.reasons import said


def document(found: Ranking) -> Document:
    """Candidates, best first, and remarks."""
    caption = f"Candidates for {found.student}, by {found.predictor}"
    return Document("Candidates", [Table(*cells(found), caption=caption)], _remarks(found))


def cells(found: Ranking) -> Cells:
    """Header and rows, best first."""
    others = [p.predictor for p in found.ranking[0].predictors]
    header = ["corpus", "gain, points", "P(>0)", "P(best)", *others, "passes"]
    rows = []
    for r in found.ranking:
        chances = ["-", "-", "-"]
        if r.gain.value is not None:
            mark = " *" if r.gain.extrapolated else ""
            chances = [gain(r.gain) + mark, f"{r.gain.p_positive:.2f}", f"{r.best:.2f}"]
        cost = "-" if r.student_passes is None else f"{r.student_passes:.1f}"
        rows.append([r.corpus, *chances, *map(_value, r.predictors), cost])
    return header, rows


def _value(row: Measured) -> str:
    if row.value is None:
        return "-"
    return f"{row.value:.3g}" + (f" ±{row.error:.2g}" if row.error is not None else "")


def _remarks(found: Ranking) -> list[str]:
    recipe, line = found.calibration.recipe, found.fit
    out = [
        f"Calibrated on study {found.calibration.study}: {line.pairs} pairs; 95% prediction intervals. "
        "Passes: of the student over the scored documents.",
        f"Gains are those of its recipe (rate {recipe.learning_rate:g}, epochs: {recipe.epochs}, "
        f"{recipe.bytes:,} bytes) for models like its own.",
    ]
    if found.judged is not None and (w := found.judged.within_student).value is not None:
        seen = f"There it ranked sources within students with a mean correlation of {w.value:+.2f}"
        out.append(seen + (f" [{w.low:+.2f}, {w.high:+.2f}]." if w.known else "."))
        c = found.judged.calibration
        if c.rmse is not None and c.rmse_mean is not None:
            out.append(
                f"On pairs that it had not seen it was off by {100 * c.rmse:.1f} points (RMS; "
                f"{100 * c.rmse_mean:.1f} without it), and its 95% intervals held {c.coverage:.0%}."
            )
    if found.wrong_way:
        out.append("There it went the wrong way: more of what it promises, less gain. Take another.")
    if any(r.gain.extrapolated for r in found.ranking):
        out.append("* its value is outside of those of the calibration: do not trust the gain.")
    for r in found.ranking:
        for p in r.predictors:
            if p.reason:
                out.append(f"{p.predictor} of {r.corpus} not measured: {said(p.reason)}.")
    return out
