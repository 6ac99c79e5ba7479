"""What a GPU gives: limits, engine contract, sampling, scoring and training at real sizes, and the lab four
times as large with its headline repeated (ten times as large it takes longer than this). One call, under ten
minutes.

    python scripts/gpu_check.py --out results/benchmarks/gpu.json

The lab is built in a process of its own meanwhile (its first minutes need no GPU); what was timed beside it
says so (`beside`). Each part is written as soon as it is known, so that nothing is lost where time runs out.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import engine_contract
import hot_paths
import shapes
import torch

from resurface import progress
from resurface.artifacts import provenance
from resurface.artifacts.disk import atomic_write

_BUILD_LOG = "lab-build.log"


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much is timed: shape, rows (or blocks) and tokens of each."""

    sample: tuple[tuple[str, int, int], ...]
    score: tuple[tuple[str, int, int], ...]
    train: tuple[tuple[str, int, int], ...]
    layers: int | None = None
    """Layers of each model; None for all."""
    scale: int = 4
    """Of the lab."""


FULL = Sizes(
    sample=(
        ("smollm2-135m", 64, 128), ("smollm2-135m", 1024, 128),
        ("qwen2.5-0.5b", 64, 128), ("qwen2.5-0.5b", 512, 128), ("llama-3.2-1b", 256, 128),
    ),
    score=(("qwen2.5-0.5b", 256, 100), ("gemma-3-270m", 64, 100)),
    train=(("smollm2-135m", 32, 1024), ("qwen2.5-0.5b", 16, 1024), ("llama-3.2-1b", 8, 2048)),
)  # fmt: skip
QUICK = Sizes(
    sample=(("smollm2-135m", 4, 8),),
    score=(("gemma-3-270m", 2, 16),),
    train=(("smollm2-135m", 2, 64),),
    layers=2,
    scale=1,
)


def main() -> int:
    args = arguments()
    progress.set_quiet(True)
    sizes = QUICK if args.quick else FULL
    check = Check(args, time.monotonic() + 60 * args.minutes)
    with tempfile.TemporaryDirectory() as work:
        lab = None if args.no_lab else Lab(Path(work), sizes.scale, args.device)
        try:
            check.part("limits", lambda: dataclasses.asdict(check.measured()))
            check.part("timings", lambda: check.timed(sizes, lab))
            check.part("contract", lambda: engine_contract.all_of(args.device))
            if lab is not None:
                check.part("lab", lambda: lab.result(check.deadline))
        finally:
            if lab is not None:
                lab.stop()
    return 1 if check.failed else 0


class Check:
    """What is known so far, and the file that holds it."""

    def __init__(self, args: argparse.Namespace, deadline: float) -> None:
        self.args, self.deadline, self.failed = args, deadline, False
        self.found: dict[str, Any] = {
            "command": ["python", "scripts/gpu_check.py", *sys.argv[1:]],
            "device": args.device,
            "provenance": provenance.collect().without_command().as_json(),
        }
        self._limits: hot_paths.Limits | None = None

    def part(self, name: str, make: Callable[[], Any]) -> None:
        """Keep one part; a fault in it is kept in its place, and the others go on."""
        began = time.monotonic()
        try:
            self.found[name] = make()
        except Exception as e:
            traceback.print_exc()
            self.found[name], self.failed = {"failed": f"{type(e).__name__}: {e}"}, True
        self.found.setdefault("seconds", {})[name] = round(time.monotonic() - began, 1)
        self.write()

    def write(self) -> None:
        atomic_write(Path(self.args.out), json.dumps(self.found, indent=1) + "\n")

    def measured(self) -> hot_paths.Limits:
        """The limits of the device, measured at first."""
        if self._limits is None:
            self._limits = hot_paths.limits(self.args.device)
            print(self._limits, flush=True)
        return self._limits

    def timed(self, sizes: Sizes, lab: Lab | None) -> list[dict[str, Any]]:
        """Every path; a fault in one leaves the others."""
        rows: list[dict[str, Any]] = []
        for name, run in self._paths(sizes):
            beside = lab is not None and lab.on_device()
            try:
                row = run()
            except Exception as e:
                traceback.print_exc()
                self.failed = True
                rows.append({"path": name, "failed": f"{type(e).__name__}: {e}"})
                continue
            print(row.line(), flush=True)
            said = {"ratio": row.ratio, "share_of_limit": row.share, "beside": beside or _busy(lab)}
            rows.append(dataclasses.asdict(row) | said)
        return rows

    def _paths(self, sizes: Sizes) -> Iterator[tuple[str, Callable[[], hot_paths.Timing]]]:
        of, device = self.measured(), self.args.device
        bf16 = torch.device(device).type == "cuda"
        dtype = torch.bfloat16 if bf16 else torch.float32

        def model(name: str, kind: torch.dtype) -> Any:
            return shapes.make(name, kind, device, layers=sizes.layers)

        for name, blocks, n in sizes.train:
            yield (
                "train",
                lambda name=name, blocks=blocks, n=n: hot_paths.training(  # type: ignore[misc]
                    model(name, torch.float32).train(), name, blocks, n, of, bf16=bf16
                ),
            )
        for name, rows, n in sizes.sample:
            yield (
                "sample",
                lambda name=name, rows=rows, n=n: hot_paths.sampling(model(name, dtype), name, rows, n, of),  # type: ignore[misc]
            )
        for name, rows, n in sizes.score:
            yield (
                "score",
                lambda name=name, rows=rows, n=n: hot_paths.scoring(model(name, dtype), name, rows, n, of),  # type: ignore[misc]
            )


class Lab:
    """`lab build a-medium --scale N` and the recipe of that scale, in processes of their own."""

    def __init__(self, work: Path, scale: int, device: str) -> None:
        self.work, self.scale, self.device = work, scale, device
        self._log = work / _BUILD_LOG
        self._build = self._start(
            "lab", "build", "a-medium", "--scale", str(scale), "--device", device, "--out", str(work / "lab")
        )

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        given = [sys.executable, "-m", "resurface", *command]
        with self._log.open("ab") as log:
            return subprocess.Popen(given, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def on_device(self) -> bool:
        """Whether the pretraining has begun, and is not over."""
        return self._build.poll() is None and b"pretrain" in self._log.read_bytes()

    def stop(self) -> None:
        """End what still runs."""
        if self._build.poll() is None:
            self._build.send_signal(signal.SIGINT)
            self._build.wait()

    def result(self, deadline: float) -> dict[str, Any]:
        """The summary of the self-training of the lab's model.

        Raises:
            RuntimeError: a command that failed, or no time left.
        """
        began = time.monotonic()
        self._finish(deadline)
        built = time.monotonic() - began
        (model,) = (self.work / "lab" / "lab").glob("a-medium*-????????")
        self._build = self._start("run", str(model), "--out", str(self.work / "run"), *_recipe(self.scale))
        self._finish(deadline)
        card = json.loads((model / "model" / "card.json").read_text())
        return {
            "waited_for_build_s": round(built, 1),
            "build_s": card["wall_time_s"],
            "build": card["counts"],
            "summary": json.loads((self.work / "run" / "summary.json").read_text()),
        }

    def _finish(self, deadline: float) -> None:
        try:
            code = self._build.wait(max(1.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"no time left; its log ends: {self._end()}") from None
        if code:
            raise RuntimeError(f"exit code {code}: {self._end()}")

    def _end(self) -> str:
        return self._log.read_text(errors="replace")[-1500:]


def _recipe(scale: int) -> list[str]:
    """The lab's recipe at that scale, as the head of the preset lab-x10 says."""
    if scale == 1:
        return ["--recipe", "lab"]
    tasks = ",".join(f"lab:{skill}@scale={scale}" for skill in ("facts", "addition", "agreement", "tracking"))
    return [
        "--recipe", "lab-x10", "--set", f"evaluate.tasks=[{tasks}]", f"audit.benchmarks=[{tasks}]",
        f"extract.texts=[lab:a@scale={scale}]", f"sample.tokens={1_250_000 * scale}",
        f"subset.tokens={1_000_000 * scale}",
    ]  # fmt: skip


def _busy(lab: Lab | None) -> bool:
    return lab is not None and lab.on_device()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", required=True, help="JSON file to write")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=9.0, help="after which the lab is given up")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run at all?")
    parser.add_argument("--no-lab", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    os.environ.setdefault("TQDM_DISABLE", "1")
    sys.exit(main())
