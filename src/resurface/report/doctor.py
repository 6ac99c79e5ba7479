"""What `resurface doctor` found, one fact per line."""

from __future__ import annotations

from resurface.data.hub import Reachable
from resurface.doctor import Device, Diagnosis, NoDevice, Packages
from resurface.report.document import Document, Fact, Facts
from resurface.report.format import counted


def document(found: Diagnosis) -> Document:
    """The machine, what is installed and reachable, and what to do about what is missing."""
    facts = [_machine(found), *map(_device, found.devices), _bfloat16(found)]
    for name, disk in found.disk.items():
        warn = "" if disk.writable else ", NOT WRITABLE"
        facts.append(Fact(f"disk, {name}", f"{disk.free_gb} GB free at {disk.path}{warn}"))
    facts.append(_installed("packages", found.packages))
    facts += [_installed(f"extra {name}", extra) for name, extra in found.extras.items()]
    facts += [
        Fact(f"engine {e.name}", f"version {e.version}" if e.version else "not installed", e.install)
        for e in found.engines
    ]
    facts.append(Fact("hub", _answers(found.hub)))
    facts.append(Fact("index", _answers(found.index), found.index.remedy))
    absent = [name for name, here in found.assets.items() if not here]
    pulled = ", ".join(n for n in found.assets if n not in absent) or "none"
    pull = f"resurface assets pull {' '.join(absent)}" if absent else None
    return Document("This machine", [Facts([*facts, Fact("assets pulled", pulled, pull)])])


def _answers(state: Reachable) -> str:
    answers = "reachable" if state.reachable else "not reachable"
    return f"{answers}: {state.reason}" if state.reason else answers


def _machine(found: Diagnosis) -> Fact:
    m = found.machine
    memory = f"{m.memory_gib} GiB" if m.memory_gib is not None else "memory unknown"
    shared = f"work on a CPU in up to {counted(m.processes, 'process', 'processes')}" if m.processes else ""
    what = f"{m.os}, Python {m.python}, {m.cpu}, {m.cores} cores, {memory}"
    return Fact("machine", f"{what}; {shared} of one thread (RESURFACE_PROCESSES)" if shared else what)


def _device(device: Device | NoDevice) -> Fact:
    if isinstance(device, NoDevice):
        return Fact("device", device.reason)
    bf16 = {True: "bf16", False: "no fast bf16", None: "bf16 unknown"}[device.bf16]
    size = f"{device.memory_gib} GiB" if device.memory_gib is not None else "shared memory"
    return Fact("device", f"{device.name}: {device.model}, {size}, {bf16}")


def _bfloat16(found: Diagnosis) -> Fact:
    bf16 = found.cpu_bfloat16
    fast = "unknown" if bf16.fast is None else "yes" if bf16.fast else "no"
    trains = "bfloat16" if bf16.fast else "float32"
    speed = f", {bf16.speed_vs_float32} x float32" if bf16.speed_vs_float32 else ""
    auto = f"auto samples in float32 and trains in {trains}"
    return Fact("bf16 on CPU", f"{fast} ({bf16.reason}){speed}; {auto}")


def _installed(name: str, group: Packages) -> Fact:
    if group.found is None:
        return Fact(name, f"unknown: {group.reason}")
    if group.missing:
        return Fact(name, f"missing {', '.join(group.missing)}", group.install)
    return Fact(name, f"complete ({len(group.found)})")
