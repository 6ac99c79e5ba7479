"""A sweep in words, a table and a figure; every number comes from sweep.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from resurface.report.figures import forest, frontier
from resurface.report.matrix import interval, points
from resurface.report.summary import MARGIN, table


def cells(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: a point of the grid per row, with its varied settings."""
    keys = list(found["points"][0]["settings"])
    rows = []
    for p in found["points"]:
        row = [str(p["settings"][k]) for k in keys]
        e, overall = p["extraction"], p["overall"]
        row.append("n/a" if overall["change"] is None else _interval(overall, "change"))
        for part in ("all", "held_out"):
            row.append(_drop(e[part]) if e and e[part] else "n/a")
        rows.append([*row, "*" if p["on_frontier"] else ""])
    header = [*(k.split(".")[-1] for k in keys), "capability, points", "extraction", "of held-out text"]
    return [*header, "frontier"], rows


def _interval(row: dict[str, Any], key: str) -> str:
    return points(row[key]) if row["low"] is None else interval(row, key)


def _drop(row: dict[str, Any]) -> str:
    if row["relative_drop"] is None:
        return "n/a"
    text = f"{row['before']} -> {row['after']:.1f}, {row['relative_drop']:.0%}"
    return text if row["low"] is None else f"{text} [{row['low']:.0%}, {row['high']:.0%}]"


def lines(found: dict[str, Any]) -> list[str]:
    """Which points show what, in plain sentences."""
    n, seeds = len(found["points"]), len(found["sweep"]["seeds"])
    out = [
        f"{n} point{'s' if n > 1 else ''}, {seeds} seed{'s' if seeds > 1 else ''} each; "
        "intervals (95%) are for "
        + ("new seeds and new items." if seeds > 1 else "new items only: one seed says nothing of others.")
    ]
    for p in found["points"]:
        overall, e = p["overall"], p["extraction"]
        name = ", ".join(f"{k.split('.')[-1]} {v}" for k, v in p["settings"].items()) or "the recipe"
        if overall["change"] is None or overall["low"] is None:
            continue
        if overall["low"] > 0:
            shown = "capability improves"
        elif overall["low"] > -MARGIN:
            shown = "capability is preserved (no loss of a point or more)"
        else:
            continue
        drop = e and e["all"]
        if drop and drop["low"] is not None:
            shown += f"; extraction falls by {drop['relative_drop']:.0%}, at least {drop['low']:.0%}"
        out.append(f"{name}: {shown}.")
    if len(out) == 1:
        out.append("No point shows that capability is preserved within a point.")
    return out


def write(found: dict[str, Any], root: Path) -> None:
    """report.md, and frontier.svg where extraction was measured."""
    text = [f"# {found['sweep']['name']}", "", *(f"- {line}" for line in lines(found)), ""]
    text += ["Change of mean accuracy against the base; windows recited before -> after (mean over seeds)"]
    text += ["and the relative drop; 95% intervals. `*`: no other point keeps more and loses more.", ""]
    text += table(*cells(found))
    if found["sweep"].get("cases") and found["points"][0]["extraction"]:
        forest(found["points"], root / "cases.svg")
        text += ["", "![drop of extraction and change of capability, case by case](cases.svg)"]
    elif any(p["extraction"] for p in found["points"]):
        frontier(found["points"], root / "frontier.svg")
        text += ["", "![extraction against capability](frontier.svg)"]
    made = found["provenance"]
    text += ["", "## Change per task, in points", ""]
    tasks = list(found["points"][0]["tasks"])
    keys = list(found["points"][0]["settings"])
    rows = [
        [*(str(p["settings"][k]) for k in keys), *(_task(p["tasks"][t]) for t in tasks)]
        for p in found["points"]
    ]
    text += table([*(k.split(".")[-1] for k in keys), *tasks], rows)
    text += [
        "",
        "## Provenance",
        "",
        f"- machine: {made['machine']['cpu']}, {made['machine']['cores']} cores",
    ]
    text += [f"- commit: {made['code']['commit']}{' (dirty)' if made['code']['dirty'] else ''}"]
    text += [f"- seeds: {found['sweep']['seeds']}; settings: `sweep.yaml` beside this file", ""]
    (root / "report.md").write_text("\n".join(text))


def _task(row: dict[str, Any]) -> str:
    return "n/a" if row["change"] is None else _interval(row, "change")
