"""Memory that has run out, on the machine or on its accelerator, as one line with what to do about it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from resurface.errors import UserError

_SIGNS = (
    "out of memory",  # CUDA, MPS, XPU
    "can't allocate memory",  # the CPU's allocator
    "CUBLAS_STATUS_ALLOC_FAILED",
)


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
