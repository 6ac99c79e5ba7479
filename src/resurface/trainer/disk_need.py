"""How much room a training takes on its disk at most: resume points, and the models that are kept.

Per trained weight a resume point holds 4 bytes of weight and 8 of AdamW's two moments, and one point more
than is kept is there while it is written. Under FSDP or DeepSpeed a point also holds the gathered weights.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from resurface.trainer.resume_points import KEPT

if TYPE_CHECKING:
    from resurface.trainer.config import TrainConfig

MORE_ROOM = (
    "free some space, choose another --out, keep fewer models (train.checkpoint_every), "
    "or their precision (train.save_dtype=source)"
)
_POINT, _GATHERED = 12, 4  # bytes per trained weight
_PER_TENSOR = 1024  # bytes: what the files of a point say of each tensor, three times
_PER_STEP = 512  # bytes of a point's log
_SMALL = 64 << 10  # bytes: random states, arguments, configurations


def disk_need(base: Path, cfg: TrainConfig, steps: int) -> int:
    """Bytes that the build's directory takes at its peak, when the last resume point is written.

    base: model directory; nothing but the headers of its weights is read. steps: optimizer steps in all.
    With save_dtype auto every model is taken to be stored as float32.
    """
    shapes: list[tuple[tuple[int, ...], int]] = list(stored_shapes(base))
    weights = sum(_numbers(shape) for shape, _ in shapes)
    point = _trained(shapes, cfg) * (_POINT + (_GATHERED if sharded() else 0))
    point += _PER_TENSOR * len(shapes) * (1 if cfg.method == "full" else 2) + _PER_STEP * steps + _SMALL
    stored = sum(_numbers(shape) * size for shape, size in shapes)
    epoch = stored if cfg.save_dtype == "source" else max(stored, 4 * weights)
    epoch += _SMALL + sum(
        p.stat().st_size for p in base.iterdir() if p.is_file() and p.suffix not in (".safetensors", ".gguf")
    )
    kept = -(-cfg.epochs // cfg.checkpoint_every)
    points = min(-(-steps // cfg.save_steps), KEPT + 1)
    return points * point + kept * epoch


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def _trained(shapes: list[tuple[tuple[int, ...], int]], cfg: TrainConfig) -> int:
    """Numbers that are trained; for LoRA at most, as if every matrix had its adapter."""
    if cfg.method == "full":
        return sum(_numbers(shape) for shape, _ in shapes)
    matrices = [shape for shape, _ in shapes if len(shape) > 1 and _numbers(shape)]
    return sum(cfg.lora_rank * (_numbers(s) // s[-1] + _numbers(s) // s[-2]) for s in matrices)


def _numbers(shape: tuple[int, ...]) -> int:
    return int(math.prod(shape))


def stored_shapes(base: Path) -> Iterator[tuple[tuple[int, ...], int]]:
    """Shape of every stored tensor, and bytes per number in the files."""
    from safetensors import safe_open

    for file in base.glob("*.safetensors"):
        with safe_open(file, "np") as f:
            for name in f.keys():  # noqa: SIM118
                part = f.get_slice(name)
                yield tuple(part.get_shape()), _BYTES.get(part.get_dtype(), 4)


_BYTES = {"F64": 8, "I64": 8, "F32": 4, "BF16": 2, "F16": 2}


def sharded() -> bool:
    """Whether `accelerate launch` has the weights shared out between processes."""
    return any(os.environ.get(f"ACCELERATE_USE_{kind}") == "true" for kind in ("FSDP", "DEEPSPEED"))
