"""Errors that a user can act on, and the boundary where errors of other libraries become such.

Every message names the thing that is wrong; `remedy` says what to do about it. The command line
prints both and exits with `exit_code`; a traceback is only for bugs.

Whatever is read (a recipe, a manifest, a table) is read within `reading`: parsers fail in as many ways as
there are parsers, and their words are cut short, since they may quote the whole input. What the machine
itself refuses (a disk, a permission, memory) is put into words by `of_the_machine`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import reprlib
from collections.abc import Iterator
from typing import Any

from resurface.trust.redaction import redact

QUOTED = 200
"""Characters of foreign text that a message holds at most."""


class ResurfaceError(Exception):
    """Work that was asked for could not be done."""

    exit_code = 1

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        # a message may quote an address or a library's words, and ends in logs and artifacts
        self.message = redact(message)
        self.remedy = remedy and redact(remedy)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}\n  -> {self.remedy}" if self.remedy else self.message


class UserError(ResurfaceError):
    """The input cannot be used as it is: found before any long work starts."""

    exit_code = 2


class Diverged(ResurfaceError):
    """The loss or logits of a model are not finite: found at work, no fault of the command that was given."""


class CorruptArtifact(UserError):
    """What is on disk is not what its manifest says."""


class Busy(UserError):
    """Another process is already building this artifact."""


# ------------------------------------------------------------------------------ words of others


def shortened(text: object, limit: int = QUOTED) -> str:
    """Foreign text on one line, of at most `limit` characters."""
    line = " ".join(str(text)[: 10 * limit].split())
    return line if len(line) <= limit else line[: limit - 3] + "..."


def quoted(value: Any, limit: int = 80) -> str:
    """A value as Python writes it, without walking through the whole of a large one."""
    try:
        return shortened(_REPR.repr(value), limit)
    except Exception:  # a repr of its own, or an integer of more digits than Python prints
        return f"a {type(value).__name__}"


_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 100
_REPR.maxlevel = 3


def explained(e: BaseException) -> str:
    """What an exception of another library says, in a few words."""
    if isinstance(e, RecursionError):
        return "nested too deeply"
    if isinstance(e, MemoryError):
        return "out of memory"
    if isinstance(e, OSError) and e.strerror:
        return e.strerror
    if isinstance(e, ValueError | OSError) and str(e):  # parsers say what is wrong; their class adds nothing
        return shortened(e)
    return shortened(f"{type(e).__name__}: {e}") if str(e) else type(e).__name__


@contextlib.contextmanager
def reading(what: str, *, remedy: str | None = None, kind: type[UserError] = UserError) -> Iterator[None]:
    """The boundary of a reader: in here any failure is an error of `kind` that names `what`.

    Only for what interprets input, since a bug in here would be blamed on the input. Our own errors and a
    Ctrl-C pass.

    Raises:
        UserError: (or `kind`) `what` cannot be read, and why.
    """
    try:
        yield
    except ResurfaceError:
        raise
    except BaseException as e:
        # a panic of a library in Rust is no Exception
        if not isinstance(e, Exception) and type(e).__name__ != "PanicException":
            raise
        raise kind(f"{what} cannot be read ({explained(e)})", remedy=remedy) from e


# ------------------------------------------------------------------------------ the machine

_REMEDIES = {
    errno.ENOSPC: "free some space and run the same command again: it resumes",
    errno.EDQUOT: "free some space and run the same command again: it resumes",
    errno.EROFS: "choose a place that can be written to",
    errno.EACCES: "see the permissions of that path",
    errno.EPERM: "see the permissions of that path",
    errno.EIO: "the disk or network drive reports errors: see the system's log",
    errno.ENAMETOOLONG: "shorten the name",
    errno.ELOOP: "links lead in a circle there: remove one",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


def of_the_machine(e: BaseException) -> ResurfaceError | None:
    """An exception that the machine is at fault for, in words; None for any other, which is a bug.

    That is every OSError, memory that ran out (torch and its allocators raise RuntimeError), and a user
    without a home directory.
    """
    text = str(e)
    if isinstance(e, MemoryError) or _out_of_memory(e, text):
        # the class alone is said where Python itself ran out
        why = f": {shortened(text)}" if text else ""
        return ResurfaceError(
            f"out of memory{why}", remedy="lower batch sizes or lengths, or take a smaller model"
        )
    if isinstance(e, OSError):
        where = " -> ".join(shortened(n) for n in (e.filename, e.filename2) if n is not None)
        why = explained(e)
        remedy = _REMEDIES.get(e.errno or 0, "see that the path exists and can be used")
        return ResurfaceError(f"{where}: {why}" if where else why, remedy=remedy)
    if isinstance(e, RuntimeError) and "home directory" in text:
        return ResurfaceError(
            f"a path begins with ~, and there is no such home directory ({shortened(text)})",
            remedy="set HOME, or give the whole path (for the cache: RESURFACE_CACHE)",
        )
    return None


def _out_of_memory(e: BaseException, text: str) -> bool:
    if not isinstance(e, RuntimeError):
        return False
    said = ("can't allocate memory", "not enough memory", "out of memory", "std::bad_alloc")
    return type(e).__name__ == "OutOfMemoryError" or any(s in text for s in said)


def has_working_directory() -> bool:
    """Whether the directory that the process runs in is still there."""
    try:
        os.getcwd()
    except OSError:
        return False
    return True
