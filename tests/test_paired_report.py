"""What `extract MODEL --against EXTRACTION` prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import resurface
from resurface.artifacts import Artifact
from resurface.cli import main
from resurface.errors import UserError
from resurface.memorization import compare
from resurface.report import paired

CUT: Any = dict(prefix=8, suffix=24, start="bos", max_windows_per_stratum=6, confirm=0)


@pytest.fixture(scope="module")
def base(tmp_path_factory: Any) -> Artifact:
    return resurface.extract("lab:a-medium", texts=("lab:a",), out=tmp_path_factory.mktemp("base"), **CUT)


def test_against_prints_a_table_and_keeps_documents_for_machines(
    base: Artifact, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    argv = ["extract", "lab:a-small", "--windows", "lab:a", "--against", str(base.path), "--start", "bos"]
    argv += ["--prefix", "8", "--suffix", "24", "--max-windows-per-stratum", "6", "--confirm", "0"]
    assert main.main([*argv, "--out", str(tmp_path), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    found = data["against"]
    assert found["documents"] and found["before"] > found["retained"]
    assert main.main([*argv, "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    shown = said[said.index("Windows recited") :]
    assert "{" not in shown and "doc_id" not in shown
    never = next(s for s in found["strata"] if s["stratum"] == "never")
    assert found["non_members"] == {k: never[k] for k in ("windows", "before", "after")}
    assert found["windows"] == sum(s["windows"] for s in found["strata"]) - never["windows"]
    for name in ("all but non-members", *(f"stratum {s['stratum']}" for s in found["strata"])):
        assert name in shown
    drop = f"{found['relative_drop']:.1%} [{found['low']:.1%}, {found['high']:.1%}]"
    assert drop in shown and f"Token accuracy: {found['token_accuracy']['before']:.1%} before" in shown
    assert "Held out: not told, no synthetic corpus" in shown


def test_another_stratum_of_non_members_is_left_out(base: Artifact, tmp_path: Path, capsys: Any) -> None:
    argv = ["extract", "lab:a-small", "--windows", "lab:a", "--against", str(base.path), "--start", "bos"]
    argv += ["--prefix", "8", "--suffix", "24", "--max-windows-per-stratum", "6", "--confirm", "0"]
    assert main.main([*argv, "--non-members", "never", "4 copies", "--out", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["against"]
    assert found["non_members"]["windows"] == 12
    assert found["windows"] == sum(s["windows"] for s in found["strata"]) - 12


def test_notes_stand_once_and_what_is_missing_is_no_zero(base: Artifact) -> None:
    found = compare(base, base)
    empty = found["strata"][0]
    empty |= {
        "before": 0,
        "after": 0,
        "relative_drop": None,
        "low": None,
        "high": None,
        "note": "nothing there",
    }
    found["strata"][1]["note"] = "nothing there"
    found["strata"][1]["stratum"] = "x\x1b[2J"
    _, _, rows = paired.table(found)
    assert rows[1][-1] == "n/a" and rows[1][2] == "0"
    (said,) = (x for x in paired.lines(found) if x.endswith("nothing there."))
    assert said.startswith(f"stratum {empty['stratum']}, stratum x\N{REPLACEMENT CHARACTER}[2J: ")
    found["held_out"] = found["strata"][2] | {"note": None}
    assert paired.table(found)[2][1][0] == "held out"
    found["token_accuracy"] |= {"low": None, "high": None, "reason": "one cluster of documents: no interval"}
    assert paired.lines(found)[0].endswith("points (one cluster of documents: no interval).")


def test_a_model_is_not_compared_with_itself(base: Artifact, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="lab:a-medium itself"):
        resurface.extract("lab:a-medium", texts=("lab:a",), against=base, out=tmp_path, **CUT)
