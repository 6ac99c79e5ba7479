"""An artifact: a directory with data files and a manifest, written once, verified when read.

    <out>/<stage>/<name>-<fp8>/        a final name means finished
    <out>/<stage>/<name>-<fp8>.part/   work in progress, found again by the next run

The fingerprint is a hash of (stage, stage version, configuration, input fingerprints). The same
fingerprint is reused, another never is. `.part` belongs to one fingerprint by its name, is locked
by one process at a time, and is renamed once every file is on disk and hashed.

States of a build:
    nothing --open--> .part --finish--> final          (Ctrl-C, SIGKILL: .part stays and is resumed)
    final   --open--> reused (verified)
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from resurface.artifacts import provenance
from resurface.artifacts.disk import (
    atomic_write,
    disk_errors,
    fsync_dir,
    open_lock,
    own_directory,
    require_space,
)
from resurface.artifacts.file_hashes import fresh_sha256
from resurface.artifacts.fingerprint import file_sha256, fingerprint
from resurface.artifacts.locks import acquire
from resurface.errors import CorruptArtifact, UserError, quoted, reading, shortened
from resurface.reading.plain_data import read_json, user_path

SCHEMA_VERSION = 2
MANIFEST = "manifest.json"
_STATE = "state.json"  # of a .part: elapsed time so far; gone when finished


# ------------------------------------------------------------------------------ reading


@dataclass(frozen=True)
class Input:
    """What an artifact was made of, as its manifest says."""

    fingerprint: str
    path: str | None = None
    """Where it was; None of what has no place, such as texts."""
    spec: str | None = None
    """What the user called it; None of artifacts."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """What else is recorded of it, and is no part of the identity."""

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Input:
        """An entry of a manifest's inputs."""
        more = {k: v for k, v in entry.items() if k not in ("fingerprint", "path", "spec")}
        return cls(str(entry["fingerprint"]), entry.get("path"), entry.get("spec"), more)

    @property
    def place(self) -> Path:
        """Its path.

        Raises:
            UserError: it has none.
        """
        if self.path is None:
            raise UserError("a manifest does not say where its input was", remedy="make the artifact again")
        return Path(self.path)


@dataclass(frozen=True)
class Artifact:
    """A finished artifact on disk."""

    path: Path
    manifest: dict[str, Any] = field(repr=False)

    @property
    def stage(self) -> str:
        return str(self.manifest["stage"])

    @property
    def fingerprint(self) -> str:
        return str(self.manifest["fingerprint"])

    @property
    def counts(self) -> dict[str, Any]:
        return dict(self.manifest["counts"])

    @property
    def config(self) -> dict[str, Any]:
        return dict(self.manifest["config"])

    @property
    def inputs(self) -> dict[str, Input]:
        """Role -> what it was made of."""
        return {role: Input.of(entry) for role, entry in self.manifest["inputs"].items()}

    def file(self, name: str) -> Path:
        if name not in self.manifest["files"]:
            raise CorruptArtifact(f"{self.path} has no file {name}", remedy="make the artifact again")
        return self.path / name


def is_artifact(path: Path) -> bool:
    return (path / MANIFEST).is_file()


def load(path: str | Path, *, stage: str | None = None, verify: bool = True) -> Artifact:
    """Open a finished artifact and check every byte of it against its manifest.

    A path without the fingerprint (`runs/stages/sample/corpus`) finds the artifact if there is only one.

    Raises:
        UserError: no artifact there, several, or one of another stage.
        CorruptArtifact: a file is missing or changed, or the manifest contradicts itself.
    """
    path = user_path(path)
    if path.name == MANIFEST:
        path = path.parent
    if path.name.endswith(".part"):
        raise UserError(f"{path} is unfinished", remedy="run the command that made it again: it resumes")
    with reading(str(path), remedy="give the directory that a stage printed"):
        if not path.exists():
            path = completed(path)
        there = is_artifact(path)
    if not there:
        raise UserError(
            f"{path} is not an artifact (no {MANIFEST})",
            remedy="give the directory that a stage printed, such as runs/x/sample/NAME-1a2b3c4d",
        )
    remove = f"remove {path} and run the command that made it again"
    manifest = read_json(path / MANIFEST, remedy=remove, kind=CorruptArtifact)
    with reading(str(path / MANIFEST), remedy=remove, kind=CorruptArtifact):
        version = manifest["schema_version"]
        mine = _identity(manifest["stage"], manifest["stage_version"], manifest["config"], manifest["inputs"])
        recorded, files = manifest["fingerprint"], _files(manifest["files"])
        intact = manifest["checksum"] == _checksum(manifest)
        _check_kinds(manifest)
    if version != SCHEMA_VERSION:
        raise UserError(
            f"{path} has schema version {quoted(version)}; this resurface reads {SCHEMA_VERSION}",
            remedy="use the version that its manifest names under provenance.packages",
        )
    if mine != recorded or not intact:
        raise CorruptArtifact(
            f"fingerprint mismatch: {path / MANIFEST} was changed after it was written", remedy=remove
        )
    if stage is not None and manifest["stage"] != stage:
        raise UserError(
            f"{path} was made by stage {shortened(manifest['stage'])}; this needs one made by {stage}",
            remedy=f"give the directory that `resurface {stage}` printed",
        )
    if verify:
        for name, (size, sha256) in files.items():
            file = path / name
            if not file.is_file():
                raise CorruptArtifact(f"{path} lacks its file {shortened(name)}", remedy=remove)
            with reading(str(file), remedy=remove, kind=CorruptArtifact):
                same = file.stat().st_size == size and fresh_sha256(file) == sha256
            if not same:
                raise CorruptArtifact(
                    f"fingerprint mismatch: {file} is not the file that was written", remedy=remove
                )
    return Artifact(path, manifest)


def _files(entries: dict[str, Any]) -> dict[str, tuple[int, str]]:
    """name -> (bytes, sha256) of a manifest's files; ValueError for a name that leads elsewhere."""
    for name in entries:
        if Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name or name in ("", "."):
            raise ValueError(f"{quoted(name)} is not the name of a file in it")
    return {name: (int(e["bytes"]), str(e["sha256"])) for name, e in entries.items()}


def _check_kinds(manifest: Mapping[str, Any]) -> None:
    """TypeError where an entry that everybody reads is of another type than `Build.finish` writes."""
    kinds = {"stage": str, "fingerprint": str, "config": dict, "counts": dict, "inputs": dict}
    for name, kind in kinds.items():
        if not isinstance(manifest[name], kind):
            raise TypeError(f"{name} is {quoted(manifest[name])}")


def completed(path: Path) -> Path:
    """The one artifact whose name without its fingerprint is `path`'s; `path` itself if there is none.

    Raises:
        UserError: several.
    """
    found = [p for p in path.parent.glob(f"{glob.escape(path.name)}-{'?' * 8}") if is_artifact(p)]
    if len(found) > 1:
        raise UserError(
            f"{path} could be any of {len(found)} artifacts",
            remedy="name one: " + ", ".join(sorted(str(p) for p in found)),
        )
    return found[0] if found else path


def _checksum(manifest: Mapping[str, Any]) -> str:
    """Hash of everything else in a manifest: counts and provenance are as trustworthy as data."""
    return fingerprint({k: v for k, v in manifest.items() if k != "checksum"})


def _identity(stage: str, version: int, config: Any, inputs: Mapping[str, Any]) -> str:
    return fingerprint(
        {
            "schema": SCHEMA_VERSION,
            "stage": stage,
            "version": version,
            "config": config,
            "inputs": {role: entry["fingerprint"] for role, entry in inputs.items()},
        }
    )


# ------------------------------------------------------------------------------ writing


class Build:
    """An artifact that is being made. `path` is its `.part` directory (or the finished one)."""

    def __init__(
        self,
        out: Path,
        stage: str,
        name: str,
        *,
        version: int,
        config: Mapping[str, Any],
        inputs: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self._identity = {"stage": stage, "stage_version": version}
        self._config, self._inputs = dict(config), {k: dict(v) for k, v in inputs.items()}
        self.fingerprint = _identity(stage, version, self._config, self._inputs)
        self.final = out / stage / f"{name}-{self.fingerprint[:8]}"
        self.path = self.final.with_name(self.final.name + ".part")
        self.artifact: Artifact | None = None
        self.reused = False
        self._opened = time.monotonic()
        self._before = 0.0

    def there(self) -> bool:
        """Whether it is finished already.

        Raises:
            Unfinished: it is not, within `finished_only`.
        """
        there = self.final.exists()
        if not there and _finished_only.get():
            raise Unfinished(self.final.parent.name)
        return there

    @property
    def finished(self) -> bool:
        return self.artifact is not None

    def wall_time(self) -> float:
        """Seconds of work so far, earlier interrupted attempts included (as of their last save)."""
        return self._before + time.monotonic() - self._opened

    def save_state(self) -> None:
        """Call after each piece of work that would survive a crash: keeps the clock honest."""
        atomic_write(
            self.path / _STATE,
            json.dumps({"fingerprint": self.fingerprint, "wall_time_s": self.wall_time()}),
        )

    def finish(self, counts: Mapping[str, Any], *, keep: set[str] | None = None) -> Artifact:
        """Hash, sync and rename: from here on the artifact exists.

        counts: rows, tokens and the like, shown by tools without opening the data.
        keep: patterns of top-level names to keep; None keeps all. Scratch files of a resume go away here.
        """
        for entry in list(self.path.iterdir()):
            scratch = entry.name == _STATE or entry.name.endswith(".tmp")
            kept = keep is None or any(fnmatchcase(entry.name, pattern) for pattern in keep)
            if scratch or not kept:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        files = {}
        for file in sorted(p for p in self.path.rglob("*") if p.is_file() and p.name != MANIFEST):
            with file.open("rb+") as f:
                os.fsync(f.fileno())
            files[file.relative_to(self.path).as_posix()] = {
                "sha256": file_sha256(file),
                "bytes": file.stat().st_size,
            }
        manifest = {
            "schema_version": SCHEMA_VERSION,
            **self._identity,
            "fingerprint": self.fingerprint,
            "config": self._config,
            "inputs": self._inputs,
            "files": files,
            "counts": dict(counts),
            "wall_time_s": round(self.wall_time(), 3),
            "provenance": provenance.collect().as_json(),
        }
        manifest["checksum"] = _checksum(manifest)
        atomic_write(self.path / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True) + "\n")
        fsync_dir(self.path)
        os.rename(self.path, self.final)
        fsync_dir(self.final.parent)
        self.path = self.final
        self.artifact = Artifact(self.final, manifest)
        return self.artifact


class Unfinished(Exception):
    """An artifact is not there; raised only within `finished_only`."""

    def __init__(self, stage: str) -> None:
        super().__init__(stage)
        self.stage = stage


_finished_only: ContextVar[bool] = ContextVar("finished_only", default=False)


@contextlib.contextmanager
def finished_only() -> Iterator[None]:
    """In here stages hand out what is finished, and raise `Unfinished` in place of any work or file."""
    token = _finished_only.set(True)
    try:
        yield
    finally:
        _finished_only.reset(token)


@contextlib.contextmanager
def build(
    out: str | Path,
    stage: str,
    name: str,
    *,
    version: int,
    config: Mapping[str, Any],
    inputs: Mapping[str, Mapping[str, Any]],
    need_bytes: int = 0,
) -> Iterator[Build]:
    """Open an artifact for building; `Build.finished` says that it is there already.

    config: plain values that decide the content. inputs: role -> {"fingerprint": ..., ...}; only
    the fingerprint decides identity, the rest (a path, a name) is kept for people and for replay.
    need_bytes: free space to insist on before work starts.

    Raises:
        Busy: another process is building it; see `locks`.
        Unfinished: it does not exist, within `finished_only`.
        CorruptArtifact: it exists, and is damaged.
        UserError: the disk is full or not writable.
    """
    b = Build(Path(out), stage, name, version=version, config=config, inputs=inputs)
    with disk_errors(b.final):
        there = b.there()
    if there:
        b.artifact, b.path, b.reused = load(b.final), b.final, True
        yield b
        return
    with disk_errors(b.path):
        own_directory(b.path)
        require_space(b.path, need_bytes)
        lock = open_lock(b.final.with_name(b.final.name + ".lock"))
    try:
        acquire(lock, b.final)
        if b.final.exists():  # finished by the process that held the lock until a moment ago
            b.artifact, b.path, b.reused = load(b.final), b.final, True
            if (left := b.final.with_name(b.final.name + ".part")).exists():
                shutil.rmtree(left)
            yield b
            return
        with contextlib.suppress(UserError), reading(_STATE):  # a clock that is lost costs no work
            b._before = float(read_json(b.path / _STATE)["wall_time_s"])
        with disk_errors(b.path):
            yield b
    finally:
        if b.finished:
            b.final.with_name(b.final.name + ".lock").unlink(missing_ok=True)
        lock.close()


def as_input(artifact: Artifact) -> dict[str, Any]:
    """How an artifact is named in the manifest of one made from it."""
    return {"fingerprint": artifact.fingerprint, "path": str(artifact.path.resolve())}
