"""Text of others (names, tokens, messages of libraries) where it is shown: it says nothing to the reader's
terminal, Markdown renderer or browser. In JSON and Parquet it stays as it is.
"""

from __future__ import annotations

import re

_INLINE = (
    r"[|<`*~]"  # would end a cell, or begin HTML, code, emphasis or what is struck through
    r"|(?<![^\W_])_|_(?![^\W_])"  # emphasis, which does not begin within a word
    r"|(?<=\])\("  # a link
    r"|&(?=#?\w+;)"  # a character by its name
    r"|\\(?=[!-/:-@\[-`{-~]|$)"  # would undo the backslash that is put before the next character
)
_WITHIN = re.compile(_INLINE)
_LABEL = re.compile(_INLINE + r"|[\[\]]")
# a heading and its end, a quotation, definition, list or line
_LINE = re.compile(_INLINE + r"|^[#>\[]|^[-+](?=[-\s]|$)|^=(?==*$)|(?<=\s)#(?=#*$)")
_NUMBERED = re.compile(r"^(\d{1,9})(?=[.)](\s|$))")


def printable(text: str) -> str:
    """`text` on one line, without characters that a terminal obeys: controls (ESC, C1), what reverses the
    direction of writing, other invisibles, and halves of surrogate pairs."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def lines(text: str) -> str:
    """As `printable`; line feeds stay."""
    return "\n".join(map(printable, text.split("\n")))


def markdown(text: str) -> str:
    """`text` as a line of a Markdown file: no HTML, link, emphasis, code, heading or list begins in it."""
    return _NUMBERED.sub(r"\1\\", _LINE.sub(r"\\\g<0>", printable(text)))


def cell(text: str) -> str:
    """The same within a table, where a line cannot begin."""
    return _WITHIN.sub(r"\\\g<0>", printable(text))


def label(text: str) -> str:
    """The same as the name of a link or picture, which a bracket would end."""
    return _LABEL.sub(r"\\\g<0>", printable(text))


def code(text: str) -> str:
    """`text` as a code span of Markdown, whatever backticks it has."""
    text = printable(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if text.startswith("`") or text.endswith("`") or not text.strip() else ""
    return f"{fence}{space}{text}{space}{fence}"
