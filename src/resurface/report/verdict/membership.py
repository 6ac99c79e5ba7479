"""Membership inference of a verdict: a sentence, and a table with what is missing in it and why."""

from __future__ import annotations

from collections.abc import Sequence

from resurface.memorization.comparison.strongest import (
    areas,
    mean_area,
    strongest_after,
    strongest_before,
)
from resurface.memorization.results import Area, Capability, Membership, Roc, Utility, Warned
from resurface.report.format import Cells
from resurface.report.reasons import said
from resurface.results import Verdict
from resurface.stats.estimate import Estimate


def line(found: Verdict) -> str:
    """The best attack before and after, with intervals, and every warning."""
    if found.membership is None:
        return f"Membership: not measured, {said(found.membership_reason)}."
    rates = found.scorecard.floor_rate
    seen = rates is not None and rates.before.rate.above(0)
    return sentence(found.membership, knows_non_members=seen)


def sentence(tables: Sequence[Membership], *, knows_non_members: bool) -> str:
    """As `line`; tables: one per treated model."""
    best, left = strongest_before(tables), strongest_after(tables)
    text = f"Membership: the best attack on the base, {best}, has AUC {_auc(tables[0].of(best).before.auc)}"
    text += f", and {_after(tables, best)} after"
    if left is not None and left != best:  # an AUC below a half tells as much, turned round
        text += f"; the best after is {left}, with {_after(tables, left)}"
    out = [f"{text}.", *_warnings(tables)]
    if len(out) > 1 and knows_non_members:
        out.append(
            "(Some of what the base was not trained on is extracted from it, so that may be forgetting.)"
        )
    return " ".join(out)


def _after(tables: Sequence[Membership], attack: str) -> str:
    """AUC of an attack on the treated model with its change, or mean and range over several models."""
    found = areas(tables, attack)
    mean = mean_area(tables, attack)
    if mean is None:
        return f"no value ({said(next(a.reason for a in found if a.value is None))})"
    if len(found) == 1:
        change = tables[0].of(attack).change
        moved = "" if change is None or change.auc.value is None else f" (change {_auc(change.auc, '+.3f')})"
        return _auc(found[0]) + moved
    known = [a.value for a in found if a.value is not None]
    return f"{mean:.3f} (mean of {len(known)} models, from {min(known):.3f} to {max(known):.3f})"


def _auc(e: Estimate, form: str = ".3f") -> str:
    if not e.known:
        return f"{e.value:{form}} (no interval: {said(e.reason)})"
    return f"{e.value:{form}} [{e.low:{form}}, {e.high:{form}}]"


def _warnings(tables: Sequence[Membership]) -> list[str]:
    """Every warning; those that differ in numbers alone are one, with the range of each number."""
    alike: dict[str, list[tuple[int, list[str]]]] = {}
    for i, table in enumerate(tables, 1):
        if table.warnings:
            form, numbers = _warning(table)
            alike.setdefault(form, []).append((i, numbers))
    out = []
    for form, them in alike.items():
        ranges = [
            dict.fromkeys((min(column, key=float), max(column, key=float)))
            for column in zip(*(numbers for _, numbers in them), strict=True)
        ]
        text = form.format(*(" to ".join(r) for r in ranges))
        if len(tables) > 1:
            text = f"Of treated {', '.join(str(i) for i, _ in them)}: {text[0].lower()}{text[1:]}"
        out.append(text)
    return out


def _warning(table: Membership) -> tuple[str, list[str]]:
    """Its words, with `{}` in place of each number, and the numbers."""
    causes = []
    for code in table.warnings:
        if code == Warned.NLL_ROSE and table.utility is not None:
            causes.append(_rose(table.utility))
        elif code == Warned.CAPABILITY_FELL and table.capability is not None:
            causes.append(_fell(table.capability))
        else:  # a sentence of an older result
            return code.replace("{", "{{").replace("}", "}}"), []
    words = " and ".join(form for form, _ in causes)
    form = f"The treated model is worse as a model: {words}. "
    form += "A low AUC of a broken model is no privacy: compare with damage of the same size."
    return form, [number for _, numbers in causes for number in numbers]


def _rose(of: Utility) -> tuple[str, list[str]]:
    rise = of.rise
    ends = [f"{rise.low:.2f}", f"{rise.high:.2f}"] if rise.known else []
    cost = "{} [{}, {}]" if ends else "{}"
    form = f"text it was never trained on costs {cost} nats per token more than before (margin {of.margin:g})"
    return form, [f"{rise.value:.2f}", *ends]


def _fell(of: Capability) -> tuple[str, list[str]]:
    change = of.change
    ends = [f"{change.low:+.1f}", f"{change.high:+.1f}"] if change.known else []
    shown = "{}, {}" if ends else "no interval"
    form = f"capability changed by {{}} [{shown}] points (margin {of.margin:g})"
    return form, [f"{change.value:+.1f}", *ends]


def tables(membership: Sequence[Membership]) -> list[tuple[str, Cells]]:
    """(title, cells): AUC, its change and the TPR of each attack on each model; then what is missing and
    notes, once each."""
    rows = []
    for attack, model, side, change in _sides(membership):
        moved = "" if change is None else _cell(change.auc, "+.3f")
        rows.append([attack, model, _cell(side.auc, ".3f"), moved, _cell(side.tpr, ".1%")])
    header = ["attack", "model", "AUC", "change of AUC", f"TPR at {membership[0].fpr:.0%} FPR"]
    out = [("Membership inference", (header, rows))]
    if remarks := _remarks(membership):
        out.append(("Membership inference: what is missing, and notes", (["", "of"], remarks)))
    return out


def _sides(membership: Sequence[Membership]) -> list[tuple[str, str, Roc, Area | None]]:
    """(attack, model, numbers, change from the base) of every attack on every model, the base first."""
    out: list[tuple[str, str, Roc, Area | None]] = []
    for row in membership[0].rows:
        out.append((row.attack, "base", row.before, None))
        for j, m in enumerate(membership, 1):
            of = m.of(row.attack)
            if of.after is not None:
                out.append((row.attack, f"treated {j}", of.after, of.change))
    return out


def _cell(e: Estimate, form: str) -> str:
    if e.value is None:
        return "n/a"
    interval = f" [{e.low:{form}}, {e.high:{form}}]" if e.known else ""
    return f"{e.value:{form}}{interval}"


def _remarks(membership: Sequence[Membership]) -> list[list[str]]:
    """[remark, the numbers that it is about, with their attacks and models]."""
    about: dict[str, dict[str, dict[str, list[str]]]] = {}  # remark -> number -> attack -> models
    sides = _sides(membership)

    def note(remark: str | None, number: str, attack: str, model: str) -> None:
        if remark:
            of = about.setdefault(said(remark), {}).setdefault(number, {})
            of.setdefault(attack, []).append(model)

    for attack, model, side, change in sides:
        note(side.auc.reason, "AUC", attack, model)
        note(side.tpr.reason, "TPR", attack, model)
        note(side.note, "AUC", attack, model)
        if change is not None:
            note(change.auc.reason, "change", attack, model)
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
