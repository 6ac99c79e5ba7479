"""A ranking of corpora in a table and words; every number comes from `workflows.predict`."""

from __future__ import annotations

from typing import Any

from resurface.report.format import interval


def cells(found: dict[str, Any]) -> tuple[list[str], list[list[str]], list[str]]:
    """Header, rows (best first) and remarks."""
    others = [r["predictor"] for r in found["ranking"][0]["predictors"]]
    header = ["corpus", "gain, points", "P(>0)", "P(best)", *others, "passes"]
    rows = []
    for r in found["ranking"]:
        shown = [_value(p) for p in r["predictors"]]
        cost = "-" if r["student_passes"] is None else f"{r['student_passes']:.1f}"
        if r["gain"] is None:
            rows.append([r["corpus"], "-", "-", "-", *shown, cost])
            continue
        mark = " *" if r["extrapolated"] else ""
        rows.append(
            [r["corpus"], interval(r, "gain") + mark, f"{r['p_positive']:.2f}", f"{r['best']:.2f}"]
            + [*shown, cost]
        )
    return header, rows, _remarks(found)


def _value(row: dict[str, Any]) -> str:
    if row["value"] is None:
        return "-"
    return f"{row['value']:.3g}" + (f" ±{row['error']:.2g}" if row["error"] is not None else "")


def _remarks(found: dict[str, Any]) -> list[str]:
    recipe = found["calibration"]["recipe"]
    line, judged, study = found["fit"], found["judged"], found["calibration"]["study"]
    out = [
        f"Calibrated on study {study}: {line['pairs']} pairs; 95% prediction intervals. "
        "Passes: of the student over the scored documents.",
        f"Gains are those of its recipe (rate {recipe['learning_rate']:g}, epochs: {recipe['epochs']}, "
        f"{recipe['bytes']:,} bytes) for models like its own.",
    ]
    if judged and judged["within_student"]["value"] is not None:
        w = judged["within_student"]
        seen = f"There it ranked sources within students with a mean correlation of {w['value']:+.2f}"
        low, high = w["low"], w["high"]
        out.append(seen + (f" [{low:+.2f}, {high:+.2f}]." if low is not None else "."))
        c = judged["calibration"]
        if c.get("rmse") is not None:
            out.append(
                f"On pairs that it had not seen it was off by {100 * c['rmse']:.1f} points (RMS; "
                f"{100 * c['rmse_mean']:.1f} without it), and its 95% intervals held {c['coverage']:.0%}."
            )
    if any(slope * sign < 0 for slope, sign in zip(line["slopes"], found["signs"], strict=True)):
        out.append("There it went the wrong way: more of what it promises, less gain. Take another.")
    if any(r["extrapolated"] for r in found["ranking"]):
        out.append("* its value is outside of those of the calibration: do not trust the gain.")
    for r in found["ranking"]:
        for p in r["predictors"]:
            if p["reason"]:
                out.append(f"{p['predictor']} of {r['corpus']} not measured: {p['reason']}.")
    return out
