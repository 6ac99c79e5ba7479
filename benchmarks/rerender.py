"""Write the reports of stored sweeps and verdicts anew: today's words and statistics on their numbers.

    python benchmarks/rerender.py results/lab/seeds-first results/lab/controls results/lab/verdict

Brought up to date, in the JSON as well: members counted without the never-planted stratum (only where none
of that was ever extracted, so that no other number changes), intervals of capability (from each seed's change
and the items' variance, which is solved from the older interval), tasks marked and the mean without them, the
history that the preset of this name tells, p after Holm over all arms and margins. Not recomputed, for want
of answers per item and window: intervals of extraction, whether a never-saw model is matched in genre, and
the largest drop within a margin, which stays the mean of the seeds' own and is called so.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from resurface.artifacts.disk import atomic_write
from resurface.benchmarks.chance import uninformative
from resurface.errors import UserError
from resurface.report import sweep as sweep_report
from resurface.report.verdict import write as verdict_report
from resurface.specs import load_sweep
from resurface.workflows.pooling import item_variance
from resurface.workflows.seeds import combined, means, with_holm

NEVER = "never"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    status = 0
    for folder in parser.parse_args().folders:
        if (file := folder / "sweep.json").is_file():
            found = json.loads(file.read_text())
            history(found["sweep"])
            for p in found["points"]:
                capability(p)
                members(p["extraction"])
                if "controls" in p:
                    controls(p["controls"])
            atomic_write(file, json.dumps(found, indent=1) + "\n")
            sweep_report.write(found, folder)
        elif (file := folder / "verdict.json").is_file():
            found = json.loads(file.read_text())
            if found["controls"] is not None:
                controls(found["controls"])
            genre(found["relearning"])
            atomic_write(file, json.dumps(found, indent=1) + "\n")
            verdict_report.write(found, folder)
        else:
            print(f"{folder}: neither sweep.json nor verdict.json", file=sys.stderr)
            status = 2
            continue
        print(f"{folder}: report.md")
    return status


def history(sweep: dict[str, Any]) -> None:
    """What the shipped sweep of this name says of its history; none for another."""
    with contextlib.suppress(UserError):
        sweep["history"] = load_sweep(sweep["name"]).history


def capability(p: dict[str, Any]) -> None:
    """Every task's row, and the means, as `pipeline.seeds.capability` gives them now."""
    before = p["overall"]
    for task, row in p["tasks"].items():
        if row["change"] is None:
            continue
        row["item_variance"] = item_variance(row)
        mark = uninformative(task, row["base"], row["n"])
        p["tasks"][task] = {"n": row["n"]} | combined([row]) | {"uninformative": mark}
    p |= means(p["tasks"])
    if p["overall"]["change"] is not None and "item_variance" not in before:
        # both are bounds from above, where two variances may give the interval that was kept
        row = p["overall"] | {"n": min(r["n"] for r in p["tasks"].values() if r["change"] is not None)}
        row["item_variance"] = min(row["item_variance"], item_variance(before | {"n": row["n"]}))
        p["overall"] = combined([row])


def members(extraction: dict[str, Any] | None) -> None:
    """Count what was never planted apart, where it can be taken out of the whole."""
    if extraction is None or "non_members" in extraction:
        return
    apart = next((s for s in extraction["strata"] if s["stratum"] == NEVER), None)
    if apart is None or apart["before"] or any(apart["after_each"]):
        return
    extraction["non_members"] = {k: apart[k] for k in ("windows", "before", "after")}
    for part in (extraction["all"], extraction["held_out"]):
        if part is not None:  # each passage of the lab is one window
            part.setdefault("clusters_before", float(part["before"]))
    whole, held = extraction["all"], extraction["held_out"]
    # where all that overlaps a synthetic corpus was extracted before, none of it is of what never was
    clear = held and whole["windows"] - held["windows"] == whole["before"] - held["before"]
    parts = [whole, *([held] if clear else []), *(extraction.get("kinds") or [])]
    for part in parts:
        if part["windows"] < apart["windows"]:
            continue
        for key in ("windows", "clusters"):
            if key in part:
                part[key] -= apart[key]


def genre(relearning: dict[str, Any] | None) -> None:
    """What non-members cost the never-saw model, which older verdicts did not keep."""
    if relearning is not None and "genre" not in relearning:
        relearning |= {"genre": None, "genre_reason": "this verdict is older than the measurement"}


def controls(found: dict[str, Any]) -> None:
    for p in found["points"]:
        capability(p)
        members(p["extraction"])
    if found["margins"] is not None:
        found |= with_holm(found)


if __name__ == "__main__":
    sys.exit(main())
