"""The import rules of pyproject.toml hold, and the tool that checks them would notice if not."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    code = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    env = os.environ | {"PYTHONPATH": str(root / "src")}
    command = [sys.executable, "-c", code, "--no-cache", "--config", str(ROOT / "pyproject.toml")]
    return subprocess.run(command, env=env, cwd=root, capture_output=True, text=True)


def test_import_contracts() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("stages/training", "from resurface.stages import subsets", "stages do not import each other"),
        ("memorization/__init__", "import resurface.stages.sampling", "every room has its floor"),
        ("data/texts", "def f():\n    from resurface.stages import training", "every room has its floor"),
        ("executors/local", "from resurface.stages import training", "only what composes imports stages"),
        ("workflows/__init__", "import resurface.cli.main", "every room has its floor"),
        ("errors", "from resurface import progress", "every room has its floor"),
        ("artifacts/store", "import resurface.assets", "every room has its floor"),
        ("a_new_room", "x = 1", "every room has its floor"),
    ],
)
def test_violations_are_noticed(tmp_path: Path, module: str, line: str, contract: str) -> None:
    shutil.copytree(
        ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    with (tmp_path / f"src/resurface/{module}.py").open("a") as f:
        f.write(f"\n{line}\n")
    done = lint(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{contract} BROKEN" in done.stdout or "a_new_room" in done.stdout + done.stderr


def test_importing_is_light() -> None:
    """`import resurface` and `--help` must not wait for torch."""
    code = (
        "import sys, resurface, resurface.cli.main\n"
        "print([m for m in ('torch', 'transformers', 'datasets', 'lm_eval', 'peft') if m in sys.modules])"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_packaging_is_consistent() -> None:
    """Every dependency is pinned, every pin is exact and names no place, scripts run what is shipped."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = [p for p in (ROOT / "constraints.txt").read_text().splitlines() if not p.startswith("#")]
    assert all(p.count("==") == 1 and "/" not in p and "+" not in p for p in pins)

    def plain(requirement: str) -> str:
        name = requirement.split(">")[0].split("=")[0].split("<")[0]
        return name.strip().lower().replace("_", "-")

    pinned = {plain(p) for p in pins}
    wanted = {plain(r) for r in [*project["dependencies"], *project["optional-dependencies"]["test"]]}
    assert wanted <= pinned
    assert project["scripts"] == {"resurface": "resurface.cli.main:main"}
    for script in ("scripts/test", "scripts/run", "scripts/lint", "scripts/check", ".ci/run"):
        assert os.access(ROOT / script, os.X_OK)
        shell = "bash" if script.startswith(".ci") else "sh"
        subprocess.run([shell, "-n", str(ROOT / script)], check=True)
    assert list((ROOT / "src/resurface/presets").glob("*/*.yaml"))
    assert f"## [{project['version']}]" in (ROOT / "CHANGELOG.md").read_text()
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == project["version"]


INDIRECT = {
    "pydantic_core": "a part of pydantic, which pins it",
    "evaluate": "lm-eval's; replaced where it is there",
}


def test_what_is_imported_is_declared() -> None:
    """What comes in with another package today may be gone with its next version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = packages_distributions()

    def missing(folder: str, wanted: list[str], ours: set[str]) -> set[str]:
        declared = {re.split(r"[<>=!~ ;\[]", r)[0].lower().replace("_", "-") for r in wanted}
        modules = set()
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Import):
                    modules |= {a.name.split(".")[0] for a in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    modules.add((node.module or "").split(".")[0])
        others = modules - set(sys.stdlib_module_names) - {"resurface", *INDIRECT} - ours
        named = {m: {d.lower().replace("_", "-") for d in found.get(m, [m])} for m in others}
        return {m for m, packages in named.items() if not declared & packages}

    base, extras = project["dependencies"], project["optional-dependencies"]
    helpers = {file.stem for file in (ROOT / "tests").rglob("*.py")}
    # each is imported by the engine, or the executor, of this name alone
    assert missing("src", [*base, *extras["ray"], *extras["vllm"]], set()) == set()
    assert missing("tests", [*base, *extras["test"]], helpers) == set()
