"""What `doctor` says is true of this machine, and says nothing it should not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from resurface import doctor, hardware
from resurface.assets import pip
from resurface.errors import UserError


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with neither hub nor index."""
    monkeypatch.setenv("RESURFACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:secret@127.0.0.1:9/simple")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")


def test_diagnosis(alone: None, tmp_path: Path) -> None:
    # a process of its own: HF_ENDPOINT is read when the hub's client is imported
    code = (
        "import json; from resurface import doctor; from resurface.report import markdown; "
        "from resurface.report.doctor import document; "
        "d = doctor.diagnose(); print(json.dumps([d.as_json(), markdown.markdown(document(d))]))"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "HF_ENDPOINT": "http://secret:x@127.0.0.1:9"}
    env.pop("HF_HUB_OFFLINE", None)
    said = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True).stdout
    found, text = json.loads(said)

    assert found["devices"][-1]["name"] == "cpu" and found["machine"]["cores"] >= 1
    assert found["disk"]["cache"] == {
        "path": str(tmp_path / "cache"), "free_gb": found["disk"]["cache"]["free_gb"], "writable": True,
    }  # fmt: skip
    assert found["hub"]["reachable"] is False and found["hub"]["reason"]
    assert found["index"]["reachable"] is False and "no package index" in found["index"]["reason"]
    assert not any(found["assets"].values())
    assert b"secret" not in said and b"127.0.0.1" not in said
    assert "not reachable" in text and "resurface assets pull smollm2-135m-instruct" in text
    assert not (tmp_path / "cache").exists(), "a diagnosis leaves nothing behind"


def test_offline_switch_is_honoured() -> None:
    code = "from resurface.data import hub; print(hub.status().reason)"
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "HF_HUB_OFFLINE": "1"}
    said = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert "HF_HUB_OFFLINE" in said.stdout


@pytest.mark.parametrize(
    ("cpuinfo", "fast"),
    [
        ("flags\t\t: fpu avx2 fma\n", False),
        ("flags\t\t: fpu avx512f avx512_bf16\n", True),
        ("flags\t\t: avx512f amx_bf16 amx_tile\n", True),
        ("Features\t: fp asimd bf16\n", True),
        ("model name: bf16\n", None),
    ],
)
def test_bfloat16_by_flags(tmp_path: Path, cpuinfo: str, fast: bool | None) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(cpuinfo)
    found = hardware.cpu_bfloat16(file)
    assert found.fast is fast and found.reason
    assert hardware.cpu_bfloat16(tmp_path / "absent").fast is None


def test_extras_are_those_that_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata as metadata

    declared = [
        "pytest>=8",
        "numpy>=999",
        "surely-not-installed>=2; extra == 'more'",
        "rich; extra == 'more'",
    ]
    monkeypatch.setattr(metadata, "requires", lambda name: declared)
    base = doctor._requirements(None)
    assert set(base.found or ()) == {"pytest", "numpy"} and base.missing == ("numpy>=999",)
    assert base.install == "pip install 'resurface'"
    more = doctor._requirements("more")
    assert set(more.found or ()) == {"rich"} and more.missing == ("surely-not-installed",)
    assert more.install == "pip install 'resurface[more]'"


def test_index_errors_are_reported_not_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> Path:
        raise UserError("this Python has no pip", remedy="ensurepip")

    monkeypatch.setattr(pip, "fetch", fail)
    found = {"reachable": False, "reason": "this Python has no pip", "remedy": "ensurepip"}
    assert doctor._index().as_json() == found
