"""Judge finished matrices anew from their own cells, where the artifacts behind them are gone.

    python experiments/rejudge_matrix.py results/lab/compatibility results/demo

Of each directory matrix.json (or demo.json) and report.md are rewritten: what was measured stays, with the
commit that measured it; contrasts, tests, variance between families and sentences are those of the code
that runs. --calibration FILE also writes the calibration of the last one (the one that is shipped comes
from results/lab/compatibility).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from resurface.artifacts.disk import atomic_write
from resurface.report.kinds import write_beside
from resurface.workflows.studies import predictor_table
from resurface.workflows.studies.findings import reevaluate


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("directories", nargs="+", type=Path)
    parser.add_argument("--calibration", type=Path)
    args = parser.parse_args()
    command = ["python", *sys.argv]
    for root in args.directories:
        file = root / "demo.json"
        if file.is_file():
            found = json.loads(file.read_text())
            found["matrix"] = reevaluate(found["matrix"], command).as_json()
            atomic_write(file, json.dumps(found, indent=1) + "\n")
            write_beside(file)
            continue
        judged = reevaluate(json.loads((root / "matrix.json").read_text()), command)
        atomic_write(root / "matrix.json", json.dumps(judged.as_json(), indent=1) + "\n")
        write_beside(root / "matrix.json")
    if args.calibration:
        atomic_write(
            args.calibration, json.dumps(predictor_table.calibration(judged).as_json(), indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
