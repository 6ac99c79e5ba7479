"""Stage `relearn`: does a little training on some memorized windows bring the others back?

reads   a model, windows, which of them the base recites    writes   relearn/<name>-<fp8>/curve.parquet

Relearning (arXiv 2406.13356, 2410.08827, 2506.12618): windows that the base recites are split by document
into T, which the attacker has, and V, which nobody has. The model is trained on T for a few steps; what it
recites of V afterwards was hidden, not gone, as far as a model that never saw V does not recite it likewise.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, model_validator

from resurface import artifacts, progress
from resurface.artifacts import Artifact
from resurface.config import Config, Seed
from resurface.errors import UserError
from resurface.fingerprints import fingerprint
from resurface.memorization import metrics, positions
from resurface.models import ModelRef, load_model
from resurface.tables import write_parquet

STAGE_VERSION = 1
FILE = "curve.parquet"
_SHARED_NGRAM = 8  # tokens: a window of V that shares that many with T is counted
_SCHEMA = pa.schema(
    [
        ("step", pa.int32()),
        ("split", pa.string()),
        ("window_id", pa.string()),
        ("doc_id", pa.string()),
        ("exact_match", pa.bool_()),
        ("suffix_nll", pa.float64()),
    ]
)


class RelearnConfig(Config):
    """The attacker's means."""

    steps: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    """Budgets: optimizer steps after which V is asked for. The last is the one that the verdict is about."""
    share: float = Field(default=0.5, gt=0, lt=1)
    """Share of the documents that the attacker has (T)."""
    learning_rate: float = Field(default=2e-5, gt=0)
    """Constant, AdamW without weight decay."""
    batch_size: int = Field(default=16, gt=0)
    """Windows per step."""
    seed: Seed = 0
    """Of the split and of the order of training."""

    @model_validator(mode="after")
    def _rising(self) -> RelearnConfig:
        if not self.steps or list(self.steps) != sorted(set(self.steps)) or self.steps[0] < 1:
            raise ValueError("steps: rising numbers of 1 or more, such as [1, 2, 4, 8]")
        return self


def split(
    windows: pa.Table, memorized: NDArray[np.bool_], floor: NDArray[np.bool_], cfg: RelearnConfig
) -> dict[str, NDArray[np.int64]]:
    """Row numbers of T, V and the floor; windows: WINDOW_SCHEMA, the masks [W] over its rows.

    Documents are drawn, not windows: no document is on both sides.

    Raises:
        UserError: fewer than two documents with a memorized window, or the same tokens in T and V.
    """
    docs = np.asarray(windows["doc_id"].to_pylist(), object)
    known = sorted(set(docs[memorized & ~floor]))
    if len(known) < 2:
        raise UserError(
            f"relearning needs memorized windows of two documents; the base recites windows of {len(known)}",
            remedy="give texts that the base recites, or leave relearning out",
        )
    drawn = np.random.default_rng([cfg.seed, 11]).permutation(len(known))
    mine = {known[i] for i in drawn[: min(max(round(cfg.share * len(known)), 1), len(known) - 1)]}
    in_t = np.asarray([d in mine for d in docs])
    found = {
        "T": np.flatnonzero(memorized & ~floor & in_t),
        "V": np.flatnonzero(memorized & ~floor & ~in_t),
        "floor": np.flatnonzero(floor),
    }
    ids = windows["token_ids"].to_pylist()
    of_t = {tuple(ids[i]): i for i in found["T"].tolist()}
    for i in found["V"].tolist():
        if (twin := of_t.get(tuple(ids[i]))) is not None:
            raise UserError(
                f"windows {windows['window_id'][twin]} (T, {docs[twin]}) and {windows['window_id'][i]} "
                f"(V, {docs[i]}) are the same tokens: training on one would teach the other",
                remedy="drop one of the two documents",
            )
    return found


def relearn(
    ref: ModelRef,
    windows: pa.Table,
    memorized: NDArray[np.bool_],
    floor: NDArray[np.bool_],
    prefix: int,
    cfg: RelearnConfig,
    out: str | Path,
    *,
    start_ids: Sequence[int],
    device: str,
    batch_size: int,
    name: str,
) -> Artifact:
    """Train on T, ask for V: one row per (step, window) of curve.parquet, step 0 being the model as it is.

    windows: WINDOW_SCHEMA, of prefix + suffix tokens; memorized, floor [W]: recited by the base, and never
    seen by it. batch_size: windows per scoring pass. Weights are trained in float32.

    Raises:
        UserError: see `split`; a loss that is no number.
    """
    parts = split(windows, memorized, floor, cfg)
    ids = windows["token_ids"].to_pylist()
    config = cfg.model_dump(mode="json") | {"prefix": prefix, "start_ids": list(start_ids)}
    chosen = {k: [windows["window_id"][i].as_py() for i in rows.tolist()] for k, rows in parts.items()}
    inputs = {"model": ref.as_input(), "windows": {"fingerprint": fingerprint(chosen)}}
    with artifacts.build(out, "relearn", name, version=STAGE_VERSION, config=config, inputs=inputs) as b:
        if b.artifact is not None:
            return b.artifact
        sequences = {k: [[*start_ids, *ids[i]] for i in rows.tolist()] for k, rows in parts.items()}
        tables = []
        model = load_model(ref, "float32", device)
        for step in _train(model, sequences["T"], cfg):
            for part, rows in parts.items():
                if len(rows):
                    chunk = windows.take(pa.array(rows))
                    tables.append(_ask(model, chunk, sequences[part], prefix, batch_size, step, part))
        write_parquet(pa.concat_tables(tables), b.path / FILE)
        counts = {k: len(rows) for k, rows in parts.items()} | {"suffix": len(ids[0]) - prefix}
        return b.finish(counts | {"v_sharing_ngram": _sharing(sequences["T"], sequences["V"])}, keep={FILE})


def _train(model: Any, sequences: list[list[int]], cfg: RelearnConfig) -> Any:
    """Yields 0, then each budget once the model has been trained for so many steps."""
    import torch

    torch.manual_seed(cfg.seed)
    rng = np.random.default_rng([cfg.seed, 12])
    optimizer = torch.optim.AdamW(model.parameters(), lr=cfg.learning_rate, weight_decay=0.0)
    order: list[int] = []
    yield 0
    with progress.task("relearn", cfg.steps[-1], "steps") as bar:
        for step in range(1, cfg.steps[-1] + 1):
            while len(order) < cfg.batch_size:
                order += rng.permutation(len(sequences)).tolist()
            batch, order = order[: cfg.batch_size], order[cfg.batch_size :]
            ids = torch.tensor([sequences[i] for i in batch], device=model.device)
            model.train()
            loss = model(ids, labels=ids).loss
            if not torch.isfinite(loss):
                raise UserError(
                    f"relearning diverged at step {step}", remedy="lower the attacker's learning_rate"
                )
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            bar.advance()
            if step in cfg.steps:
                model.eval()
                yield step


def _ask(
    model: Any, windows: pa.Table, sequences: list[list[int]], prefix: int, batch: int, step: int, part: str
) -> pa.Table:
    from resurface.engines.hf import HFEngine

    targets = np.asarray(windows["token_ids"].to_pylist(), np.int32)[:, prefix:]
    scores = HFEngine(model, batch).score(sequences, last=targets.shape[1])
    names = windows["window_id"].to_pylist()
    found = positions.from_table(positions.to_table(names, scores, targets), prefix, (1.0,))
    rows = {
        "step": [step] * len(names),
        "split": [part] * len(names),
        "window_id": names,
        "doc_id": windows["doc_id"].to_pylist(),
        "exact_match": metrics.exact_match(found.match),
        "suffix_nll": metrics.suffix_nll(found),
    }
    return pa.table(rows, schema=_SCHEMA)


def _sharing(t: list[list[int]], v: list[list[int]]) -> int:
    """Windows of V with a run of _SHARED_NGRAM tokens that some window of T has too."""

    def grams(ids: list[int]) -> set[tuple[int, ...]]:
        # start tokens are shared by all, and only the first grams have them
        return {tuple(ids[i : i + _SHARED_NGRAM]) for i in range(1, len(ids) - _SHARED_NGRAM + 1)}

    known = set().union(*(grams(x) for x in t))
    return sum(not grams(x).isdisjoint(known) for x in v)
