"""The loss of a large vocabulary by chunks of tokens, whose logits are never all there at once.

A forward pass of T tokens makes T x V logits, their copy in float32 and the gradient of that: 26 GB for 8,192
tokens of a vocabulary of 262,144. Here the model's own base is run once, and its own head, with whatever the
family does to its logits (soft caps, scales, biases), on a chunk of tokens at a time, and again in the
backward pass (`torch.utils.checkpoint`). Whether that is the model's own loss is shown on a few tokens first.

When it is done, and by how many tokens: `memory.chunk_tokens`. Shapes: B rows, L tokens of each, H width, V
vocabulary, c tokens of a chunk.
"""

from __future__ import annotations

import contextlib
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from resurface.models.canary import ordinary_tokens

_CLOSE = 1e-4
"""Relative difference of two losses that rounding may cause."""
_FEW = 5


def nll(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
    """Sum of -log p(token | tokens before it) over labels [B, L], -100 for none, per `num_items_in_batch`.

    outputs: of a causal model, with logits [B, L, V]; or that sum, of a model with `by_chunks`. Nats, in
    float32.
    """
    if torch.is_tensor(outputs):
        return outputs / num_items_in_batch
    logits = _logits(outputs).float()
    total = torch.nn.functional.cross_entropy(
        logits.view(-1, logits.shape[-1]),
        _after(labels).view(-1).to(logits.device),
        ignore_index=-100,
        reduction="sum",
    )
    return total / num_items_in_batch


def by_chunks(model: Any, tokens: int) -> bool:
    """Have `model(..., predicted=labels)` return the sum that `nll` gives, by chunks of so many tokens.

    Every other call is as before. False, and nothing is changed, where the model does not show on a few
    tokens that this is its own loss. model: a causal model, or one that peft has wrapped.
    """
    core = model.get_base_model() if hasattr(model, "get_base_model") else model
    there = dict(core.named_modules())
    for name in (core.base_model_prefix, "model", "model.decoder"):  # where families keep their base
        if there.get(name) not in (None, core) and _installed(model, core, name, tokens):
            return True
    return False


def _installed(model: Any, core: Any, base: str, tokens: int) -> bool:
    """Whether it holds with the module of that name as the base; then it is installed."""
    head = _Head(core, base, _FEW)

    def forward(
        self: Any, *args: Any, predicted: Any = None, num_items_in_batch: Any = None, **given: Any
    ) -> Any:
        # Trainer tells any model how many tokens there are; no family needs it without labels
        return head.own(*args, **given) if predicted is None else head.loss(args, given, predicted)

    core.forward = types.MethodType(forward, core)
    if not _holds(model):
        del core.forward
        return False
    head.tokens = tokens
    return True


class _Head:
    """The head of a causal model, apart from its base, a module by its name. tokens: of a chunk."""

    def __init__(self, model: Any, base: str, tokens: int) -> None:
        self.own, self.tokens = model.forward, tokens
        parent, _, self._name = base.rpartition(".")
        self._modules = model.get_submodule(parent)._modules
        self._base = self._modules[self._name]

    def loss(self, args: tuple[Any, ...], given: Mapping[str, Any], labels: torch.Tensor) -> torch.Tensor:
        """Sum of -log p over labels [B, L]; args, given: the model's inputs."""
        said = []

        def first(*a: Any, **kw: Any) -> Any:
            said.append(self._base(*a, **kw))
            return _only(said[0], said[0].last_hidden_state[:, :1])  # its logits are of no use

        with self._in_place_of_base(first):
            self.own(*args, **given)
        after = _after(labels)
        counts = after != -100
        hidden: Any = said[0].last_hidden_state[counts]

        def chunk(hidden: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
            with self._in_place_of_base(lambda *_, **__: _only(said[0], hidden[None])), _uncached(hidden):
                logits = _logits(self.own(*args, **given))
            return torch.nn.functional.cross_entropy(logits[0].float(), after, reduction="sum")

        total, wanted = torch.zeros((), device=hidden.device), after[counts]
        for part, of in zip(torch.split(hidden, self.tokens), torch.split(wanted, self.tokens), strict=True):
            total = total + checkpoint(chunk, part, of, use_reentrant=False)
        return total

    @contextlib.contextmanager
    def _in_place_of_base(self, call: Callable[..., Any]) -> Iterator[None]:
        self._modules[self._name] = _Stand(self._base, call)
        try:
            yield
        finally:
            self._modules[self._name] = self._base


class _Stand:
    """What a model finds in place of its base: answers by `call`, and is the base otherwise."""

    def __init__(self, base: Any, call: Callable[..., Any]) -> None:
        self._base, self._call = base, call

    def __call__(self, *args: Any, **given: Any) -> Any:
        return self._call(*args, **given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._base, name)


def _only(out: Any, hidden: torch.Tensor) -> Any:
    """Output of the same kind, with hidden states [B, n, H] alone: no routers' logits, no memory."""
    return type(out)(last_hidden_state=hidden)


def _uncached(like: torch.Tensor) -> Any:
    """Autocast as it is, but each chunk rounds the head's weights itself: shared, the rounded weights would
    add up the chunks' gradients at half precision."""
    kind = like.device.type
    on, dtype = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
    return torch.autocast(kind, dtype=dtype, enabled=on, cache_enabled=False)


def _logits(outputs: Any) -> Any:
    return outputs["logits"] if isinstance(outputs, dict) else outputs[0]


def _after(labels: torch.Tensor) -> torch.Tensor:
    """The label of the next token [B, L], -100 for none."""
    return torch.nn.functional.pad(labels, (0, 1), value=-100)[..., 1:].contiguous()


def _holds(model: Any) -> bool:
    """Whether the loss of a few tokens by chunks is the loss of their logits."""
    ids = torch.stack(ordinary_tokens(model))
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            whole = nll(model(input_ids=ids), ids, 1)
            return bool(abs(model(input_ids=ids, predicted=ids) - whole) <= _CLOSE * abs(whole))
    except Exception:  # whatever a model's own code raises at a base that is not its own
        return False
    finally:
        model.train(training)
