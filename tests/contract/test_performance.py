"""Tables of docs/performance.md are what the files under results/ say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/performance.md").read_text()
SCRIPTS = {"laptop": ["benchmarks/laptop.py", "--table"], "cost": ["benchmarks/cost.py"]}
TABLES = re.findall(r"<!-- (\w+): (\S+) -->\n(.*?)<!-- end -->", PAGE, re.DOTALL)


def test_both_tables_are_there() -> None:
    assert [name for name, *_ in TABLES] == list(SCRIPTS)


@pytest.mark.parametrize(("name", "file", "shown"), TABLES)
def test_a_table_is_what_its_file_says(name: str, file: str, shown: str) -> None:
    json.loads((ROOT / file).read_text())
    command = [sys.executable, *SCRIPTS[name], file]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown == done.stdout
