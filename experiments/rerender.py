"""Write the reports of stored sweeps and verdicts anew: today's words on their numbers, which stay.

    python experiments/rerender.py results/lab/seeds results/lab/controls results/lab/verdict-replanted

In the JSON only the history that the shipped sweep of this name tells is brought up to date.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path

from resurface.artifacts.disk import atomic_write
from resurface.errors import UserError
from resurface.report import sweep as sweep_report
from resurface.report.verdict import write as verdict_report
from resurface.results import SweepResult, Verdict
from resurface.specs import load_sweep


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    status = 0
    for folder in parser.parse_args().folders:
        if (file := folder / "sweep.json").is_file():
            found = json.loads(file.read_text())
            with contextlib.suppress(UserError):  # no shipped sweep
                found["sweep"]["history"] = load_sweep(found["sweep"]["name"]).history
            atomic_write(file, json.dumps(found, indent=1) + "\n")
            sweep_report.write(SweepResult.from_json(found), folder)
        elif (file := folder / "verdict.json").is_file():
            verdict_report.write(Verdict.from_json(json.loads(file.read_text())), folder)
        else:
            print(f"{folder}: neither sweep.json nor verdict.json", file=sys.stderr)
            status = 2
            continue
        print(f"{folder}: report.md")
    return status


if __name__ == "__main__":
    sys.exit(main())
