"""What a report consists of, whatever it is shown in: `markdown` and `terminal` render it, and escape there.

Text is plain: nothing in it is markup, and names and texts of others stand in it as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Code:
    """What is typed, or names a file or model."""

    text: str


Text = str | Code | tuple[str | Code, ...]
"""Plain text, and code within it."""


@dataclass(frozen=True)
class Paragraph:
    text: Text
    detail: bool = False
    """Whether it is for a file alone: a terminal leaves it out."""


@dataclass(frozen=True)
class Bullets:
    """Sentences that stand for themselves."""

    items: Sequence[Text]
    detail: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of cells, as many as the header has."""

    header: Sequence[str]
    rows: Sequence[Sequence[Text]]
    caption: str = ""
    """What is in it: above the table."""
    brief: Sequence[int] | None = None
    """Columns that a terminal shows, where it has no room for all."""
    detail: bool = False


@dataclass(frozen=True)
class Figure:
    """A picture beside the report."""

    file: str
    """Its name, such as frontier.svg."""
    alt: str
    """What is on it."""
    draw: Callable[[], str]
    """Makes the SVG."""
    detail: bool = True


Block = Paragraph | Bullets | Table | Figure


@dataclass(frozen=True)
class Section:
    title: str
    blocks: Sequence[Block | Section]
    detail: bool = False


@dataclass(frozen=True)
class Document:
    title: str
    blocks: Sequence[Block | Section]

    def figures(self) -> list[Figure]:
        """All of them, in order."""
        return _figures(self.blocks)


def _figures(blocks: Sequence[Block | Section]) -> list[Figure]:
    found: list[Figure] = []
    for b in blocks:
        if isinstance(b, Section):
            found += _figures(b.blocks)
        elif isinstance(b, Figure):
            found.append(b)
    return found
