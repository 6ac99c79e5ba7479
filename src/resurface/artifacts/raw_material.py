"""Raw material of a result: what every model answered, item by item and window by window, in small files.

    raw.json            axes of every array, in which file it is; commit and command
    raw.npz             NumPy arrays (no pickle); where all do not fit one file, raw-2.npz and so on

Answers that are right or wrong are bits, packed along their last axis: `unpack` is
`np.unpackbits(a, axis=-1, count=n)`, with n the length of that axis' ids, which lie beside it. Scores that
are not 0 or 1, and likelihoods, are float16. A value that a model does not have is NaN; of bits,
`<name>_known` says.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from resurface.artifacts.disk import atomic_write

FILE = "raw.json"
FORMAT = 1
LARGEST_FILE = 1_000_000
"""Bytes of a file of arrays; an array that is larger by itself has a file of its own."""
MOST_VALUES = 8_000_000
"""Bytes of all float16 arrays: likelihoods beyond are left out, by name."""


@dataclass
class Material:
    """What goes into the files. axes: of every array, its dimensions in words; about: what the axes hold."""

    about: dict[str, Any]
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    axes: dict[str, list[str]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def bits(self, name: str, values: ArrayLike, axes: Sequence[str]) -> None:
        """Add True and False, packed along the last axis."""
        self._add(name, np.packbits(np.asarray(values, bool), axis=-1), [*axes[:-1], f"{axes[-1]} (bits)"])

    def ids(self, name: str, values: ArrayLike, axis: str) -> None:
        """Add whole numbers, one per place on an axis, as they are."""
        self._add(name, np.asarray(values), [axis])

    def values(self, name: str, values: ArrayLike, axes: Sequence[str]) -> None:
        """Add numbers as float16, NaN where there is none."""
        numbers = np.asarray(values, float)
        held = sum(a.nbytes for a in self.arrays.values() if a.dtype == np.float16)
        if held + 2 * numbers.size > MOST_VALUES:
            self.left_out[name] = (
                f"{2 * numbers.size:,} bytes as float16, with the others over {MOST_VALUES:,}"
            )
            return
        with np.errstate(over="ignore"):  # minus infinity is what a likelihood of 0 is
            self._add(name, numbers.astype(np.float16), axes)

    def scores(self, name: str, values: ArrayLike, axes: Sequence[str]) -> None:
        """Add scores of items, NaN where a model has none: bits if all are 0 or 1, else float16.

        Bits have `<name>_known` beside them where some are missing.
        """
        numbers = np.asarray(values, float)
        known = ~np.isnan(numbers)
        if not np.isin(numbers[known], (0, 1)).all():
            return self.values(name, numbers, axes)
        self.bits(name, np.where(known, numbers, 0), axes)
        if not known.all():
            self.bits(f"{name}_known", known, axes)

    def _add(self, name: str, array: NDArray[Any], axes: Sequence[str]) -> None:
        assert array.ndim == len(axes) and name not in self.arrays
        self.arrays[name], self.axes[name] = array, list(axes)


def unpack(packed: NDArray[np.uint8], n: int) -> NDArray[np.bool_]:
    """The first n of the last axis' bits: [..., ceil(n / 8)] -> [..., n]."""
    return np.unpackbits(packed, axis=-1, count=n).astype(bool)


def write(material: Material, root: Path) -> None:
    """raw.json and the files of arrays, into `root`; a file of an earlier writing with more of them goes."""
    files: list[dict[str, NDArray[Any]]] = [{}]
    size = 0
    for name, array in material.arrays.items():
        need = len(_npz({name: array}))
        if files[-1] and size + need > LARGEST_FILE:
            files.append({})
            size = 0
        files[-1][name] = array
        size += need
    names = ["raw.npz" if i == 1 else f"raw-{i}.npz" for i in range(1, len(files) + 1)]
    for old in root.glob("raw-*.npz"):
        if old.name not in names:
            old.unlink()
    for name, arrays in zip(names, files, strict=True):
        atomic_write(root / name, _npz(arrays))
    where = {array: name for name, arrays in zip(names, files, strict=True) for array in arrays}
    about = {"format": FORMAT, **material.about, "left_out": material.left_out}
    about["arrays"] = {
        a: {"file": where[a], "axes": axes, "dtype": str(material.arrays[a].dtype)}
        for a, axes in material.axes.items()
    }
    atomic_write(root / FILE, json.dumps(about, indent=1) + "\n")


def read(root: Path) -> tuple[dict[str, Any], Mapping[str, NDArray[Any]]]:
    """raw.json, and all arrays as they are stored (bits packed)."""
    about = json.loads((root / FILE).read_text())
    arrays: dict[str, NDArray[Any]] = {}
    for file in dict.fromkeys(a["file"] for a in about["arrays"].values()):
        with np.load(root / file, allow_pickle=False) as held:
            arrays |= {name: held[name] for name in held.files}
    return about, arrays


def _npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **dict(arrays))
    return buffer.getvalue()
