"""Text and JSON from a disk: what is there, or one error that names the file."""

from __future__ import annotations

import errno
import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

from resurface.errors import UserError, quoted, reading, shortened

_LONGEST_NAME, _LONGEST_PATH = 255, 4095
_SURROGATE = re.compile("[\ud800-\udfff]")


def user_path(given: str | Path) -> Path:
    """A path as a user writes it, ~ included.

    Raises:
        UserError: ~ of nobody who is known here, a name that no file has, or no path at all.
    """
    if not str(given) or "\0" in str(given):  # the empty path would be the working directory
        raise UserError(
            f"{quoted(str(given))} is not a path", remedy="name a file or directory, without NUL characters"
        )
    with reading(f"the path {quoted(str(given))}"):  # half a character has no bytes
        sizes = [len(os.fsencode(part)) for part in Path(given).parts]
    if max(sizes, default=0) > _LONGEST_NAME or sum(sizes) + len(sizes) > _LONGEST_PATH:
        raise UserError(
            f"{shortened(given)}: no file has so long a name or path",
            remedy=f"a name has {_LONGEST_NAME} bytes at most, a path {_LONGEST_PATH:,}",
        )
    try:
        return Path(given).expanduser()
    except RuntimeError as e:
        raise UserError(
            f"{shortened(given)}: there is no such home directory", remedy="give the whole path"
        ) from e


def check_file(path: Path) -> None:
    """OSError for a pipe or a terminal, on which a reader would wait for ever."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OSError(errno.ENOTSUP, "neither a file nor a directory", str(path))


def read_text(path: Path, what: str | None = None, *, remedy: str | None = None) -> str:
    """A file in UTF-8, a byte-order mark dropped; `what` names it in errors (default: its path).

    Raises:
        UserError: unreadable, or not UTF-8.
    """
    with reading(what or str(path), remedy=remedy):
        check_file(path)
        data = path.read_bytes()
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as e:
            raise UserError(
                f"{what or path} is not UTF-8 (byte {e.start})",
                remedy=f"iconv -f latin1 -t utf-8 {shortened(path.name)}",
            ) from e


def check_unicode(text: str, where: str) -> str:
    """`text`, if it can be written as UTF-8: JSON and Python strings may hold half a character.

    Raises:
        UserError: it cannot.
    """
    if found := _SURROGATE.search(text):
        raise UserError(
            f"{where} is not valid Unicode: character {found.start()} is half a pair, {found[0]!a}",
            remedy="write it again with the tool that it is from, in UTF-8",
        )
    return text


def parse_json(text: str, where: str, *, remedy: str | None = None, kind: type[UserError] = UserError) -> Any:
    """A JSON value; `where` names it in errors. A name that stands twice in one object is refused.

    Raises:
        UserError: (or `kind`) not JSON, nested too deeply, or a string that is no Unicode.
    """

    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
            raise ValueError(f"{quoted(twice)} occurs twice in one object")
        return found

    with reading(where, remedy=remedy, kind=kind):
        try:
            found = json.loads(text, object_pairs_hook=distinct)
        except ValueError as e:
            raise kind(f"{where} cannot be read (not JSON: {shortened(e)})", remedy=remedy) from e
        if "\\u" in text:  # the only way for half a character to come out of UTF-8
            check_unicode(json.dumps(found, ensure_ascii=False), where)
    return found


def read_json(
    path: Path, what: str | None = None, *, remedy: str | None = None, kind: type[UserError] = UserError
) -> dict[str, Any]:
    """The object in a JSON file; `what` names it in errors (default: its path).

    Raises:
        UserError: (or `kind`) no such file, not JSON, or no object.
    """
    where = what or str(path)
    with reading(where, remedy=remedy, kind=kind):
        check_file(path)
        text = path.read_text(encoding="utf-8")
    found = parse_json(text, where, remedy=remedy, kind=kind)
    if not isinstance(found, dict):
        raise kind(f"{where} cannot be read (not an object of JSON)", remedy=remedy)
    return found
