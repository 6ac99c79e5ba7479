"""Text of others (names, tokens, messages of libraries) where it is shown: it says nothing to the reader's
terminal, Markdown renderer or browser. In JSON and Parquet it stays as it is.
"""

from __future__ import annotations

import re

_MARKUP = re.compile(
    r"[|<]"  # would end a cell, or begin HTML
    r"|(?<=\])\("  # a link
    r"|&(?=#?\w+;)"  # a character by its name
    r"|\\(?=[!-/:-@\[-`{-~]|$)"  # would undo the backslash that is put before the next character
    r"|^[#>~\[]|^[-+*](?=\s)|^=(?==*$)"  # a heading, quotation, fence, definition or list
)


def printable(text: str) -> str:
    """`text` on one line, without characters that a terminal obeys: controls (ESC, C1), what reverses the
    direction of writing, other invisibles, and halves of surrogate pairs."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def lines(text: str) -> str:
    """As `printable`; line feeds stay."""
    return "\n".join(map(printable, text.split("\n")))


def markdown(text: str) -> str:
    """`text` on one line of a Markdown file, where it ends no cell and makes no HTML, link or heading."""
    return _MARKUP.sub(r"\\\g<0>", printable(text))


def code(text: str) -> str:
    """`text` as a code span of Markdown, whatever backticks it has."""
    text = printable(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if text.startswith("`") or text.endswith("`") or not text.strip() else ""
    return f"{fence}{space}{text}{space}{fence}"
