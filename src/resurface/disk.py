"""Writing to a disk that may be full, read-only, or cut off in the middle."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from resurface.errors import UserError


def atomic_write(path: Path, data: bytes | str) -> None:
    """Write a small file so that a crash leaves the old one or the new one, never half of it."""
    part = path.with_name(path.name + ".tmp")
    with part.open("wb") as f:
        f.write(data.encode() if isinstance(data, str) else data)
        f.flush()
        os.fsync(f.fileno())
    part.replace(path)


def fsync_dir(path: Path) -> None:
    """Make the names in a directory durable: a rename is, once its parent is synced."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def fsync_file(path: Path) -> None:
    """Make a file's bytes durable, whoever wrote them."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def fsync_tree(root: Path) -> None:
    """Make every file below `root` and every name in its folders durable; `root`'s own name is its parent's.

    A file system may keep a rename and lose the bytes of what was renamed: call this before the rename,
    or before the marker that says that `root` is whole.
    """
    for folder, _, files in os.walk(root, topdown=False):
        for name in files:
            fsync_file(Path(folder, name))
        fsync_dir(Path(folder))


def durable_rename(source: Path, target: Path) -> None:
    """Rename a file or folder so that after a power loss the new name, if there, has all of its bytes."""
    fsync_tree(source) if source.is_dir() else fsync_file(source)
    source.rename(target)
    fsync_dir(target.parent)


@contextlib.contextmanager
def disk_errors(where: Path) -> Iterator[None]:
    """Turn a full or read-only disk into an error that names the place and the remedy."""
    try:
        yield
    except OSError as e:
        if e.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"no space left on the disk that holds {where}",
                remedy="free some space and run the same command again: it resumes",
            ) from e
        if e.errno in (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR):
            raise UserError(
                f"cannot write to {where}: {os.strerror(e.errno)}", remedy="choose another --out"
            ) from e
        raise


def require_space(path: Path, need_bytes: int) -> None:
    """Raise UserError if the disk of `path` (or its nearest existing parent) has less free."""
    while not path.exists():
        path = path.parent
    free = shutil.disk_usage(path).free
    if free < need_bytes:
        raise UserError(
            f"{path} has {_size(free)} free; this needs about {_size(need_bytes)}",
            remedy="free some space or choose another --out",
        )


def _size(n: int) -> str:
    return f"{n / 1e9:.2f} GB" if n >= 1e9 else f"{n / 1e6:.1f} MB"
