"""Predictors from the student's gradients on the documents (and on development items)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resurface.compatibility.predictors.base import BACKWARD, Estimate, Pair, Predictor, Reader
from resurface.compatibility.predictors.items import continuations
from resurface.stats.reasons import Reason, Unmeasured

LENGTH = 32  # tokens of each document that GRACE sees: gradients of longer ones are smaller
DIMENSIONS = 512
SPLITS, TEST = 10, 0.1
NU = 1e-3
BATCHES = 8  # of documents, for the standard error of an alignment


def parameters(reader: Reader) -> list[Any]:
    return [p for p in reader.model.parameters() if p.is_floating_point()]


def gradient(reader: Reader, ids: Sequence[Sequence[int]], first: Sequence[int] | None = None) -> list[Any]:
    """Of the mean NLL per token over sequences; first: where each sequence's targets begin (default 1)."""
    import torch

    lengths = [len(x) for x in ids]
    batch = torch.zeros(len(ids), max(lengths), dtype=torch.long)
    labels = torch.full_like(batch, -100)
    for row, x in enumerate(ids):
        begin = 1 if first is None else first[row]
        batch[row, : len(x)] = torch.tensor(list(x))
        labels[row, begin : len(x)] = batch[row, begin : len(x)]
    where = parameters(reader)
    batch, labels = batch.to(reader.engine.device), labels.to(reader.engine.device)
    loss = reader.model(batch, labels=labels, use_cache=False).loss
    return list(torch.autograd.grad(loss, where, allow_unused=True, materialize_grads=True))


def projection(reader: Reader, seed: int) -> Callable[[list[Any]], NDArray[np.float64]]:
    """A count sketch of gradients [DIMENSIONS]: random signs, positions folded; keeps inner products in
    expectation (Weinberger et al., 0902.2206), and its matrix need not be held."""
    import torch

    def signs() -> list[Any]:
        rng = torch.Generator().manual_seed(seed)
        draws = [
            torch.randint(0, 2, (p.numel(),), generator=rng, dtype=torch.int8) for p in parameters(reader)
        ]
        return [(2 * x - 1).to(reader.engine.device) for x in draws]

    kept = reader.once(("signs", seed), signs)

    def project(gradients: list[Any]) -> NDArray[np.float64]:
        total = np.zeros(DIMENSIONS)
        for g, s in zip(gradients, kept, strict=True):
            flat = g.reshape(-1).float() * s
            flat = torch.nn.functional.pad(flat, (0, -len(flat) % DIMENSIONS))
            total += flat.view(-1, DIMENSIONS).sum(0).double().cpu().numpy()
        return total

    return project


def stability(gradients: NDArray[np.float64], seed: int) -> tuple[float, float]:
    """GRACE (2511.02833): mean over 90/10 splits of tr(S^-1 S_test), and its standard error.

    gradients: [documents, d]. S = (1 - nu) S_train + nu tr(S_train)/d I, S_train of rows of length 1.
    """
    n, d = gradients.shape
    rng = np.random.default_rng(seed)
    unit = gradients / np.maximum(np.linalg.norm(gradients, axis=1, keepdims=True), 1e-12)
    found = []
    for _ in range(SPLITS):
        order = rng.permutation(n)
        test, train = order[: max(1, round(TEST * n))], order[max(1, round(TEST * n)) :]
        moment = unit[train].T @ unit[train] / len(train)
        moment = (1 - NU) * moment + NU * np.trace(moment) / d * np.eye(d)
        held = gradients[test]
        found.append(float((held * np.linalg.solve(moment, held.T).T).sum() / len(test)))
    # splits overlap: their spread by the root of their number would be too small an error
    return float(np.mean(found)), float(np.std(found, ddof=1))


def grace(pair: Pair) -> Estimate:
    """Of documents cut to one length; those that are shorter are left out."""
    ids = [x[: LENGTH + 1] for x in pair.ids if len(x) > LENGTH]
    if len(ids) < 2 / TEST:
        raise Unmeasured(Reason.FEW_LONG_DOCUMENTS.about(f"{2 / TEST:.0f}", str(LENGTH)))
    project = projection(pair.student, pair.seed)
    rows = np.stack([project(gradient(pair.student, [x])) for x in ids])
    value, error = stability(rows, pair.seed)
    return Estimate(value, error, BACKWARD * sum(map(len, ids)) / pair.tokens)


def alignment(pair: Pair) -> Estimate:
    """<g_corpus, P^-1 g_benchmark>: what a first step of Adam on the corpus takes off the loss of the gold
    answers. P is the root of the mean square of batch gradients of the corpus (TracIn 2002.08484, LESS
    2402.04333). Every task weighs the same."""
    import torch

    student = pair.student
    tasks = continuations(student, pair.benchmark)

    def benchmark() -> list[Any]:
        each = [gradient(student, ids, first) for ids, first in tasks.values()]
        return [sum(parts) / len(each) for parts in zip(*each, strict=True)]

    goal = student.once(("benchmark gradient", tuple(pair.benchmark)), benchmark)
    cuts = np.array_split(np.arange(len(pair.ids)), min(BATCHES, len(pair.ids)))
    if len(cuts) < 2:
        raise Unmeasured(Reason.FEW_DOCUMENTS.about("2"))
    batches = [gradient(student, [pair.ids[i] for i in cut]) for cut in cuts]
    worth = np.zeros(len(batches))
    for parts, g in zip(zip(*batches, strict=True), goal, strict=True):
        stacked = torch.stack([p.reshape(-1).float() for p in parts])
        scaled = g.reshape(-1).float() / (stacked.square().mean(0).sqrt() + 1e-8)
        worth += (stacked @ scaled).double().cpu().numpy()
    passes = BACKWARD * (1 + sum(len(x) for ids, _ in tasks.values() for x in ids) / pair.tokens)
    return Estimate(float(worth.mean()), float(worth.std(ddof=1) / len(worth) ** 0.5), passes)


PREDICTORS = [
    Predictor("grace", "instability of the gradients over documents (arXiv 2511.02833)", -1, grace),
    Predictor(
        "gradient_alignment",
        "gradient on the text along that on development items, as Adam steps (arXiv 2002.08484, 2402.04333)",
        +1,
        alignment,
        ("benchmark",),
    ),
]
