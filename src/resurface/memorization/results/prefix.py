"""What is extracted behind other prefixes than a window's own."""

from __future__ import annotations

from pydantic import Field

from resurface.memorization.results.drop import Count, Drop
from resurface.stats.result import Result


class PrefixDrop(Drop):
    """Over windows that have a value in all models."""

    floor: Drop | None
    """The same over windows that no model saw; None where none were named."""


class PrefixAttack(PrefixDrop):
    """Of one variant of the prefix."""

    variant: str
    """Its name, such as `as is` or `prefix 8`."""
    draw: Count = Field(validation_alias="copy", serialization_alias="copy")
    """Which random draw of it, from 0."""
    not_possible: dict[str, Count]
    """Reason -> windows that have no such prefix."""


class PrefixAttacks(Result):
    """Of every variant, and of an attacker who tries all."""

    variants: tuple[PrefixAttack, ...]
    any_variant: PrefixDrop
    """Of windows extracted behind at least one prefix."""
