"""Memory of a training: what the logits of a large vocabulary take, and one line where it has run out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from resurface.errors import UserError

_SIGNS = (
    "out of memory",  # CUDA, MPS, XPU
    "can't allocate memory",  # the CPU's allocator
    "CUBLAS_STATUS_ALLOC_FAILED",
)
_WHOLE, _CHUNK = 2**27, 2**25
_ROOMY = 4
"""Logits of a forward pass beyond which they are made by chunks, and of a chunk; on a device other than the
CPU, where each call costs more and there is more memory, so many times as many."""
_PER_LOGIT = 12
"""Bytes: the logit, its copy in float32, the gradient."""


def chunk_tokens(tokens: int, vocabulary: int, kind: str) -> int | None:
    """Tokens of a chunk; None where a forward pass of so many tokens keeps all logits. kind: of device."""
    times = 1 if kind == "cpu" else _ROOMY
    return None if tokens * vocabulary <= times * _WHOLE else max(times * _CHUNK // vocabulary, 1)


def logit_bytes(tokens: int, vocabulary: int, kind: str) -> int:
    """Bytes that the logits of a forward pass of so many tokens take at the peak; kind: of device."""
    return _PER_LOGIT * vocabulary * (chunk_tokens(tokens, vocabulary, kind) or tokens)


@contextlib.contextmanager
def memory_errors(doing: str, remedy: str) -> Iterator[None]:
    """Turn an allocation that failed in here into an error; `doing`, such as "training M", begins it."""
    try:
        yield
    except (MemoryError, RuntimeError) as e:  # torch's errors are RuntimeErrors
        if isinstance(e, RuntimeError) and not any(sign in str(e) for sign in _SIGNS):
            raise
        raise UserError(f"{doing}: no memory is left ({_first_line(e)})", remedy=remedy) from e


def _first_line(e: BaseException) -> str:
    return (str(e) or type(e).__name__).splitlines()[0]
