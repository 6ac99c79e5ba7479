"""What the experiments on simulated studies share: options, rates, and the file that they write."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from resurface.artifacts import provenance


def arguments(doc: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--simulations", type=int, default=2000, help="per design and setting")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="JSON file to write")
    return parser.parse_args()


def begin(args: argparse.Namespace) -> dict[str, Any]:
    """What made the results; taken first, for the code that runs is that of now."""
    return {
        "command": " ".join(["python", *sys.argv]),
        "simulations": args.simulations,
        "seed": args.seed,
        "provenance": provenance.collect().as_json(),
    }


def write(found: Mapping[str, Any], out: str | None) -> None:
    text = json.dumps(found, indent=1)
    print(text)
    if out:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        Path(out).write_text(text + "\n")


def rates(hits: Mapping[str, Sequence[bool]]) -> dict[str, dict[str, float]]:
    """Share of hits, with its standard error."""
    found = {}
    for key, values in hits.items():
        rate = float(np.mean(values))
        found[key] = {"rate": rate, "standard_error": (rate * (1 - rate) / len(values)) ** 0.5}
    return found
