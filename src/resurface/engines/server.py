"""JSON over HTTP with one server: what cannot be reached or is refused is an error that says what to do.

Redirects are not followed: a key would go where nobody sent it. What a server says is quoted, cut short.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from resurface.errors import ResurfaceError, UserError, shortened

KEY = "RESURFACE_API_KEY"
"""The variable of the environment that a server's key is read from."""
_TIMEOUT = httpx2.Timeout(600.0, connect=10.0)  # seconds; a long document of a busy server takes minutes
_TRIES = 6
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0  # seconds
_BUSY = frozenset({408, 425, 429})


class _Failed(Exception):
    """An attempt failed in a way that the next one may not. after: seconds that the server asks to wait."""

    def __init__(self, why: str, after: float = 0.0) -> None:
        super().__init__(why)
        self.after = after


@dataclass
class Server:
    """An OpenAI-compatible server. base: its URL up to /v1."""

    base: str
    client: httpx2.AsyncClient

    async def models(self) -> list[str]:
        """Names of the models that it serves; asked once, so that a wrong address fails at once.

        Raises:
            UserError: it does not answer, or not as such a server does.
        """
        try:
            found = await self._once("GET", "models", None)
        except _Failed as e:
            raise UserError(
                f"{self.base} does not answer ({e})", remedy="start the server, or correct --endpoint"
            ) from e
        entries = found.get("data")
        if not isinstance(entries, list):
            raise UserError(f"{self.base}/models names no models", remedy="give an OpenAI-compatible server")
        return [str(e["id"]) for e in entries if isinstance(e, dict) and "id" in e]

    async def version(self) -> str | None:
        """What vLLM's servers say of themselves; None of others."""
        with contextlib.suppress(_Failed, UserError, httpx2.HTTPError):
            found = await self._once("GET", "../version", None)
            return shortened(found["version"], 40) if isinstance(found.get("version"), str) else None
        return None

    async def complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer of /completions; tried again while the server is busy or cannot be reached.

        Raises:
            UserError: it refuses the request.
            ResurfaceError: it went on failing.
        """
        wait = _FIRST_WAIT
        for left in range(_TRIES - 1, -1, -1):
            try:
                return await self._once("POST", "completions", body)
            except _Failed as e:
                if not left:
                    raise ResurfaceError(
                        f"{self.base} failed {_TRIES} times in a row ({e})",
                        remedy="see the server's log; the same command goes on where this one ended",
                    ) from e
                # spread, so that requests that failed together do not come again together
                await asyncio.sleep(min(max(e.after, wait * random.uniform(0.5, 1.5)), _LONGEST_WAIT))
                wait *= 2
        raise AssertionError

    async def _once(self, method: str, path: str, body: Any) -> dict[str, Any]:
        try:
            answer = await self.client.request(method, f"{self.base}/{path}", json=body)
        except httpx2.TransportError as e:
            raise _Failed(shortened(str(e) or type(e).__name__)) from e
        status = answer.status_code
        if status in _BUSY or status >= 500:
            raise _Failed(f"HTTP status {status}: {_said(answer)}", _seconds(answer))
        if status != 200:
            raise self._refused(status, answer)
        try:
            found = answer.json()
        except ValueError as e:
            raise self._no_json() from e
        if not isinstance(found, dict):
            raise self._no_json()
        return found

    def _no_json(self) -> UserError:
        return UserError(
            f"{self.base} does not answer in JSON objects", remedy="give an OpenAI-compatible server"
        )

    def _refused(self, status: int, answer: httpx2.Response) -> UserError:
        if status in (401, 403):
            return UserError(
                f"{self.base} wants a key, or another one (HTTP status {status})", remedy=f"put it into {KEY}"
            )
        if 300 <= status < 400:
            where = shortened(answer.headers.get("location", "elsewhere"))
            return UserError(f"{self.base} redirects to {where}", remedy="give that address, if you trust it")
        if status == 404:
            return UserError(
                f"{self.base} has no such address or model (HTTP status 404: {_said(answer)})",
                remedy="correct --endpoint, or name the model as the server does: --served-model",
            )
        return UserError(
            f"{self.base} refuses a request (HTTP status {status}: {_said(answer)})",
            remedy="give a server that takes vLLM's parameters of sampling",
        )


@contextlib.asynccontextmanager
async def connected(base: str, requests: int) -> AsyncIterator[Server]:
    """A server, with the key of the environment, if there is one. requests: at a time.

    Raises:
        UserError: the key has characters that no key has.
    """
    key = os.environ.get(KEY, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UserError(f"{KEY} holds other characters than a key has", remedy="set it again")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    limits = httpx2.Limits(max_connections=requests, max_keepalive_connections=requests)
    async with httpx2.AsyncClient(headers=headers, timeout=_TIMEOUT, limits=limits) as client:
        yield Server(base, client)


def _seconds(answer: httpx2.Response) -> float:
    """Of Retry-After, where it is a number."""
    try:
        return max(0.0, float(answer.headers.get("retry-after", 0)))
    except ValueError:
        return 0.0


def _said(answer: httpx2.Response) -> str:
    """Its message, where it has OpenAI's form, else its text."""
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        error = answer.json()
        error = error.get("error", error)
        message = error if isinstance(error, str) else error.get("message")
        if isinstance(message, str):
            return shortened(message)
    return shortened(answer.text) or "no message"
