"""One thread each in several processes against several threads in one, on a quiet and on a busy machine.

    python benchmarks/sharing.py --out results/benchmarks/sharing.json

Work: documents of lab:a-medium are sampled (batch 512), and it is trained on some for one epoch (16 blocks of
256 a step). Each is done by as many processes as there are cores, by one process with as many threads, and by
one process with one thread; alone, and beside one process that never rests. Each in a process of its own,
whose libraries are loaded before the clock starts; what a helper takes to start counts. What does not end
within --limit seconds is null. Of few tokens nothing is shared (`_WORTH` in `engines/shared.py` and
`trainer/processes.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from resurface import hardware, progress
from resurface.artifacts import provenance

MODEL = "lab:a-medium"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tokens", type=int, default=700_000)
    parser.add_argument("--limit", type=float, default=300, help="seconds")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", choices=("sample", "train"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(args.one, args.folder, args.tokens)))
        return
    cores = hardware.machine().cores
    ways = {"processes": (cores, cores), "threads": (1, cores), "one thread": (1, 1)}
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared"
        measured("sample", prepared, args.tokens, 1, 1, None)  # what is trained on
        for load, busy in (("quiet", False), ("busy", True)):
            for work in ("sample", "train"):
                for name, (processes, threads) in ways.items():
                    root = prepared if work == "train" else Path(folder) / f"{load} {name}"
                    seconds = measured(work, root, args.tokens, processes, threads, args.limit, busy)
                    found.setdefault(work, {}).setdefault(load, {})[name] = seconds
                    print(f"{work}, {load}, {name}: {seconds}", file=sys.stderr)
    result = {"model": MODEL, "tokens": args.tokens, "limit_s": args.limit, "seconds": found}
    result["provenance"] = provenance.collect().as_json()
    text = json.dumps(result, indent=1) + "\n"
    print(text)
    if args.out:
        args.out.write_text(text)


def measured(
    work: str, root: Path, tokens: int, processes: int, threads: int, limit: float | None, busy: bool = False
) -> float | None:
    """Seconds of `one` in a new process; None where it does not end in time."""
    given = {"OMP_NUM_THREADS": str(threads), "RESURFACE_PROCESSES": str(processes)}
    command = [sys.executable, __file__, "--one", work, "--folder", str(root), "--tokens", str(tokens)]
    neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
    try:
        done = subprocess.run(
            command, env=os.environ | given, stdout=subprocess.PIPE, check=True, timeout=limit and limit + 20
        )
        return float(json.loads(done.stdout))
    except subprocess.TimeoutExpired:
        return None
    finally:
        if neighbour is not None:
            neighbour.kill()
            neighbour.wait()


def one(work: str, root: Path, tokens: int) -> float:
    """Seconds of the work."""
    import torch  # noqa: F401  its import is not what is timed

    from resurface import workflows

    progress.set_quiet(True)
    if work == "sample":
        began = time.monotonic()
        workflows.sample(
            MODEL, out=root, tokens=tokens, min_tokens=8, max_new_tokens=120, batch_size=512, temperature=1.25
        )
        return time.monotonic() - began
    corpus = next((root / "sample").iterdir())
    audited = workflows.audit(corpus, benchmarks=["lab:facts"], ngram=5, out=root)
    subset = workflows.subset(audited, tokens=int(0.8 * tokens), count=1, out=root)
    with tempfile.TemporaryDirectory() as out:
        began = time.monotonic()
        workflows.train(
            MODEL,
            subset,
            out=out,
            epochs=1,
            batch_size=16,
            micro_batch_size=16,
            cutoff=256,
            learning_rate=1e-3,
        )
        return time.monotonic() - began


if __name__ == "__main__":
    main()
