"""A document for the terminal: the one place where its text is escaped for it."""

from __future__ import annotations

from collections.abc import Sequence

from resurface.report.document import (
    Block,
    Bullets,
    Code,
    Document,
    Facts,
    Figure,
    Paragraph,
    Section,
    Table,
    Text,
)
from resurface.trust.escaping import printable


def show(shown: Document | Section | Block) -> None:
    """Print to stdout what is no detail: of a document its blocks and then, last, what was found."""
    if isinstance(shown, Document):
        for part in shown.blocks:
            show(part)
        if shown.summary:
            show(Bullets(shown.summary))
    elif isinstance(shown, Figure) or shown.detail:
        return
    elif isinstance(shown, Section):
        if not all(isinstance(b, Figure) or b.detail for b in shown.blocks):
            print(printable(shown.title))
        for block in shown.blocks:
            show(block)
    elif isinstance(shown, Table):
        _table(shown)
    else:
        for line in _lines(shown):
            print(line)


def _lines(block: Paragraph | Bullets | Facts) -> list[str]:
    """Each as long as it is: the terminal breaks it, and a pipe gets one line."""
    if isinstance(block, Paragraph):
        return [plain(block.text)]
    if isinstance(block, Bullets):
        return list(map(plain, block.items))
    width = max((len(printable(f.name)) for f in block.items), default=0)
    out = []
    for f in block.items:
        out.append(f"{printable(f.name):<{width}}  {plain(f.text)}".rstrip())
        if f.remedy is not None:
            out.append(f"{'':<{width}}  -> {plain(f.remedy)}")
    return out


def _table(table: Table) -> None:
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text as Cell

    if table.caption:
        print(printable(table.caption))
    chosen = range(len(table.header)) if table.brief is None else table.brief
    rows = [[plain(row[i]) for i in chosen] for row in (table.header, *table.rows)]
    console, grid = Console(), Grid()
    widths = _widths([*zip(*rows, strict=True)], console.width - 3 * len(chosen) - 1)
    for name, width in zip(rows[0], widths, strict=True):
        grid.add_column(Cell(name), width=width)
    for row in rows[1:]:
        grid.add_row(*map(Cell, row))
    console.width = max(console.width, sum(widths) + 3 * len(widths) + 1)
    console.print(grid)


def _widths(columns: Sequence[Sequence[str]], room: int) -> list[int]:
    """Of columns that share the room, those first that lack least. Every word has its place, even if there is
    no room: a terminal breaks a line that is too long, and a number that is cut would be another."""
    from rich.cells import cell_len

    widths = [max(cell_len(word) for text in of for word in text.split(" ")) for of in columns]
    # names are what is typed next; sentences wrap
    names = max(map(cell_len, columns[0]))
    widths[0] = names if names <= 60 else widths[0]
    wanted = [max(map(cell_len, of)) for of in columns]
    for i in sorted(range(len(widths)), key=lambda i: wanted[i] - widths[i]):
        widths[i] += max(0, min(wanted[i] - widths[i], room - sum(widths)))
    return widths


def plain(text: Text) -> str:
    """On one line, without what marks code or what a terminal obeys."""
    if isinstance(text, str | Code):
        return printable(text if isinstance(text, str) else text.text)
    return "".join(map(plain, text))
