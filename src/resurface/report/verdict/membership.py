"""Membership inference of a verdict: a sentence, and a table with what is missing in it and why."""

from __future__ import annotations

import re
from typing import Any

from resurface.report.format import Table

_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")
_PARTS = (("AUC", ""), ("TPR", "tpr_"))
"""What an attack gives, and what the names of its bounds and of its reason begin with."""


def line(found: dict[str, Any]) -> str:
    """The best attack before and after, with intervals, and every warning."""
    if found["membership"] is None:
        return f"Membership: not told, {found['membership_reason']}."
    tables = found["membership"]
    known = [r for r in tables[0]["rows"] if r["before"]["auc"] is not None]
    # `reference` tells the treated model from the base, so it shows that something changed, not what is left
    best = max(known, key=lambda r: abs(r["before"]["auc"] - 0.5))
    after = {}  # where all models have it
    for i, row in enumerate(tables[0]["rows"]):
        areas = [t["rows"][i]["after"]["auc"] for t in tables]
        if None not in areas and row["attack"] != "reference":
            after[row["attack"]] = sum(areas) / len(areas)
    text = f"Membership: the best attack on the base, {best['attack']}, has AUC {_told(best['before'])}"
    text += f", and {_after(tables, best['attack'])} after"
    left = max(after, key=lambda a: abs(after[a] - 0.5), default=best["attack"])
    if left != best["attack"]:  # an AUC below a half tells as much, turned round
        text += f"; the best after is {left}, with {_after(tables, left)}"
    said = [f"{text}.", *_warnings(tables)]
    floor = found["scorecard"]["floor_rate"]
    if len(said) > 1 and floor is not None and floor["before"]["low"] > 0:
        said.append("(The base recites some of what it was not trained on, so that may be forgetting.)")
    return " ".join(said)


def _after(tables: list[dict[str, Any]], attack: str) -> str:
    """AUC of an attack on the treated model with its change, or mean and range over several models."""
    rows = [next(r for r in t["rows"] if r["attack"] == attack) for t in tables]
    areas = [r["after"]["auc"] for r in rows if r["after"]["auc"] is not None]
    if len(areas) < len(rows):
        why = next(r["after"]["reason"] for r in rows if r["after"]["auc"] is None)
        return f"no value ({why})"
    if len(rows) == 1:
        told, change = _told(rows[0]["after"]), rows[0]["change"]
        return told if change["auc"] is None else f"{told} (change {_told(change, '+.3f')})"
    mean = sum(areas) / len(areas)
    return f"{mean:.3f} (mean of {len(areas)} models, from {min(areas):.3f} to {max(areas):.3f})"


def _told(side: dict[str, Any], form: str = ".3f") -> str:
    if side["low"] is None:
        return f"{side['auc']:{form}} (no interval: {side['reason']})"
    return f"{side['auc']:{form}} [{side['low']:{form}}, {side['high']:{form}}]"


def _warnings(tables: list[dict[str, Any]]) -> list[str]:
    """Every warning; those that differ in numbers alone are one, with the range of each number."""
    alike: dict[str, list[tuple[int, str]]] = {}
    for i, warning in enumerate((t["warning"] for t in tables), 1):
        if warning:
            alike.setdefault(_NUMBER.sub("{}", warning), []).append((i, warning))
    said = []
    for form, them in alike.items():
        ranges = [
            dict.fromkeys((min(column, key=float), max(column, key=float)))
            for column in zip(*(_NUMBER.findall(w) for _, w in them), strict=True)
        ]
        text = form.format(*(" to ".join(r) for r in ranges))
        if len(tables) > 1:
            text = f"Of treated {', '.join(str(i) for i, _ in them)}: {text[0].lower()}{text[1:]}"
        said.append(text)
    return said


def tables(membership: list[dict[str, Any]]) -> list[Table]:
    """AUC, its change and the TPR of each attack on each model; then what is missing and notes, once each."""
    rows, fpr = [], membership[0]["fpr"]
    for attack, model, side, change in _sides(membership):
        moved = "" if change is None else _cell(change, "auc", "", "+.3f")
        rows.append([attack, model, _cell(side, "auc", "", ".3f"), moved, _cell(side, "tpr", "tpr_", ".1%")])
    header = ["attack", "model", "AUC", "change of AUC", f"TPR at {fpr:.0%} FPR"]
    out = [("Membership inference", header, rows)]
    if remarks := _remarks(membership):
        out.append(("Membership inference: what is missing, and notes", ["", "of"], remarks))
    return out


def _sides(membership: list[dict[str, Any]]) -> list[tuple[str, str, dict[str, Any], dict[str, Any] | None]]:
    """(attack, model, numbers, change from the base) of every attack on every model, the base first."""
    out: list[tuple[str, str, dict[str, Any], dict[str, Any] | None]] = []
    for i, row in enumerate(membership[0]["rows"]):
        out.append((row["attack"], "base", row["before"], None))
        for j, m in enumerate(membership, 1):
            of = m["rows"][i]
            out.append((row["attack"], f"treated {j}", of["after"], of["change"]))
    return out


def _cell(side: dict[str, Any], value: str, bounds: str, form: str) -> str:
    if side[value] is None:
        return "n/a"
    low, high = side[f"{bounds}low"], side[f"{bounds}high"]
    interval = "" if low is None else f" [{low:{form}}, {high:{form}}]"
    return f"{side[value]:{form}}{interval}"


def _remarks(membership: list[dict[str, Any]]) -> list[list[str]]:
    """[remark, the numbers that it is about, with their attacks and models]."""
    about: dict[str, dict[str, dict[str, list[str]]]] = {}  # remark -> number -> attack -> models
    sides = _sides(membership)

    def note(remark: str | None, number: str, attack: str, model: str) -> None:
        if remark:
            about.setdefault(remark, {}).setdefault(number, {}).setdefault(attack, []).append(model)

    for attack, model, side, change in sides:
        for number, of in _PARTS:
            note(side[f"{of}reason"], number, attack, model)
        note(side["note"], "AUC", attack, model)
        if change is not None:
            note(change["reason"], "change", attack, model)
    treated = [f"treated {j}" for j in range(1, len(membership) + 1)]
    short = {", ".join(["base", *treated]): "all models", ", ".join(treated): "all treated"}
    rows = []
    for remark, numbers in about.items():
        places: dict[str, list[str]] = {}  # where -> numbers
        for number, where in numbers.items():
            attacks: dict[str, list[str]] = {}  # models -> attacks
            for attack, models in where.items():
                attacks.setdefault(", ".join(models), []).append(attack)
            shown = ", ".join(f"{', '.join(of)} ({short.get(m, m)})" for m, of in attacks.items())
            places.setdefault(shown, []).append(number)
        rows.append([remark, "; ".join(f"{', '.join(n)}: {where}" for where, n in places.items())])
    return rows
