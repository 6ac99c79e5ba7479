"""Whether a training on a CPU is done by several processes of one thread each.

Threads of one process meet after every operation: beside another busy program one of them is always late, and
a small model's training falls to a tenth. Processes meet once per step. Two of them give the bytes of one
process with one thread, where a step is two forward passes (`micro_batch`): each does one of them, and the
gradients are added. More round in another order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from resurface import hardware
from resurface.executors.pool import SMALL, one_thread
from resurface.trainer.disk_need import stored_shapes
from resurface.trainer.memory import logit_bytes

if TYPE_CHECKING:
    from resurface.trainer.config import TrainConfig

_WORTH = 3e12
"""Floating-point operations below which starting processes takes longer than they save: half a minute of a
core."""
_PER_WEIGHT = 20
"""Bytes: weight, gradient, two moments, and a copy where they are gathered."""


def micro_batch(cfg: TrainConfig, world: int, kind: str) -> int:
    """Blocks per forward pass. On a CPU at most half of a step, in one process as in two: so both add the
    gradients of the same halves. kind: of device."""
    halves = 2 if kind == "cpu" and cfg.batch_size % 2 == 0 else 1
    return min(cfg.micro_batch_size, max(cfg.batch_size // max(world, halves), 1))


def processes(base: Path, tokens: int, cfg: TrainConfig) -> int:
    """How many processes train: 1 where there is one core, little to do, or no memory for more.

    base: the model's directory; nothing but the headers of its weights is read. tokens: of the subset.

    Raises:
        UserError: a value of RESURFACE_PROCESSES that is no number of processes.
    """
    most = min(hardware.processes(), cfg.batch_size)
    world = max(2**k for k in range(most.bit_length()) if 2**k <= most and cfg.batch_size % 2**k == 0)
    shapes = [shape for shape, _ in stored_shapes(base)]
    weights = _count(shapes)
    if 6 * weights * tokens * cfg.epochs < _WORTH:
        return 1
    vocabulary = max(
        (shape[0] for shape in shapes if len(shape) == 2), default=0
    )  # what is widest is the head
    free = hardware.free_memory()
    while world > 1 and free is not None:
        micro = min(cfg.micro_batch_size, cfg.batch_size // world)
        logits = logit_bytes(micro * cfg.cutoff, vocabulary, "cpu")
        if world * (_PER_WEIGHT * weights + logits) <= free / 2:
            break
        world //= 2
    return world


def threads(base: Path, world: int, kind: str) -> AbstractContextManager[None]:
    """Within it torch has as many threads as a training takes: on a CPU a small model has one, on a quiet
    machine too, so that their number decides no bit of it. base: as in `processes`. kind: of device."""
    alone = world == 1 and kind == "cpu"
    return one_thread() if alone and _count(s for s, _ in stored_shapes(base)) < SMALL else nullcontext()


def _count(shapes: Iterable[tuple[int, ...]]) -> int:
    return sum(math.prod(shape) for shape in shapes)
