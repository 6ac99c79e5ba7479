"""A study's matrix in words and tables; every number comes from matrix.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from resurface.disk import atomic_write
from resurface.report import figures, judging
from resurface.report.numbers import counted, interval, markdown, points, table


def gain_cells(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: a source per row, a student per column; pairs of one family or none are marked."""
    labels = pair_labels(found)
    students = list(dict.fromkeys(c["student"] for c in found["cells"]))
    rows: dict[str, list[str]] = {}
    for c in found["cells"]:
        label = labels[c["source"], c["student"]]
        mark = f" ({label})" if label not in ("other", "cross-family") else ""
        rows.setdefault(c["source"], [c["source"]]).append(interval(c, "gain") + mark)
    return ["source \\ student", *students], list(rows.values())


def pair_labels(found: dict[str, Any]) -> dict[tuple[str, str], str]:
    """(source, student) -> lineage label, with a word on those that the study states."""
    stated = {"files": "", "study": ", stated"}
    finer = {(p["source"], p["student"]): p["label"] + stated[p["by"]] for p in found.get("lineage", ())}
    # a matrix of an older version knows self, kin and other only
    return {(c["source"], c["student"]): c["relation"] for c in found["cells"]} | finer


def score_cells(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: what every student could do before, per task and on the mean of tasks."""
    scores = found["before"]
    tasks = list(next(iter(scores.values()))["tasks"])
    rows = [
        [model, *(f"{s['tasks'][t]:.3f}" for t in tasks), f"{s['mean']:.3f}"] for model, s in scores.items()
    ]
    return ["student before", *tasks, "mean of tasks"], rows


def write(found: dict[str, Any], root: Path) -> None:
    """report.md and heatmap.svg."""
    figures.heatmap(found["cells"], pair_labels(found), root / "heatmap.svg")
    text = [f"# {found['study']['name']}", "", *(f"- {markdown(line)}" for line in lines(found)), ""]
    text += ["Change of the student's mean accuracy in points, 95% interval; a source per row.", ""]
    text += [
        *table(*gain_cells(found)),
        "",
        "![Gains by source and student](heatmap.svg)",
        "",
        *table(*score_cells(found)),
        "",
    ]
    text += judging.section(found)
    made = found["provenance"]
    text += ["## Provenance", "", f"- machine: {made['machine']['cpu']}, {made['machine']['cores']} cores"]
    text += [f"- commit: {made['code']['commit']}{' (dirty)' if made['code']['dirty'] else ''}"]
    text += ["- settings: `study.yaml` beside this file", ""]
    atomic_write(root / "report.md", "\n".join(text))


def lines(found: dict[str, Any]) -> list[str]:
    """What the matrix shows, in plain sentences."""
    out = []
    for label, row in found["relations"].items():
        cells = counted(row["cells"], "pair")
        out.append(f"Mean gain with {label} text: {interval(row, 'mean')} points ({cells}).")
    for label, row in found["differences"].items():
        shown = "shown" if row["low"] > 0 or row["high"] < 0 else "not shown: the interval includes 0"
        out.append(f"Difference {label}: {interval(row, 'mean')} points ({shown}).")
    for key, what in (("self_advantage", "Self-advantage"), ("lineage_advantage", "Lineage beyond self")):
        row = found[key]
        without = f"; pairs of unknown lineage, which are left out: {n}" if (n := row.get("unknown")) else ""
        if row["p"] is None:
            out.append(f"{what}: not tested ({row['reason']}){without}.")
        else:
            out.append(
                f"{what}: {points(row['advantage'])} points; permutation p = {row['p']:.3f} "
                f"(the least that {row['permutations']:,} relabellings can give is {row['smallest_p']:.3f})"
                f"{without}."
            )
    for p in found.get("lineage", ()):
        if p["by"] == "study":
            out.append(
                f"Lineage of {p['source']} and {p['student']}: {p['label']} as the study states; "
                f"their files say {p['files']}."
            )
    out += _runs(found.get("run_sd", {"value": None}))
    out += _decomposed(found["decomposition"])
    out += [_proxy(name, row) for name, row in found["proxy_correlations"].items()]
    return out


def _runs(row: dict[str, Any]) -> list[str]:
    if row["value"] is None:
        return []
    low, high = 100 * row["low"], 100 * row["high"]
    return [
        f"Standard deviation of a gain between training seeds: {100 * row['value']:.2f} points "
        f"[{low:.2f}, {high:.2f}] ({row['df']} degrees of freedom)."
    ]


def _decomposed(found: dict[str, Any]) -> list[str]:
    if found["f"] is None:
        return [f"Decomposition of the gains: not tested ({found.get('reason', 'nothing varies')})."]
    df = found["mean_squares"]
    between, within = df["interaction"]["df"], df["residual"]["df"]
    out = [f"Source x student interaction: F({between}, {within}) = {found['f']:.1f}, p = {found['p']:.2g}."]
    share = found["share"]
    if share["value"] is not None:
        out.append(
            f"Relational share, of what sources differ by: {share['value']:.0%} "
            f"[{share['low']:.0%}, {share['high']:.0%}]."
        )
    room = found["headroom"]
    if room["p"] is not None and room["beyond_p"] is not None:
        out.append(
            f"Headroom (Tukey's one degree of freedom): p = {room['p']:.2g}; "
            f"interaction beyond it: p = {room['beyond_p']:.2g}."
        )
    crossed = found["crossings"]
    example = ""
    if crossed["pairs"]:
        one = crossed["pairs"][0]
        example = (
            f"; {one['better']} is better than {one['worse']} for {one['student']}, "
            f"and worse for {one['other']}"
        )
    n = len(crossed["pairs"])
    out.append(
        f"Sources whose order is shown to cross between students: {n} of {crossed['of']} pairs{example}."
    )
    return out


def _proxy(name: str, row: dict[str, Any]) -> str:
    what = f"Rank correlation of {name} with the gain, within students"
    if row["mean"] is None:
        return f"{what}: not measured: {row['reason']}."
    off = row["off_diagonal"]
    beyond = f"{off['mean']:+.2f}" if off["mean"] is not None else f"not measured: {off['reason']}"
    return (
        f"{what}: {row['mean']:+.2f}; permutation p = {row['p']:.3f} "
        f"(the least that {row['permutations']:,} relabellings can give is {row['smallest_p']:.3f}); "
        f"without self pairs {beyond}."
    )
