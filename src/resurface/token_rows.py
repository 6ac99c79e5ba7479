"""Known texts that come as token ids: .npy arrays, and list columns of tables. A row is int32 [length]."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from resurface.errors import UserError

COLUMNS = ("token_ids", "tokens")
_LIMIT = 1 << 31


def arrays_of(spec: str) -> list[str]:
    """The files of `ROWS.npy` or `PREFIX.npy+SUFFIX.npy`; empty where `spec` is neither."""
    files = re.split(r"(?<=\.npy)\+", spec)
    return files if files[0].endswith(".npy") else []


def load_arrays(files: list[str]) -> NDArray[np.int32]:
    """The rows [n, a + k] of arrays [n, a] and [n, k], or of one array [n, length].

    Raises:
        UserError: no such file, not an array of integers [n, length], different numbers of rows.
    """
    arrays = [_array(name) for name in files]
    if len({len(a) for a in arrays}) > 1:
        counts = ", ".join(f"{name} has {len(a)}" for name, a in zip(files, arrays, strict=True))
        raise UserError(
            f"different numbers of rows: {counts}",
            remedy="row i of a file has to continue row i of the one before",
        )
    return np.concatenate(arrays, axis=1)


def _array(name: str) -> NDArray[np.int32]:
    path = Path(name).expanduser()
    if not path.is_file():
        raise UserError(f"no file {name!r} of token ids", remedy="give ROWS.npy, or PREFIX.npy+SUFFIX.npy")
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as e:
        raise UserError(
            f"{path} is not an array that can be read ({e})",
            remedy="numpy.save an array of integers; never objects",
        ) from e
    if not isinstance(found, np.ndarray) or found.ndim != 2:
        shape = list(found.shape) if isinstance(found, np.ndarray) else "an archive"
        raise UserError(
            f"{path} is {shape}, not [rows, tokens]", remedy="one row per passage, all of one length"
        )
    return _checked(found, str(path))


def from_column(column: pa.ChunkedArray, where: str) -> list[NDArray[np.int32]]:
    """The rows of a list column; `where` names it in errors.

    Raises:
        UserError: not lists of integers, nulls, or integers that are no token ids.
    """
    kind = column.type
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not lists or not pa.types.is_integer(kind.value_type):
        raise UserError(f"{where} is {kind}, not lists of integers", remedy="a row is the ids of one passage")
    rows: list[NDArray[np.int32]] = []
    for chunk in column.chunks:
        ids = chunk.flatten()
        if chunk.null_count or ids.null_count:
            raise UserError(f"{where} has nulls", remedy="drop those rows")
        ends = np.cumsum(pc.list_value_length(chunk).to_numpy(zero_copy_only=False), dtype=np.int64)
        if len(chunk):
            rows += np.split(_checked(ids.to_numpy(zero_copy_only=False), where), ends[:-1])
    return rows


def from_list(values: Any, where: str) -> NDArray[np.int32]:
    """One row out of JSON.

    Raises:
        UserError: not a list of token ids.
    """
    if not isinstance(values, list) or not all(type(v) is int and 0 <= v < _LIMIT for v in values):
        raise UserError(f"{where} is not a list of token ids", remedy="integers, 0 or more")
    return np.asarray(values, np.int32)


def _checked(ids: NDArray[Any], where: str) -> NDArray[np.int32]:
    if ids.dtype.kind not in "iu":
        raise UserError(f"{where} is of {ids.dtype}, not of integers", remedy="it has to hold token ids")
    if ids.size and not 0 <= ids.min() <= ids.max() < _LIMIT:
        raise UserError(
            f"{where} has numbers from {ids.min()} to {ids.max()}, which are no token ids",
            remedy="leave out what pads the rows; a row of a table may have any length",
        )
    return np.ascontiguousarray(ids, np.int32)
