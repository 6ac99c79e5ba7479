"""What a study would do, in words: its design, what of it is left, and the expected time."""

from __future__ import annotations

from typing import Any

from resurface.progress import duration
from resurface.report.format import counted, p_value

_UNITS = {
    "sample": "tokens",
    "evaluate": "items",
    "train": "tokens",
    "proxies": "documents",
    "predictors": "documents",
}


def lines(design: dict[str, Any]) -> list[str]:
    """A design (see `workflows.studies.design`) in plain sentences: its size, and what it can show."""
    d, drawn = design, design["sampled"]
    size = (
        f"{drawn['tokens']:,} tokens" if drawn["tokens"] is not None else f"{drawn['documents']:,} documents"
    )
    out = [
        f"{d['cells']} cells: {d['sources']} sources x {d['students']} students x {d['subsets']} subsets"
        + (f" x {d['seeds']} seeds." if d["seeds"] > 1 else "."),
        f"To sample: {d['sources']} corpora of {size}; subsets of {d['bytes']:,} bytes.",
        f"To train on: {d['trained_bytes']:,} bytes ({counted(d['epochs'], 'epoch')}); "
        f"evaluations: {d['evaluations']}"
        + (f"; pairs for predictors: {d['pairs_predicted']}." if d["pairs_predicted"] else "."),
    ]
    return out + _power(d["power"])


def _power(power: dict[str, Any]) -> list[str]:
    given = f"runs that differ by {power['run_sd']:g} points, and pairs that differ by {power['pair_sd']:g}"
    return [_contrast(name, row, power, given) for name, row in power["contrasts"].items()]


_CONTRASTS = {
    "self_vs_same_lineage": "Self against same lineage",
    "same_lineage_vs_other": "Same lineage against other",
    "self_vs_other": "Self against other",
}


def _contrast(name: str, row: dict[str, Any], power: dict[str, Any], given: str) -> str:
    """What the models of a study identify of it, on what that rests, and what it can show."""
    one, other = row["cells"].values()
    rests = f"{one} and {other} pairs; {counted(row['students'], 'student')} with both"
    if not row["identified"]:
        return f"{_CONTRASTS[name]}: not identified: {row['reason']} ({rests})."
    if row["smallest_p"] is None:
        return f"{_CONTRASTS[name]}: estimated, not tested: {row['reason']} ({rests})."
    if row["detectable_pairs"] is None:
        least = f"smallest attainable {p_value(row['smallest_p'])}"
        return f"{_CONTRASTS[name]}: cannot be shown: {row['reason']} ({least}; {rests})."
    return (
        f"{_CONTRASTS[name]}: with {given}, {row['detectable_pairs']:.1f} points are shown with power "
        f"{power['power']:.0%} ({row['detectable']:.1f} if only runs differ; "
        f"smallest attainable {p_value(row['smallest_p'])}; {rests})."
    )


def left(found: dict[str, Any]) -> list[str]:
    """An estimate (see `workflows.studies.estimates`) in plain sentences."""
    remain, d = found["remaining"], found["design"]
    out = [
        f"Finished: {d['cells'] - remain['cells']} of {d['cells']} cells, "
        f"{d['sources'] - remain['corpora']} of {d['sources']} corpora; remaining: {remain['cells']} cells."
    ]
    if not any(remain.values()):
        return [*out, "Nothing remains to be computed; the same command puts the matrix together."]
    tokens, trained = found["tokens"], found["tokens"]["trained"]
    out.append(
        f"Remaining: {tokens['sampled']:,} tokens to sample; about "
        + (f"{trained:,}" if trained is not None else "an unknown number of")
        + f" tokens to train on ({counted(remain['trainings'], 'training')}); "
        f"{found['items']:,} items to evaluate ({counted(remain['evaluations'], 'evaluation')})"
        + (f"; {remain['pairs_predicted']} pairs for predictors." if remain["pairs_predicted"] else ".")
    )
    times = found["seconds"]
    if times["total"] is None:
        out.append("Expected time: not measured.")
    else:
        parts = "; ".join(
            f"{phase} {'not measured' if s is None else duration(s)}"
            for phase, s in times.items()
            if phase != "total" and s != 0
        )
        out.append(
            f"Expected time with {counted(found['workers'], 'worker')}: "
            f"{'more than' if found['incomplete'] else 'about'} {duration(times['total'])} ({parts}), "
            f"from a measurement of {duration(found['measurement_s'])}."
        )
    out += [f"Not measured: {what} ({why})." for what, why in found["not_measured"].items()]
    return out


def cells(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: speed of every model in every stage that was timed."""
    stages = [s for s in _UNITS if any(s in rows for rows in found["measured"].values())]

    def speed(row: dict[str, Any] | None) -> str:
        if row is None or "per_unit_s" not in row:
            return "-"
        each = row["per_unit_s"]
        start = f"{row['fixed_s']:.1f} s"
        return f"{1 / each:,.0f}/s + {start}" if each else start

    rows = [[m, *(speed(of.get(s)) for s in stages)] for m, of in found["measured"].items()]
    return ["model", *(f"{s} ({_UNITS[s]})" for s in stages)], rows
