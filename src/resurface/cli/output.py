"""What a verb shows: data for machines, text for people."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from resurface.artifacts import Artifact
from resurface.report import terminal
from resurface.report.document import Table
from resurface.trust.escaping import lines


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
    terminal.show(Table(header, rows, caption=title))


def artifact_out(a: Artifact) -> Out:
    """Where an artifact lies, its fingerprint, and what it counts."""
    data = {"path": str(a.path), "fingerprint": a.fingerprint, "counts": a.counts}

    def text() -> None:
        say(a.path)
        for key, value in a.counts.items():
            say(f"  {key}: {json.dumps(value) if isinstance(value, dict | list) else value}")

    return Out(data, text)
