"""What a study says of predictors of the gain, as a table and in words; every number is in matrix.json."""

from __future__ import annotations

from typing import Any

from resurface.report.format import markdown, p_number, table

_HEADER = [
    "predictor", "within student", "p (Holm)", "interaction", "p (Holm)", "off-diagonal",
    "beyond lineage", "p (Holm)", "regret", "held-out error", "95% held", "Brier", "student passes",
]  # fmt: skip


def section(found: dict[str, Any]) -> list[str]:
    """Markdown lines of the table of predictors, with what it means; none where none was measured."""
    if "judged" not in found:
        return []
    text = ["## Predictors of the gain, before training", ""]
    text += [
        "Mean Spearman correlation with the gain over sources within a student; correlation of the two",
        "interactions; the first without a student's own text; the first beyond what the lineage label",
        "tells; points lost by taking the source that it likes best (best and taken are scored on another",
        "subset than the best was chosen on); root mean squared error in points of a line fitted on pairs",
        "of other models (in brackets: of their mean gain alone), the share of its 95% intervals that hold",
        "the gain, and the Brier score of its P(gain > 0) (in brackets: of their share of gains above 0);",
        "cost in passes of the student over the scored documents. 95% jackknife intervals over sources",
        "and students; one-sided p of relabelling the sources. More is better after fixed signs.",
        "In brackets: p adjusted by Holm over all tests of this table"
        f"{' (' + str(n) + ')' if (n := found['judged'].get('holm')) else ''}.",
        "",
    ]
    text += [*table(*cells(found)), "", *(f"- {markdown(line)}" for line in lines(found)), ""]
    return text


def cells(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table of predictors."""
    return _HEADER, [_row(name, row) for name, row in found["judged"]["predictors"].items()]


def short(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """As `cells`, what fits a terminal: without intervals and blocks, which the report has."""
    header = ["predictor", "within student", "interaction", "beyond lineage", "error", "student passes"]
    rows = []
    for name, row in found["judged"]["predictors"].items():
        three = [_number(row[key]["value"]) for key in ("within_student", "interaction", "partial")]
        error = row["calibration"].get("rmse")
        passes = _number(row.get("student_passes"), ".1f")
        rows.append([name, *three, "-" if error is None else f"{100 * error:.2f}", passes])
    return header, rows


def lines(found: dict[str, Any]) -> list[str]:
    """The ceiling, the random choice, what was selected, what beats the naive baselines, what is missing."""
    judged = found["judged"]
    top, lost = judged["ceiling"], judged["random"]["regret"]
    out = [
        f"Ceiling, what a perfect predictor of this noisy truth can reach: {_number(top['within_student'])} "
        f"within students, {_number(top['interaction'])} of the interaction."
    ]
    if lost["value"] is not None:
        out.append(f"A random choice of the source loses {_points(lost)} points.")
    chosen = judged["selected"]
    if chosen["name"] is None:
        out.append(f"No predictor is selected: {chosen['reason']}.")
    else:
        out.append(
            f"Selected: {chosen['name']}. Chosen anew without each student in turn, what was chosen "
            f"({', '.join(sorted(set(chosen['chosen'])))}) ranks for that student with a mean correlation "
            f"of {chosen['held_out']:+.2f}."
        )
    out += _shown(judged["predictors"])
    out += _beating(judged["predictors"])
    return out + _missing(found["predictors"])


_TESTS = {
    "within_student": "ranking sources within a student",
    "partial": "ranking beyond the lineage label",
    "interaction": "telling the interaction",
}


def _shown(rows: dict[str, Any]) -> list[str]:
    """Per test, which predictors are shown to be better than chance; adjusted over the whole table."""
    out = []
    for key, what in _TESTS.items():
        tested = {name: row[key] for name, row in rows.items() if row[key].get("p_holm") is not None}
        won = [name for name, row in tested.items() if row["p_holm"] <= 0.05]
        if won:
            out.append(f"Shown to be better than chance at {what}: {', '.join(won)}.")
        elif tested:
            out.append(f"No predictor is shown to be better than chance at {what}.")
    return out


def _beating(rows: dict[str, Any]) -> list[str]:
    """One line per kind of comparison: who beats every naive baseline with its interval above 0."""
    out = []
    for key, what in (("rank", "ranks better"), ("error", "predicts held-out pairs with less error")):
        compared = {n: r["beats"] for n, r in rows.items() if len(r["beats"]) > 1}
        if not compared:
            continue
        bases = " and ".join(next(iter(compared.values())))
        won = [n for n, b in compared.items() if all((x[key]["low"] or 0) > 0 for x in b.values())]
        above = [n for n, b in compared.items() if all((x[key]["value"] or 0) > 0 for x in b.values())]
        if won:
            out.append(f"Shown: {', '.join(won)} {what} than {bases}.")
        elif above:
            out.append(
                f"Not shown that any predictor {what} than {bases}: {', '.join(above)} did, but not by "
                "a difference whose interval excludes 0."
            )
        else:
            out.append(f"Not shown that any predictor {what} than {bases}: none did.")
    return out


def _missing(measured: list[dict[str, Any]]) -> list[str]:
    """What has no value, by predictor and reason."""
    pairs: dict[tuple[str, str], list[str]] = {}
    for row in measured:
        if row["value"] is None:
            pair = f"{row['source']} -> {row['student']}"
            pairs.setdefault((row["predictor"], row["reason"]), []).append(pair)
    return [
        f"{name}: not measured for {len(which)} pair{'s' * (len(which) > 1)}, such as {which[0]}: {reason}."
        for (name, reason), which in pairs.items()
    ]


def _row(name: str, row: dict[str, Any]) -> list[str]:
    within, own, far = row["within_student"], row["interaction"], row["off_diagonal"]
    n, m = row["sources"], row["students"]
    line = row["calibration"]
    error = held = brier = "-"
    if line.get("rmse") is not None:
        error = f"{100 * line['rmse']:.2f} ({100 * line['rmse_mean']:.2f})"
        held = f"{line['coverage']:.0%}"
        brier = f"{line['brier']:.2f} ({line['brier_mean']:.2f})"
    cells = [f"{name} ({n} x {m})", _interval(within), _p(within), _interval(own), _p(own), _interval(far)]
    return [
        *cells, _interval(row["partial"]), _p(row["partial"]), _points(row["regret"]), error, held, brier,
        _number(row.get("student_passes"), ".1f"),
    ]  # fmt: skip


def _number(x: float | None, form: str = "+.2f") -> str:
    return "-" if x is None else format(x, form)


def _interval(row: dict[str, Any]) -> str:
    if row["value"] is None:
        return "-"
    return f"{row['value']:+.2f}" + (
        f" [{row['low']:+.2f}, {row['high']:+.2f}]" if row["low"] is not None else ""
    )


def _points(row: dict[str, Any]) -> str:
    if row["value"] is None:
        return "-"
    shown = f"{100 * row['value']:.1f}"
    return shown + (f" [{100 * row['low']:.1f}, {100 * row['high']:.1f}]" if row["low"] is not None else "")


def _p(row: dict[str, Any]) -> str:
    if row.get("p") is None:
        return "-"
    return f"{p_number(row['p'])} ({p_number(row['p_holm'])})"
