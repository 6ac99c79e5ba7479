"""Fetch one wheel with the site's own pip: its index, proxy and certificate settings hold."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from resurface import progress
from resurface.errors import UserError


def fetch(requirement: str, folder: Path, size: int, label: str, *, timeout_s: float | None = None) -> Path:
    """Download `name==version` as a wheel into `folder` (created) and return the file.

    size: expected bytes, for the progress bar. timeout_s: give up after that long, without retries.

    Raises:
        UserError: pip is absent, no index answers, the index lacks it, the disk is full.
    """
    if importlib.util.find_spec("pip") is None:
        raise UserError("this Python has no pip, which pulls assets", remedy=f"{sys.executable} -m ensurepip")
    dest, tmp = folder / "wheel", folder / "tmp"
    dest.mkdir(parents=True)
    tmp.mkdir()
    env = {k: v for k, v in os.environ.items() if k != "PIP_CONSTRAINT"}  # pins of code, not of data
    # no input: never wait for a password; -vv names every index that did not answer
    env |= {"TMPDIR": str(tmp), "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_LOG": ""}
    command = [  # -P: no module of the working directory in place of pip's
        sys.executable, "-P", "-m", "pip", "download", "-vv", "--no-deps", "--only-binary", ":all:",
        "--no-cache-dir", "--progress-bar", "off", "--dest", str(dest), requirement,
    ]  # fmt: skip
    if timeout_s is not None:
        command += ["--retries", "0", "--timeout", str(max(1, int(timeout_s)))]
    log = folder / "log"
    with log.open("wb") as sink:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, env=env
        )
    try:
        _watch(child, folder, size, label, timeout_s)
    finally:
        if child.poll() is None:  # Ctrl-C, or too slow
            child.terminate()
            child.wait()
    wheels = list(dest.glob("*.whl"))
    if child.returncode or len(wheels) != 1:
        raise explain(requirement, log.read_text(errors="replace"))
    return wheels[0]


def _watch(
    child: subprocess.Popen[bytes], folder: Path, size: int, label: str, timeout_s: float | None
) -> None:
    """Show the growing file until pip ends.

    Its own machine-readable progress came only with pip 24.1, after the one that Python 3.11 and
    3.12 bundle; the file it writes is the same in all.
    """
    if timeout_s is not None:
        try:
            child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise UserError(f"no answer from the package index in {timeout_s:.0f} s") from None
        return
    with progress.task(f"pull {label}", total=size, unit="bytes") as task:
        while child.poll() is None:
            time.sleep(0.1)
            task.advance(max(0, min(_largest(folder), size) - task.done))
        if child.returncode == 0:
            task.advance(size - task.done)


def _largest(folder: Path) -> int:
    """Bytes of the biggest file there: the download, wherever pip keeps it before moving it."""
    biggest = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                biggest = max(biggest, os.stat(os.path.join(root, name)).st_size)
            except OSError:  # moved just now
                continue
    return biggest


def explain(requirement: str, log: str) -> UserError:
    """What pip's output means, as one error without addresses (they may hold credentials)."""
    name, version = requirement.split("==")
    retry = "check the network, or set PIP_INDEX_URL (and HTTPS_PROXY) to your site's index"
    if "No space left on device" in log or "Disk quota exceeded" in log:
        return UserError(
            f"no space left on the disk while downloading {requirement}",
            remedy="free some space, or set RESURFACE_CACHE to a directory on a larger disk",
        )
    versions = re.search(r"\(from versions: (.*?)\)", log)
    if versions and versions[1] != "none":
        return UserError(
            f"the package index has no wheel of {requirement}; it has {name} {versions[1]}",
            remedy=f"ask who runs your package index to add {name} {version}",
        )
    failed = [line for line in log.splitlines() if "Could not fetch URL" in line]
    if any(" 404 " not in line for line in failed) or "Retrying (Retry(" in log:
        return UserError(f"no package index could be reached for {requirement}", remedy=retry)
    if versions:
        return UserError(
            f"the package index has no {name} (wanted {version})",
            remedy="set PIP_INDEX_URL to an index that mirrors PyPI, or PIP_FIND_LINKS to a folder "
            "with the wheel",
        )
    errors = [line for line in log.splitlines() if line.startswith("ERROR")]
    said = re.sub(r"\w+://\S+|host='[^']*'", "...", errors[-1] if errors else "no message")
    return UserError(f"pip could not download {requirement}: {said}", remedy=retry)
