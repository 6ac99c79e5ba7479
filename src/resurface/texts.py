"""Documents from the user's own files: plain text, Markdown, JSON lines, Parquet, or a text asset."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from resurface import assets
from resurface.errors import UserError
from resurface.lab import corpora, passages, settings, world
from resurface.lab.phrasing import PHRASINGS

SUFFIXES = (".txt", ".md", ".jsonl", ".parquet")


class Document(NamedTuple):
    """One known text. stratum: what it is counted with, such as a number of copies or a source."""

    doc_id: str
    text: str
    stratum: str


def load_texts(spec: str | Path) -> list[Document]:
    """The documents of a file, of all files below a directory, of `asset:NAME`, or of `lab:FAMILY`.

    .txt and .md are one document each, UTF-8 (a byte-order mark is dropped). .jsonl has an object
    with `text` per line, .parquet a string column `text`; both may have `doc_id` and `stratum`.
    Otherwise ids are built from the file's name, below a directory from its relative path without
    the suffix; for rows, a number follows. The default stratum is the name of what was given: the
    asset, the file without its suffix, or the directory. Empty documents are errors, and ids are
    unique. Text assets are pulled if they are not in the cache. `lab:a` is what was planted in the
    corpora of lab family a (strata by copies, with the floor "never"), report split; `lab:a/dev` dev,
    `lab:a@scale=10` those of models built ten times as large. `lab:a/fresh` and `lab:a/test` are ordinary
    documents of the family that no model has read: to train on, and to measure loss on.

    Raises:
        UserError: nothing there, unknown suffix, not UTF-8, no `text`, empty, or ids that repeat.
    """
    spec = str(spec)
    if spec.startswith("lab:"):
        if (unread := _unseen(spec)) is not None:
            return unread
        return [Document(p.passage_id, p.text, p.stratum) for p in passages.of(spec)]
    if spec.startswith("asset:"):
        asset = assets.get(spec)
        if asset.kind != "text":
            raise UserError(
                f"asset {asset.name} is a {asset.kind}, not a text", remedy=f"text assets: {_text_assets()}"
            )
        found = list(_directory(assets.ensure(asset.name), asset.name, prefix=f"{asset.name}/"))
        if len(found) == 1:
            found = [found[0]._replace(doc_id=asset.name)]
    else:
        path = Path(spec).expanduser()
        if path.is_dir():
            found = list(_directory(path, path.resolve().name))
        elif path.is_file():
            found = list(_file(path, path.stem, path.stem))
        else:
            raise UserError(
                f"no text file or directory {spec}",
                remedy=f"give a path, or one of: {_text_assets()}",
            )
    if not found:
        raise UserError(f"{spec} holds no documents", remedy=f"it needs {', '.join(SUFFIXES)} files")
    seen: set[str] = set()
    for doc_id, text, _ in found:
        if not text.strip():
            raise UserError(f"document {doc_id!r} of {spec} is empty", remedy="remove it")
        if doc_id in seen:
            raise UserError(f"document id {doc_id!r} occurs twice in {spec}", remedy="make the ids unique")
        seen.add(doc_id)
    return found


_UNSEEN = {"fresh": 60_000, "test": 1_000}
"""Documents of ordinary lab text: fresh, as much as half a pretraining corpus; test, some 50,000 tokens."""


def _unseen(spec: str) -> list[Document] | None:
    """The documents of lab:FAMILY/fresh or lab:FAMILY/test; None for any other text of the lab."""
    bare, setting = settings.split(spec)
    family, _, split = bare.removeprefix("lab:").partition("/")
    if split not in _UNSEEN or family not in PHRASINGS:
        return None
    known = world.make_world(setting.seed, setting.people)
    made = corpora.unseen(known, family, round(_UNSEEN[split] * setting.scale), split)
    return [Document(f"{family}/{split}/{i:06d}", text, split) for i, text in enumerate(made)]


def _text_assets() -> str:
    return ", ".join(f"asset:{a.name}" for a in assets.list_assets() if a.kind == "text")


def _directory(path: Path, stratum: str, prefix: str = "") -> Iterator[Document]:
    for file in sorted(path.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
        if file.is_file() and file.suffix.lower() in SUFFIXES and not hidden:
            yield from _file(file, prefix + file.relative_to(path).with_suffix("").as_posix(), stratum)


def _file(path: Path, name: str, stratum: str) -> Iterator[Document]:
    suffix = path.suffix.lower()
    if suffix in (".txt", ".md"):
        yield Document(name, _read(path), stratum)
    elif suffix == ".jsonl":
        # split on newlines only: str.splitlines would also cut at U+2028 inside a string
        for number, line in enumerate(_read(path).split("\n"), 1):
            if line.strip():
                row = _json(path, number, line)
                yield _row(path, f"line {number}", row, f"{name}:{number}", stratum)
    elif suffix == ".parquet":
        yield from _parquet(path, name, stratum)
    else:
        raise UserError(f"{path}: unknown kind of text file", remedy=f"use {', '.join(SUFFIXES)}")


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise UserError(
            f"{path} is not UTF-8 (byte {e.start})", remedy=f"iconv -f latin1 -t utf-8 {path.name}"
        ) from e
    except OSError as e:
        raise UserError(f"cannot read {path}: {e.strerror}") from e


def _json(path: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as e:
        raise UserError(f"{path} line {number} is not JSON ({e})", remedy="one object per line") from e


def _parquet(path: Path, name: str, stratum: str) -> Iterator[Document]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        columns = [c for c in ("text", "doc_id", "stratum") if c in file.schema_arrow.names]
        if "text" not in columns:
            raise UserError(
                f"{path} has no column 'text'; it has {', '.join(file.schema_arrow.names)}",
                remedy="rename the column that holds the documents to 'text'",
            )
        rows = file.read(columns=columns).to_pylist()
    except (pa.ArrowException, OSError) as e:
        raise UserError(f"{path} is not a readable Parquet file ({e})") from e
    for number, row in enumerate(rows):
        yield _row(path, f"row {number}", row, f"{name}:{number}", stratum)


def _row(path: Path, where: str, row: Any, default_id: str, default_stratum: str) -> Document:
    text = row.get("text") if isinstance(row, dict) else None
    if not isinstance(text, str):
        raise UserError(f"{path} {where} has no string 'text'", remedy="every document needs one")
    doc_id, stratum = row.get("doc_id"), row.get("stratum")
    return Document(
        default_id if doc_id is None else str(doc_id),
        text,
        default_stratum if stratum is None else str(stratum),
    )
