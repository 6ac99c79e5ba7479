"""Errors that a user can act on.

Every message names the thing that is wrong; `remedy` says what to do about it. The command line
prints both and exits with `exit_code`; a traceback is only for bugs.
"""

from __future__ import annotations

from resurface.redaction import redact


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


class Diverged(UserError):
    """Numbers of one model have become no numbers; found at work, and says nothing of other models."""


class CorruptArtifact(UserError):
    """What is on disk is not what its manifest says."""


class Busy(UserError):
    """Another process is already building this artifact."""
