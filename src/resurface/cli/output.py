"""What a verb shows: data for machines, text for people."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from resurface.artifacts import Artifact
from resurface.trust.escaping import lines, printable


@dataclass
class Out:
    """What a verb printed: `data` for machines, `text` for people."""

    data: dict[str, Any]
    text: Callable[[], None] = field(default=lambda: None)


def say(text: object) -> None:
    """Print to stdout what may quote names and texts of others; line feeds stay."""
    print(lines(str(text)))


def print_table(title: str, header: list[str], rows: list[list[str]]) -> None:
    """Print a table to stdout, every cell as it is written."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(printable(title)), title_justify="left")
    for i, name in enumerate(header):
        # names are what is typed next, and never cut; sentences wrap
        short = all(len(line) <= 60 for row in rows for line in row[i].split("\n"))
        table.add_column(Text(printable(name)), no_wrap=i == 0 and short)
    for row in rows:
        table.add_row(*(Text(lines(c)) for c in row))
    Console().print(table)


def artifact_out(a: Artifact) -> Out:
    """Where an artifact lies, its fingerprint, and what it counts."""
    data = {"path": str(a.path), "fingerprint": a.fingerprint, "counts": a.counts}

    def text() -> None:
        say(a.path)
        for key, value in a.counts.items():
            say(f"  {key}: {json.dumps(value) if isinstance(value, dict | list) else value}")

    return Out(data, text)
