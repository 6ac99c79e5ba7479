"""Tests that need vLLM run in its environment (scripts/vllm_env), with -m vllm."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

import pytest

from resurface.models import ModelConfig, resolve

_ABSENT = importlib.util.find_spec("vllm") is None
needs_vllm = [
    pytest.mark.vllm,
    pytest.mark.timeout(900),
    pytest.mark.skipif(_ABSENT, reason="vLLM is not installed: sh scripts/vllm_env DIRECTORY"),
]
"""Marks of what needs it."""

_ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "TORCHDYNAMO_DISABLE": "1",
}


@contextlib.contextmanager
def vllm_serving(name: str, *options: str) -> Iterator[str]:
    """URL of vLLM's own server on loopback, with a model under its name here."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    command = [
        # not its command, which looks for a package called vllm
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--served-model-name", name,
        "--model", str(resolve(ModelConfig(id=name)).path), "--host", "127.0.0.1", "--port", str(port),
        "--dtype", "float32", "--enforce-eager", "--max-num-seqs", "16", *options,
    ]  # fmt: skip
    process = subprocess.Popen(command, env=os.environ | _ENVIRONMENT, start_new_session=True)
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(600):
            assert process.poll() is None, "the server has ended"
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/v1/models", timeout=5):
                break
            time.sleep(0.5)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=30)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
