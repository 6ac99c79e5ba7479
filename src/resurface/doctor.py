"""What this machine can do, found out by trying: devices, space, extras, hub, index, assets.

The result holds no host names, paths of others, tokens or environment values.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from resurface import assets, hardware
from resurface.artifacts import provenance
from resurface.artifacts.fingerprint import file_sha256
from resurface.assets import pip
from resurface.data import hub
from resurface.errors import UserError

_TIMEOUT_S = 5.0
_PROBE = "mpl-2.0"  # the smallest asset: fetching it is the test of the index


def diagnose() -> dict[str, Any]:
    """Plain values, ready for JSON; what could not be found out is null, with a reason beside it."""
    return {
        "machine": hardware.machine().model_dump(exclude={"accelerator"}),
        "devices": _devices(),
        "cpu_bfloat16": hardware.cpu_bfloat16() | {"speed_vs_float32": bfloat16_speed()},
        "disk": {"cache": _free(provenance.cache_dir()), "here": _free(Path.cwd())},
        "packages": _requirements(None),
        "extras": _extras(),
        "hub": hub.status(),
        "index": _index(),
        "assets": {a.name: assets.is_pulled(a.name) for a in assets.list_assets()},
    }


def _devices() -> list[dict[str, Any]]:
    try:
        import torch
    except ImportError as e:
        return [{"name": None, "reason": f"torch cannot be imported ({type(e).__name__}: {e})"}]
    found: list[dict[str, Any]] = []
    for i in range(torch.cuda.device_count()):
        p = torch.cuda.get_device_properties(i)
        bf16 = bool(torch.cuda.is_bf16_supported(including_emulation=False))
        found.append(
            {
                "name": f"cuda:{i}",
                "model": p.name,
                "memory_gib": round(p.total_memory / 2**30, 1),
                "bf16": bf16,
            }
        )
    if torch.backends.mps.is_available():
        found.append({"name": "mps", "model": "Apple GPU", "memory_gib": None, "bf16": None})
    cpu = hardware.machine()
    found.append(
        {
            "name": "cpu",
            "model": cpu.cpu,
            "memory_gib": cpu.memory_gib,
            "bf16": hardware.cpu_bfloat16()["fast"],
        }
    )
    return found


def bfloat16_speed(size: int = 512, repeats: int = 3) -> float | None:
    """Speed of a bfloat16 matrix product on the CPU relative to float32, best of some; null without torch.

    Measured because the flags are only half of it: a build of torch may not use them.
    """
    try:
        import torch
    except ImportError:
        return None
    best = []
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.ones(size, size, dtype=dtype)
        times = []
        for _ in range(repeats + 1):
            start = time.perf_counter()
            torch.mm(a, a)
            times.append(time.perf_counter() - start)
        best.append(min(times[1:]))  # the first call chooses a kernel
    return round(best[0] / best[1], 2)


def _free(path: Path) -> dict[str, Any]:
    place = path
    while not place.exists():
        place = place.parent
    return {
        "path": str(path),
        "free_gb": round(shutil.disk_usage(place).free / 1e9, 1),
        "writable": os.access(place, os.W_OK),
    }


def _requirements(extra: str | None) -> dict[str, Any]:
    """Each package that resurface (or one extra of it) asks for: its version, or how to get it.

    Read from the installed metadata, i.e. from what pyproject.toml really declares.
    """
    from packaging.requirements import Requirement

    try:
        declared = importlib.metadata.requires("resurface") or []
    except importlib.metadata.PackageNotFoundError:
        return {"found": None, "missing": None, "reason": "resurface runs from a source tree, not installed"}
    found, missing = {}, []
    for requirement in map(Requirement, declared):
        mark = requirement.marker
        wanted = mark is None or mark.evaluate({"extra": extra or ""})
        if not wanted or (extra and (mark is None or mark.evaluate({"extra": ""}))):
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(requirement.name)
            continue
        found[requirement.name] = version
        if not requirement.specifier.contains(version, prereleases=True):
            missing.append(f"{requirement.name}{requirement.specifier}")
    wanted_name = f"resurface[{extra}]" if extra else "resurface"
    install = f"pip install '{wanted_name}'" if missing else None
    return {"found": found, "missing": missing, "install": install}


def _extras() -> dict[str, Any]:
    try:
        names = importlib.metadata.metadata("resurface").get_all("Provides-Extra") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    return {name: _requirements(name) for name in names}


def _index() -> dict[str, Any]:
    asset = assets.get(_PROBE)
    with tempfile.TemporaryDirectory() as tmp:
        try:
            wheel = pip.fetch(asset.requirement, Path(tmp), asset.size, asset.name, timeout_s=3 * _TIMEOUT_S)
        except UserError as e:
            return {"reachable": False, "reason": e.message, "remedy": e.remedy}
        if file_sha256(wheel) != asset.sha256:
            return {"reachable": True, "reason": "it serves files other than the pinned ones", "remedy": None}
    return {"reachable": True, "reason": None, "remedy": None}


# ------------------------------------------------------------------------------ rendering


def render(d: dict[str, Any]) -> str:
    """`diagnose`'s result for people, one fact per line."""
    m = d["machine"]
    memory = f"{m['memory_gib']} GiB" if m["memory_gib"] is not None else "memory unknown"
    rows = [("machine", f"{m['os']}, Python {m['python']}, {m['cpu']}, {m['cores']} cores, {memory}")]
    for device in d["devices"]:
        if device["name"] is None:
            rows.append(("device", device["reason"]))
            continue
        bf16 = {True: "bf16", False: "no fast bf16", None: "bf16 unknown"}[device["bf16"]]
        size = f"{device['memory_gib']} GiB" if device["memory_gib"] is not None else "shared memory"
        rows.append(("device", f"{device['name']}: {device['model']}, {size}, {bf16}"))
    bf16 = d["cpu_bfloat16"]
    trains = "bfloat16" if bf16["fast"] else "float32"
    speed = f", {bf16['speed_vs_float32']} x float32" if bf16["speed_vs_float32"] else ""
    rows.append(
        (
            "bf16 on CPU",
            f"{_yes(bf16['fast'])} ({bf16['reason']}){speed}; auto samples in float32 and trains in {trains}",
        )
    )
    for name, disk in d["disk"].items():
        warn = "" if disk["writable"] else ", NOT WRITABLE"
        rows.append((f"disk, {name}", f"{disk['free_gb']} GB free at {disk['path']}{warn}"))
    rows.append(("packages", _installed(d["packages"])))
    rows += [(f"extra {name}", _installed(extra)) for name, extra in d["extras"].items()]
    for name in ("hub", "index"):
        state = d[name]
        text = "reachable" if state["reachable"] else "not reachable"
        text += f": {state['reason']}" if state["reason"] else ""
        rows.append((name, text))
        if state.get("remedy"):
            rows.append(("", f"-> {state['remedy']}"))
    pulled = [name for name, here in d["assets"].items() if here]
    absent = [name for name, here in d["assets"].items() if not here]
    rows.append(("assets pulled", ", ".join(pulled) or "none"))
    if absent:
        rows.append(("", f"-> resurface assets pull {' '.join(absent)}"))
    return "\n".join(f"{label:<15} {text}".rstrip() for label, text in rows)


def _yes(value: bool | None) -> str:
    return "unknown" if value is None else "yes" if value else "no"


def _installed(group: dict[str, Any]) -> str:
    if group["found"] is None:
        return f"unknown: {group['reason']}"
    if group["missing"]:
        return f"missing {', '.join(group['missing'])} -> {group['install']}"
    return f"complete ({len(group['found'])})"
