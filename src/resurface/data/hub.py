"""The model hub: models by their id, whether it answers, and how to use its clients without their retries."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resurface.artifacts.disk import disk_errors
from resurface.errors import UserError
from resurface.stats.result import Result

_WANTED = ["*.json", "*.safetensors", "*.model", "*.tiktoken", "*.txt", "*.jinja", "*.py"]

_TIMEOUT_S = 5.0


class Reachable(Result):
    """Whether a service answers."""

    reachable: bool
    reason: str | None = None
    """Why not, or what is wrong with what it gives."""


def status() -> Reachable:
    """Whether the model hub answers, through the very client that would download from it."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return Reachable(reachable=False, reason="switched off by HF_HUB_OFFLINE")
    try:
        status = get_session().head(constants.ENDPOINT, timeout=_TIMEOUT_S).status_code
    except Exception as e:  # each HTTP client has its own; the text could hold host names
        return Reachable(reachable=False, reason=type(e).__name__)
    if status >= 400:
        return Reachable(reachable=False, reason=f"HTTP status {status}")
    return Reachable(reachable=True)


@functools.cache
def reachable() -> bool:
    """Whether the model hub answers now; asked once, as `resurface doctor` does."""
    return status().reachable


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the hub client's lines about retries; and without retries if the hub cannot be reached."""
    from datasets import config as datasets_config
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, datasets_config.HF_HUB_OFFLINE
    with _unlogged():
        try:
            if not constants.HF_HUB_OFFLINE and not reachable():
                constants.HF_HUB_OFFLINE = datasets_config.HF_HUB_OFFLINE = True  # its cache still counts
            yield
        finally:
            constants.HF_HUB_OFFLINE, datasets_config.HF_HUB_OFFLINE = before


@contextlib.contextmanager
def _unlogged() -> Iterator[None]:
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def snapshot(spec: str, revision: str | None, instead: str) -> Path:
    """Directory of a hub model in the hub's cache, downloaded if need be; its cache counts without a network.

    spec: owner/name, or one word for the oldest models (gpt2). instead: models that need none.

    Raises:
        UserError: no such model or revision, no access to it, a hub that does not answer or answers with an
            error, a download that breaks off, a full disk.
    """
    import huggingface_hub as hub
    from huggingface_hub import constants
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    try:
        with _unlogged(), disk_errors(Path(constants.HF_HUB_CACHE)):
            return Path(hub.snapshot_download(spec, revision=revision, allow_patterns=_WANTED))
    except UserError as e:
        raise UserError(e.message, remedy="free some space, or set HF_HOME to a directory elsewhere") from e
    except Exception as e:  # every failure has its own class, depending on the client
        raise _failed(e, spec, revision, instead) from e


def _failed(e: Exception, spec: str, revision: str | None, instead: str) -> UserError:
    """What went wrong between here and the hub, from the whole chain of an exception."""
    from huggingface_hub import errors

    chain = _chain(e)
    status = next((c for c in map(_status, chain) if c), None)
    cut = f"the download of {spec!r} from the model hub broke off"
    again = "run the same command again: files that have arrived are kept"
    elsewhere = f"a local directory or an asset needs no hub: {instead}"
    if isinstance(e, errors.HFValidationError):
        return UserError(f"no model {spec!r}: no such directory, file, asset, or hub id", remedy=elsewhere)
    if any(isinstance(c, errors.GatedRepoError) for c in chain):
        return UserError(
            f"{spec!r} is gated: the hub gives it only to those whom its owners have granted access",
            remedy="ask for access on its page of the hub, then `hf auth login`",
        )
    if any(isinstance(c, errors.RevisionNotFoundError) for c in chain):
        return UserError(f"the hub's {spec!r} has no revision {revision!r}", remedy="check --revision")
    if any(isinstance(c, errors.RepositoryNotFoundError) for c in chain) or status == 404:
        word = "" if "/" in spec else " (nor is there such a directory, file or asset here)"
        return UserError(
            f"the hub has no model {spec!r}{word}",
            remedy=f"check the name; a private model needs `hf auth login`; {elsewhere}",
        )
    if status in (401, 403):
        return UserError(
            f"the hub refuses access to {spec!r} (HTTP status {status})",
            remedy="check the name, or `hf auth login` with a token that may read it",
        )
    if status == 429:
        return UserError(
            f"the hub is asked too often from here, and does not give {spec!r} now (HTTP status 429)",
            remedy=f"wait some minutes and run the same command again, or `hf auth login`; {elsewhere}",
        )
    if status and status >= 400:
        return UserError(
            f"the hub fails at {spec!r} (HTTP status {status})", remedy=f"try again later; {elsewhere}"
        )
    if any(isinstance(c, errors.OfflineModeIsEnabled) for c in chain) or _offline():
        return UserError(
            f"{spec!r} is not in the cache of the hub, which is switched off by HF_HUB_OFFLINE",
            remedy=f"unset it; {elsewhere}",
        )
    kinds = [type(c).__name__ for c in chain]
    if any("Connect" in k or "Timeout" in k or "Proxy" in k for k in kinds):
        word = "" if "/" in spec else "no such directory, file or asset, and "
        last = next(k for k in kinds if "Connect" in k or "Timeout" in k or "Proxy" in k)
        return UserError(
            f"no model {spec!r}: {word}the model hub cannot be reached ({last}) and has not been here before",
            remedy=f"without a hub, use a local directory or an asset: {instead}",
        )
    said = " ".join(str(chain[-1]).split())[:160]
    return UserError(f"{cut} ({kinds[-1]}{': ' + said if said else ''})", remedy=again)


def _chain(e: BaseException) -> list[BaseException]:
    """An exception and those that it was raised from, latest first."""
    found: list[BaseException] = []
    here: BaseException | None = e
    while here is not None and here not in found:
        found.append(here)
        here = here.__cause__ or here.__context__
    return found


def _status(e: Any) -> int | None:
    code = getattr(getattr(e, "response", None), "status_code", None)
    return code if isinstance(code, int) else None


def _offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)
