"""A sweep in words, a table and a figure; every number comes from sweep.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from resurface.artifacts.disk import atomic_write
from resurface.artifacts.provenance import Provenance
from resurface.report import controls
from resurface.report.capability import marked, shown, without
from resurface.report.figures import forest, frontier
from resurface.report.format import change, commit, counted, drop, machine, markdown, table

MARK = "\N{DAGGER}"


def cells(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: a point of the grid per row, with its varied settings."""
    keys = list(found["points"][0]["settings"])
    rows = []
    for p in found["points"]:
        row = [str(p["settings"][k]) for k in keys]
        e, overall = p["extraction"], p["overall"]
        row.append(change(overall))
        row += [drop(e and e[part]) for part in ("all", "held_out")]
        rows.append([*row, "*" if p["on_frontier"] else ""])
    header = [*(k.split(".")[-1] for k in keys), "capability, points", "extraction", "of held-out text"]
    return [*header, "frontier"], rows


def lines(found: dict[str, Any]) -> list[str]:
    """Which points show what, in plain sentences."""
    n, seeds = len(found["points"]), len(found["sweep"]["seeds"])
    out = [
        f"{counted(n, 'point')}, {counted(seeds, 'seed')} each; "
        "intervals (95%) are for "
        + ("new seeds and new items." if seeds > 1 else "new items only: one seed says nothing of others.")
    ]
    for p in found["points"]:
        overall, e = p["overall"], p["extraction"]
        if overall["change"] is None or overall["low"] is None:
            continue
        text = (
            f"{name(p)}: mean capability {change(overall)} points: {shown(overall['low'], overall['high'])}"
        )
        fall = e and e["all"]
        if fall and fall["low"] is not None:
            text += f"; of {counted(fall['windows'], 'window')} {fall['before']} were extracted, now "
            text += f"{fall['after']:.1f}: {fall['relative_drop']:.0%} fewer"
            text += f" [{fall['low']:.0%}, {fall['high']:.0%}]"
        out.append(f"{text}.")
        if (other := e and e.get("non_members")) is not None:
            out.append(
                f"{name(p)}: of {counted(other['windows'], 'window')} that no model was trained on, "
                f"{other['before']} were extracted, now {other['after']:.1f}."
            )
    bases: dict[str, tuple[dict[str, str], Any]] = {}
    for p in found["points"]:
        marks = marked(p["tasks"].items()) if "tasks" in p else {}
        bases.setdefault(str(marks), (marks, p.get("informative")))
    for marks, informative in bases.values():
        out += without(marks, informative if n == 1 else None)
    if history := found["sweep"].get("history"):
        out.append(f"History: {history}")
    for p in found["points"]:
        if "controls" in p:
            answer, *_ = controls.lines(p["controls"])
            out.append(f"{name(p)}: {answer}" if n > 1 else answer)
    return out


def name(point: dict[str, Any]) -> str:
    """What tells a point from the others: its varied settings."""
    settings = (f"{k.split('.')[-1]} {v}" for k, v in point["settings"].items())
    return ", ".join(settings) or "the recipe"


def write(found: dict[str, Any], root: Path) -> None:
    """report.md, frontier.svg where extraction was measured, controls.svg where there are control arms."""
    text = [f"# {found['sweep']['name']}", "", *(f"- {markdown(line)}" for line in lines(found)), ""]
    text += ["Change of mean accuracy against the base; windows recited before -> after (mean over seeds)"]
    text += ["and the relative drop; 95% intervals. `*`: no other point keeps more and loses more.", ""]
    text += table(*cells(found))
    if found["sweep"].get("cases") and found["points"][0]["extraction"]:
        forest(found["points"], root / "cases.svg")
        text += ["", "![drop of extraction and change of capability, case by case](cases.svg)"]
    elif any(p["extraction"] for p in found["points"]):
        frontier(found["points"], root / "frontier.svg")
        text += ["", "![extraction against capability](frontier.svg)"]
    text += _controls(found["points"], root)
    made = Provenance.from_json(found["provenance"])
    text += ["", "## Change per task, in points", ""]
    tasks = list(found["points"][0]["tasks"])
    keys = list(found["points"][0]["settings"])
    rows = [
        [*(str(p["settings"][k]) for k in keys), *(change(p["tasks"][t]) for t in tasks)]
        for p in found["points"]
    ]
    marks = [set(marked(p["tasks"].items())) for p in found["points"]]
    rows = [
        row[: len(keys)]
        + [f"{cell}{MARK}" if t in of else cell for t, cell in zip(tasks, row[len(keys) :], strict=True)]
        for row, of in zip(rows, marks, strict=True)
    ]
    means = [change(p["informative"]) for p in found["points"] if "informative" in p]
    header = [*(k.split(".")[-1] for k in keys), *tasks]
    if len(means) == len(rows) and any(marks):
        header, rows = [*header, "mean of the others"], [[*r, m] for r, m in zip(rows, means, strict=True)]
    text += table(header, rows)
    if any(marks):
        text += ["", f"{MARK} at ceiling, or at or near chance, before: a change can hardly appear."]
    text += [
        "",
        "## Provenance",
        "",
        f"- machine: {machine(made.machine)}",
    ]
    text += [f"- commit: {commit(made.code)}"]
    text += [f"- seeds: {found['sweep']['seeds']}; settings: `sweep.yaml` beside this file", ""]
    atomic_write(root / "report.md", "\n".join(text))


def _controls(points: list[dict[str, Any]], root: Path) -> list[str]:
    """A section and a figure per point that has control arms."""
    text: list[str] = []
    for i, p in enumerate(points):
        if "controls" in p:
            file = root / ("controls.svg" if len(points) == 1 else f"controls-{i}.svg")
            title = "" if len(points) == 1 else f": {markdown(name(p))}"
            text += ["", f"## Control arms{title}", "", *controls.section(p["controls"], file)]
    return text
