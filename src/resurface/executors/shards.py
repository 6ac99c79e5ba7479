"""A part of a list of work, for one of several programs that know nothing of each other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from resurface.errors import UserError, quoted

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """Part `number` (from 1) of `of`: item j (from 0) belongs to part j mod `of` + 1."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From `2/8`.

        Raises:
            UserError: anything but i/n with 1 <= i <= n.
        """
        found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
        shard = cls(*map(int, found.groups())) if found else cls(0, 0)
        if not 1 <= shard.number <= shard.of:
            raise UserError(
                f"--shard {quoted(text)} is no part i/n with 1 <= i <= n",
                remedy="--shard 1/8 to --shard 8/8 are the parts of eight",
            )
        return shard

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def has(self, j: int) -> bool:
        """Whether item j, from 0, belongs to it."""
        return j % self.of == self.number - 1

    def part(self, items: Mapping[str, T]) -> dict[str, T]:
        """Those of the items that belong to it: the order must be the same in every program."""
        return {name: item for j, (name, item) in enumerate(items.items()) if self.has(j)}


WHOLE = Shard(1, 1)
