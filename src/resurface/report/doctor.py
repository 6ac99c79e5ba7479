"""What `resurface doctor` found, one fact per line."""

from __future__ import annotations

from resurface.doctor import Device, Diagnosis, NoDevice, Packages


def text(found: Diagnosis) -> str:
    """Lines of a label and a fact; below a fact what to do about it."""
    rows = [_machine(found), *map(_device, found.devices), _bfloat16(found)]
    for name, disk in found.disk.items():
        warn = "" if disk.writable else ", NOT WRITABLE"
        rows.append((f"disk, {name}", f"{disk.free_gb} GB free at {disk.path}{warn}"))
    rows.append(("packages", _installed(found.packages)))
    rows += [(f"extra {name}", _installed(extra)) for name, extra in found.extras.items()]
    for name, state in (("hub", found.hub), ("index", found.index)):
        answers = "reachable" if state.reachable else "not reachable"
        rows.append((name, f"{answers}: {state.reason}" if state.reason else answers))
    if found.index.remedy:
        rows.append(("", f"-> {found.index.remedy}"))
    absent = [name for name, here in found.assets.items() if not here]
    rows.append(("assets pulled", ", ".join(n for n in found.assets if n not in absent) or "none"))
    if absent:
        rows.append(("", f"-> resurface assets pull {' '.join(absent)}"))
    return "\n".join(f"{label:<15} {fact}".rstrip() for label, fact in rows)


def _machine(found: Diagnosis) -> tuple[str, str]:
    m = found.machine
    memory = f"{m.memory_gib} GiB" if m.memory_gib is not None else "memory unknown"
    return "machine", f"{m.os}, Python {m.python}, {m.cpu}, {m.cores} cores, {memory}"


def _device(device: Device | NoDevice) -> tuple[str, str]:
    if isinstance(device, NoDevice):
        return "device", device.reason
    bf16 = {True: "bf16", False: "no fast bf16", None: "bf16 unknown"}[device.bf16]
    size = f"{device.memory_gib} GiB" if device.memory_gib is not None else "shared memory"
    return "device", f"{device.name}: {device.model}, {size}, {bf16}"


def _bfloat16(found: Diagnosis) -> tuple[str, str]:
    bf16 = found.cpu_bfloat16
    fast = "unknown" if bf16.fast is None else "yes" if bf16.fast else "no"
    trains = "bfloat16" if bf16.fast else "float32"
    speed = f", {bf16.speed_vs_float32} x float32" if bf16.speed_vs_float32 else ""
    return "bf16 on CPU", f"{fast} ({bf16.reason}){speed}; auto samples in float32 and trains in {trains}"


def _installed(group: Packages) -> str:
    if group.found is None:
        return f"unknown: {group.reason}"
    if group.missing:
        return f"missing {', '.join(group.missing)} -> {group.install}"
    return f"complete ({len(group.found)})"
