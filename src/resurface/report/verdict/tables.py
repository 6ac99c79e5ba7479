"""A verdict in tables: all that was measured, from verdict.json."""

from __future__ import annotations

from typing import Any

from resurface.report import controls
from resurface.report.format import Table, change, clusters, counted, percent, percent_range
from resurface.report.verdict import genre, membership
from resurface.results import ControlComparison


def tables(found: dict[str, Any]) -> list[Table]:
    """(title, header, rows) of everything that was measured."""
    out: list[Table] = []
    for name, group in found["scorecard"]["groups"].items():
        if group is not None:
            out.append((f"{_GROUPS[name]} ({_size(group)})", *_metrics(group)))
    n = found["scorecard"]["decodings"][0]["n"]
    level = found["scorecard"]["decodings"][0]["members"]["level"]
    title = (
        f"Sampling: of {n:,} samples of each window, the share of windows expected among them ({level:.1%})"
    )
    out.append((title, *_decodings(found["scorecard"]["decodings"])))
    out.append(("Strata", *_parts([(s["stratum"], s) for s in found["strata"]])))
    if found["kinds"] is not None:
        out.append(("Kinds of text", *_parts([(k["kind"], k) for k in found["kinds"]])))
    if found["probes"] is not None:
        rows = [(_variant(v), v) for v in found["probes"]["variants"]]
        out.append(("Other prefixes", *_parts([*rows, ("any of them", found["probes"]["any_variant"])])))
    if found["relearning"] is not None:
        out.append(("Relearning: held-back windows recited, nats per token", *_curve(found["relearning"])))
    if found["membership"] is not None:
        out += membership.tables(found["membership"])
    if found["controls"] is not None:
        arms = ControlComparison.from_json(found["controls"])
        out.append(("Control arms", *controls.cells(arms)))
        out += controls.margin_tables(arms)
    return out


def _size(group: dict[str, Any]) -> str:
    text = f"{counted(group['windows'], 'window')} in {clusters(group)}"
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


def _decodings(rows: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    def cells(part: dict[str, Any] | None) -> list[str]:
        if part is None:
            return ["n/a"] * 3
        return [percent(part["before"]), percent(part["after"]), change(part)]

    tokens = {0: "all"}
    out = [
        [f"{r['temperature']:g}", tokens.get(r["top_k"], f"top {r['top_k']}")]
        + cells(r["members"])
        + cells(r["floor"])
        for r in rows
    ]
    sides = ["before", "after", "change, points"]
    return ["temperature", "tokens", *sides, *(f"never seen, {s}" for s in sides)], out


def _parts(parts: list[tuple[str, dict[str, Any]]]) -> tuple[list[str], list[list[str]]]:
    rows = []
    for name, p in parts:
        drop = "n/a" if p["relative_drop"] is None else percent(p["relative_drop"]) + percent_range(p)
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
        rows.append(
            [str(r["step"]), *cells, "n/a" if r["learned"] is None else f"{r['learned']:.1%}", beyond]
        )
    beyond = f"back, beyond the {relearning['against']}"
    beyond += " (upper bound)" if genre.overstates(relearning) else ""
    header = ["steps", "base", "treated", "never saw", "floor, treated", "back of those trained on", beyond]
    return header, rows
