"""From the logits of one pass to `Scores`: positions of several sequences, a slab at a time.

Shapes: N positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from resurface.engines.base import Scores


def slab(device: torch.device) -> int:
    """Logits to work on at once. On a CPU the dozen passes over a vocabulary are far cheaper where these stay
    in the cache of a core; elsewhere few large calls are cheap, in bounded room."""
    return 2**18 if device.type == "cpu" else 2**26


def spans(starts: Sequence[int], wanted: Sequence[int], size: int) -> Iterator[list[tuple[int, int, int]]]:
    """Spans (row, from, to) of positions, row after row, in groups of at most `size` positions (at least 1).

    starts: the first position of each row; wanted: how many of it."""
    size, free, group = max(1, size), max(1, size), []
    for row, (start, n) in enumerate(zip(starts, wanted, strict=True)):
        at = start
        while at < start + n:
            end = min(start + n, at + free)
            group.append((row, at, end))
            free, at = free - (end - at), end
            if not free:
                yield group
                free, group = size, []
    if group:
        yield group


def joined(parts: list[torch.Tensor]) -> torch.Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def score_positions(
    logits: torch.Tensor, targets: torch.Tensor, top: int, temperatures: Sequence[float]
) -> dict[str, torch.Tensor]:
    """The fields of `Scores` at N positions. logits [N, V], targets [N]."""
    at_target = logits.gather(1, targets[:, None])
    highest, order = logits.topk(min(max(top, 2), logits.shape[1]), -1)
    argmax = order[:, 0]
    # `greedy` picks the first among equals; passes over a whole vocabulary cost as much as a small model
    if (ties := highest[:, 0] == highest[:, 1]).any():
        argmax[ties] = logits[ties].argmax(-1)
    at_1 = torch.log_softmax(logits, -1)
    logprob = at_1.gather(1, targets[:, None])[:, 0]
    norm = highest[:, 0] - at_1.gather(1, argmax[:, None])[:, 0]  # of the likeliest: a target may be -inf
    p = at_1.exp()
    at_1 = at_1.clamp_(min=-1e4)  # a token that is masked out has p = 0, and 0 x -inf is no number
    mean = (p * at_1).sum(-1)
    variance = at_1.sub_(mean[:, None]).square_().mul_(p).sum(-1)  # a difference of squares would cancel
    at_t = {t: norm if t == 1 else (logits / t).logsumexp(-1) for t in temperatures}
    above = (logits > at_target).to(logits.dtype) @ logits.new_ones(logits.shape[1])
    return {
        "logprob": logprob,
        "argmax": argmax.int(),
        "margin": highest[:, 0] - highest[:, 1],
        "rank": above.int(),
        "logit": at_target[:, 0],
        "mean_logprob": mean,
        "std_logprob": variance.sqrt(),
        "top": highest,
        "top_ids": order.int(),
        "logsumexp": torch.stack(list(at_t.values()), 1) if at_t else logits.new_zeros(len(logits), 0),
    }


def by_sequence(pieces: Sequence[dict[str, torch.Tensor]], lengths: Sequence[int]) -> list[Scores]:
    """One `Scores` a sequence, from slabs whose positions follow each other; lengths: positions of each."""
    cuts = np.cumsum(lengths)[:-1]
    whole = {name: joined([x[name] for x in pieces]).cpu().numpy() for name in pieces[0]}
    split = {name: np.split(x, cuts) for name, x in whole.items()}
    return [Scores(**{name: parts[i] for name, parts in split.items()}) for i in range(len(lengths))]
