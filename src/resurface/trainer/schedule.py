"""The learning rate of each optimizer step: a linear warm-up, then a cosine towards zero.

With S steps, of which the first W = min(ceil(warmup S), S - 1) warm up, step k = 0 ... S - 1 is taken at
the peak rate times

    (k + 1) / (W + 1)                            while k < W
    (1 + cos(pi (k - W) / (S - W))) / 2          from then on

so no step has rate 0, and step W has the peak rate: a training of one step is taken at the peak. Where
transformers' cosine schedule has k / W, its first step has rate 0, and a training of one step does nothing.
"""

from __future__ import annotations

import math


def warmup_steps(steps: int, warmup: float) -> int:
    """How many of `steps` optimizer steps have a rising rate; at least one step is left for the peak."""
    return min(math.ceil(warmup * steps), steps - 1)


def factor(step: int, steps: int, warmup: float) -> float:
    """Share of the peak rate, in (0, 1], at which step `step` (from 0) of `steps` is taken.

    warmup: share of the steps with a rising rate, in [0, 1).
    """
    rising = warmup_steps(steps, warmup)
    if step < rising:
        return (step + 1) / (rising + 1)
    return (1 + math.cos(math.pi * (step - rising) / (steps - rising))) / 2
