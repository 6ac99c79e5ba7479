"""Which world a lab model read about, and how to name it: `lab:facts@scale=10`, `lab:a/dev@seed=3,people=9`.

What stands behind `@` is a comma-separated list of
    scale     N: a world for models N times as large: N times the planted passages, and people by default
    people    in the world (default: 240 times the root of the scale)
    seed      of the world and of what is planted (default: 0)
Nothing behind the name, and no `@`, is the world of the shipped models.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from resurface.errors import UserError

PEOPLE = 240
MOST_SCALE = 100
"""A corpus is made in memory: 100 times 100,000 documents are some ten gigabytes."""
_EXAMPLE = "for example lab:facts@scale=10 or lab:a/dev@scale=10,people=500,seed=3"


@dataclass(frozen=True)
class Setting:
    """seed: of the world and of what is planted; people: in the world; scale: of what is planted."""

    seed: int = 0
    people: int = PEOPLE
    scale: float = 1

    @property
    def suffix(self) -> str:
        """What names it behind a task or text; empty for the world of the shipped models."""
        parts = [f"scale={number(self.scale)}"] if self.scale != 1 else []
        parts += [f"people={self.people}"] if self.people != people_at(self.scale) else []
        parts += [f"seed={self.seed}"] if self.seed else []
        return "@" + ",".join(parts) if parts else ""


SHIPPED = Setting()


def people_at(scale: float) -> int:
    """People in the world of models `scale` times as large: more to know, and more sentences about each."""
    return round(PEOPLE * math.sqrt(scale))


def check_scale(scale: float) -> None:
    """Raise UserError if models cannot be made `scale` times as large."""
    if not 1 <= scale <= MOST_SCALE:  # not true of nan either
        raise UserError(
            f"scale {scale} is not a number from 1 to {MOST_SCALE}", remedy="--scale 10, for instance"
        )


def number(scale: float) -> str:
    """A scale as names show it: 10, 2.5."""
    return str(int(scale)) if scale == int(scale) else repr(float(scale))


def split(name: str) -> tuple[str, Setting]:
    """The bare name and the world of a task or text: "lab:a@scale=10" -> ("lab:a", Setting(0, 759, 10)).

    Raises:
        UserError: what stands behind @ is malformed or out of range.
    """
    bare, at, text = name.partition("@")
    given: dict[str, float] = {}
    for part in text.split(",") if at else []:
        key, _, value = part.partition("=")
        if key not in ("scale", "people", "seed") or key in given:
            why = "is given twice" if key in given else "is not one of scale=, people=, seed="
            raise UserError(f"{name!r}: {part!r} {why}", remedy=_EXAMPLE)
        try:
            given[key] = float(value) if key == "scale" else int(value)
        except ValueError as e:
            raise UserError(f"{name!r}: {value!r} is not a number", remedy=_EXAMPLE) from e
        least = {"people": 1, "seed": 0}.get(key, -math.inf)  # scales are checked below
        if given[key] < least or (key != "scale" and given[key] >= 2**32):
            raise UserError(f"{name!r}: {key} cannot be {value}", remedy=_EXAMPLE)
    check_scale(scale := given.get("scale", 1))
    people = int(given.get("people", people_at(scale)))
    return bare, Setting(int(given.get("seed", 0)), people, scale)
