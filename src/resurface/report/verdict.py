"""A verdict in words, tables and two figures; every number comes from verdict.json."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from resurface.memorization import MINIMUM_BASELINE_HITS
from resurface.report import controls
from resurface.report.figures import curves
from resurface.report.numbers import table

Table = tuple[str, list[str], list[list[str]]]
RECOVERY_MARGIN = 0.05
"""Recovery is ruled out where its interval lies below this share of the held-back windows; set in advance."""


def lines(found: dict[str, Any]) -> list[str]:
    """The verdict, one plain sentence or two per question."""
    out = [_dropped(found["scorecard"]["drop"]), _floor(found["scorecard"]), _held_out(found)]
    out += [
        _sampling(found["scorecard"]),
        _likelihood(found["scorecard"]),
        _probes(found),
        _relearned(found),
        _membership(found),
    ]
    if found["controls"] is None:
        out.append(f"Beyond control arms: not told, {found['controls_reason']} (--controls).")
    else:
        out += [f"Control arms: {line}" for line in controls.lines(found["controls"])]
    return out


def _dropped(drop: dict[str, Any]) -> str:
    if drop["relative_drop"] is None:
        return f"Dropped: cannot be told, {drop['reason']}."
    text = f"Dropped: recited of {drop['windows']} windows: {_fell(drop)}."
    if drop["near_duplicates"]:
        text += (
            f" {drop['near_duplicates']} of the windows are near-duplicates of others and counted with them: "
            f"{drop['clusters']} clusters of documents, {drop['effective_before']:.3g} independent windows "
            "recited before."
        )
    enough = drop["effective_before"]
    if enough < MINIMUM_BASELINE_HITS:
        most = 0.05 ** (1 / enough)
        text += (
            f" Too few to claim -95%, which needs {MINIMUM_BASELINE_HITS} recited before: from "
            f"{enough:.3g}, -{most:.0%} is the most that could be shown."
        )
    return text


def _floor(card: dict[str, Any]) -> str:
    if card["floor_rate"] is None:
        return f"Floor: unknown, {card['floor_reason']}; so chance cannot be told from memory."
    before, *after = card["floor_rate"]
    n = card["groups"]["floor"]["windows"]
    mean = sum(after) / len(after)
    return (
        f"Floor: of {n} windows that no model has seen, {before:.1%} are recited before and {mean:.1%} after."
    )


def _held_out(found: dict[str, Any]) -> str:
    part = found["held_out"]
    if part is None:
        return f"Held out: not told, {found['held_out_reason']} (--corpus)."
    if part["relative_drop"] is None:
        return f"Held out: cannot be told, {part['reason']}."
    return f"Held out (no n-gram in the synthetic corpus): {_fell(part)}."


def _sampling(card: dict[str, Any]) -> str:
    curve = card["curve"]["members"]
    text = (
        f"Sampling: {curve['n'][-1]:,} samples behind each prefix would be expected to give "
        f"{curve['before'][-1]:.1%} of the windows before, {curve['after'][-1]:.1%} after"
    )
    if "floor" in card["curve"]:
        floor = card["curve"]["floor"]
        text += f" (never seen: {floor['before'][-1]:.1%} and {floor['after'][-1]:.1%})"
    return text + "."


def _likelihood(card: dict[str, Any]) -> str:
    """Text that is not recited any more may still be far likelier than what was never seen."""

    def nll(group: str) -> str:
        row = next(m for m in card["groups"][group]["metrics"] if m["metric"].startswith("NLL"))
        return f"{row['before']:.2f} nats per token before, {row['after']:.2f} after"

    text = f"Likelihood: the suffixes cost {nll('members')}"
    if card["groups"]["floor"] is not None:
        text += f"; of windows that no model has seen, {nll('floor')}"
    return text + "."


def _probes(found: dict[str, Any]) -> str:
    probes = found["probes"]
    if probes is None:
        return f"Other prefixes: not tried ({found['probes_reason']})."
    part = probes["any_variant"]
    tried = sum(v["windows"] > 0 for v in probes["variants"])
    if part["relative_drop"] is None:
        return f"Other prefixes: cannot be told, {part['reason']}."
    return f"Other prefixes: with the best of {tried} prefixes for each window, {_fell(part)}."


def _relearned(found: dict[str, Any]) -> str:
    if found["relearning"] is None:
        return f"Recovers under relearning: not told, {found['relearning_reason']}."
    curve, against = found["relearning"]["curve"], found["relearning"]["against"]
    first, last = curve[0], curve[-1]
    t, v = (found["relearning"]["windows"][k] for k in "TV")
    if last["low"] is None:
        return f"Recovers under relearning: cannot be told, {last.get('reason', 'no interval')}."
    if last["low"] > 0:
        answer = "yes"
    elif last["high"] < RECOVERY_MARGIN:
        answer = "no"
    else:
        answer = "not shown"
    return (
        f"Recovers under relearning: {answer}. After {last['step']} steps on {t} other windows, "
        f"{last['treated']:.1%} of {v} held-back windows are recited ({first['treated']:.1%} before); "
        f"{last['returned']:.1%} had been gone and are back, {100 * last['recovered']:+.1f} points "
        f"[{100 * last['low']:+.1f}, {100 * last['high']:+.1f}] more than of the {against}."
    )


def _membership(found: dict[str, Any]) -> str:
    if found["membership"] is None:
        return f"Membership: not told, {found['membership_reason']}."
    first = found["membership"][0]
    known = [r for r in first["rows"] if r["before"]["auc"] is not None]
    best = max(known, key=lambda r: abs(r["before"]["auc"] - 0.5))
    after = {  # the mean over models
        r["attack"]: sum(m["rows"][i]["after"]["auc"] for m in found["membership"]) / len(found["membership"])
        for i, r in enumerate(first["rows"])
        if all(m["rows"][i]["after"]["auc"] is not None for m in found["membership"])
    }
    text = f"Membership: the best attack on the base, {best['attack']}, has AUC {best['before']['auc']:.3f}"
    text += ", and no value" if best["attack"] not in after else f", and {after[best['attack']]:.3f}"
    text += " after" + (f" (mean of {len(found['membership'])})" if len(found["membership"]) > 1 else "")
    left = max(after, key=lambda a: abs(after[a] - 0.5), default=best["attack"])
    if left != best["attack"]:  # an AUC below a half tells as much, turned round
        text += f"; the best after is {left}, with {after[left]:.3f}"
    text += "."
    warnings = [m["warning"] for m in found["membership"] if m["warning"]]
    return text + (f" {warnings[0]}" if warnings else "")


def _fell(part: dict[str, Any]) -> str:
    """Windows recited before and after, and the relative drop with its interval."""
    drop = _percent(part["relative_drop"]) + " fewer" + _range(part)
    return f"{part['before']} before, {part['after']:.4g} after, {drop}"


def _percent(x: float) -> str:
    return f"{x:.1%}"


def _range(row: dict[str, Any]) -> str:
    if row["low"] is None:
        return f" (no interval: {row.get('reason', 'unknown')})"
    return f" [{row['low']:.1%}, {row['high']:.1%}]"


# ------------------------------------------------------------------------------ tables


def tables(found: dict[str, Any]) -> list[Table]:
    """(title, header, rows) of everything that was measured."""
    out: list[Table] = []
    for name, group in found["scorecard"]["groups"].items():
        if group is not None:
            out.append((f"{_GROUPS[name]} ({_size(group)})", *_metrics(group)))
    out.append(("Strata", *_parts([(s["stratum"], s) for s in found["strata"]])))
    if found["kinds"] is not None:
        out.append(("Kinds of text", *_parts([(k["kind"], k) for k in found["kinds"]])))
    if found["probes"] is not None:
        rows = [(_variant(v), v) for v in found["probes"]["variants"]]
        out.append(("Other prefixes", *_parts([*rows, ("any of them", found["probes"]["any_variant"])])))
    if found["relearning"] is not None:
        out.append(("Relearning: held-back windows recited, nats per token", *_curve(found["relearning"])))
    if found["membership"] is not None:
        out.append(("Membership inference, AUC", *_attacks(found["membership"])))
    if found["controls"] is not None:
        out.append(("Control arms", *controls.cells(found["controls"])))
        out += controls.margin_tables(found["controls"])
    return out


def _size(group: dict[str, Any]) -> str:
    text = f"{group['windows']} windows in {group['clusters']} clusters of documents"
    return text + (f", {group['near_duplicates']} near-duplicates" if group["near_duplicates"] else "")


_GROUPS = {
    "members": "Windows that may have been trained on",
    "extractable": "Of these, what the base recites",
    "floor": "Floor: windows that no model has seen",
}


def _metrics(group: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    rows = []
    for m in group["metrics"]:
        change = f"{m['change']:+.4f} "
        change += f"({m['reason']})" if m["low"] is None else f"[{m['low']:+.4f}, {m['high']:+.4f}]"
        rows.append([m["metric"], f"{m['before']:.4f}", f"{m['after']:.4f}", change, f"{m['level']:.1%}"])
    return ["metric, mean over windows", "before", "after", "change", "level"], rows


def _parts(parts: list[tuple[str, dict[str, Any]]]) -> tuple[list[str], list[list[str]]]:
    rows = []
    for name, p in parts:
        drop = "n/a" if p["relative_drop"] is None else _percent(p["relative_drop"]) + _range(p)
        # of a prefix that no window is long enough for, nothing was counted
        counts = ["n/a" if p[k] is None else f"{p[k]:.4g}" for k in ("before", "after")]
        rows.append([name, str(p["windows"]), *counts, drop])
    return ["", "windows", "before", "after", "relative drop"], rows


def _variant(v: dict[str, Any]) -> str:
    return v["variant"] + (f", copy {v['copy']}" if v["copy"] else "")


_MODELS = ("base", "treated", "never", "floor")


def _curve(relearning: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    rows = []
    for r in relearning["curve"]:
        beyond = "n/a"
        if r["low"] is not None:
            beyond = f"{100 * r['recovered']:+.1f} [{100 * r['low']:+.1f}, {100 * r['high']:+.1f}]"
        cells = ["n/a" if r[k] is None else f"{r[k]:.1%}, {r['nll'][k]:.2f}" for k in _MODELS]
        rows.append([str(r["step"]), *cells, beyond])
    beyond = f"back, beyond the {relearning['against']}"
    header = ["steps", "base", "treated", "never saw", "floor, treated", beyond]
    return header, rows


def _attacks(membership: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    rows = []
    for i, row in enumerate(membership[0]["rows"]):
        cells = [_auc(row["before"])]
        cells += [_auc(m["rows"][i]["after"]) for m in membership]
        rows.append([row["attack"], *cells])
    return ["attack", "before", *(f"after, model {i}" for i in range(len(membership)))], rows


def _auc(side: dict[str, Any]) -> str:
    if side["auc"] is None:
        return "n/a"
    text = f"{side['auc']:.3f}"
    return text if side["low"] is None else f"{text} [{side['low']:.3f}, {side['high']:.3f}]"


# ------------------------------------------------------------------------------ files


def _intervals(found: dict[str, Any]) -> str:
    """What the intervals are about; one treated model says nothing of other seeds."""
    one = len(found["treated"]) == 1
    new = ", not for new seeds: there is one treated model" if one else " and new seeds"
    together = found["scorecard"]["multiplicity"]
    return f"Intervals are 95%, for new clusters of documents{new}; {together}, within each group of windows."


def write(found: dict[str, Any], root: Path) -> None:
    """report.md, sampling.svg, and relearning.svg and controls.svg where these were measured."""
    text = ["# Verdict", "", f"Base: `{found['base']}`; treated: "]
    text[-1] += ", ".join(f"`{t}`" for t in found["treated"]) + "."
    text += ["", *(f"- {line}" for line in lines(found)), ""]
    text += [_intervals(found), ""]
    figures = {"sampling.svg": "sampling"}
    _sampling_figure(found["scorecard"]["curve"], root / "sampling.svg")
    if found["relearning"] is not None:
        figures["relearning.svg"] = "relearning"
        _relearning_figure(found["relearning"], root / "relearning.svg")
    if found["controls"] is not None and found["controls"]["margins"] is not None:
        figures["controls.svg"] = "control arms"
        controls.figure(found["controls"], root / "controls.svg")
    for title, header, rows in tables(found):
        text += [f"## {title}", "", *table(header, rows), ""]
    text += [f"![{alt}]({file})" for file, alt in figures.items()]
    made = found["provenance"]
    text += ["", f"Machine: {made['machine']['cpu']}, {made['machine']['cores']} cores; "]
    text[-1] += f"commit {made['code']['commit'] or made['code'].get('reason')}."
    if found["command"] is not None:  # none where it was called from Python
        text.append(f"Command: `{shlex.join(found['command'])}`")
    text.append("")
    (root / "report.md").write_text("\n".join(text))


def _sampling_figure(curve: dict[str, Any], file: Path) -> None:
    named = {"members": "", "floor": "never seen, "}
    series = [
        (f"{named[group]}{side}", c["n"], [100 * y for y in c[side]])
        for group, c in curve.items()
        for side in ("before", "after")
    ]
    curves(series, file, x="samples of each window", y="windows expected among them, %", log=True)


def _relearning_figure(relearning: dict[str, Any], file: Path) -> None:
    rows = relearning["curve"]
    steps = [r["step"] for r in rows]
    named = {"base": "base", "treated": "treated", "never": "never saw", "floor": "floor, treated"}
    series = [
        (name, steps, [100 * r[key] for r in rows]) for key, name in named.items() if rows[0][key] is not None
    ]
    curves(series, file, x="steps on other memorized windows", y="held-back windows recited, %")
