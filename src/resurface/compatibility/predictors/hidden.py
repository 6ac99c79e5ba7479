"""Predictors from hidden states: does the source represent the text alike, is it like the student's own?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from resurface.compatibility.predictors.base import Estimate, Pair, Predictor, Reader
from resurface.stats.reasons import Reason, Unmeasured

FEW = 40  # documents: less say nothing of a distribution
BLOCKS = 10  # of documents that a jackknife leaves out
DRAWS = 200  # of the bootstrap of MAUVE's histograms
SCALE = 5.0  # c of MAUVE: exp(-c KL)


def states(reader: Reader, ids: Sequence[Sequence[int]], *, last: bool) -> NDArray[np.float64]:
    """Of each sequence the last layer's state: at its last id, or the mean over it; [sequences, d]."""
    import torch

    found = np.zeros((len(ids), reader.model.config.hidden_size))
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    size = reader.engine.batch_size
    with torch.inference_mode():
        for j in range(0, len(order), size):
            picks = order[j : j + size]
            lengths = torch.tensor([len(ids[i]) for i in picks])
            batch = torch.zeros(len(picks), int(lengths.max()), dtype=torch.long)
            for row, i in enumerate(picks):
                batch[row, : len(ids[i])] = torch.tensor(list(ids[i]))
            out = reader.model(batch.to(reader.engine.device), use_cache=False, output_hidden_states=True)
            hidden = out.hidden_states[-1].double().cpu()
            if last:
                found[picks] = hidden[torch.arange(len(picks)), lengths - 1].numpy()
            else:
                mask = (torch.arange(batch.shape[1]) < lengths[:, None])[:, :, None]
                found[picks] = ((hidden * mask).sum(1) / lengths[:, None]).numpy()
    return found


def cka(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Linear CKA of [documents, d] and [documents, d'], by the unbiased HSIC (Song et al. 2012; Nguyen
    et al., 2010.15327): 0 in expectation for independent states, however many dimensions they have."""

    def hsic(k: NDArray[np.float64], m: NDArray[np.float64]) -> float:
        n = len(k)
        ones = k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 * (k.sum(0) @ m.sum(0)) / (n - 2)
        return float(((k * m).sum() + ones) / (n * (n - 3)))

    def gram(x: NDArray[np.float64]) -> NDArray[np.float64]:
        x = x - x.mean(0)
        k = x @ x.T
        np.fill_diagonal(k, 0.0)
        return k

    k, m = gram(a), gram(b)
    scale = hsic(k, k) * hsic(m, m)
    return hsic(k, m) / scale**0.5 if scale > 0 else float("nan")


def hidden_cka(pair: Pair) -> Estimate:
    """CKA of the mean last states that source and student have of the documents."""
    assert pair.source is not None
    if len(pair.documents) < FEW:
        raise Unmeasured(Reason.FEW_DOCUMENTS.about(str(FEW)))
    mine = states(pair.student, pair.ids, last=False)
    ids = pair.source.encode(pair.documents, pair.ended)
    theirs = states(pair.source, ids, last=False)
    value = cka(mine, theirs)
    if not np.isfinite(value):
        raise Unmeasured(Reason.EQUAL_STATES)
    part = np.arange(len(mine)) % BLOCKS
    left = np.array([cka(mine[part != b], theirs[part != b]) for b in range(BLOCKS)])
    error = float(np.sqrt((BLOCKS - 1) / BLOCKS * ((left - left.mean()) ** 2).sum()))
    return Estimate(value, error, 1.0, 1.0)


def frontier(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """MAUVE of two histograms: the area under (exp(-c KL(q|r)), exp(-c KL(p|r))), r = l p + (1-l) q
    (Pillutla et al., 2102.01454); 1 for equal ones."""
    from scipy.integrate import trapezoid

    shares = np.linspace(0, 1, 27)[1:-1, None]
    mix = shares * p + (1 - shares) * q

    def divergence(x: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(x > 0, x * np.log(x / mix), 0.0).sum(1)

    xs = np.concatenate([[1.0], np.exp(-SCALE * divergence(q)), [0.0]])
    ys = np.concatenate([[0.0], np.exp(-SCALE * divergence(p)), [1.0]])
    return float(-trapezoid(ys, xs))


def mauve(pair: Pair) -> Estimate:
    """MAUVE of the documents and the student's own, in the student's last states."""
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    n = min(len(pair.documents), len(pair.own))
    if n < FEW:
        raise Unmeasured(Reason.FEW_OWN_DOCUMENTS.about(str(FEW)))
    own_ids = pair.student.encode(pair.own[:n])
    own = pair.student.once(("states", tuple(pair.own[:n])), lambda: states(pair.student, own_ids, last=True))
    # the end id would make all last states alike
    ids = pair.student.encode(pair.documents[:n])
    both = np.concatenate([states(pair.student, ids, last=True), own])
    both /= np.maximum(np.linalg.norm(both, axis=1, keepdims=True), 1e-12)
    both = PCA(0.9, random_state=pair.seed, svd_solver="full").fit_transform(both)
    k = max(2, n // 10)
    found = KMeans(k, n_init=5, random_state=pair.seed).fit_predict(both)
    p, q = (np.bincount(x, minlength=k) / n for x in (found[:n], found[n:]))
    rng = np.random.default_rng(pair.seed)
    drawn = [frontier(rng.multinomial(n, p) / n, rng.multinomial(n, q) / n) for _ in range(DRAWS)]
    read = (sum(map(len, ids)) + sum(map(len, own_ids))) / pair.tokens
    return Estimate(frontier(p, q), float(np.std(drawn, ddof=1)), read)


PREDICTORS = [
    Predictor("cka", "likeness of source's and student's states (CKA)", +1, hidden_cka, ("source",)),
    Predictor(
        "mauve", "likeness of the text and the student's own (arXiv 2102.01454)", +1, mauve, ("own text",)
    ),
]
