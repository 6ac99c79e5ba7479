"""What is asked of a server of completions and what its answers say, checked: token ids in, token ids out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resurface.engines.base import SamplingParams
from resurface.engines.server import Server
from resurface.errors import UserError, quoted
from resurface.stats.reasons import Reason


@dataclass(frozen=True)
class Choice:
    """What a server drew. logprobs: of its tokens, float32 [n]; None where it gave none. top: the highest
    log-probability at the first position. prompt: tokens that the server read, by its own account; None
    where it does not say."""

    ids: list[int]
    finish: str
    logprobs: NDArray[np.float32] | None
    top: float | None
    prompt: list[int] | int | None


def request(served: str, start_ids: Sequence[int], params: SamplingParams) -> dict[str, Any]:
    """A request without its seed. All that shapes a distribution is said: what is left out, a server takes
    from a file of the model's."""
    return {
        "model": served,
        "prompt": list(start_ids),
        "n": 1,
        "max_tokens": params.max_new_tokens,
        "min_tokens": params.min_tokens,
        "temperature": params.temperature,
        "top_p": params.top_p,
        "top_k": params.top_k,
        "min_p": 0.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "repetition_penalty": 1.0,
        "stop_token_ids": list(params.stop_ids),
        "ignore_eos": True,  # what ends a document is in stop_token_ids, and nothing else
        "logprobs": 1,
        "return_token_ids": True,
        "return_tokens_as_token_ids": True,
        "add_special_tokens": False,
        "skip_special_tokens": False,
        "stream": False,
    }


def choice_of(answer: Mapping[str, Any]) -> Choice:
    """The one choice of an answer.

    Raises:
        UserError: it has none, or no token ids.
    """
    choices = answer.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        raise UserError("the server's answer has not one choice", remedy="give an OpenAI-compatible server")
    choice = choices[0]
    logprobs = choice.get("logprobs") or {}
    ids = choice.get("token_ids")
    if ids is None:
        ids = [_named(t) for t in logprobs.get("tokens") or []] or None
    if not isinstance(ids, list) or not all(type(i) is int and 0 <= i < 2**31 for i in ids):
        raise UserError(
            "the server gives text without its token ids, and encoding it again would make other tokens",
            remedy="give a server that honours return_token_ids, such as vLLM's",
        )
    values = logprobs.get("token_logprobs")
    known = isinstance(values, list) and all(isinstance(x, int | float) for x in values)
    top = (logprobs.get("top_logprobs") or [None])[0]
    usage = answer.get("usage") or {}
    return Choice(
        ids=ids,
        finish=str(choice.get("finish_reason")),
        logprobs=np.array(values, np.float32) if known else None,
        top=max(top.values()) if isinstance(top, dict) and top else None,
        prompt=choice.get("prompt_token_ids") or usage.get("prompt_tokens"),
    )


def _named(token: object) -> int | None:
    """`token_id:17` -> 17; None of a token's text."""
    name, _, number = str(token).partition(":")
    return int(number) if name == "token_id" and number.isdecimal() else None


def wrong(choice: Choice, params: SamplingParams, *, scored: bool) -> str | None:
    """How a document is not what was asked for; None if it is. scored: log-probabilities were promised."""
    n, ended = len(choice.ids), choice.finish == "stop"
    if choice.finish not in ("stop", "length"):
        return f"a document ends with finish_reason {quoted(choice.finish)}"
    if not n or n > params.max_new_tokens or (not ended and n < params.max_new_tokens):
        return f"a document has {n} tokens (finish_reason {choice.finish})"
    stops = [k for k, i in enumerate(choice.ids) if i in set(params.stop_ids)]
    if ended and stops[-1:] != [n - 1]:
        return f"a document ends with token {choice.ids[-1]}, which is no stop id"
    if stops != ([n - 1] if ended else []) or (ended and n <= params.min_tokens):
        return f"token {stops[0] + 1} of a document is a stop id (min_tokens {params.min_tokens})"
    if choice.logprobs is None or not len(choice.logprobs):
        return "log-probabilities are missing, which were there at first" if scored else None
    if len(choice.logprobs) != n or not np.isfinite(choice.logprobs).all():
        return f"{len(choice.logprobs)} log-probabilities come with {n} tokens, or one is not finite"
    return None


@dataclass(frozen=True)
class Probed:
    """What a server can do."""

    version: str | None
    no_logprobs: Reason | None
    no_logprobs_tau: Reason | None


async def probe(server: Server, served: str, given: Sequence[int]) -> Probed:
    """What a server can do, by two requests of one token each.

    Raises:
        UserError: it does not serve that model, or does not take or give token ids.
    """
    names = await server.models()
    if served not in names:
        raise UserError(
            f"{server.base} does not serve {quoted(served)}; it serves: "
            + quoted(", ".join(names) or "none", 300),
            remedy="name the model as the server does: --served-model",
        )
    prompt = [*given] * (1 if len(given) > 2 else 3)  # long enough to be told from its digits
    answers = []
    for top_k in (0, 1):  # 2 is as hot as servers allow: nothing but a forced choice is certain then
        params = SamplingParams(2.0, 0, 1, (), 0, top_k=top_k)
        answers.append(choice_of(await server.complete({**request(served, prompt, params), "seed": 0})))
    for answer in answers:
        if answer.prompt not in (prompt, len(prompt)):
            seen = len(answer.prompt) if isinstance(answer.prompt, list) else answer.prompt
            raise UserError(
                f"{server.base} does not take a prompt as token ids: it was given {len(prompt)} and read "
                f"{quoted(seen)}",
                remedy="give a server that does, such as vLLM's",
            )
    return Probed(await server.version(), *_missing(answers[0].top, answers[1].top))


def _missing(free: float | None, forced: float | None) -> tuple[Reason | None, Reason | None]:
    """Why log-probabilities at T = 1 are missing, and those of drawing.

    free, forced: the highest one behind the same prompt, where all tokens can be drawn, and where one can.
    """
    if free is None or forced is None:
        return Reason.SERVER_GIVES_NONE, Reason.SERVER_GIVES_NONE
    if free > -0.05:  # nats: the choice is as good as forced
        return Reason.SERVER_GIVES_UNCLEAR, Reason.SERVER_GIVES_UNCLEAR
    if abs(free - forced) <= 0.02:  # the rounding of a batch in bfloat16 is less
        return None, Reason.SERVER_GIVES_MODEL_ONLY
    if abs(forced) <= 1e-4:
        return Reason.SERVER_GIVES_DRAWN_ONLY, None
    return Reason.SERVER_GIVES_UNCLEAR, Reason.SERVER_GIVES_UNCLEAR
