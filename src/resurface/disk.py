"""Writing to a disk that may be full, read-only, or cut off in the middle."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from resurface.errors import UserError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes the name `path` at the end, on disk; a failure leaves the old one, or none.

    The name that it has until then is nobody else's, and no link is followed: whatever lies at `path` in a
    directory that others can write to is replaced, never written through.
    """
    part = path.with_name(f".{os.urandom(8).hex()}.tmp")
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        with open(fd, "wb") as f:
            yield f
            f.flush()
            os.fsync(f.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def atomic_write(path: Path, data: bytes | str) -> None:
    """Write a small file so that a crash leaves the old one or the new one, never half of it."""
    with replacing(path) as f:
        f.write(data.encode() if isinstance(data, str) else data)


def open_lock(path: Path) -> BinaryIO:
    """A file to lock, made if need be; its content is left alone.

    Raises:
        UserError: it is a link, or no file: what it leads to is not ours.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
    except OSError as e:
        if e.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise
        raise UserError(f"{path} is not a lock file but a link or the like", remedy=f"remove {path}") from e
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise UserError(f"{path} is not a lock file but a device or the like", remedy=f"remove {path}")
    return open(fd, "rb+")


def own_directory(path: Path) -> None:
    """Make a directory with its parents unless it is there; what is written and removed below it is ours.

    Raises:
        UserError: it is a link to another place.
    """
    if path.is_symlink():
        raise UserError(f"{path} is a link; nothing is written through it", remedy=f"remove {path}")
    path.mkdir(parents=True, exist_ok=True)


def fsync_dir(path: Path) -> None:
    """Make the names in a directory durable: a rename is, once its parent is synced."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


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
