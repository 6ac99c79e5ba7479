"""The working directory is data: files there that have the names of modules are never imported."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from resurface.artifacts import provenance
from resurface.trust import isolation

SRC = str(Path(isolation.__file__).parents[2])


def inherited() -> dict[str, str]:
    """The environment, without what keeps the working directory out, and without what measures coverage: that
    imports before a trap could be there."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("PYTHONSAFEPATH", "COV"))}


@pytest.fixture(scope="module")
def traps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a file for every module that Python or a package has: it is noted who imports it."""
    here = tmp_path_factory.mktemp("traps")
    names = set(sys.stdlib_module_names)
    for distribution in importlib.metadata.distributions():
        tops = {str(f).split("/")[0] for f in distribution.files or ()}
        names |= {t.removesuffix(".py") for t in tops}
    # what Python itself imports to find out what `-m` means, before any code of a package
    (here / "empty_package").mkdir()
    (here / "empty_package" / "__main__.py").write_text("import sys; print(*sys.modules)")
    python = [sys.executable, "-m", "empty_package"]
    asked = subprocess.run(python, cwd=here, capture_output=True, text=True, check=True, env=inherited())
    known = asked.stdout.split()
    for name in names - {"resurface", *known}:
        if name.isidentifier():
            note = f"open({str(here / 'IMPORTED')!r}, 'a').write({name + ' '!r})\n"
            (here / f"{name}.py").write_text(f"{note}raise ImportError('booby trap')\n")
    assert (here / "torch.py").exists() and (here / "yaml.py").exists() and (here / "typing.py").exists()
    return here


def run(traps: Path, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *argv], cwd=traps, env=inherited() | {"PYTHONPATH": SRC} | env,
        capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    marker = traps / "IMPORTED"
    assert not marker.exists(), f"imported from the working directory: {marker.read_text()}"
    return done


@pytest.mark.parametrize(
    "verb",
    ["--version", "assets list", "sample lab:a-small --samples 1 --max-new-tokens 4 --min-tokens 1"],
)
def test_no_verb_imports_from_the_working_directory(verb: str, traps: Path, tmp_path: Path) -> None:
    more = [] if verb in ("--version", "assets list") else ["--out", str(tmp_path)]
    done = run(traps, "-m", "resurface", *verb.split(), *more)
    assert done.returncode == 0, done.stderr


def test_nor_do_the_processes_that_it_starts(traps: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"  # Python puts its folder first, not the working directory
    script.write_text(
        "import functools, os, sys\n"
        "from pathlib import Path\n"
        "if __name__ == '__main__':\n"
        "    from resurface.trust.isolation import leave_working_directory\n"
        "    leave_working_directory()\n"
        "    from resurface import errors, executors\n"
        "    from resurface.assets import pip\n"
        "    jobs = {'a': os.getpid, 'b': functools.partial(max, 1, 2)}\n"
        "    executors.run_jobs('jobs', jobs, executors.Local(2))\n"
        "    del os.environ['PYTHONSAFEPATH']  # as from Python, where nobody has set it\n"
        "    try:\n"
        "        pip.fetch('nothing==1.0', Path(sys.argv[1]), 1, 'nothing', timeout_s=60)\n"
        "    except errors.UserError as e:\n"
        "        print(e.message)\n"
    )
    folder = tmp_path / "pip"
    done = run(traps, str(script), str(folder), PIP_NO_INDEX="1", PIP_CONFIG_FILE=os.devnull)
    assert "has no nothing" in done.stdout, done.stdout + done.stderr


PATHS = (
    "import json, os, sys; from resurface.trust import isolation; isolation.leave_working_directory();"
    "print(json.dumps([os.path.realpath(p) for p in sys.path]))"
)


def test_the_working_directory_stays_where_it_is_named(tmp_path: Path) -> None:
    def paths(cwd: Path, pythonpath: str) -> list[str]:
        env = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"} | {"PYTHONPATH": pythonpath}
        done = subprocess.run(
            [sys.executable, "-c", PATHS], cwd=cwd, env=env, capture_output=True, text=True, check=True
        )
        return list(json.loads(done.stdout))

    here = os.path.realpath(tmp_path)
    assert here not in paths(tmp_path, SRC)
    assert here not in paths(tmp_path, f":{SRC}")  # an accident of PYTHONPATH=$PYTHONPATH:...
    assert here in paths(tmp_path, f"{here}:{SRC}")
    assert os.path.realpath(SRC) in paths(Path(SRC), "")  # resurface itself is there


def test_git_of_another_project_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A virtual environment inside a foreign checkout, whose configuration names a monitor and a filter."""
    package = tmp_path / "venv" / "lib" / "resurface"
    package.mkdir(parents=True)
    (package / "provenance.py").write_text("tracked\n")
    (tmp_path / ".gitattributes").write_text("*.py filter=evil\n")
    ran = tmp_path / "ran"
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "x"]):
        subprocess.run([*git, *command], check=True, capture_output=True)
    with (tmp_path / ".git" / "config").open("a") as f:
        f.write(
            f'[core]\n\tfsmonitor = "touch {ran}; false"\n[filter "evil"]\n\tclean = "touch {ran}; cat"\n'
        )
    (package / "provenance.py").write_text("changed\n")
    monkeypatch.setattr(provenance, "_PACKAGE", package)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    assert provenance.code_version.__wrapped__().commit is None
    assert not ran.exists()
