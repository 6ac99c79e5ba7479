"""The gguf library's reader, which ends where a file does.

The library takes lengths from the file and trusts them: behind the end it reads empty arrays, and an array of
2^60 elements is a loop that takes all memory of the machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

MOST_ELEMENTS = 2**24
"""Of an array in the header, each an object of some hundred bytes while it is read; vocabularies have a
hundredth of them."""


def bounded_reader(file: Path) -> Any:
    """A `gguf.GGUFReader` of a file.

    Raises:
        ValueError: the file ends within what its header announces, or an array has too many elements.
        Exception: whatever the library raises for a header that it cannot read.
    """
    import gguf
    import numpy as np

    class Bounded(gguf.GGUFReader):
        def _get(self, offset: int, dtype: Any, count: int = 1, override_order: Any = None) -> Any:
            if int(offset) + np.dtype(dtype).itemsize * int(count) > len(self.data):
                raise ValueError(f"it ends at byte {len(self.data)}, within what its header announces")
            return super()._get(offset, dtype, count, override_order)

        def _get_field_parts(self, orig_offs: int, raw_type: int) -> Any:
            if raw_type == gguf.GGUFValueType.ARRAY:
                elements = int(self._get(orig_offs + 4, np.uint64)[0])  # behind the type of its elements
                if elements > MOST_ELEMENTS:
                    raise ValueError(f"its header announces an array of {elements} elements")
            return super()._get_field_parts(orig_offs, raw_type)

    return Bounded(file)
