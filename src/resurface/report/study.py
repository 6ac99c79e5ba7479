"""A study's matrix in words and tables; every number comes from matrix.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from resurface.artifacts.disk import atomic_write
from resurface.report import figures, predictors
from resurface.report.format import bounds, counted, holm, interval, machine, markdown, permutation, table


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
    words = {"kin": "same lineage"}
    return {
        (c["source"], c["student"]): words.get(c["relation"], c["relation"]) for c in found["cells"]
    } | finer


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
    text += predictors.section(found)
    made = found["provenance"]
    text += ["## Provenance", "", f"- machine: {machine(made)}"]
    text += [f"- commit: {made['code']['commit']}{' (dirty)' if made['code']['dirty'] else ''}"]
    if (again := found.get("rejudged")) is not None:
        text[-1] += f"; sentences recomputed from its cells at commit {again['code']['commit']}"
    text += ["- settings: `study.yaml` beside this file", ""]
    atomic_write(root / "report.md", "\n".join(text))


def lines(found: dict[str, Any]) -> list[str]:
    """What the matrix shows, in plain sentences."""
    out = [contrast(name, row, found["power"]) for name, row in found["contrasts"].items()]
    if not any(row["identified"] for row in found["contrasts"].values()):
        few = len({c[role] for c in found["cells"] for role in ("source", "student")})
        out.append(f"So these {few} models say what each pair did, and nothing of self, lineage and others.")
    unknown = sum(c["relation"] == "unknown" for c in found["cells"])
    if unknown:
        out.append(f"{counted(unknown, 'pair')} of unknown lineage: in none of these contrasts.")
    for p in found.get("lineage", ()):
        if p["by"] == "study":
            out.append(
                f"Lineage of {p['source']} and {p['student']}: {p['label']} as the study states; "
                f"their files say {p['files']}."
            )
    out += _runs(found.get("run_sd", {"value": None}))
    out += _decomposed(found["decomposition"])
    out += [_proxy(name, row) for name, row in found["proxy_correlations"].items()]
    if found["holm"] > 1:
        out.append(f"The {found['holm']} p values above are adjusted together, by Holm's method.")
    return out


_CONTRASTS = {
    "self_vs_same_lineage": "Self minus same lineage",
    "same_lineage_vs_other": "Same lineage minus other",
    "self_vs_other": "Self minus other",
}
_PERMUTED = {
    "self_vs_same_lineage": "sources permuted inside families",
    "same_lineage_vs_other": "family labels permuted over models",
    "self_vs_other": "sources permuted",
}


def contrast(name: str, row: dict[str, Any], power: dict[str, Any]) -> str:
    """A contrast of relations: its estimates, of whom they speak, and whether it is shown."""
    within, source = row["within_students"], row["within_sources"]
    what = _CONTRASTS[name]
    if within["value"] is None and source["value"] is None:
        return f"{what}: cannot be told: {row['reason']}."
    if not row["identified"]:
        left = [
            f"within {_over(of, one)} (effects of {other}s left in)"
            for of, one, other in ((within, "student", "source"), (source, "source", "student"))
            if of["value"] is not None
        ]
        return f"{what}: not identified by these models: {row['reason']}. Points {', '.join(left)}."
    text = f"{what}: within {_over(within, 'student')} points; with the effects of sources and of students "
    text += f"removed {interval(row['adjusted'], 'value')}"
    if row["adjusted"]["low"] is None:
        text += f" (no interval over students: {row['adjusted']['reason']})"
    if row["over_runs"]["low"] is not None:
        text += f", or {bounds(row['over_runs'])} for new runs of these very models"
    if row["p"] is None:
        return f"{text}. Not tested: {row.get('not_tested', row['reason'])}."
    return f"{text}. {_verdict(name, row, power)}"


def _verdict(name: str, row: dict[str, Any], power: dict[str, Any]) -> str:
    """Of the permutation test: p, and what it says of whom."""
    test = f"{permutation(row)}, {_PERMUTED[name]}, one-sided"
    if row["smallest_p"] > power["alpha"]:
        return f"{test}: these models cannot show it."
    if row["p_holm"] <= power["alpha"]:
        wider = row["adjusted"]["low"] is not None and row["adjusted"]["low"] > 0
        return f"{test}: shown for these models{', and for students of this kind' if wider else ''}."
    seen = power["contrasts"][name]["detectable_pairs"]
    least = "" if seen is None else f"; {seen:.1f} points would be shown with power {power['power']:.0%}"
    return f"{test}: not shown{least}."


def _over(row: dict[str, Any], one: str) -> str:
    """`5 students +0.7 [-2.6, +4.1]`."""
    return f"{counted(row['n'], one)} {interval(row, 'value')}"


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
    out = [f"Source x student interaction: F({between}, {within}) = {found['f']:.1f}, {holm(found)}."]
    share, parts = found["share"], found["families"]
    if share["value"] is not None:
        split = "; ".join(
            f"{name} families {_share(part['share'])}, F({part['df']}, {within}) = {part['f']:.1f}, "
            f"{holm(part)}"
            for name, part in parts.items()
            if part["f"] is not None and part["share"]["value"] is not None
        )
        of = f": {split}" if split else ""
        out.append(f"Relational share, of what sources differ by: {_share(share)}{of}.")
    room = found["headroom"]
    if room["p"] is not None and room["beyond_p"] is not None:
        out.append(
            f"Headroom (Tukey's one degree of freedom): {holm(room)}; "
            f"interaction beyond it: {holm(room, 'beyond_p')}."
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


def _share(row: dict[str, Any]) -> str:
    return f"{row['value']:.0%} [{row['low']:.0%}, {row['high']:.0%}]"


def _proxy(name: str, row: dict[str, Any]) -> str:
    what = f"Rank correlation of {name} with the gain, within students"
    if row["mean"] is None:
        return f"{what}: not measured: {row['reason']}."
    off = row["off_diagonal"]
    beyond = f"{off['mean']:+.2f}" if off["mean"] is not None else f"not measured: {off['reason']}"
    said = "" if row["p_holm"] <= 0.05 else ": not shown to predict it"
    return f"{what}: {row['mean']:+.2f}, {permutation(row)}, two-sided{said}; without self pairs {beyond}."
