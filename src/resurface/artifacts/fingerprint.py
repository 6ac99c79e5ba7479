"""Fingerprints: the same content has the same hash on every machine, in every run."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def canonical(value: Any) -> str:
    """Stable JSON of plain values; raises TypeError on anything whose text could vary.

    Sets, objects, NaN and non-string keys have no stable serialization: a fingerprint over them
    would differ between runs or, worse, agree by accident.
    """

    def check(v: Any, where: str) -> None:
        if v is None or isinstance(v, str | bool | int):
            return
        if isinstance(v, float):
            if not math.isfinite(v):
                raise TypeError(f"no stable fingerprint for {v!r} at {where}")
        elif isinstance(v, list | tuple):
            for i, item in enumerate(v):
                check(item, f"{where}[{i}]")
        elif isinstance(v, Mapping):
            for key, item in v.items():
                if not isinstance(key, str):
                    raise TypeError(f"no stable fingerprint for key {key!r} at {where}")
                check(item, f"{where}.{key}")
        else:
            raise TypeError(f"no stable fingerprint for {type(v).__name__} at {where}")

    check(value, "$")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def fingerprint(value: Any) -> str:
    """SHA-256 (hex) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of the bytes of a file."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def strings_sha256(parts: Iterable[str | bytes]) -> str:
    """SHA-256 (hex) over strings (as UTF-8), each with its length: no two lists have the same bytes."""
    h = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        h.update(len(data).to_bytes(8, "little") + data)
    return h.hexdigest()
