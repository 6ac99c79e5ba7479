"""Engine `endpoint`: documents drawn by a server that speaks OpenAI's completions, such as vLLM's.

    sample ids -> a request each, `batch_size` at a time -> samples, in the order in which they end

Prompts go as token ids and documents come back as token ids: a server that can do neither is refused, as its
text would have to be encoded again, into other tokens than were drawn. What it says is checked, document by
document; that it holds the weights of the model that the user names cannot be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from resurface.engines.base import Capabilities, Sample, SamplingParams, seed_of
from resurface.engines.completions import Choice, Probed, choice_of, probe, request, wrong
from resurface.engines.server import Server, connected
from resurface.errors import UserError
from resurface.executors.background import Results, stream

if TYPE_CHECKING:
    from resurface.engines.loaded_model import LoadedModel
    from resurface.engines.registry import Options

_NOTES = (
    "that the server holds these weights, in this precision, cannot be checked",
    "that a document depends on its seed alone is not promised: it is the server's to draw, and to batch",
)


def open_sampler(model: LoadedModel, options: Options) -> EndpointEngine:
    """See `registry.EngineModule`; asks the server what it can do."""
    assert options.endpoint is not None and model.start is not None
    served = options.served_model or model.ref.spec
    return EndpointEngine(options.endpoint, served, model.start.given, options.batch_size)


def check(model: LoadedModel, options: Options) -> None:
    """See `registry.EngineModule`."""
    open_sampler(model, options)


class EndpointEngine:
    """A `Sampler` over a server.

    url: of the server, with or without /v1. served: its name for the model. given: ids to probe it with.
    requests: at a time. A key, if any, is the value of RESURFACE_API_KEY.

    Raises:
        UserError: the server cannot be reached, does not serve that model, or takes or gives no token ids.
    """

    def __init__(self, url: str, served: str, given: Sequence[int], requests: int) -> None:
        base = url.rstrip("/")
        self.base = base if base.endswith("/v1") else f"{base}/v1"
        self._served, self._requests = served, requests
        (found,) = stream(partial(self._ask, given))
        self.version = found.version
        self.capabilities = Capabilities(False, False, _NOTES, found.no_logprobs, found.no_logprobs_tau)

    async def _ask(self, given: Sequence[int], results: Results[Probed]) -> None:
        async with connected(self.base, 1) as server:
            results.put(await probe(server, self._served, given))

    def sample(
        self, start_ids: Sequence[int], sample_ids: Sequence[int], params: SamplingParams
    ) -> Generator[Sample, None, None]:
        """See `Sampler.sample`.

        Raises:
            ValueError: a temperature that is not positive.
            UserError: the server refuses a request, or draws otherwise than it was asked to.
            ResurfaceError: it went on failing.
        """
        if not params.temperature > 0:
            raise ValueError(f"temperature must be > 0, not {params.temperature}")
        return stream(partial(self._draw, start_ids, sample_ids, params))

    async def _draw(
        self,
        start_ids: Sequence[int],
        sample_ids: Sequence[int],
        params: SamplingParams,
        results: Results[Sample],
    ) -> None:
        waiting, body = iter(sample_ids), request(self._served, start_ids, params)

        async def work(server: Server) -> None:
            for i in waiting:
                answer = await server.complete({**body, "seed": seed_of(params.seed, i)})
                results.put(self._sample(i, choice_of(answer), params))
                await results.room(4 * self._requests)

        async with connected(self.base, self._requests) as server:
            tasks = [asyncio.create_task(work(server)) for _ in range(min(self._requests, len(sample_ids)))]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def _sample(self, sample_id: int, choice: Choice, params: SamplingParams) -> Sample:
        at_1, at_tau = self.capabilities.no_logprobs is None, self.capabilities.no_logprobs_tau is None
        if (what := wrong(choice, params, scored=at_1 or at_tau)) is not None:
            raise UserError(
                f"{self.base} draws otherwise than it was asked to: {what}",
                remedy="give a server that takes vLLM's stop_token_ids and min_tokens",
            )
        if params.plain:  # one is the other
            at_1 = at_tau = at_1 or at_tau
        known, ids = choice.logprobs, np.array(choice.ids, np.int32)
        return Sample(sample_id, ids, known if at_1 else None, known if at_tau else None, choice.finish)
