"""Known texts that come as token ids: .npy arrays, and list columns of tables. A row is int32 [length]."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from resurface.errors import UserError, quoted, reading
from resurface.reading.plain_data import user_path

COLUMNS = ("token_ids", "tokens")
_LIMIT = 1 << 31


def arrays_of(spec: str) -> list[str]:
    """The files of `ROWS.npy` or `PREFIX.npy+SUFFIX.npy`; empty where `spec` is neither."""
    files = re.split(r"(?<=\.npy)\+", spec)
    return files if files[0].endswith(".npy") else []


def load_arrays(files: list[str]) -> NDArray[np.int32]:
    """The rows [n, a + k] of arrays [n, a] and [n, k], or of one array [n, length].

    Raises:
        UserError: no such file, not an array of integers [n, length], numbers that are no token ids,
            different numbers of rows.
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
    path = user_path(name)
    if not path.is_file():
        raise UserError(
            f"no file {quoted(name, 200)} of token ids", remedy="give ROWS.npy, or PREFIX.npy+SUFFIX.npy"
        )
    with reading(f"the array {path}", remedy="numpy.save an array of integers; never objects"):
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(found, np.ndarray) or found.ndim != 2:
        shape = list(found.shape) if isinstance(found, np.ndarray) else "an archive"
        raise UserError(
            f"{path} is {shape}, not [rows, tokens]", remedy="one row per passage, all of one length"
        )
    if len(found) and not found.shape[1]:
        raise UserError(f"{path} has {len(found):,} rows without a token", remedy="remove them")
    with reading(f"the array {path}"):  # whose pages come from the disk only now
        return _checked(found, str(path))


def from_column(column: pa.ChunkedArray, where: str) -> list[NDArray[np.int32]]:
    """The rows of a list column, in whatever chunks and slices it comes; `where` names it in errors.

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
        lengths = pc.list_value_length(chunk).to_numpy(zero_copy_only=False).astype(np.int64)
        if len(chunk):
            ends = np.cumsum(lengths)
            checked = _checked(ids.to_numpy(zero_copy_only=False), where, ends, first=len(rows))
            rows += np.split(checked, ends[:-1])
    return rows


def from_list(values: Any, where: str) -> NDArray[np.int32]:
    """One row out of JSON.

    Raises:
        UserError: not a list of token ids.
    """
    given = values if isinstance(values, list) else [values]
    wrong = [v for v in given if type(v) is not int or not 0 <= v < _LIMIT]
    if wrong or given is not values:
        raise UserError(
            f"{where} is not a list of token ids (it has {quoted(next(iter(wrong), values))})",
            remedy=f"integers from 0 to {_LIMIT - 1}",
        )
    return np.asarray(values, np.int32)


def _checked(
    ids: NDArray[Any], where: str, ends: NDArray[np.int64] | None = None, first: int = 0
) -> NDArray[np.int32]:
    """The same as int32. ids: [rows, tokens], or all rows behind each other, with `ends` where each ends;
    first: the number in the file of the first row."""
    if ids.dtype.kind not in "iu":
        raise UserError(f"{where} is of {ids.dtype}, not of integers", remedy="it has to hold token ids")
    if ids.size and not 0 <= ids.min() <= ids.max() < _LIMIT:
        place = tuple(np.argwhere((ids < 0) | (ids > _LIMIT - 1))[0])
        row = place[0] if ends is None else np.searchsorted(ends, place[0], side="right")
        raise UserError(
            f"{where} has numbers from {ids.min()} to {ids.max()}, which are not token ids (row "
            f"{first + row}: {ids[place]})",
            remedy="leave out what pads the rows; a row of a table may have any length",
        )
    return np.ascontiguousarray(ids, np.int32)
