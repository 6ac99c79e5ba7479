"""What one teacher-forced pass gives at every position of every window: the table behind every metric.

    windows --one pass--> positions.parquet --metrics.py--> any (temperature, top-k, n, p, prefix, suffix)

Shapes: W windows, P positions kept of each, K highest logits, T temperatures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from resurface.artifacts import Artifact
from resurface.artifacts.parquet import read_parquet
from resurface.engines.base import Scores
from resurface.errors import UserError

FILE = "positions.parquet"
_FLOATS = pa.list_(pa.float32())
SCHEMA = pa.schema(
    [
        ("window_id", pa.string()),
        ("match", pa.list_(pa.bool_())),
        ("rank", pa.list_(pa.int32())),
        ("logit", _FLOATS),
        ("logprob", _FLOATS),
        ("margin", _FLOATS),
        ("mean_logprob", _FLOATS),
        ("std_logprob", _FLOATS),
        ("top", _FLOATS),  # P x K, one position after the other
        ("logsumexp", _FLOATS),  # P x T, likewise
    ]
)


@dataclass(frozen=True)
class Positions:
    """Scores of the true tokens of W windows, each given all true tokens before it.

    first: tokens of a window that stand before position 0 (the shortest prefix that can be asked about).
    match [W, P]: the true token is the argmax. rank [W, P]: tokens that score strictly higher.
    logit, logprob (T = 1, nats), margin (top-1 minus top-2 logit) [W, P]. mean_logprob, std_logprob
    [W, P]: of log p(z), z ~ the model at T = 1. logsumexp [W, P, T]: of logits / temperature, over the full
    vocabulary. top [W, P, K]: highest logits, descending; None where they were not read.
    """

    window_ids: list[str]
    first: int
    temperatures: tuple[float, ...]
    match: NDArray[np.bool_]
    rank: NDArray[np.int32]
    logit: NDArray[np.float32]
    logprob: NDArray[np.float32]
    margin: NDArray[np.float32]
    mean_logprob: NDArray[np.float32]
    std_logprob: NDArray[np.float32]
    logsumexp: NDArray[np.float32]
    top: NDArray[np.float32] | None = None

    def cut(self, prefix: int, suffix: int) -> Positions:
        """The same windows with `prefix` tokens given and the `suffix` tokens behind them asked for.

        Raises:
            UserError: positions that were not kept.
        """
        start, end = prefix - self.first, prefix - self.first + suffix
        if start < 0 or suffix < 1 or end > self.match.shape[1]:
            raise UserError(
                f"positions {self.first} to {self.first + self.match.shape[1]} of each window were kept; "
                f"prefix {prefix} and suffix {suffix} need {prefix} to {prefix + suffix}",
                remedy="extract with keep_from at most the prefix, and windows that are long enough",
            )
        cut = {name: a[:, start:end] for name, a in self._arrays()}
        return Positions(self.window_ids, prefix, self.temperatures, **cut)

    def take(self, rows: NDArray[Any]) -> Positions:
        """Some of the windows: indices, or a mask [W]."""
        ids = np.asarray(self.window_ids, object)[rows].tolist()
        return Positions(ids, self.first, self.temperatures, **{name: a[rows] for name, a in self._arrays()})

    def _arrays(self) -> Iterator[tuple[str, NDArray[Any]]]:
        return ((name, a) for name in _ARRAYS if (a := getattr(self, name)) is not None)


_ARRAYS = ("match", "rank", "logit", "logprob", "margin", "mean_logprob", "std_logprob", "logsumexp", "top")


def to_table(window_ids: Sequence[str], scores: Sequence[Scores], targets: NDArray[np.int32]) -> pa.Table:
    """Rows of SCHEMA from scores of the same P positions of each window; targets [W, P]."""
    columns: dict[str, Any] = {"window_id": list(window_ids)}
    columns["match"] = [s.argmax == t for s, t in zip(scores, targets, strict=True)]
    for name in SCHEMA.names[2:]:
        columns[name] = [np.ascontiguousarray(getattr(s, name)).reshape(-1) for s in scores]
    return pa.table(columns, schema=SCHEMA)


def from_table(table: pa.Table, first: int, temperatures: Sequence[float]) -> Positions:
    """The inverse of `to_table`. table: at least one row, of equally many positions; `top` may be missing."""
    n = len(table)

    def flat(name: str) -> NDArray[Any]:
        return np.asarray(table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False))

    arrays: dict[str, NDArray[Any]] = {name: flat(name).reshape(n, -1) for name in _ARRAYS[:-2]}
    p = arrays["match"].shape[1]
    arrays["logsumexp"] = flat("logsumexp").reshape(n, p, len(temperatures))
    if "top" in table.column_names:
        arrays["top"] = flat("top").reshape(n, p, -1)
    return Positions(table["window_id"].to_pylist(), first, tuple(temperatures), **arrays)


def read(extraction: Artifact, order: Sequence[str] | None = None, *, top: bool = True) -> Positions:
    """The positions of an extract artifact; order: window ids, for the rows in another order.

    top: also the highest logits, which are most of the table and which only a top-k asks for.
    """
    cfg = extraction.config
    table = read_parquet(extraction.file(FILE), [name for name in SCHEMA.names if top or name != "top"])
    if order is not None:
        place = {w: i for i, w in enumerate(table["window_id"].to_pylist())}
        table = table.take(pa.array([place[w] for w in order]))
    first = cfg["keep_from"] if cfg["keep_from"] is not None else cfg["prefix"]
    return from_table(table, int(first), cfg["temperatures"])
