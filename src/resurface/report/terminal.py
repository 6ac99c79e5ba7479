"""A document on a terminal: its sentences and tables, without what is for a file alone."""

from __future__ import annotations

from collections.abc import Sequence

from resurface.report.document import Block, Code, Document, Figure, Paragraph, Section, Table, Text
from resurface.trust.escaping import lines, printable


def show(document: Document) -> None:
    """Print it to stdout."""
    _blocks(document.blocks, "")


def _blocks(blocks: Sequence[Block | Section], title: str) -> None:
    """title: of the section, above its first table where that has no caption."""
    for b in blocks:
        if b.detail or isinstance(b, Figure):
            continue
        if isinstance(b, Section):
            _blocks(b.blocks, b.title)
        elif isinstance(b, Table):
            table(b, b.caption or title)
            title = ""
        elif isinstance(b, Paragraph):
            print(lines(plain(b.text)))
        else:
            for item in b.items:
                print(lines(plain(item)))


def plain(text: Text) -> str:
    """Without what marks code."""
    if isinstance(text, Code):
        return text.text
    return text if isinstance(text, str) else "".join(map(plain, text))


def table(of: Table, title: str = "") -> None:
    """Print a table to stdout, every cell as it is written."""
    from rich.console import Console
    from rich.table import Table as Rich
    from rich.text import Text as Plain

    columns = range(len(of.header)) if of.brief is None else of.brief
    cells = [[lines(plain(row[i])) for i in columns] for row in of.rows]
    if title:  # rich would break it at the width of the table
        print(printable(title))
    shown = Rich()
    for j, i in enumerate(columns):
        # names are what is typed next, and never cut; sentences wrap
        short = all(len(line) <= 60 for row in cells for line in row[j].split("\n"))
        shown.add_column(Plain(printable(of.header[i])), no_wrap=j == 0 and short)
    for row in cells:
        shown.add_row(*map(Plain, row))
    Console().print(shown)
